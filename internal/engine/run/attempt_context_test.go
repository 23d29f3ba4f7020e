package run

import (
	"context"
	"errors"
	"testing"
	"time"
)

// The context of an attempt ends with the run, with the attempt and with its bound, for the reason that it says, and not with an
// interruption of the call; whether somebody has asked before that when it ends makes no difference.
func TestAttemptContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	gone, tired := errors.New("gone"), errors.New("tired")
	type contexts struct {
		c               *attemptContext
		lose, interrupt context.CancelCauseFunc
		cancel          context.CancelFunc // of a context that the function has made
	}
	for name, test := range map[string]struct {
		own    bool // the function passes on the context of its own
		bound  time.Duration
		do     func(contexts)
		wanted error
	}{
		"goes on":                     {do: func(contexts) {}},
		"the run is lost":             {do: func(x contexts) { x.lose(gone) }, wanted: gone},
		"the attempt is over":         {do: func(x contexts) { x.c.end() }, wanted: context.Canceled},
		"lost after it was over":      {do: func(x contexts) { x.c.end(); x.lose(gone) }, wanted: context.Canceled},
		"interrupted":                 {do: func(x contexts) { x.interrupt(errDraining) }},
		"interrupted, with its own":   {own: true, do: func(x contexts) { x.interrupt(errDraining) }},
		"cancelled":                   {own: true, do: func(x contexts) { x.cancel() }, wanted: context.Canceled},
		"doomed, with its own":        {own: true, do: func(x contexts) { x.interrupt(tired) }, wanted: tired},
		"too late":                    {bound: time.Nanosecond, do: func(x contexts) { <-x.c.Done() }, wanted: errStepTimeout},
		"lost, with a bound":          {bound: time.Hour, do: func(x contexts) { x.lose(gone) }, wanted: gone},
		"over, with a bound":          {bound: time.Hour, do: func(x contexts) { x.c.end() }, wanted: context.Canceled},
		"interrupted, with a bound":   {bound: time.Hour, do: func(x contexts) { x.interrupt(errDraining) }},
		"cancelled, with a bound too": {own: true, bound: time.Hour, do: func(x contexts) { x.cancel() }, wanted: context.Canceled},
	} {
		for _, asked := range []bool{false, true} {
			r := &Run{}
			r.own, r.loseOwn = context.WithCancelCause(t.Context())
			call := &call{run: r}
			call.ctx, call.interrupt = context.WithCancelCause(r.own)
			a := &attempt{step: &step{call: call}}
			ctx := context.WithValue(call.ctx, key{}, "value")
			x := contexts{c: &a.context, lose: r.loseOwn, interrupt: call.interrupt}
			if test.own {
				ctx, x.cancel = context.WithCancel(ctx)
			}
			a.context.begin(ctx, a, test.bound)
			derived, stop := context.Context(nil), func() {}
			if asked {
				derived, stop = context.WithCancel(x.c)
			}
			if attemptOf(x.c) != a || x.c.Value(key{}) != "value" {
				t.Errorf("%s: it does not carry what the context of the step does", name)
			}
			test.do(x)
			if test.own {
				a.context.endWith(ctx) // as another goroutine does
			}
			cause, err := context.Cause(x.c), x.c.Err() // before Done is asked
			if !errors.Is(cause, test.wanted) || (err != nil) != (test.wanted != nil) || isClosed(x.c.Done()) != (err != nil) {
				t.Errorf("%s (asked before: %t): cause %v, error %v, done %t, want %v", name, asked, cause, err, isClosed(x.c.Done()), test.wanted)
			}
			if after := context.Cause(x.c); !errors.Is(after, test.wanted) {
				t.Errorf("%s (asked before: %t): once somebody has asked its cause is %v, want %v", name, asked, after, test.wanted)
			}
			if asked && (derived.Err() != nil) != (test.wanted != nil) {
				t.Errorf("%s: what is derived from it has ended with %v, want %v", name, derived.Err(), test.wanted)
			}
			stop()
			a.context.end()
		}
	}
}
