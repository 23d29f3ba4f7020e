-- The documented tables: a run is one execution of a workflow, a step is one unit of its work.
-- Times are Unix milliseconds of the database's clock.

-- +goose ENVSUB ON
-- +goose Up
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (
    id         TEXT   NOT NULL,
    workflow   TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    input      JSONB  NOT NULL,
    output     JSONB,
    error      JSONB,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT workflow_runs_pkey PRIMARY KEY (id),
    CONSTRAINT workflow_runs_status_check
        CHECK (status IN ('pending', 'running', 'suspended', 'completed', 'failed', 'cancelled'))
);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_runs            IS 'One row per execution of a workflow.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.id         IS 'UUIDv7, or the id that the caller chose.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.workflow   IS 'Name under which the workflow is defined in the application.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.status     IS 'pending, running, suspended, completed, failed or cancelled.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.input      IS 'What the run was started with.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.output     IS 'What a completed run returned; NULL when none was recorded.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.error      IS 'Why a failed run failed: {message, code, stack}.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.created_at IS 'Creation, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.updated_at IS 'Last change of this row, Unix milliseconds.';

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_steps (
    run_id     TEXT   NOT NULL,
    step_name  TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    result     JSONB,
    error      JSONB,
    updated_at BIGINT NOT NULL,
    CONSTRAINT workflow_steps_pkey PRIMARY KEY (run_id, step_name),
    CONSTRAINT workflow_steps_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (id) ON DELETE CASCADE,
    CONSTRAINT workflow_steps_status_check
        CHECK (status IN ('pending', 'scheduled', 'running', 'succeeded', 'failed'))
);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_steps            IS 'One row per step of a run that was scheduled or has ended.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.run_id     IS 'The run that the step belongs to.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.step_name  IS 'Name of the step, unique within its run.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.status     IS 'pending, scheduled, running, succeeded or failed; succeeded is final.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.result     IS 'What a succeeded step returned.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.error      IS 'Why a failed step failed: {message, code, stack}.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.updated_at IS 'Last change of this row, Unix milliseconds.';

-- +goose Down
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_steps;
DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs;
