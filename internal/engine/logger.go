package engine

import (
	"context"
	"log/slog"
)

// Logger returns a logger for code that a run calls: with the run, and the step and attempt inside one. It is silent
// outside a run, and in the body while recorded steps are still ahead.
func Logger(ctx context.Context) *slog.Logger {
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		return silent
	}
	if key, attempt := StepKey(ctx); key != "" {
		return s.run.log.With("step", key, "attempt", attempt)
	}
	return slog.New(bodyHandler{s.run.log.Handler(), s.run})
}

var silent = slog.New(slog.DiscardHandler)

// A bodyHandler is asked anew for each line: a logger that was taken before the replay's end speaks after it.
type bodyHandler struct {
	slog.Handler
	run *run
}

func (h bodyHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return !h.run.replaying() && h.Handler.Enabled(ctx, level)
}

func (h bodyHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return bodyHandler{h.Handler.WithAttrs(attrs), h.run}
}

func (h bodyHandler) WithGroup(name string) slog.Handler {
	return bodyHandler{h.Handler.WithGroup(name), h.run}
}

// replaying reports whether a recorded step has not been reached yet.
func (r *run) replaying() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ahead > 0
}
