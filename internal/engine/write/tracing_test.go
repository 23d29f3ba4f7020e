package write

import (
	"context"
	"log/slog"
	"maps"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/store"
)

type tracer struct {
	listener
	inject func() map[string]string
	begin  func(ctx context.Context, e Event) (context.Context, func(Event))
}

func (t tracer) Inject(context.Context, Event) map[string]string { return t.inject() }

func (t tracer) Begin(ctx context.Context, e Event) (context.Context, func(Event)) {
	return t.begin(ctx, e)
}

// Whatever the tracer does, a function gets a context that ends when it should and carries what it did, after a time that is bounded, and
// once for all while the tracer hangs.
func TestTracerIsBounded(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, test := range map[string]struct {
		begin  func(context.Context, Event) (context.Context, func(Event))
		hangs  bool
		traced string
	}{
		"begins": {traced: "span", begin: func(ctx context.Context, _ Event) (context.Context, func(Event)) {
			return context.WithValue(ctx, key{}, "span"), func(Event) {}
		}},
		"says nothing": {begin: func(context.Context, Event) (context.Context, func(Event)) { return nil, nil }},
		"forgets the context": {traced: "span", begin: func(context.Context, Event) (context.Context, func(Event)) {
			return context.WithValue(context.Background(), key{}, "span"), nil
		}},
		"panics": {begin: func(context.Context, Event) (context.Context, func(Event)) { panic("no") }},
		"exits": {begin: func(context.Context, Event) (context.Context, func(Event)) {
			runtime.Goexit()
			return nil, nil
		}},
		"hangs": {hangs: true, begin: func(ctx context.Context, _ Event) (context.Context, func(Event)) {
			time.Sleep(time.Hour)
			return ctx, func(Event) {}
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := NewObserver(slog.New(slog.DiscardHandler), tracer{listener: func(Event) {}, begin: test.begin})
			type carried struct{}
			run, lose := context.WithCancel(context.WithValue(t.Context(), carried{}, "run"))
			began := time.Now()
			ctx, span := o.Begin(run, Event{Kind: RunClaimed})
			if _, again := o.Begin(run, Event{Kind: RunClaimed}); test.hangs && again != nil {
				t.Errorf("%s: it was asked again", name)
			}
			if since, want := time.Since(began), map[bool]time.Duration{true: tracerPatience}[test.hangs]; since != want {
				t.Errorf("%s: it was waited for %s, want %s", name, since, want)
			}
			if got, _ := ctx.Value(key{}).(string); got != test.traced || ctx.Value(carried{}) != "run" || ctx.Err() != nil {
				t.Errorf("%s: the context carries %q", name, got)
			}
			lose()
			if ctx.Err() == nil {
				t.Errorf("%s: the context does not end with the run", name)
			}
			span.End(Event{Kind: RunCompleted})
			span.End(Event{Kind: RunLost})
			time.Sleep(2 * time.Hour) // so that it has returned
		})
	}
}

// What a tracer has begun it is told the end of, once, also if nobody waits any more for what it began.
func TestTracerIsToldOfEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var late time.Duration
		var ended []Kind
		o := NewObserver(slog.New(slog.DiscardHandler), tracer{
			listener: func(Event) {},
			begin: func(ctx context.Context, _ Event) (context.Context, func(Event)) {
				time.Sleep(late)
				return ctx, func(e Event) { ended = append(ended, e.Kind) }
			},
		})
		_, span := o.Begin(t.Context(), Event{Kind: RunClaimed})
		span.End(Event{Kind: RunParked})
		span.End(Event{Kind: RunLost})
		late = time.Minute
		o.Begin(t.Context(), Event{Kind: RunClaimed})
		time.Sleep(time.Hour)
		synctest.Wait()
		late = 0
		_, span = o.Begin(t.Context(), Event{Kind: RunClaimed}) // it is asked again
		span.End(Event{Kind: RunFailed})
		o.Settle(time.Hour)
		if diff := cmp.Diff([]Kind{RunParked, RunLost, RunFailed}, ended); diff != "" {
			t.Errorf("ends (-want +got):\n%s", diff)
		}
	})
}

// What is stored with a run is bounded, and something that can be stored.
func TestTraceIsBounded(t *testing.T) {
	t.Parallel()
	parent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, test := range map[string]struct {
		given map[string]string
		want  store.Trace
	}{
		"nothing":   {nil, nil},
		"usual":     {map[string]string{"traceparent": parent, "tracestate": "a=b"}, store.Trace{"traceparent": parent, "tracestate": "a=b"}},
		"too much":  {map[string]string{"baggage": strings.Repeat("x", 1000), "traceparent": parent}, store.Trace{"traceparent": parent}},
		"no text":   {map[string]string{"a": "\xff", "b": "\x00", "c": "c", "\xff": "d"}, store.Trace{"c": "c"}},
		"all of it": {map[string]string{"baggage": strings.Repeat("x", maxTrace-7)}, store.Trace{"baggage": strings.Repeat("x", maxTrace-7)}},
	} {
		o := NewObserver(slog.New(slog.DiscardHandler), tracer{inject: func() map[string]string { return maps.Clone(test.given) }})
		if diff := cmp.Diff(test.want, o.Inject(t.Context(), Event{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
