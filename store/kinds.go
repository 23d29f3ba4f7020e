package store

import (
	"strconv"
	"strings"

	"github.com/sqlworkflow/workflow/internal/pg"
)

// A kind of write. Each is defined once, and sent in two ways: alone, its row given as parameters, and with others, the
// rows of each kind given as arrays.
type kind struct {
	name    string // of the statement that writes one row
	op      string // in errors
	given   string // names the rows
	fields  string // of a row, with their types, in the order of Write.row
	written string // names what was written
	write   string // writes the rows. Its guard skips a run that others have locked
	exists  string // what a row that is written alone does when it exists; among others that is an error
	key     string // columns that tell rows apart, of what is given and of what was written
	missed  string // tells why a row was not written; run is the run's row as the statement found it
	runID   string // the given column that names the run
}

// The kinds of writes, in the order in which a statement has them: a start before what the run does next.
const (
	startKind = iota
	checkpointKind
	failureKind
	parkKind
	endKind
	markKind // goes alone
)

var kinds = []kind{
	startKind: {
		name: "start_run", op: "create run", given: "start", runID: "id",
		fields: "id text, workflow text, version text, input jsonb, worker text, delay bigint, deadline bigint, gate bigint",
		// As for a claim, only who has a lease may own the run; else it waits for a claim. See gate for the last line.
		written: "started", key: "id", write: `
INSERT INTO {schema}.workflow_runs AS run
    (id, workflow, status, input, created_at, updated_at, owner, epoch, run_at, deadline_at, version)
SELECT start.id, start.workflow, CASE WHEN worker.id IS NULL THEN 'pending' ELSE 'running' END, start.input, clock.ms, clock.ms,
       worker.id, CASE WHEN worker.id IS NULL THEN 0 ELSE 1 END,
       CASE WHEN worker.id IS NULL THEN least(clock.ms + start.delay, clock.ms + start.deadline) END,
       clock.ms + start.deadline, start.version
FROM clock
CROSS JOIN start
LEFT JOIN {schema}.workflow_workers AS worker ON worker.id = start.worker AND worker.{alive}
WHERE {gate}`,
		exists: "ON CONFLICT (id) DO NOTHING",
		missed: "CASE WHEN run.id IS NOT NULL THEN 'exists' ELSE 'locked' END",
	},
	checkpointKind: {
		name: "checkpoint_step", op: "checkpoint step", given: "step", runID: "run_id",
		fields: "run_id text, epoch bigint, step_name text, kind text, seq int, took bigint, result jsonb, wake_in bigint",
		// The guard is lateral: one descent of the index for each row, whatever a plan that is kept thinks of the table.
		written: "recorded", key: "run_id, step_name", write: `
INSERT INTO {schema}.workflow_steps AS step
    (run_id, step_name, status, result, updated_at, kind, seq, started_at, wake_at)
SELECT step.run_id, step.step_name, 'succeeded', step.result, clock.ms, step.kind, step.seq, clock.ms - step.took,
       clock.ms + step.wake_in
FROM clock
CROSS JOIN step
CROSS JOIN LATERAL (
    SELECT
    FROM {schema}.workflow_runs
    WHERE id = step.run_id AND epoch = step.epoch AND status = 'running'
    FOR SHARE SKIP LOCKED
) AS run`,
		exists: `
ON CONFLICT (run_id, step_name) DO UPDATE
SET status = EXCLUDED.status, result = EXCLUDED.result, error = NULL, updated_at = EXCLUDED.updated_at,
    kind = EXCLUDED.kind, seq = EXCLUDED.seq, started_at = EXCLUDED.started_at, wake_at = EXCLUDED.wake_at
WHERE step.status <> 'succeeded'`,
		missed: missedStep("step"),
	},
	failureKind: {
		name: "record_failure", op: "record failure of step", given: "failure", runID: "run_id",
		fields: "run_id text, epoch bigint, step_name text, kind text, seq int, took bigint, status text, error jsonb, " +
			"count int, policy jsonb, retry_in bigint",
		// Of the failed attempts the newest are kept.
		written: "failed", key: "run_id, step_name", write: `
INSERT INTO {schema}.workflow_steps AS step
    (run_id, step_name, status, error, updated_at, kind, seq, started_at, attempts, wake_at)
SELECT failure.run_id, failure.step_name, failure.status, failure.error, clock.ms, failure.kind, failure.seq,
       clock.ms - failure.took,
       jsonb_build_object(
           'count', failure.count,
           'policy', failure.policy,
           'failures', jsonb_build_array(jsonb_build_object('at', clock.ms, 'error', failure.error))),
       clock.ms + failure.retry_in
FROM clock
CROSS JOIN failure
CROSS JOIN LATERAL (
    SELECT
    FROM {schema}.workflow_runs
    WHERE id = failure.run_id AND epoch = failure.epoch AND status = 'running'
    FOR SHARE SKIP LOCKED
) AS run
ON CONFLICT (run_id, step_name) DO UPDATE
SET status = EXCLUDED.status, result = NULL, error = EXCLUDED.error, updated_at = EXCLUDED.updated_at,
    kind = EXCLUDED.kind, seq = EXCLUDED.seq, started_at = EXCLUDED.started_at, wake_at = EXCLUDED.wake_at,
    attempts = jsonb_set(EXCLUDED.attempts, '{failures}',
        CASE WHEN jsonb_typeof(step.attempts -> 'failures') IS DISTINCT FROM 'array' THEN '[]'
             -- The answer to this attempt's record was lost, perhaps, and it is written once more.
             WHEN step.attempts -> 'count' = EXCLUDED.attempts -> 'count' THEN (step.attempts -> 'failures') - -1
             WHEN jsonb_array_length(step.attempts -> 'failures') < ` + strconv.Itoa(maxFailures) + ` THEN step.attempts -> 'failures'
             ELSE (step.attempts -> 'failures') - 0
        END || (EXCLUDED.attempts -> 'failures'))
WHERE step.status <> 'succeeded'`,
		missed: missedStep("failure"),
	},
	parkKind: {
		name: "park_run", op: "park run", given: "park", runID: "id",
		fields: "id text, epoch bigint, wake_in bigint, reason text, wake_seq bigint",
		// The run exists and is locked, so this always ends in the update. An UPDATE would join instead, and a plan from
		// when the table was small would read all of it.
		written: "parked", key: "id", write: `
INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, created_at, updated_at, run_at, suspended_for)
SELECT park.id, '', 'suspended', 'null', 0, clock.ms, clock.ms + park.wake_in, park.reason
FROM clock
CROSS JOIN park
CROSS JOIN LATERAL (
    SELECT
    FROM {schema}.workflow_runs
    WHERE id = park.id AND epoch = park.epoch AND status = 'running' AND wake_seq = park.wake_seq
    FOR NO KEY UPDATE SKIP LOCKED
) AS run
ON CONFLICT (id) DO UPDATE
SET status = EXCLUDED.status, owner = NULL, epoch = run.epoch + 1, run_at = least(EXCLUDED.run_at, run.deadline_at),
    suspended_for = EXCLUDED.suspended_for, error = NULL, blocked_at = NULL, updated_at = EXCLUDED.updated_at`,
		missed: `
CASE WHEN run.epoch IS DISTINCT FROM park.epoch OR run.status <> 'running' THEN 'lost'
     WHEN run.wake_seq <> park.wake_seq THEN 'woken'
     ELSE 'locked' END`,
	},
	endKind: {
		name: "end_run", op: "finish run", given: "finish", runID: "id",
		fields: "id text, epoch bigint, status text, output jsonb, error jsonb",
		// As for a park.
		written: "finished", key: "id", write: `
INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, output, error, created_at, updated_at)
SELECT finish.id, '', finish.status, 'null', finish.output, finish.error, 0, clock.ms
FROM clock
CROSS JOIN finish
CROSS JOIN LATERAL (
    SELECT
    FROM {schema}.workflow_runs
    WHERE id = finish.id AND epoch = finish.epoch AND status = 'running'
    FOR NO KEY UPDATE SKIP LOCKED
) AS run
ON CONFLICT (id) DO UPDATE
SET ` + ends("EXCLUDED.status", "EXCLUDED.output", "EXCLUDED.error"),
		missed: `CASE WHEN run.epoch IS DISTINCT FROM finish.epoch OR run.status <> 'running' THEN 'lost' ELSE 'locked' END`,
	},
	markKind: {
		name: "mark_step", op: "mark step", given: "step", runID: "run_id",
		fields:  "run_id text, epoch bigint, step_name text, kind text, seq int",
		written: "marked", key: "run_id, step_name", write: `
INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, updated_at, kind, seq, started_at)
SELECT step.run_id, step.step_name, 'running', clock.ms, step.kind, step.seq, clock.ms
FROM clock
CROSS JOIN step
CROSS JOIN LATERAL (
    SELECT
    FROM {schema}.workflow_runs
    WHERE id = step.run_id AND epoch = step.epoch AND status = 'running'
    FOR SHARE SKIP LOCKED
) AS run
ON CONFLICT (run_id, step_name) DO UPDATE
SET status = EXCLUDED.status, updated_at = EXCLUDED.updated_at, kind = EXCLUDED.kind, seq = EXCLUDED.seq,
    started_at = EXCLUDED.started_at
WHERE step.status <> 'succeeded'`,
		missed: missedStep("step"),
	},
}

// missedStep tells why a step was not written.
func missedStep(given string) string {
	return strings.ReplaceAll(`
CASE WHEN run.epoch IS DISTINCT FROM given.epoch OR run.status <> 'running' THEN 'lost'
     WHEN (SELECT status FROM {schema}.workflow_steps WHERE run_id = given.run_id AND step_name = given.step_name) = 'succeeded'
     THEN 'exists'
     ELSE 'locked' END`, "given.", given+".")
}

// ends is how a run becomes terminal, whoever ends it: the SET list of an UPDATE of workflow_runs AS run. What hangs on
// the end of a run hangs here.
func ends(status, output, err string) string {
	return `status = ` + status + `, output = ` + output + `, error = ` + err + `, owner = NULL, epoch = run.epoch + 1,
    run_at = NULL, suspended_for = NULL, blocked_at = NULL, updated_at = {clock_ms}`
}

// The statements of [Store.Write]: for one row by its kind, and for rows of several kinds by the set of these, which has a bit
// for each. What a batch lacks costs it nothing, and a set that no batch has, no memory.
var (
	alone   = defineAlone()
	grouped = defineGrouped()
)

func defineAlone() []*pg.Query {
	queries := make([]*pg.Query, len(kinds))
	for i, k := range kinds {
		queries[i] = pg.DefineLazily(k.name, func() string { return aloneText(i, "") })
	}
	return queries
}

func defineGrouped() []*pg.Query {
	queries := make([]*pg.Query, 1<<markKind)
	for set := 1; set < len(queries); set++ {
		queries[set] = pg.DefineLazily("write_rows", func() string { return groupedText(set) })
	}
	return queries
}

// clockClause is read by every statement that writes: it gives the row its time, and bounds the transaction.
const clockClause = "clock AS (\n    SELECT {clock_ms} AS ms{bound}\n)"

// aloneText is the statement for one row. Without a tail it returns why the row was not written.
func aloneText(i int, tail string) string {
	k := kinds[i]
	var fields []string
	for field := range strings.SplitSeq(k.fields, ", ") {
		name, kind, _ := strings.Cut(field, " ")
		fields = append(fields, "$"+strconv.Itoa(len(fields)+1)+"::"+kind+" AS "+name)
	}
	returning := k.key
	if tail == "" {
		tail = k.tail(i, "NOT EXISTS (SELECT FROM "+k.written+")")
	} else {
		returning = "*"
	}
	text := "WITH " + clockClause + ", " + k.given + " AS (\n    SELECT " + strings.Join(fields, ", ") + ", 1 AS n\n), " +
		k.clause(k.exists, returning) + tail
	return text
}

// groupedText is the statement for the rows of a set of kinds.
func groupedText(set int) string {
	clauses := []string{clockClause}
	var tails []string
	parameter := 0
	for i, k := range kinds {
		if set&(1<<i) == 0 {
			continue
		}
		var names, arrays []string
		for field := range strings.SplitSeq(k.fields, ", ") {
			name, kind, _ := strings.Cut(field, " ")
			parameter++
			names = append(names, name)
			// In a sub-select the planner cannot count the elements. If it could, it would plan anew for each batch.
			arrays = append(arrays, "(SELECT $"+strconv.Itoa(parameter)+"::"+kind+"[])")
		}
		columns := strings.Join(names, ", ")
		clauses = append(clauses, k.given+" AS (\n    SELECT "+columns+", n\n    FROM unnest("+strings.Join(arrays, ", ")+
			")\n         WITH ORDINALITY AS given ("+columns+", n)\n)", k.clause("", k.key))
		// Only if a row is missing they are looked for.
		tails = append(tails, k.tail(i, "(SELECT count(*) FROM "+k.written+") < (SELECT count(*) FROM "+k.given+")\n"+
			"  AND ("+qualified(k.given, k.key)+") NOT IN (SELECT "+k.key+" FROM "+k.written+")"))
	}
	return "WITH " + strings.Join(clauses, ", ") + strings.Join(tails, "\nUNION ALL")
}

func (k kind) clause(exists, returning string) string {
	if returning != "*" {
		returning = qualified(k.target(), returning)
	}
	text := strings.TrimSpace(k.write)
	if exists != "" {
		text += "\n" + strings.TrimSpace(exists)
	}
	return k.written + " AS (\n" + text + "\nRETURNING " + returning + "\n)"
}

// target is what write calls the table that it writes.
func (k kind) target() string {
	if k.runID == "id" {
		return "run"
	}
	return "step"
}

func (k kind) tail(i int, where string) string {
	return "\nSELECT " + strconv.Itoa(i) + " AS kind, " + k.given + ".n, " + strings.TrimSpace(k.missed) + " AS outcome\nFROM " + k.given +
		"\nLEFT JOIN LATERAL (\n    SELECT id, epoch, status, wake_seq\n    FROM {schema}.workflow_runs\n    WHERE id = " +
		k.given + "." + k.runID + "\n    OFFSET 0\n) AS run ON true\nWHERE " + where
}

func qualified(table, columns string) string {
	return table + "." + strings.ReplaceAll(columns, ", ", ", "+table+".")
}
