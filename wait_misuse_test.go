package workflow_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

func TestWrongWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc = b.service(func(c *workflow.Config) { c.PayloadLimit, c.MaxSteps = 1000, 10 })
	kit.Work(t, b.svc)
	child := workflow.Define("child", func(ctx context.Context, s string) (string, error) { return s, nil })
	anys := workflow.Define("anys", func(ctx context.Context, s any) (int, error) { return 1, nil })
	shapes := workflow.Define("shapes", func(ctx context.Context, s int) (shape, error) { return nil, nil })
	b.svc.Register(child, anys)
	big := strings.Repeat("x", 2000)
	cases := map[string]func(context.Context) error{
		"nil workflow": func(ctx context.Context) error {
			_, err := workflow.Call[string, string](ctx, "c", nil, "x")
			return err
		},
		"empty step": func(ctx context.Context) error { _, err := workflow.Call(ctx, "", child, "x"); return err },
		"bad step":   func(ctx context.Context) error { _, err := workflow.Call(ctx, "a/b", child, "x"); return err },
		"nul":        func(ctx context.Context) error { _, err := workflow.Call(ctx, "a\x00b", child, "x"); return err },
		"nul input":  func(ctx context.Context) error { _, err := workflow.Call(ctx, "c", child, "\x00"); return err },
		"negative delay": func(ctx context.Context) error {
			_, err := workflow.Call(ctx, "c", child, "x", workflow.WithDelay(-1))
			return err
		},
		"negative deadline": func(ctx context.Context) error {
			_, err := workflow.Spawn(ctx, "c", child, "x", workflow.WithDeadline(-1))
			return err
		},
		"huge": func(ctx context.Context) error { _, err := workflow.Call(ctx, "c", child, big); return err },
		"channel": func(ctx context.Context) error {
			_, err := workflow.Call(ctx, "c", anys, any(make(chan int)))
			return err
		},
		"interface": func(ctx context.Context) error { _, err := workflow.Call(ctx, "c", shapes, 1); return err },
		"empty name": func(ctx context.Context) error {
			_, err := workflow.Call(ctx, "c", workflow.Define[int, int]("", nil), 1)
			return err
		},
		"too many": func(ctx context.Context) error {
			_, err := workflow.CallAll(ctx, "c", child, make([]string, 11))
			return err
		},
		"start":  func(ctx context.Context) error { _, err := child.Start(ctx, b.svc, "x"); return err },
		"create": func(ctx context.Context) error { _, err := b.svc.CreateRun(ctx, "child", "x"); return err },
		"send":   func(ctx context.Context) error { return word.Send(ctx, b.svc, workflow.RunID(ctx), "x") },
		"send huge": func(ctx context.Context) error {
			return word.Send(ctx, b.svc, workflow.RunID(ctx), big, workflow.WithKey("k"))
		},
		"send empty key": func(ctx context.Context) error {
			return word.Send(ctx, b.svc, workflow.RunID(ctx), "x", workflow.WithKey(""))
		},
		"send long key": func(ctx context.Context) error {
			return word.Send(ctx, b.svc, workflow.RunID(ctx), "x", workflow.WithKey(strings.Repeat("k", 256)))
		},
		"send nobody": func(ctx context.Context) error { return word.Send(ctx, b.svc, "", "x", workflow.WithKey("k")) },
		"nested call": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (int, error) {
				_, err := workflow.Call(ctx, "c", child, "x")
				return 0, err
			})
			return err
		},
		"nested wait": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (string, error) { return word.Wait(ctx, 0) })
			return err
		},
		"nested poll": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (string, error) { v, _, err := word.Poll(ctx); return v, err })
			return err
		},
		"nested ask": func(ctx context.Context) error {
			_, err := workflow.Do(ctx, "outer", func(ctx context.Context) (bool, error) {
				d, err := workflow.DefineApproval[bool]("q").Ask(ctx, workflow.ApprovalRequest{})
				return d.Value, err
			})
			return err
		},
		"ask huge": func(ctx context.Context) error {
			_, err := workflow.DefineApproval[bool]("q").Ask(ctx, workflow.ApprovalRequest{For: big})
			return err
		},
		"ask negative": func(ctx context.Context) error {
			_, err := workflow.DefineApproval[bool]("q").Ask(ctx, workflow.ApprovalRequest{Within: -1})
			return err
		},
		"ask channel": func(ctx context.Context) error {
			_, err := workflow.DefineApproval[bool]("q").Ask(ctx, workflow.ApprovalRequest{For: make(chan int)})
			return err
		},
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) {
			h, _, err := run(b.with(t), "wrong "+name, func(ctx context.Context, _ int) (int, error) {
				err := f(ctx)
				if err == nil {
					return 1, nil
				}
				return 0, err
			})
			if steps, stepsErr := b.svc.ListSteps(t.Context(), h.RunID()); stepsErr != nil || len(steps) > 1 {
				t.Errorf("steps %v, %v, want none but the outer one", steps, stepsErr)
			}
			if err == nil || strings.Contains(err.Error(), "panic") || !strings.Contains(err.Error(), `"`) {
				t.Error(err)
			}
		})
	}
	t.Run("outside", func(t *testing.T) {
		for name, f := range cases {
			if strings.HasPrefix(name, "send") || name == "start" || name == "create" {
				continue
			}
			err := f(t.Context())
			if err == nil {
				t.Error(name, err)
			}
		}
		_, err := workflow.Call(t.Context(), "c", child, "x")
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, err = workflow.Spawn(t.Context(), "c", child, "x")
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, err = workflow.CallAll(t.Context(), "c", child, nil)
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, err = word.Wait(t.Context(), 0)
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, _, err = word.Poll(t.Context())
		kit.WantIs(t, err, workflow.ErrOutsideRun)
		_, err = workflow.DefineApproval[bool]("q").Ask(t.Context(), workflow.ApprovalRequest{})
		kit.WantIs(t, err, workflow.ErrOutsideRun)
	})
}
