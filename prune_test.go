package workflow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// aged inserts a run that was created and ended, or changed last, so many days ago, with a step and a signal.
func (b *bench) aged(id, parent, name string, status workflow.RunStatus, created, ended int) {
	b.t.Helper()
	kit.Exec(b.t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at, parent_id)
		SELECT $1, $2, $3, '1', now.ms - $4 * 86400000::bigint, now.ms - $5 * 86400000::bigint, nullif($6, '')
		FROM (SELECT (extract(epoch FROM now()) * 1000)::bigint) AS now (ms)`, id, name, string(status), created, ended, parent)
	kit.Exec(b.t, b.db, `
		INSERT INTO workflows.workflow_steps (run_id, step_name, status, updated_at) VALUES ($1, 's', 'succeeded', 1)`, id)
	kit.Exec(b.t, b.db, `
		INSERT INTO workflows.workflow_signals (seq, sent_at, run_id, name, payload) VALUES (1, 1, $1, 'n', '1')`, id)
}

// aDozen are runs of all kinds; what goes after thirty days says so.
func (b *bench) aDozen() {
	for _, run := range []struct {
		id, parent, name string
		status           workflow.RunStatus
		created, ended   int
	}{
		{"goes: completed", "", "w", workflow.RunCompleted, 40, 31},
		{"goes: failed", "", "w", workflow.RunFailed, 31, 31},
		{"goes: cancelled, of another workflow", "", "other", workflow.RunCancelled, 40, 31},
		{"goes: child of one that goes", "goes: completed", "w", workflow.RunCompleted, 32, 31},
		{"goes: child of one that was deleted", "nobody", "w", workflow.RunCompleted, 32, 31},
		{"stays: ended lately", "", "w", workflow.RunCompleted, 40, 29},
		{"stays: new", "", "w", workflow.RunCompleted, 1, 1},
		{"stays: waits", "", "w", workflow.RunSuspended, 40, 40},
		{"stays: pending", "", "w", workflow.RunPending, 40, 40},
		{"stays: running", "", "w", workflow.RunRunning, 40, 40},
		{"stays: child of one that waits", "stays: waits", "w", workflow.RunFailed, 39, 31},
		{"stays: has an unfinished child", "", "w", workflow.RunCompleted, 40, 31},
		{"stays: unfinished child", "stays: has an unfinished child", "w", workflow.RunSuspended, 39, 39},
	} {
		b.aged(run.id, run.parent, run.name, run.status, run.created, run.ended)
	}
}

func (b *bench) left() []string {
	b.t.Helper()
	return kit.Column[string](b.t, b.db, `SELECT id FROM workflows.workflow_runs ORDER BY id COLLATE "C"`)
}

var stay = []string{
	"stays: child of one that waits", "stays: ended lately", "stays: has an unfinished child", "stays: new", "stays: pending",
	"stays: running", "stays: unfinished child", "stays: waits",
}

// What goes, in batches, and what stays; a dry run counts the same and deletes nothing.
func TestPrune(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		b.aDozen()
		var progress []int64
		old := workflow.Prune{
			Before: time.Now().Add(-30 * 24 * time.Hour), Batch: 2, DryRun: true,
			Progress: func(done workflow.Pruned) { progress = append(progress, done.Runs) },
		}
		for _, dry := range []bool{true, false} {
			old.DryRun, progress = dry, nil
			done, err := b.svc.Prune(t.Context(), old)
			kit.Must(t, err)
			if done.Runs != 5 || done.Looked != 12 || len(progress) < 6 || progress[len(progress)-1] != 5 {
				t.Errorf("dry %t: %+v, %v", dry, done, progress)
			}
			if left := b.left(); dry && len(left) != 13 {
				t.Errorf("a dry run has left %q", left)
			}
		}
		if diff := cmp.Diff(stay, b.left()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, table := range []string{"workflow_steps", "workflow_signals"} {
			if n := kit.One[int](t, b.db, "SELECT count(*) FROM workflows."+table); n != len(stay) {
				t.Errorf("%d rows in %s, want %d", n, table, len(stay))
			}
		}
	})
}

// Only some workflow's, only some statuses.
func TestPruneSome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.aDozen()
	done, err := b.svc.Prune(t.Context(), workflow.Prune{
		Before: time.Now().Add(-30 * 24 * time.Hour), Workflow: "w", Statuses: []workflow.RunStatus{workflow.RunCancelled, workflow.RunFailed},
	})
	kit.Must(t, err)
	if left := b.left(); done.Runs != 1 || len(left) != 12 {
		t.Errorf("%+v, left %q", done, left)
	}
}

// What is to be kept is kept in the transaction that deletes: both, or neither.
func TestPruneArchives(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.aDozen()
	kit.Exec(t, b.db, `CREATE TABLE archive (id TEXT PRIMARY KEY, steps INT)`)
	full := errors.New("the archive is full")
	room := 2
	old := workflow.Prune{Before: time.Now().Add(-30 * 24 * time.Hour), Batch: 1}
	old.Archive = func(ctx context.Context, tx *sql.Tx, runIDs []string) error {
		for _, id := range runIDs {
			steps, err := b.svc.In(tx).ListSteps(ctx, id)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO archive VALUES ($1, $2)`, id, len(steps)); err != nil {
				return err
			}
		}
		if room--; room < 0 {
			return full
		}
		return nil
	}
	done, err := b.svc.Prune(t.Context(), old)
	if kit.WantIs(t, err, full); done.Runs != 2 {
		t.Errorf("%+v, want two runs", done)
	}
	room = 10
	_, err = b.svc.Prune(t.Context(), old)
	kit.Must(t, err)
	archived := kit.Column[string](t, b.db, `SELECT id || ' ' || steps FROM archive ORDER BY id COLLATE "C"`)
	want := []string{
		"goes: cancelled, of another workflow 1", "goes: child of one that goes 1", "goes: child of one that was deleted 1",
		"goes: completed 1", "goes: failed 1",
	}
	if diff := cmp.Diff(want, archived); diff != "" {
		t.Errorf("archived (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(stay, b.left()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// Several prune at once, while somebody holds a run: each other goes once, and nobody waits.
func TestPruneTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kit.Exec(t, b.db, `
		INSERT INTO workflows.workflow_runs (id, workflow, status, input, created_at, updated_at)
		SELECT 'run' || n, 'w', 'completed', '1', n, n FROM generate_series(1, 500) AS n`)
	tx := kit.Begin(t, b.db)
	kit.Exec(t, tx, `SELECT FROM workflows.workflow_runs WHERE id = 'run250' FOR SHARE`)
	runs := make(chan int64, 4)
	for _, err := range kit.Together(4, func(int) error {
		done, err := b.svc.Prune(context.Background(), workflow.Prune{Before: time.Now().Add(-time.Hour), Batch: 20})
		runs <- done.Runs
		return err
	}) {
		kit.Must(t, err)
	}
	total := <-runs + <-runs + <-runs + <-runs
	if left := b.left(); total != 499 || fmt.Sprint(left) != "[run250]" {
		t.Errorf("%d were deleted, left %q", total, left)
	}
}

// A worker keeps finished runs for as long as it is told.
func TestRetention(t *testing.T) {
	t.Parallel()
	b := mortal(t)
	b.aDozen()
	svc := b.service(func(c *workflow.Config) { c.Retention = 30 * 24 * time.Hour })
	svc.Register(workflow.Define("idle", func(_ context.Context, n int) (int, error) { return n, nil }))
	kit.Work(t, svc)
	kit.Until(t, "what is old is gone", func() bool { return cmp.Equal(stay, b.left()) })
}

func TestPruneIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.aDozen()
	for _, prune := range []workflow.Prune{
		{}, {Before: time.Now(), Batch: -1}, {Before: time.Now(), Batch: 10_001},
		{Before: time.Now(), Statuses: []workflow.RunStatus{workflow.RunPending}}, {Before: time.Now(), Workflow: "\x00"},
	} {
		_, err := b.svc.Prune(t.Context(), prune)
		kit.WantIs(t, err, workflow.ErrInvalidArgument)
	}
	if left := b.left(); len(left) != 13 {
		t.Errorf("left %q", left)
	}
}
