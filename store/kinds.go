package store

import (
	"strconv"
	"strings"
)

// A kind of write. Each is defined once, and sent in two ways: alone, its row given as parameters, and with others, the
// rows of each kind given as arrays.
type kind struct {
	name    string     // of the statement that writes one row
	op      string     // in errors
	given   string     // names the rows
	fields  string     // of a row, with their types, in the order of Write.row
	written string     // names what was written
	before  string     // clauses that the write reads from
	write   string     // writes the rows. Its guard skips a run that others have locked
	after   string     // clauses that write what belongs to the rows that were written
	alone   string     // what is added for a row that is written alone: what it does when it exists. Among others that is an error
	stays   StepStatus // a step with this status is not written over, no more than one that has succeeded
	certain bool       // among others, each row is written unless that is an error of all
	key     string     // columns that tell rows apart, of what is given and of what was written
	keyed   string     // names the rows with that key, if it is not given
	unasked bool       // why a row was not written is not asked: its sender finds out
	runID   string     // the given column that names the run
}

// The kinds of writes, in the order in which a statement has them: a start before what the run does next. No row is written twice in
// one statement, so what others write to a run does not go with what its owner does.
const (
	startKind       = iota
	placedStartKind // of a run that has a place of its own, or whatever else few runs have
	scheduleKind
	fanOutKind
	checkpointKind
	failureKind
	takeKind
	parkKind
	endKind
	childEndKind   // after what the parent does
	markKind       // goes alone
	attributesKind // goes alone
	signalKind     // goes with its like
)

var kinds = []kind{
	startKind:       starts,
	placedStartKind: placedStarts,
	scheduleKind:    schedules,
	fanOutKind:      fansOut,
	checkpointKind:  checkpoints,
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
` + guard("failure", "run_id", "FOR SHARE") + `
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
	},
	takeKind: {
		name: "take_step", op: "close wait", given: "take", runID: "run_id", stays: StepFailed,
		fields: "run_id text, epoch bigint, step_name text, kind text, seq int, took bigint, status text, result jsonb, error jsonb, " +
			"signal_seq bigint, wake_seq bigint",
		written: "taken", key: "run_id, step_name", write: `
INSERT INTO {schema}.workflow_steps AS step
    (run_id, step_name, status, result, error, updated_at, kind, seq, started_at, signal_seq)
SELECT take.run_id, take.step_name, take.status, take.result, take.error, clock.ms, take.kind, take.seq,
       clock.ms - take.took, take.signal_seq
FROM clock
CROSS JOIN take
` + guard("take", "run_id", "FOR SHARE", unwoken("take")) + `
ON CONFLICT (run_id, step_name) DO UPDATE
SET status = EXCLUDED.status, result = EXCLUDED.result, error = EXCLUDED.error, updated_at = EXCLUDED.updated_at,
    kind = EXCLUDED.kind, seq = EXCLUDED.seq, started_at = coalesce(step.started_at, EXCLUDED.started_at),
    signal_seq = EXCLUDED.signal_seq
WHERE step.status NOT IN ('succeeded', 'failed')`,
	},
	parkKind: {
		name: "park_run", op: "park run", given: "park", runID: "id",
		fields: "id text, epoch bigint, wake_in bigint, reason text, wake_seq bigint, waits_for text",
		// The run exists and is locked, so this always ends in the update. An UPDATE would join instead, and a plan from
		// when the table was small would read all of it.
		written: "parked", key: "id", write: `
INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, created_at, updated_at, run_at, suspended_for, waits_for)
SELECT park.id, '', 'suspended', 'null', 0, clock.ms, clock.ms + park.wake_in, park.reason, park.waits_for::text[]
FROM clock
CROSS JOIN park
` + guard("park", "id", "FOR NO KEY UPDATE", "wake_seq = park.wake_seq") + `
ON CONFLICT (id) DO UPDATE
SET status = EXCLUDED.status, owner = NULL, epoch = run.epoch + 1, run_at = least(EXCLUDED.run_at, run.deadline_at),
    suspended_for = EXCLUDED.suspended_for, waits_for = EXCLUDED.waits_for, error = NULL, blocked_at = NULL, updated_at = EXCLUDED.updated_at`,
	},
	endKind: {
		name: "end_run", op: "finish run", given: "finish", runID: "id",
		fields: "id text, epoch bigint, status text, output jsonb, error jsonb, wake_seq bigint",
		// As for a park.
		written: "finished", key: "id", write: `
INSERT INTO {schema}.workflow_runs AS run (id, workflow, status, input, output, error, created_at, updated_at)
SELECT finish.id, '', finish.status, 'null', finish.output, finish.error, 0, clock.ms
FROM clock
CROSS JOIN finish
` + guard("finish", "id", "FOR NO KEY UPDATE", unwoken("finish")) + `
ON CONFLICT (id) DO UPDATE
SET ` + ends("EXCLUDED.status", "EXCLUDED.output", "EXCLUDED.error", "EXCLUDED.updated_at"),
	},
	childEndKind:   childEnds,
	attributesKind: attributeSteps(),
	signalKind:     signals("FOR NO KEY UPDATE SKIP LOCKED"),
	markKind: {
		name: "mark_step", op: "mark step", given: "step", runID: "run_id",
		fields:  "run_id text, epoch bigint, step_name text, kind text, seq int",
		written: "marked", key: "run_id, step_name", write: `
INSERT INTO {schema}.workflow_steps AS step (run_id, step_name, status, updated_at, kind, seq, started_at)
SELECT step.run_id, step.step_name, 'running', clock.ms, step.kind, step.seq, clock.ms
FROM clock
CROSS JOIN step
` + guard("step", "run_id", "FOR SHARE") + `
ON CONFLICT (run_id, step_name) DO UPDATE
SET status = EXCLUDED.status, updated_at = EXCLUDED.updated_at, kind = EXCLUDED.kind, seq = EXCLUDED.seq,
    started_at = EXCLUDED.started_at
WHERE step.status <> 'succeeded'`,
	},
}

// unwoken holds while nothing has come that the given row does not know of, if that matters to it.
func unwoken(given string) string {
	return "wake_seq = coalesce(" + given + ".wake_seq, wake_seq)"
}

// guard locks the run of each given row, if the owner still has it and nobody else has locked it; more has to hold of the run
// besides. It is lateral: one descent of the index for each row, whatever a plan that is kept thinks of the table.
func guard(given, id, lock string, more ...string) string {
	conditions := append([]string{"id = " + given + "." + id, "epoch = " + given + ".epoch", "status = 'running'"}, more...)
	return `CROSS JOIN LATERAL (
    SELECT
    FROM {schema}.workflow_runs
    WHERE ` + strings.Join(conditions, " AND ") + `
    ` + lock + ` SKIP LOCKED
) AS run`
}
