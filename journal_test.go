package workflow_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/sqlworkflow/workflow"
)

// A journal keeps what it is told as the handler of a logger. It asks errors for their text as a plain handler would, without a
// guard of its own.
type journal struct {
	*pages
	attrs []slog.Attr
}

type pages struct {
	mu      sync.Mutex
	entries []entry
}

type entry struct {
	level   slog.Level
	message string
	attrs   map[string]string
}

func newJournal() journal { return journal{pages: &pages{}} }

// journaled keeps what the bench's service logs from now on.
func (b *bench) journaled() journal {
	log := newJournal()
	b.svc = b.service(func(c *workflow.Config) { c.Logger = slog.New(log) })
	return log
}

func (j journal) Enabled(context.Context, slog.Level) bool { return true }

func (j journal) WithGroup(string) slog.Handler { return j }

func (j journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	j.attrs = append(j.attrs[:len(j.attrs):len(j.attrs)], attrs...)
	return j
}

func (j journal) Handle(_ context.Context, r slog.Record) error {
	e := entry{level: r.Level, message: r.Message, attrs: make(map[string]string)}
	keep := func(a slog.Attr) bool {
		value := a.Value.Any()
		if err, ok := value.(error); ok {
			value = err.Error()
		}
		e.attrs[a.Key] = fmt.Sprint(value)
		return true
	}
	for _, a := range j.attrs {
		keep(a)
	}
	r.Attrs(keep)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return nil
}

// all returns the entries of a level or above that have the given words, in their message or attributes.
func (p *pages) all(level slog.Level, words ...string) (found []entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if text := e.String(); e.level >= level && containsAll(text, words) {
			found = append(found, e)
		}
	}
	return found
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func (e entry) String() string { return fmt.Sprint(e.level, " ", e.message, " ", e.attrs) }
