package engine_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sqlworkflow/workflow/internal/kit"
)

// What the database remembers of a test: every change of every row, in the order of the locks that were held for it, and
// who made it. Each process has its name as application_name.
const remember = `
	CREATE TABLE orders (run_id TEXT PRIMARY KEY);
	CREATE TABLE booked (run_id TEXT NOT NULL, step TEXT NOT NULL);

	CREATE TABLE history (
	    seq BIGSERIAL, writer TEXT NOT NULL DEFAULT current_setting('application_name'),
	    run_id TEXT, step TEXT, was TEXT, now TEXT, epoch_was BIGINT, epoch BIGINT, owner_was TEXT, owner TEXT, owner_lives BOOL
	);
	CREATE TABLE registered (worker TEXT PRIMARY KEY, writer TEXT NOT NULL DEFAULT current_setting('application_name'));

	CREATE FUNCTION remember_worker() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
	    INSERT INTO registered (worker) VALUES (NEW.id);
	    RETURN NULL;
	END $$;
	CREATE TRIGGER remember AFTER INSERT ON workflows.workflow_workers FOR EACH ROW EXECUTE FUNCTION remember_worker();

	-- What comes for a run raises its wake_seq, whoever owns it.
	CREATE FUNCTION remember_run() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
	    IF (NEW.status, NEW.epoch, NEW.owner) IS NOT DISTINCT FROM (OLD.status, OLD.epoch, OLD.owner) THEN
	        RETURN NULL;
	    END IF;
	    INSERT INTO history (run_id, was, now, epoch_was, epoch, owner_was, owner, owner_lives)
	    VALUES (NEW.id, OLD.status, NEW.status, OLD.epoch, NEW.epoch, OLD.owner, NEW.owner, EXISTS (
	        SELECT FROM workflows.workflow_workers WHERE id = OLD.owner AND expires_at > extract(epoch FROM now()) * 1000));
	    RETURN NULL;
	END $$;
	CREATE TRIGGER remember AFTER UPDATE ON workflows.workflow_runs FOR EACH ROW EXECUTE FUNCTION remember_run();

	-- The end of a run counts down at the step that waits for it, whoever owns that one's run.
	CREATE FUNCTION remember_step() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
	    IF TG_OP = 'UPDATE' AND NEW.status = OLD.status AND NEW.waiting IS DISTINCT FROM OLD.waiting THEN
	        RETURN NULL;
	    END IF;
	    INSERT INTO history (run_id, step, was, now, epoch, owner)
	    SELECT NEW.run_id, NEW.step_name, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status, run.epoch, run.owner
	    FROM workflows.workflow_runs AS run WHERE run.id = NEW.run_id;
	    RETURN NULL;
	END $$;
	CREATE TRIGGER remember AFTER INSERT OR UPDATE ON workflows.workflow_steps FOR EACH ROW EXECUTE FUNCTION remember_step();`

// checkHistory asks of everything that ever happened to a run what must hold at each moment.
func checkHistory(t *testing.T, db *sql.DB, runID string) {
	t.Helper()
	for promise, violations := range map[string]string{
		"2, a succeeded step never runs again: it was written again": `
			SELECT * FROM history WHERE run_id = $1 AND step IS NOT NULL AND was = 'succeeded'`,
		"5, a terminal status is final: it changed": `
			SELECT * FROM history WHERE run_id = $1 AND step IS NULL AND was IN ('completed', 'failed', 'cancelled')`,
		"6, one owner at a time: a change of hands did not raise the epoch": `
			SELECT * FROM history WHERE run_id = $1 AND step IS NULL
			AND (epoch < epoch_was OR owner IS DISTINCT FROM owner_was AND epoch = epoch_was AND now <> 'completed' AND now <> 'failed')`,
		"6, one owner at a time: a step was written by another process than the owner": `
			SELECT * FROM history LEFT JOIN registered ON registered.worker = owner
			WHERE run_id = $1 AND step IS NOT NULL AND history.writer IS DISTINCT FROM registered.writer`,
		"6, one owner at a time: a run was taken from a worker that lives": `
			SELECT * FROM history LEFT JOIN registered ON registered.worker = owner_was
			WHERE run_id = $1 AND step IS NULL AND owner_was IS NOT NULL AND owner_lives
			  AND history.writer IS DISTINCT FROM registered.writer`,
	} {
		for _, row := range kit.Column[string](t, db, "SELECT to_jsonb(v)::text FROM ("+violations+") AS v", runID) {
			t.Errorf("promise %s: %s", promise, row)
		}
	}
}

// rowsOf are a run and its steps without what differs from one run to the next: ids, times, epochs.
type rowsOf struct {
	Run   map[string]any   `json:"run"`
	Steps []map[string]any `json:"steps"`
	Order int              `json:"order"`
	Books []string         `json:"books"`
}

// read takes all in one statement, so that it is one moment.
// read leaves out what may differ: times, ids, and how often the run was woken, which is once more when that was not acknowledged.
func read(t *testing.T, db *sql.DB, runID string) rowsOf {
	t.Helper()
	var text []byte
	kit.Must(t, db.QueryRow(`
		SELECT jsonb_build_object(
		    'run', (SELECT to_jsonb(run) - '{id,workflow,queue,epoch,created_at,updated_at,take_overs,progress_at,wake_seq}'::text[]
		            FROM workflows.workflow_runs AS run WHERE id = $1),
		    'steps', (SELECT jsonb_agg(to_jsonb(step) - '{run_id,updated_at,started_at,wake_at,child_id}'::text[]
		                  - CASE WHEN EXISTS (SELECT FROM workflows.workflow_steps WHERE run_id = $1 AND step_name LIKE '%/%')
		                         THEN 'seq' ELSE '' END
		                  - CASE WHEN kind = 'call' THEN 'result' ELSE '' END -- it has the ids of runs
		                  ORDER BY step_name)
		              FROM workflows.workflow_steps AS step WHERE run_id = $1),
		    'order', (SELECT count(*) FROM orders WHERE run_id = $1),
		    'books', (SELECT jsonb_agg(step ORDER BY step) FROM booked WHERE run_id = $1))`, runID).Scan(&text))
	var r rowsOf
	kit.Must(t, json.Unmarshal(text, &r))
	for _, step := range r.Steps {
		attempts, _ := step["attempts"].(map[string]any)
		failures, _ := attempts["failures"].([]any)
		for _, failure := range failures {
			delete(failure.(map[string]any), "at")
		}
	}
	return r
}

// withoutAttempts forgets the failed attempts: a transactional step whose connection is lost has one more.
func (r rowsOf) withoutAttempts() rowsOf {
	steps := slices.Clone(r.Steps)
	for i, step := range steps {
		steps[i] = maps.Clone(step)
		delete(steps[i], "attempts")
	}
	r.Steps = steps
	return r
}

// recorded reports whether an attempt of a step is: succeeded, or one that failed.
func (r rowsOf) recorded(e effect) bool {
	for _, step := range r.Steps {
		if step["step_name"] != e.key {
			continue
		}
		attempts, _ := step["attempts"].(map[string]any)
		count, _ := attempts["count"].(float64)
		return step["status"] == "succeeded" || int(count) >= e.attempt
	}
	return false
}

// checkCut compares what the database had at the cut, and what it has in the end, with the uncut run's end and with what
// the processes did.
func checkCut(t *testing.T, s *stage, atCut, end, uncut rowsOf) {
	t.Helper()
	s.ledger.mu.Lock() // steps of the dead process may still be about to find out
	defer s.ledger.mu.Unlock()
	for key := range s.ledger.acked {
		if !atCut.recorded(effect{key, 1 << 30}) {
			t.Errorf("promise 1, acknowledged means durable: step %q was acknowledged and was not recorded", key)
		}
	}
	if s.ledger.started && atCut.Run == nil {
		t.Errorf("promise 1, acknowledged means durable: Start returned and the run was not recorded")
	}
	repeats, takeOvers := 0, s.takeOvers(t)+s.lostLeases()
	for e := range s.ledger.all() {
		first, then := s.ledger.effects[s.first.name][e], s.ledger.effects[secondName][e]
		switch times := first + then; {
		case times > 1+takeOvers:
			t.Errorf("%v took effect %d times before the cut and %d times after it, and the run was taken over %d times",
				e, first, then, takeOvers)
		case then > 0 && atCut.recorded(e):
			t.Errorf("promise 2, a succeeded step never runs again: %v was recorded at the cut and ran after it", e)
		default:
			repeats += times - 1
		}
	}
	if most := s.story.inFlight * takeOvers; repeats > most {
		t.Errorf("%d steps ran again after %d take-overs, at most %d were in flight", repeats, takeOvers, most)
	}
	for e := range s.uncut.all() {
		if s.ledger.effects[s.first.name][e]+s.ledger.effects[secondName][e] == 0 {
			t.Errorf("%v took no effect", e)
		}
	}
	for _, moment := range []rowsOf{atCut, end} {
		if diff := cmp.Diff(moment.succeeded("tx"), moment.Books); diff != "" {
			t.Errorf("promise 3, a transactional step is exactly once: recorded steps and their effects differ "+
				"(-recorded +effects):\n%s", diff)
		}
		if s.story.startTx && moment.Order != 0 != (moment.Run != nil) {
			t.Errorf("promise 4, a run exists if and only if the caller's transaction commits: run %v, order %d",
				moment.Run, moment.Order)
		}
	}
	if diff := cmp.Diff(uncut, end); diff != "" {
		t.Errorf("rows in the end (-uncut +cut):\n%s", diff)
	}
}

// succeeded returns the keys of the steps of a kind that have.
func (r rowsOf) succeeded(kind string) []string {
	var keys []string
	for _, step := range r.Steps {
		if step["kind"] == kind && step["status"] == "succeeded" {
			keys = append(keys, fmt.Sprint(step["step_name"]))
		}
	}
	return keys
}
