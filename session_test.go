package workflow_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Whatever makes a run claimable tells this process's worker, which would not look by itself for an hour: at once on the service,
// when the section's transaction has committed in WithRunLock, and by Wake after the commit of the application's own.
func TestEveryVerbWakesItsWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	svc := b.service(func(c *workflow.Config) { c.PollInterval, c.Lease = time.Hour, time.Hour })
	answer := workflow.Define("answer", func(context.Context, string) (int, error) { return 42, nil })
	svc.Register(answer)
	kit.Work(t, svc)
	inTx := func(t *testing.T, do func(*sql.Tx)) {
		t.Helper()
		tx, err := b.db.Begin()
		kit.Must(t, err)
		do(tx)
		kit.Must(t, tx.Commit())
		svc.Wake()
	}
	create := func(t *testing.T, on workflow.State) string {
		t.Helper()
		id, err := on.CreateRun(t.Context(), answer.Name(), "in")
		kit.Must(t, err)
		return id
	}
	cancelled := func(t *testing.T) string {
		t.Helper()
		handle, err := answer.Start(t.Context(), svc, "in", workflow.WithDelay(time.Hour))
		kit.Must(t, err)
		kit.Must(t, handle.Cancel(t.Context()))
		return handle.RunID()
	}
	for name, makeRun := range map[string]func(*testing.T) string{
		"CreateRun": func(t *testing.T) string { return create(t, svc.State) },
		"CreateRunWithID": func(t *testing.T) string {
			run, err := svc.CreateRunWithID(t.Context(), "chosen", answer.Name(), "in")
			kit.Must(t, err)
			return run.ID
		},
		"Start": func(t *testing.T) string {
			handle, err := answer.Start(t.Context(), svc, "in")
			kit.Must(t, err)
			return handle.RunID()
		},
		"Resume": func(t *testing.T) string {
			id := cancelled(t)
			kit.Must(t, svc.Resume(t.Context(), id))
			return id
		},
		"Start in a transaction": func(t *testing.T) (id string) {
			inTx(t, func(tx *sql.Tx) {
				handle, err := answer.Start(t.Context(), svc.In(tx), "in")
				kit.Must(t, err)
				id = handle.RunID()
			})
			return id
		},
		"Resume in a transaction": func(t *testing.T) string {
			id := cancelled(t)
			inTx(t, func(tx *sql.Tx) { kit.Must(t, svc.In(tx).Resume(t.Context(), id)) })
			return id
		},
		"CreateRun in a section": func(t *testing.T) (id string) {
			locked := cancelled(t)
			kit.Must(t, svc.WithRunLock(t.Context(), locked, func(_ context.Context, _ *sql.Tx, state workflow.State) error {
				id = create(t, state)
				return nil
			}))
			return id
		},
		"Start in a section": func(t *testing.T) (id string) {
			locked := cancelled(t)
			kit.Must(t, svc.WithRunLock(t.Context(), locked, func(ctx context.Context, _ *sql.Tx, state workflow.State) error {
				handle, err := answer.Start(ctx, state, "in")
				kit.Must(t, err)
				id = handle.RunID()
				return nil
			}))
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := answer.Handle(svc, makeRun(t)).Result(kit.Within(t, time.Minute)); err != nil || got != 42 {
				t.Errorf("result %d, %v", got, err)
			}
		})
	}
}
