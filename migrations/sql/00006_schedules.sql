-- Schedules: which workflows are started by the clock, and when next.

-- +goose ENVSUB ON
-- +goose Up
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules (
    created_at    BIGINT   NOT NULL,
    updated_at    BIGINT   NOT NULL,
    paused_at     BIGINT,
    resumed_at    BIGINT,
    next_at       BIGINT,
    last_at       BIGINT,
    every         BIGINT,
    catch_up      BIGINT   NOT NULL,
    jitter        BIGINT   NOT NULL,
    deadline      BIGINT,
    started       BIGINT   NOT NULL DEFAULT 0,
    missed        BIGINT   NOT NULL DEFAULT 0,
    overlapped    BIGINT   NOT NULL DEFAULT 0,
    paused        BIGINT   NOT NULL DEFAULT 0,
    taken         BIGINT   NOT NULL DEFAULT 0,
    priority      SMALLINT,
    name          TEXT     NOT NULL,
    workflow      TEXT     NOT NULL,
    cron          TEXT,
    zone          TEXT     NOT NULL,
    overlap       TEXT     NOT NULL,
    queue         TEXT,
    partition_key TEXT,
    last_run_id   TEXT,
    input         JSONB    NOT NULL,
    CONSTRAINT workflow_schedules_pkey PRIMARY KEY (name),
    CONSTRAINT workflow_schedules_times_check
        CHECK (num_nonnulls(cron, every) = 1 AND every > 0),
    CONSTRAINT workflow_schedules_queue_check
        CHECK (queue IS NULL OR priority IS NOT NULL AND priority BETWEEN 0 AND 4 AND partition_key IS NOT NULL)
);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules               IS 'One row per schedule: a workflow that is started by the clock. The run of a tick has the schedule''s name and the tick as its id.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.created_at    IS 'Creation, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.updated_at    IS 'When it was last set, paused or resumed, Unix milliseconds; ticks leave it.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.paused_at     IS 'Since when its ticks start nothing, Unix milliseconds; NULL: it is not paused.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.resumed_at    IS 'When its last pause ended, Unix milliseconds: ticks before that are not caught up; NULL: never.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.next_at       IS 'Its next tick, Unix milliseconds; NULL: there is none any more.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.last_at       IS 'The tick that a run was last started for, or when it was started by hand, Unix milliseconds; NULL: never.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.every         IS 'Distance of its ticks, milliseconds; NULL: cron says when they are.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.catch_up      IS 'How old the newest of the ticks may be that were missed, and still be run, milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.jitter        IS 'Runs wait for a random time below this, milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.deadline      IS 'How long each run may take, milliseconds; NULL: any time.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.started       IS 'How many runs it has started.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.missed        IS 'How many ticks had no run because nobody was there in time.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.overlapped    IS 'How many ticks had no run because the last run was not finished.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.paused        IS 'How many ticks had no run because the schedule was paused.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.taken         IS 'How many ticks had no new run because there was one with its id.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.priority      IS 'Of its runs in their queue, 0 to 4; NULL: they have no queue.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.name          IS 'Name of the schedule.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.workflow      IS 'Workflow of its runs.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.cron          IS 'Cron expression of its ticks; NULL: they are every so many milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.zone          IS 'Time zone of the cron expression, as the zone database calls it; empty: UTC.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.overlap       IS 'What a tick does whose last run is not finished: skip, allow, cancel_other.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.queue         IS 'Queue of its runs; NULL: none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.partition_key IS 'Partition of its runs in their queue; NULL: they have no queue.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.last_run_id   IS 'The run that it started last; NULL: none yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules.input         IS 'Input of its runs.';

-- What is due, and what comes next.
CREATE INDEX workflow_schedules_next ON ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules (next_at)
    WHERE next_at IS NOT NULL;

-- +goose Down
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_schedules;
