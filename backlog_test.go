package workflow_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// Runs of an old backlog that all have one time, as those of a dead worker or of one INSERT have, are claimed as soon as there
// are slots: polls do not leave those behind that the first claim had no slot for.
func TestBacklogOfOneTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const runs = 200
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
		SELECT 'run ' || n, 'w', 'pending', '1', 1, 1, 1000 FROM generate_series(1, $1::int) AS n`, runs)
	b.slowFirstLook()
	svc := b.service(func(c *workflow.Config) { c.Concurrency = 5 })
	svc.Register(workflow.Define("w", func(context.Context, int) (int, error) { return 0, nil }))
	began := time.Now()
	kit.Work(t, svc)
	kit.Until(t, "all runs have completed", func() bool {
		return kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed'") == runs
	})
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Suspects are executed one after another, and not one in each full look; what is behind more of them than a claim takes is not
// kept waiting either.
func TestBacklogOfSuspects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at, take_overs, epoch)
		SELECT 'run ' || n, 'w', 'pending', '1', 1, 1, 1000 + n, CASE WHEN n <= 5 THEN 2 ELSE 0 END, 3
		FROM generate_series(1, 8) AS n`)
	b.slowFirstLook()
	svc := b.service(func(c *workflow.Config) { c.Concurrency = 4 })
	svc.Register(workflow.Define("w", func(context.Context, int) (int, error) { return 0, nil }))
	began := time.Now()
	kit.Work(t, svc)
	kit.Until(t, "all runs have completed", func() bool {
		return kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed'") == 8
	})
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Runs that somebody had locked when the marks passed them are found by a full look, all of them and not a batch in each: the next full
// look may be minutes away.
func TestBacklogBehindTheMarks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const left = 130 // more than two claims bring
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, run_at)
		SELECT CASE WHEN n <= $1::int THEN 'left ' ELSE 'other ' END || n, 'w', 'suspended', '1', 1, 1, 1000 + n
		FROM generate_series(1, $1::int + 20) AS n`, left)
	b.slowClaims("OLD.id LIKE 'left %'", 10*time.Millisecond)
	svc := b.service(func(c *workflow.Config) { c.Concurrency = 50 })
	svc.Register(workflow.Define("w", func(context.Context, int) (int, error) { return 0, nil }))
	completed := func() int {
		return kit.One[int](t, b.db, "SELECT count(*) FROM workflows.workflow_runs WHERE status = 'completed'")
	}
	others := kit.Begin(t, b.db, sql.LevelReadCommitted)
	kit.Exec(t, others, "SELECT FROM workflows.workflow_runs WHERE id LIKE 'left %' FOR NO KEY UPDATE")
	kit.Work(t, svc)
	kit.Until(t, "the others have completed", func() bool { return completed() == 20 })
	kit.Must(t, others.Rollback())
	began := time.Now()
	kit.Until(t, "all runs have completed", func() bool { return completed() == left+20 })
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("it took %s", took)
	}
}

// slowFirstLook makes the first claim slow, so that the next full look is minutes away: polls have to find what waits.
func (b *bench) slowFirstLook() {
	b.t.Helper()
	b.slowClaims("NOT EXISTS (SELECT FROM workflows.workflow_runs WHERE status = 'completed')", 600*time.Millisecond)
}

// slowClaims makes claims slow of runs of which something holds. Under SERIALIZABLE so slow a claim would conflict with one heartbeat after
// the other, so it is not the default here.
func (b *bench) slowClaims(when string, by time.Duration) {
	b.t.Helper()
	kit.Exec(b.t, b.db, `
		DO $$ BEGIN
		    EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''read committed''', current_database());
		END $$`)
	b.db.SetMaxIdleConns(0) // connections from before have the old default
	b.db.SetMaxIdleConns(2)
	kit.Exec(b.t, b.db, fmt.Sprintf(`
		CREATE FUNCTION slow_claim() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		    IF %s THEN
		        PERFORM pg_sleep(%f);
		    END IF;
		    RETURN NEW;
		END $$`, when, by.Seconds()))
	kit.Exec(b.t, b.db, `
		CREATE TRIGGER slow_claim BEFORE UPDATE ON workflows.workflow_runs
		FOR EACH ROW WHEN (NEW.owner IS NOT NULL) EXECUTE FUNCTION slow_claim()`)
}
