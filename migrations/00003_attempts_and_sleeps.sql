-- What the engine keeps of a step besides its outcome, and of a run that waits, is bounded or crashes.

-- +goose ENVSUB ON
-- +goose Up
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_steps
    ADD COLUMN kind     TEXT,
    ADD COLUMN attempts JSONB,
    ADD COLUMN wake_at  BIGINT;

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.kind     IS 'tx: recorded in the transaction of its effects; sleep: a wait until wake_at; NULL: any other step.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.attempts IS 'Failed attempts: {count, policy, failures: [{at, error}, …]}, the newest last; NULL when there were none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.wake_at  IS 'End of a sleep, or time of the next attempt, Unix milliseconds.';

ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    ADD COLUMN deadline_at BIGINT,
    ADD COLUMN take_overs  INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN progress_at BIGINT;

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.deadline_at IS 'When the run fails unless it is finished, Unix milliseconds; NULL: never.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.take_overs  IS 'How often the run was taken over from a dead worker since its newest step.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.progress_at IS 'Time of the newest step when the run was last taken over, Unix milliseconds.';

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.error IS 'Why a failed run failed: {message, code, stack, step}.';

-- +goose Down
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.error IS 'Why a failed run failed: {message, code, stack}.';
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    DROP COLUMN progress_at,
    DROP COLUMN take_overs,
    DROP COLUMN deadline_at;
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_steps
    DROP COLUMN wake_at,
    DROP COLUMN attempts,
    DROP COLUMN kind;
