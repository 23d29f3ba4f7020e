package fleet_test

import "strings"

// tables are those of the tests. Numbers of history, executions and effects come from one sequence: they tell what was
// first, and for changes of one run, which lock its row, also what committed first.
const tables = `
CREATE SEQUENCE clock;

-- A row for each time that a workflow's function is called.
CREATE TABLE executions (
    n BIGINT NOT NULL DEFAULT nextval('clock'), run_id TEXT NOT NULL, execution TEXT NOT NULL
);

-- A row for each time that a step is executed to its end.
CREATE TABLE effects (
    n BIGINT NOT NULL DEFAULT nextval('clock'), run_id TEXT NOT NULL, step TEXT NOT NULL, attempt INT NOT NULL,
    execution TEXT NOT NULL, kind TEXT NOT NULL,
    recorded BOOLEAN NOT NULL -- the step had succeeded before
);

CREATE TABLE history (
    n BIGINT NOT NULL DEFAULT nextval('clock'), run_id TEXT NOT NULL, step TEXT, was TEXT, is_now TEXT NOT NULL,
    epoch BIGINT, epoch_was BIGINT, owner TEXT, owner_was TEXT, run_status TEXT, changed TEXT
);

-- What comes for a run raises its wake_seq, which changes nothing that is kept here.
CREATE FUNCTION keep_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.status, NEW.epoch, NEW.owner) IS NOT DISTINCT FROM (OLD.status, OLD.epoch, OLD.owner) THEN
        RETURN NULL;
    END IF;
    INSERT INTO history (run_id, was, is_now, epoch, epoch_was, owner, owner_was)
    VALUES (NEW.id, OLD.status, NEW.status, NEW.epoch, OLD.epoch, NEW.owner, OLD.owner);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_run AFTER INSERT OR UPDATE ON workflows.workflow_runs FOR EACH ROW EXECUTE FUNCTION keep_run();

-- The end of a run counts down at the step that waits for it.
CREATE FUNCTION keep_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.status = OLD.status AND NEW.waiting IS DISTINCT FROM OLD.waiting THEN
        RETURN NULL;
    END IF;
    INSERT INTO history (run_id, step, was, is_now, run_status, epoch)
    SELECT NEW.run_id, NEW.step_name, CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status, run.status, run.epoch
    FROM workflows.workflow_runs AS run
    WHERE run.id = NEW.run_id;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_step AFTER INSERT OR UPDATE ON workflows.workflow_steps FOR EACH ROW EXECUTE FUNCTION keep_step();`

// promises are queries for what must never be; each names a promise that a row of its result breaks.
var promises = map[string]string{
	"a terminal status is final but for Resume": `
		SELECT run_id || ' ' || was || ' > ' || is_now FROM history
		WHERE step IS NULL AND was IN ('completed', 'failed', 'cancelled') AND (was = 'completed' OR is_now <> 'pending')`,
	"only allowed transitions": `
		SELECT run_id || ' ' || was || ' > ' || is_now FROM history
		WHERE step IS NULL AND was || ' ' || is_now NOT IN (
			'pending running', 'suspended running', 'running pending', 'running suspended', 'running completed',
			'running failed', 'pending cancelled', 'running cancelled', 'suspended cancelled', 'failed pending', 'cancelled pending')`,
	"the epoch rises whenever a run changes hands": `
		SELECT run_id || ' ' || was || ' > ' || is_now || ' at ' || epoch FROM history
		WHERE step IS NULL AND (epoch < epoch_was
			OR epoch = epoch_was AND owner IS DISTINCT FROM owner_was AND is_now NOT IN ('completed', 'failed'))`,
	"an owned run is not claimed": `
		SELECT run_id FROM history WHERE step IS NULL AND owner IS NOT NULL AND owner_was IS NOT NULL`,
	"steps are written while their run is running": `
		SELECT run_id || ' ' || step || ' while ' || run_status FROM history
		WHERE step IS NOT NULL AND run_status <> 'running' AND NOT (is_now = 'pending' AND run_status IN ('failed', 'cancelled', 'pending'))`,
	"no step is written between a cancel and a resume": `
		SELECT s.run_id || ' ' || s.step FROM history AS s
		CROSS JOIN LATERAL (
			SELECT is_now FROM history WHERE run_id = s.run_id AND step IS NULL AND n < s.n ORDER BY n DESC LIMIT 1
		) AS before
		WHERE s.step IS NOT NULL AND before.is_now IN ('cancelled', 'completed') AND s.is_now <> 'pending'`,
	"a succeeded step is final": `
		SELECT run_id || ' ' || step FROM history WHERE step IS NOT NULL AND was = 'succeeded'`,
	"a function is called at most once a claim": `
		SELECT e.run_id || ' ' || e.executions || ' executions ' || h.claims || ' claims'
		FROM (SELECT run_id, count(*) AS executions FROM executions GROUP BY run_id) AS e
		JOIN (SELECT run_id, count(*) FILTER (WHERE is_now = 'running') AS claims FROM history WHERE step IS NULL GROUP BY run_id) AS h
			ON h.run_id = e.run_id
		WHERE e.executions > h.claims`,
	"a transactional step takes effect exactly once": `
		SELECT run_id || ' ' || step || ': ' || count(*) FROM effects WHERE kind = 'tx' GROUP BY run_id, step HAVING count(*) > 1
		UNION ALL
		SELECT s.run_id || ' ' || s.step_name || ': without effect' FROM workflows.workflow_steps AS s
		WHERE s.kind = 'tx' AND s.status = 'succeeded'
			AND NOT EXISTS (SELECT FROM effects AS e WHERE e.run_id = s.run_id AND e.step = s.step_name)
		UNION ALL
		SELECT e.run_id || ' ' || e.step || ': without record' FROM effects AS e
		WHERE e.kind = 'tx' AND NOT EXISTS (
			SELECT FROM workflows.workflow_steps AS s
			WHERE s.run_id = e.run_id AND s.step_name = e.step AND s.status = 'succeeded')`,
	"a recorded plain step has taken effect": `
		SELECT s.run_id || ' ' || s.step_name FROM workflows.workflow_steps AS s
		WHERE s.kind IS NULL AND s.status = 'succeeded'
			AND EXISTS (SELECT FROM executions AS e WHERE e.run_id = s.run_id) -- it is one that writes its effects
			AND NOT EXISTS (SELECT FROM effects AS e WHERE e.run_id = s.run_id AND e.step = s.step_name)`,
	// But by an execution that has lost the run meanwhile and does not know. One that owns the run commits a
	// transactional step later.
	"a recorded step is not executed again": `
		SELECT again.run_id || ' ' || again.step FROM effects AS again
		WHERE again.recorded AND EXISTS (
			SELECT FROM effects AS later
			WHERE later.execution = again.execution AND later.kind = 'tx' AND later.n > again.n)`,
	"nobody owns a run without a lease": `
		SELECT run.id || ' ' || run.owner FROM workflows.workflow_runs AS run
		WHERE run.owner IS NOT NULL AND NOT EXISTS (SELECT FROM workflows.workflow_workers WHERE id = run.owner)`,
}

// indexes are made when all has happened: the queries look for a run's rows among some hundred thousand.
const indexes = `
CREATE INDEX ON executions (run_id);
CREATE INDEX ON effects (run_id, step);
CREATE INDEX ON effects (execution, n);
CREATE INDEX ON history (run_id, n);
ANALYZE executions, effects, history, workflows.workflow_runs, workflows.workflow_steps;`

// verify compares what has happened with the promises.
func (f *fleet) verify() {
	f.t.Helper()
	f.exec(indexes)
	for promise, query := range promises {
		if broken := f.lines(query); len(broken) > 0 {
			f.t.Errorf("%s: broken %d times:\n\t%s", promise, len(broken), strings.Join(broken[:min(len(broken), 5)], "\n\t"))
		}
	}
}

// story returns the history of a run, for the message of a test that fails.
func (f *fleet) story(runID string) string {
	return strings.Join(f.lines(`
		SELECT n || ' ' || line FROM (
			SELECT n, concat_ws(' ', step, was, '>', is_now, 'epoch', epoch, owner) AS line FROM history WHERE run_id = $1
			UNION ALL SELECT n, 'execution ' || execution FROM executions WHERE run_id = $1
			UNION ALL SELECT n, 'effect of ' || step || ' by ' || execution FROM effects WHERE run_id = $1
		) AS story
		ORDER BY n`, runID), "\n\t")
}
