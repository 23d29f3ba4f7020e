package fleet_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/sqlworkflow/workflow"
	"github.com/sqlworkflow/workflow/internal/kit"
)

// order is one workflow in two releases that do not know each other's steps: the new one screens an order before it charges,
// and calls that by another name. The naps park a run, so that any process goes on with it.
func order(db *sql.DB, release string) *workflow.Workflow[int, int] {
	const nap = 500 * time.Millisecond
	return workflow.Define("order", func(ctx context.Context, n int) (int, error) {
		s, err := arrive(ctx, db)
		if err != nil {
			return 0, err
		}
		plain := func(name string) func() error {
			return func() error { _, err := s.plain(ctx, "", name, n, 0); return err }
		}
		sleep := func(name string) func() error {
			return func() error { return workflow.Sleep(ctx, name, nap) }
		}
		pack := func() error { _, err := s.tx(ctx, "", "pack", n, 0); return err }
		steps := map[string][]func() error{
			"old": {plain("reserve"), plain("charge"), sleep("nap"), pack, sleep("night"), plain("mail")},
			"new": {plain("reserve"), plain("screen"), plain("charge card"), sleep("nap"), pack, sleep("night"), plain("mail")},
		}
		for _, step := range steps[release] {
			if err := step(); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
}

// blockedNow ends the waits of blocked runs at once, to save the waiting. It is no change of theirs, and not in their history.
const blockedNow = `
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE workflows.workflow_runs SET run_at = updated_at WHERE status = 'suspended' AND error IS NOT NULL;
COMMIT`

// Two releases work side by side through a rolling deploy and a rollback, each on runs that the other has begun: no run
// fails, none takes effect twice, and each is finished by the release that fits.
func TestRollingDeployAndRollback(t *testing.T) {
	t.Parallel()
	f := setup(t)
	runs := sized(20, 40, 200)
	const patience = 10 * time.Second // nobody dies here, and a step in flight at a lost lease would run again
	svc := f.service(f.db, nil)
	var handles []*workflow.Handle[int]
	blocked := 0
	phases := [][]string{{"old", "old"}, {"old", "new"}, {"new", "new"}, {"new", "old"}, {"old", "old"}}
	for _, releases := range phases {
		var processes []*process
		for _, release := range releases {
			processes = append(processes, f.spawn(job{Does: "order, " + release, Lease: patience}))
		}
		for range runs / len(phases) {
			n := len(handles)
			handle, err := order(nil, "").Start(t.Context(), svc, n, workflow.WithRunID(runID(n)))
			kit.Must(t, err)
			handles = append(handles, handle)
			kit.Pause(t.Context(), 1200*time.Millisecond*time.Duration(len(phases))/time.Duration(runs))
		}
		blocked += f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status = 'suspended' AND error IS NOT NULL")
		for _, p := range processes {
			p.Terminate()
		}
	}
	if blocked == 0 {
		t.Error("no run was blocked at the end of a phase: the test shows nothing")
	}
	// Each release alone finishes what it has begun.
	for release, left := range map[string]string{
		"old": "EXISTS (SELECT FROM workflows.workflow_steps WHERE run_id = id AND step_name = 'charge')",
		"new": "NOT EXISTS (SELECT FROM workflows.workflow_steps WHERE run_id = id AND step_name = 'charge')",
	} {
		f.exec(blockedNow)
		p := f.spawn(job{Does: "order, " + release, Lease: patience})
		kit.Until(t, "the runs of the release are finished: "+release, func() bool {
			return f.count("SELECT count(*) FROM workflows.workflow_runs WHERE status NOT IN ('completed', 'failed') AND "+left) == 0
		})
		p.Terminate()
	}
	ctx := kit.Context(t)
	for n, handle := range handles {
		if got, err := handle.Result(ctx); err != nil || got != n {
			t.Errorf("run %d: %d, %v\n\t%s", n, got, err, f.story(handle.RunID()))
		}
	}
	if twice := f.lines(`
		SELECT run_id || ' ' || what || ': ' || count(*)
		FROM (SELECT run_id, CASE step WHEN 'charge card' THEN 'charge' ELSE step END AS what FROM effects) AS effect
		GROUP BY run_id, what HAVING count(*) > 1`); len(twice) > 0 {
		t.Errorf("%d effects twice: %s\n\t%s", len(twice), twice[0], f.story(twice[0][:36]))
	}
	f.verify()
	t.Logf("%d runs, %d found blocked at the ends of phases", len(handles), blocked)
}
