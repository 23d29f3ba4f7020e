-- What a run waits for besides a time: signals that are sent to it, and runs that it has started.

-- +goose ENVSUB ON
-- +goose Up
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_signals (
    seq     BIGINT NOT NULL,
    sent_at BIGINT NOT NULL,
    run_id  TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    key     TEXT,
    payload JSONB  NOT NULL,
    CONSTRAINT workflow_signals_pkey PRIMARY KEY (run_id, name, seq),
    CONSTRAINT workflow_signals_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (id) ON DELETE CASCADE
);

-- A signal with a key is sent once.
CREATE UNIQUE INDEX workflow_signals_key ON ${WORKFLOW_SCHEMA:-workflows}.workflow_signals (run_id, name, key)
    WHERE key IS NOT NULL;

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_signals         IS 'One row per signal that was sent to a run; never changed.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_signals.seq     IS 'The run''s wake_seq which this signal made: the order of the signals of a run.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_signals.sent_at IS 'When it was sent, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_signals.run_id  IS 'The run that it was sent to.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_signals.name    IS 'What the run waits for it by.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_signals.key     IS 'Chosen by the sender: a second signal of the same name and key is not sent; NULL: none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_signals.payload IS 'What was sent.';

ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    ADD COLUMN depth     SMALLINT,
    ADD COLUMN abandoned BOOLEAN;

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.depth         IS 'How many ancestors the run has; NULL: none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.abandoned     IS 'Whether the run goes on when its parent is cancelled; NULL: it does not.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.suspended_for IS 'Why a suspended run is suspended: by_hand, time, signal, children, blocked; NULL: it is not suspended.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.waits_for     IS 'What makes a suspended run runnable besides run_at: signal:<name> and step:<key> of a scheduled step.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.parent_id     IS 'Run that started this one; no foreign key, since it may be deleted first.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.parent_step   IS 'Step of the parent that waits for this run; NULL: none does.';

-- The children of a run: for whoever cancels, shows or sweeps a tree.
CREATE INDEX workflow_runs_children ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (parent_id, id)
    WHERE parent_id IS NOT NULL;

ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_steps
    ADD COLUMN signal_seq BIGINT,
    ADD COLUMN request    JSONB;

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.signal_seq IS 'Which of the run''s signals the step has taken; NULL: none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.request    IS 'What a scheduled step asks for, such as whose approval of what; NULL: nothing in particular.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.wake_at    IS 'End of a sleep, time of the next attempt, or when a scheduled step is no longer waited for, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.waiting    IS 'How many of the runs that the step waits for are unfinished; NULL: it waits for none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.kind       IS 'tx: recorded in the transaction of its effects; sleep: a wait until wake_at; signal, approval: a wait for what is sent; poll: a look for it; call: runs that it waits for; spawn: runs that it only starts; patch: a marker; NULL: any other step.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_steps.child_id   IS 'Run that the step started, the first of them if there are several.';

-- Open approvals, newest first.
CREATE INDEX workflow_steps_approvals ON ${WORKFLOW_SCHEMA:-workflows}.workflow_steps (started_at DESC, run_id, step_name)
    WHERE kind = 'approval' AND status = 'scheduled';

-- A library that does not know these would leave runs that nobody wakes.
UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema SET needs_version = 4;

-- +goose Down
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema SET needs_version = 3;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_steps_approvals;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_children;
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_steps
    DROP COLUMN request,
    DROP COLUMN signal_seq;
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    DROP COLUMN abandoned,
    DROP COLUMN depth;
DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_signals;
