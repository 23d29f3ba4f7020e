package workflow_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
	"github.com/sqlworkflow/workflow/internal/pgtest"
)

// A run of ten steps is twelve round trips on lib/pq as it comes: a start, ten records and an end. In transactions it is 48.
func TestRoundTripsOfARunOnPQ(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	kit.Exec(t, database.Open(t, pgtest.PGX), `DO $$ BEGIN
		EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = "read committed"', current_database()); END $$`)
	connector, err := pq.NewConnector(database.AccessURL(t, pgtest.PQ))
	kit.Must(t, err)
	wires := new(kit.Wires)
	connector.Dialer(wires)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { kit.Must(t, db.Close()) })
	svc, err := workflow.New(workflow.Config{DB: db, PollInterval: time.Hour, Lease: time.Hour})
	kit.Must(t, err)
	w := workflow.Define("w", func(ctx context.Context, _ int) (int, error) {
		for range 10 {
			if _, err := workflow.Do(ctx, "s", func(context.Context) (int, error) { return 1, nil }); err != nil {
				return 0, err
			}
		}
		return 1, nil
	})
	svc.Register(w)
	kit.Work(t, svc)
	took := int64(1000)
	kit.Until(t, "connections know their statements, and nothing else is sent", func() bool {
		wires.Sent()
		handle, err := w.Start(t.Context(), svc, 1)
		kit.Must(t, err)
		_, err = handle.Result(kit.Context(t))
		kit.Must(t, err)
		took = min(took, wires.Sent())
		return took <= 12
	})
	if took != 12 {
		t.Errorf("a run took %d round trips, want 12", took)
	}
}
