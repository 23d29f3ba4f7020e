package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// A run is cancelled and resumed elsewhere, and this process claims it again before its heartbeat could tell it of the
// loss. The execution under the older epoch has to be stopped all the same, not only refused.
func TestRunThatComesBackStopsItsOlderExecution(t *testing.T) {
	t.Parallel()
	f := setup(t)
	worker := f.service(f.db, func(c *workflow.Config) { c.Lease, c.Drain = 12*time.Second, time.Second }) // a heartbeat every 2 s
	ended := make(chan error, 1)
	inside := make(chan struct{}, 2)
	first := true
	again := workflow.Define("again", func(ctx context.Context, n int) (int, error) {
		return workflow.Do(ctx, "hold", func(ctx context.Context) (int, error) {
			mine := first // executions follow each other here
			first = false
			inside <- struct{}{}
			if mine {
				<-ctx.Done()
				ended <- context.Cause(ctx)
			}
			return n, nil
		})
	})
	worker.Register(again)
	kit.Work(t, worker)
	elsewhere := f.service(f.db, nil)
	handle, err := again.Start(t.Context(), elsewhere, 7)
	kit.Must(t, err)
	kit.Receive(t, "the run is inside its step", inside)

	kit.Must(t, elsewhere.Cancel(t.Context(), handle.RunID()))
	kit.Must(t, elsewhere.Resume(t.Context(), handle.RunID()))
	kit.Receive(t, "the run is inside its step again", inside)
	select {
	case cause := <-ended:
		if !errors.Is(cause, workflow.ErrRunLost) {
			t.Errorf("the older execution ended with %v, want ErrRunLost", cause)
		}
	case <-time.After(5 * time.Second):
		t.Error("the older execution goes on after two heartbeats")
	}
	if got, err := handle.Result(kit.Context(t)); err != nil || got != 7 {
		t.Errorf("result %d, %v", got, err)
	}
}

// A claim is still under way on the server when its worker has gone: a commit that waits for a standby, for example,
// outlives its client. The run then belongs to a worker that will never be heard of again, and must be taken over.
func TestClaimThatOutlivesItsWorker(t *testing.T) {
	t.Parallel()
	f := setup(t)
	// The server is slow to end a claim, and deaf to its cancellation, once.
	f.exec(`CREATE TABLE slow (claims INT); INSERT INTO slow VALUES (0);
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('claims') = 1 THEN
				BEGIN PERFORM pg_sleep(2); EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(2); END;
			END IF;
			RETURN NEW;
		END $$;
		CREATE SEQUENCE claims;
		CREATE TRIGGER slow BEFORE UPDATE ON workflows.workflow_runs FOR EACH ROW
			WHEN (NEW.owner IS NOT NULL AND OLD.owner IS NULL) EXECUTE FUNCTION slow()`)
	w := workflow.Define("late", func(_ context.Context, n int) (int, error) { return n, nil })
	gone := f.service(f.db, nil)
	gone.Register(w)
	handle, err := w.Start(t.Context(), gone, 7)
	kit.Must(t, err)
	stop := kit.Work(t, gone)
	kit.Until(t, "the claim is under way", func() bool {
		return kit.One[bool](t, f.db, "SELECT is_called FROM claims")
	})
	stop()

	other := f.service(f.db, nil)
	other.Register(w)
	kit.Work(t, other)
	if got, err := handle.Result(kit.Within(t, 10*lease)); err != nil || got != 7 {
		t.Errorf("result %d, %v; the run: %v", got, err, f.lines(
			"SELECT status || ' ' || coalesce(owner, '-') || ' ' || (SELECT count(*) FROM workflows.workflow_workers WHERE id = owner) FROM workflows.workflow_runs"))
	}
}
