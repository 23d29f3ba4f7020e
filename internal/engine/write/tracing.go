package write

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sqlworkflow/workflow/store"
)

// A Tracer is an observer that has a say in contexts.
type Tracer interface {
	// Inject returns what is to be found again with the run that is about to be started with ctx.
	Inject(ctx context.Context, e Event) map[string]string

	// Begin is called before a function of a run or a step is, which gets the context that it returns. The end is told how that ended.
	Begin(ctx context.Context, e Event) (_ context.Context, end func(Event))
}

// tracing calls a tracer. Somebody waits for its answers, other than for what an observer does with events: so they are waited for only so
// long, and while one of them has not come, nobody asks for another.
type tracing struct {
	tracer  Tracer
	relay   *relay
	hanging atomic.Int32 // calls that have not returned in time
}

// tracerPatience is how long one answer is waited for.
const tracerPatience = time.Second

// Inject returns what the tracer wants to find again with a run that is about to be started.
func (o *Observer) Inject(ctx context.Context, e Event) store.Trace {
	if o.tracer == nil {
		return nil
	}
	return o.tracer.inject(ctx, e)
}

func (t *tracing) inject(ctx context.Context, e Event) store.Trace {
	e.At = time.Now()
	var trace map[string]string
	if !t.ask(func() { trace = maps.Clone(t.tracer.Inject(ctx, e)) }, nil) {
		return nil
	}
	return bounded(trace)
}

// maxTrace bounds what is stored, in bytes of names and values.
const maxTrace = 1024

// bounded leaves out what cannot be stored, and of what is too much the longest.
func bounded(trace map[string]string) store.Trace {
	length := func(key string) int { return len(key) + len(trace[key]) }
	storable := func(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
	var kept store.Trace
	left := maxTrace
	for _, key := range slices.SortedFunc(maps.Keys(trace), func(a, b string) int {
		return cmp.Or(cmp.Compare(length(a), length(b)), cmp.Compare(a, b))
	}) {
		if left -= length(key); left < 0 {
			break
		}
		if storable(key) && storable(trace[key]) {
			if kept == nil {
				kept = make(store.Trace)
			}
			kept[key] = trace[key]
		}
	}
	return kept
}

// A Span is a function that a tracer knows of, until its end; nil: none does.
type Span struct {
	relay *relay
	end   func(Event)
	ended atomic.Bool
}

// End tells the tracer how it has ended. Only the first end counts.
func (s *Span) End(e Event) {
	if s != nil && !s.ended.Swap(true) {
		s.relay.tellTo(s.end, e)
	}
}

// Begin returns the context for a function of the application that is about to be called.
func (o *Observer) Begin(ctx context.Context, e Event) (context.Context, *Span) {
	if o.tracer == nil {
		return ctx, nil
	}
	return o.tracer.begin(ctx, e)
}

func (t *tracing) begin(ctx context.Context, e Event) (context.Context, *Span) {
	e.At = time.Now()
	var values context.Context
	s := &Span{relay: t.relay}
	begin := func() { values, s.end = t.tracer.Begin(ctx, e) }
	tooLate := func() {
		if s.end != nil {
			s.End(Event{Kind: RunLost})
		}
	}
	if !t.ask(begin, tooLate) {
		return ctx, nil
	}
	if values != nil {
		ctx = &spanContext{Context: ctx, values: values}
	}
	if s.end == nil {
		s = nil
	}
	return ctx, s
}

// ask calls the tracer, and reports whether it has returned in time. If it returns after that, tooLate is called.
func (t *tracing) ask(call, tooLate func()) bool {
	if t.hanging.Load() > 0 {
		t.relay.drop(nil)
		return false
	}
	var over atomic.Bool // whoever sets it has decided
	answered := make(chan bool, 1)
	go func() {
		ok := false
		defer func() { // also when it ends its goroutine
			p := recover()
			if !ok {
				t.relay.drop(p)
			}
			if !over.Swap(true) {
				answered <- ok
				return
			}
			t.hanging.Add(-1)
			if ok && tooLate != nil {
				tooLate()
			}
		}()
		call()
		ok = true
	}()
	timer := time.NewTimer(tracerPatience)
	defer timer.Stop()
	select {
	case ok := <-answered:
		return ok
	case <-timer.C:
	}
	t.hanging.Add(1)
	if over.Swap(true) {
		t.hanging.Add(-1)
		return <-answered
	}
	t.relay.drop(nil)
	return false
}

// A spanContext ends as the context of the run or the attempt does, whatever the tracer has made of that, and carries what the tracer has
// added.
type spanContext struct {
	context.Context
	values context.Context
}

// Value prefers what the tracer has added: it may stand for something that the context carries as well, such as the span around this.
func (c *spanContext) Value(key any) any {
	if value := c.values.Value(key); value != nil {
		return value
	}
	return c.Context.Value(key)
}
