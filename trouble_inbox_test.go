package workflow_test

import (
	"context"
	"testing"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run whose inbox the database refuses to read, whoever asks, is handed back and left alone for a while: it is not claimed,
// replayed and refused again and again. Once the inbox can be read it goes on.
func TestInboxThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	svc := b.svc
	inside, release := make(chan struct{}), make(chan struct{})
	paid := workflow.DefineSignal[int]("paid")
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
		if _, err := workflow.Do(ctx, "s", func(context.Context) (int, error) {
			close(inside)
			<-release
			return 0, nil
		}); err != nil {
			return 0, err
		}
		return paid.Wait(ctx, 0)
	})
	svc.Register(w)
	kit.Work(t, svc)
	handle, err := w.Start(t.Context(), svc, 1)
	kit.Must(t, err)
	kit.Receive(t, "the run is inside its step", inside)
	kit.Must(t, paid.Send(t.Context(), svc, handle.RunID(), 7))
	kit.Exec(t, b.db, "ALTER TABLE workflows.workflow_signals RENAME COLUMN payload TO elsewhere")
	close(release)

	kit.Until(t, "the run is handed back, for later", func() bool {
		return kit.One[bool](t, b.db, `SELECT status = 'pending' AND run_at > updated_at + 30000 FROM workflows.workflow_runs WHERE id = $1`,
			handle.RunID())
	})
	kit.Exec(t, b.db, `
		ALTER TABLE workflows.workflow_signals RENAME COLUMN elsewhere TO payload;
		UPDATE workflows.workflow_runs SET run_at = 1`)
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
		t.Errorf("the run ended with %d, %v; want 7", got, err)
	}
}
