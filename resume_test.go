package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A till counts what its steps do, by name.
type till struct {
	mu    sync.Mutex
	calls map[string]int
	cured atomic.Bool // steps that fail until then do not any more
}

func (c *till) count(step string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = make(map[string]int)
	}
	c.calls[step]++
}

func (c *till) counted() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// does is a step that succeeds.
func (c *till) does(ctx context.Context, name string) error {
	_, err := workflow.Do(ctx, name, func(context.Context) (int, error) { c.count(name); return 1, nil })
	return err
}

// declined is a step that fails for good, always. The error is nil when it has, which the function handles.
func (c *till) declined(ctx context.Context, name string) error {
	_, err := workflow.Do(ctx, name, func(context.Context) (int, error) {
		c.count(name)
		return 0, workflow.Final(&workflow.Error{Code: "declined", Message: name})
	})
	if errors.Is(err, &workflow.Error{Code: "declined"}) {
		return nil
	}
	return errors.Join(err, fmt.Errorf("%s was not declined", name))
}

func (c *till) declinedTx(ctx context.Context, name string) error {
	_, err := workflow.DoTx(ctx, name, func(context.Context, *sql.Tx) (int, error) {
		c.count(name)
		return 0, workflow.Final(&workflow.Error{Code: "declined", Message: name})
	})
	if errors.Is(err, &workflow.Error{Code: "declined"}) {
		return nil
	}
	return errors.Join(err, fmt.Errorf("%s was not declined", name))
}

// breaks is a step that fails for good until the till is cured.
func (c *till) breaks(ctx context.Context, name string) error {
	_, err := workflow.Do(ctx, name, func(context.Context) (int, error) {
		c.count(name)
		if !c.cured.Load() {
			return 0, workflow.Final(errors.New("broken"))
		}
		return 1, nil
	})
	return err
}

// waits holds the run until the till is cured, or its context ends.
func (c *till) waits(ctx context.Context) error {
	if c.cured.Load() {
		return nil
	}
	c.count("waits")
	<-ctx.Done()
	return context.Cause(ctx)
}

func (c *till) fails() error {
	if c.cured.Load() {
		return nil
	}
	return errors.New("of the function itself")
}

// What later records depend on is never done again: a run that is resumed goes on after it.
func TestResumeKeepsWhatLaterStepsDependOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Work(t, b.svc)
	for name, c := range map[string]struct {
		fn     func(context.Context, *till) error
		cancel bool // it waits, and is cancelled there
		want   map[string]int
	}{
		"cancelled behind a handled failure": {cancel: true, fn: func(ctx context.Context, c *till) error {
			if err := c.declined(ctx, "card"); err != nil {
				return err
			}
			if err := c.does(ctx, "invoice"); err != nil {
				return err
			}
			return c.waits(ctx)
		}, want: map[string]int{"card": 1, "invoice": 1, "waits": 1}},
		"cancelled behind a transactional one": {cancel: true, fn: func(ctx context.Context, c *till) error {
			if err := c.declinedTx(ctx, "card"); err != nil {
				return err
			}
			if err := c.does(ctx, "invoice"); err != nil {
				return err
			}
			return c.waits(ctx)
		}, want: map[string]int{"card": 1, "invoice": 1, "waits": 1}},
		"failed by itself": {fn: func(ctx context.Context, c *till) error {
			if err := c.declined(ctx, "card"); err != nil {
				return err
			}
			if err := c.does(ctx, "invoice"); err != nil {
				return err
			}
			return c.fails()
		}, want: map[string]int{"card": 1, "invoice": 1}},
		"failed in a later step": {fn: func(ctx context.Context, c *till) error {
			if err := c.declined(ctx, "card"); err != nil {
				return err
			}
			if err := c.does(ctx, "invoice"); err != nil {
				return err
			}
			return c.breaks(ctx, "mail")
		}, want: map[string]int{"card": 1, "invoice": 1, "mail": 2}},
		"two failures in a row, then a success": {cancel: true, fn: func(ctx context.Context, c *till) error {
			for _, name := range []string{"first card", "second card"} {
				if err := c.declined(ctx, name); err != nil {
					return err
				}
			}
			if err := c.does(ctx, "invoice"); err != nil {
				return err
			}
			return c.waits(ctx)
		}, want: map[string]int{"first card": 1, "second card": 1, "invoice": 1, "waits": 1}},
		"in a loop": {fn: func(ctx context.Context, c *till) error {
			for range 2 {
				if err := c.declined(ctx, "card"); err != nil {
					return err
				}
				if err := c.does(ctx, "note"); err != nil {
					return err
				}
			}
			return c.breaks(ctx, "mail")
		}, want: map[string]int{"card": 2, "note": 2, "mail": 2}},
		"in a branch": {cancel: true, fn: func(ctx context.Context, c *till) error {
			branch := workflow.Branch(ctx, "k")
			if err := c.declined(branch, "card"); err != nil {
				return err
			}
			if err := c.does(branch, "invoice"); err != nil {
				return err
			}
			return c.waits(ctx)
		}, want: map[string]int{"card": 1, "invoice": 1, "waits": 1}},
		"in a branch, and what followed is not": {cancel: true, fn: func(ctx context.Context, c *till) error {
			if err := c.declined(workflow.Branch(ctx, "k"), "card"); err != nil {
				return err
			}
			if err := c.does(ctx, "invoice"); err != nil {
				return err
			}
			return c.waits(ctx)
		}, want: map[string]int{"card": 1, "invoice": 1, "waits": 1}},
		"a branch failed, its sibling was done before": {fn: func(ctx context.Context, c *till) error {
			if err := c.does(workflow.Branch(ctx, "l"), "sibling"); err != nil {
				return err
			}
			return c.breaks(workflow.Branch(ctx, "k"), "mail")
		}, want: map[string]int{"sibling": 1, "mail": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			counts := new(till)
			w := workflow.Define(name, func(ctx context.Context, n int) (int, error) { return n, c.fn(ctx, counts) })
			b.svc.Register(w)
			handle, err := w.Start(t.Context(), b.svc, 7)
			kit.Must(t, err)
			if c.cancel {
				kit.Until(t, "the run waits", func() bool { return counts.counted()["waits"] > 0 })
				kit.Must(t, b.svc.Cancel(t.Context(), handle.RunID()))
			}
			if _, err := handle.Result(kit.Context(t)); err == nil {
				t.Fatal("the run was completed before it was resumed")
			}
			counts.cured.Store(true)
			kit.Must(t, b.svc.Resume(t.Context(), handle.RunID()))
			if got, err := w.Handle(b.svc, handle.RunID()).Result(kit.Within(t, busy)); err != nil || got != 7 {
				t.Errorf("resumed: %d, %v", got, err)
			}
			if diff := cmp.Diff(c.want, counts.counted()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}
