-- What executing a run needs to know of it and of its steps: who owns it, when it may go on and what
-- it waits for, which attempts were made.
--
-- Columns of eight bytes come first, then four, two and those of any length, so that no row is padded.
-- Columns marked "not used yet" are NULL, which costs a row nothing.

-- +goose ENVSUB ON
-- +goose Up
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    ADD COLUMN epoch         BIGINT  NOT NULL DEFAULT 0,
    ADD COLUMN run_at        BIGINT,
    ADD COLUMN deadline_at   BIGINT,
    ADD COLUMN progress_at   BIGINT,
    ADD COLUMN blocked_at    BIGINT,
    ADD COLUMN dispatched_at BIGINT,
    ADD COLUMN take_overs    INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN wake_seq      INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN priority      SMALLINT,
    ADD COLUMN owner         TEXT,
    ADD COLUMN suspended_for TEXT,
    ADD COLUMN waits_for     TEXT[],
    ADD COLUMN queue         TEXT,
    ADD COLUMN partition_key TEXT,
    ADD COLUMN unique_key    TEXT,
    ADD COLUMN parent_id     TEXT,
    ADD COLUMN parent_step   TEXT,
    ADD COLUMN version       TEXT,
    ADD COLUMN meta          JSONB,
    ADD CONSTRAINT workflow_runs_owner_check
        CHECK (owner IS NULL OR status = 'running'),
    -- Room in each page for new versions of its rows. A claim and an end change columns of the indexes below, but
    -- raising wake_seq does not: it writes no index (HOT) while there is room. With 10 % of packed rows raised at
    -- once, that held for 0 of 191 at 100, 162 at 90 and 186 at 85.
    SET (fillfactor = 85);

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.error         IS 'Why a failed run failed, or why a blocked one cannot go on: {message, code, stack, step}.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.epoch         IS 'Raised whenever the run changes hands: a write of an older epoch is refused.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.run_at        IS 'When a worker may claim the run, Unix milliseconds; NULL: not before something makes it runnable.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.deadline_at   IS 'When the run fails unless it is finished, Unix milliseconds; NULL: never.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.progress_at   IS 'Time of the newest step when the run was last taken over, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.blocked_at    IS 'When the run was first blocked, Unix milliseconds; NULL: it is not blocked.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.dispatched_at IS 'When the run was last announced on the application''s own queue, Unix milliseconds. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.take_overs    IS 'How often the run was taken over from a dead worker since its newest step.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.wake_seq      IS 'Raised when something comes that the run may wait for; a decision that nothing has come holds only while this is unchanged.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.priority      IS 'Which runs of a queue go first; NULL: the usual priority. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.owner         IS 'Worker that executes the run; NULL when nobody does.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.suspended_for IS 'Why a suspended run is suspended: by_hand, time, blocked; NULL: it is not suspended.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.waits_for     IS 'Names of what a suspended run waits for besides run_at. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.queue         IS 'Queue that the run was started on; NULL: none. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.partition_key IS 'Whose run it is among those of its queue, such as a tenant''s; each partition gets its turn. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.unique_key    IS 'While this run is unfinished no other run of its workflow has the same key. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.parent_id     IS 'Run that started this one; no foreign key, since it may be deleted first. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.parent_step   IS 'Step of the parent that this run stands for. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.version       IS 'Version of the application that started the run, as it calls itself: a label.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.meta          IS 'What came with the start besides the input, such as a trace context (trace); never changed.';

-- Claim: what can run now or later, by what a worker knows. Finished runs are not in it.
CREATE INDEX workflow_runs_runnable ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (workflow, run_at)
    WHERE status IN ('pending', 'suspended') AND run_at IS NOT NULL;

-- Take-over and release: the runs of one worker.
CREATE INDEX workflow_runs_owned ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (owner)
    WHERE owner IS NOT NULL;

-- Listing: newest first, a page at a time.
CREATE INDEX workflow_runs_by_creation ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (created_at, id);

ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_steps
    ADD COLUMN wake_at    BIGINT,
    ADD COLUMN started_at BIGINT,
    ADD COLUMN seq        INTEGER,
    ADD COLUMN waiting    INTEGER,
    ADD COLUMN kind       TEXT,
    ADD COLUMN attempts   JSONB,
    ADD COLUMN child_id   TEXT;

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.wake_at    IS 'End of a sleep, or time of the next attempt, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.started_at IS 'When the newest attempt began, Unix milliseconds; NULL: written by the state API.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.seq        IS 'Rank of the step in the order in which the run reached its steps; NULL: written by the state API.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.waiting    IS 'How many of the runs that the step started are unfinished. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.kind       IS 'tx: recorded in the transaction of its effects; sleep: a wait until wake_at; patch: a marker; NULL: any other step.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.attempts   IS 'Failed attempts: {count, policy, failures: [{at, error}, ...]}, the newest last; NULL when there were none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.child_id   IS 'Run that the step started and stands for. Not used yet.';

-- Runs from before: the pending ones become claimable, the suspended ones wait for a person.
UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs SET run_at = created_at WHERE status = 'pending';
UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs SET suspended_for = 'by_hand' WHERE status = 'suspended';

-- A library that does not know these columns would leave runs that no worker ever claims.
UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema SET needs_version = 3;

-- +goose Down
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema SET needs_version = 2;
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_steps
    DROP COLUMN child_id,
    DROP COLUMN attempts,
    DROP COLUMN kind,
    DROP COLUMN waiting,
    DROP COLUMN seq,
    DROP COLUMN started_at,
    DROP COLUMN wake_at;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_by_creation;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_owned;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_runnable;
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.error IS 'Why a failed run failed: {message, code, stack}.';
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    RESET (fillfactor),
    DROP CONSTRAINT workflow_runs_owner_check,
    DROP COLUMN meta,
    DROP COLUMN version,
    DROP COLUMN parent_step,
    DROP COLUMN parent_id,
    DROP COLUMN unique_key,
    DROP COLUMN partition_key,
    DROP COLUMN queue,
    DROP COLUMN waits_for,
    DROP COLUMN suspended_for,
    DROP COLUMN owner,
    DROP COLUMN priority,
    DROP COLUMN wake_seq,
    DROP COLUMN take_overs,
    DROP COLUMN dispatched_at,
    DROP COLUMN blocked_at,
    DROP COLUMN progress_at,
    DROP COLUMN deadline_at,
    DROP COLUMN run_at,
    DROP COLUMN epoch;
