package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Whatever a step was doing when the run turned out to be lost, its error says that the run is interrupted: a function that
// compensates for failed steps must be able to tell.
func TestLostRunInterruptsEachStep(t *testing.T) {
	t.Parallel()
	declined := errors.New("declined")
	for name, step := range map[string]func(ctx context.Context, cancel func()) error{
		"succeeds": func(ctx context.Context, cancel func()) error {
			_, err := workflow.Do(ctx, "step", func(context.Context) (int, error) { cancel(); return 1, nil })
			return err
		},
		"fails": func(ctx context.Context, cancel func()) error {
			_, err := workflow.Do(ctx, "step", func(context.Context) (int, error) { cancel(); return 0, declined })
			return err
		},
		"fails for good": func(ctx context.Context, cancel func()) error {
			_, err := workflow.Do(ctx, "step", func(context.Context) (int, error) { cancel(); return 0, workflow.Final(declined) })
			return err
		},
		"transaction": func(ctx context.Context, cancel func()) error {
			_, err := workflow.DoTx(ctx, "step", func(context.Context, *sql.Tx) (int, error) { cancel(); return 1, nil })
			return err
		},
		"transaction fails": func(ctx context.Context, cancel func()) error {
			_, err := workflow.DoTx(ctx, "step", func(context.Context, *sql.Tx) (int, error) { cancel(); return 0, declined })
			return err
		},
		"sleep": func(ctx context.Context, cancel func()) error { cancel(); return workflow.Sleep(ctx, "step", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			elsewhere, got := b.service(), make(chan error, 1)
			w := workflow.Define("lost", func(ctx context.Context, _ int) (int, error) {
				err := step(ctx, func() { kit.Must(t, elsewhere.Cancel(context.Background(), workflow.RunID(ctx))) })
				got <- err
				return 0, err
			})
			b.svc.Register(w)
			kit.Work(t, b.svc)
			_, err := w.Start(t.Context(), b.svc, 0)
			kit.Must(t, err)
			err = kit.Receive(t, "the step's error", got)
			kit.WantIs(t, err, workflow.ErrInterrupted)
			kit.WantIs(t, err, workflow.ErrRunLost)
		})
	}
}
