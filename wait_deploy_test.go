package workflow_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A step that was recorded by Poll is no answer to Wait.
func TestAPollIsNoAnswerToAWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.service()
	gate := workflow.DefineSignal[int]("gate")
	first.Register(workflow.Define("w", func(ctx context.Context, _ int) (string, error) {
		_, _, err := word.Poll(ctx)
		if err != nil {
			return "", err
		}
		_, err = gate.Wait(ctx, 0)
		return "old", err
	}))
	stop := kit.Work(t, first)
	second := b.service()
	w := workflow.Define("w", func(ctx context.Context, _ int) (string, error) {
		v, err := word.Wait(ctx, 0)
		if err != nil {
			return "", err
		}
		_, err = gate.Wait(ctx, 0)
		return "new:" + v, err
	})
	second.Register(w)
	h, err := w.Start(t.Context(), first, 1)
	kit.Must(t, err)
	b.parked(h.RunID())
	stop()
	kit.Must(t, gate.Send(t.Context(), second, h.RunID(), 1))
	kit.Work(t, second)
	kit.Until(t, "ended or blocked", func() bool {
		r := b.get(h.RunID())
		return r.Status.Finished() || r.SuspendedFor == workflow.SuspendedBlocked
	})
	r := b.get(h.RunID())
	if r.SuspendedFor != workflow.SuspendedBlocked {
		t.Errorf("run is %s with %s %v", r.Status, r.Output, r.Err)
	}
}

// Two releases that differ in how a step calls.
func TestChangedCallsAreBlocked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leaf := workflow.Define("leaf", func(_ context.Context, n int) (int, error) { return n, nil })
	gate := workflow.DefineSignal[int]("gate")
	kinds := map[string]func(ctx context.Context) error{
		"call":    func(ctx context.Context) error { _, err := workflow.Call(ctx, "c", leaf, 1); return err },
		"renamed": func(ctx context.Context) error { _, err := workflow.Call(ctx, "d", leaf, 1); return err },
		"all": func(ctx context.Context) error {
			rs, err := workflow.CallAll(ctx, "c", leaf, []int{1})
			if err == nil {
				err = rs[0].Err
			}
			return err
		},
		"all2": func(ctx context.Context) error {
			rs, err := workflow.CallAll(ctx, "c", leaf, []int{1, 2})
			for _, r := range rs {
				if err == nil {
					err = r.Err
				}
			}
			return err
		},
		"spawn": func(ctx context.Context) error { _, err := workflow.Spawn(ctx, "c", leaf, 1); return err },
		"do": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "c", func(context.Context) (int, error) { t.Error("called"); return 1, nil })
			return err
		},
		"none": func(ctx context.Context) error { return nil },
	}
	for _, finished := range []bool{true, false} {
		for old, f := range kinds {
			for new, g := range kinds {
				if old == "do" || old == "none" || old == new || old == "renamed" || !finished && old == "spawn" {
					continue
				}
				t.Run(fmt.Sprint(old, " to ", new, " ", finished), func(t *testing.T) {
					t.Parallel()
					name := fmt.Sprint("w", old, new, finished)
					def := func(f func(context.Context) error) *workflow.Workflow[int, int] {
						return workflow.Define(name, func(ctx context.Context, _ int) (int, error) {
							if err := f(ctx); err != nil {
								return 0, err
							}
							return gate.Wait(ctx, 0)
						})
					}
					first := b.with(t).service()
					first.Register(def(f))
					leaves := b.with(t).service()
					leaves.Register(leaf)
					if finished {
						kit.Work(t, leaves)
					}
					stop := kit.Work(t, first)
					h, err := def(f).Start(t.Context(), first, 1)
					kit.Must(t, err)
					kit.Until(t, "parked", func() bool {
						r := b.get(h.RunID())
						return r.Status == workflow.RunSuspended && (!finished || r.SuspendedFor == workflow.SuspendedForSignal)
					})
					stop()
					second := b.with(t).service()
					second.Register(def(g))
					kit.Must(t, gate.Send(t.Context(), second, h.RunID(), 1))
					if !finished {
						kit.Work(t, leaves)
					}
					kit.Work(t, second)
					var r workflow.Run
					kit.Until(t, "goes on", func() bool {
						r = b.get(h.RunID())
						return r.Status.Finished() || r.SuspendedFor == workflow.SuspendedBlocked
					})
					if r.SuspendedFor != workflow.SuspendedBlocked {
						t.Errorf("%s %v %s", r.Status, r.Err, r.Output)
					}
				})
			}
		}
	}
}
