-- Queues: what bounds how many runs of one kind are executed at once, whose turn it is, and what is announced elsewhere.

-- +goose ENVSUB ON
-- +goose Up
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_queues (
    created_at        BIGINT  NOT NULL,
    updated_at        BIGINT  NOT NULL,
    paused_at         BIGINT,
    rate_window       BIGINT,
    rate_count        INTEGER,
    rate_burst        INTEGER,
    max_running       INTEGER,
    max_per_worker    INTEGER,
    max_per_partition INTEGER,
    name              TEXT    NOT NULL,
    CONSTRAINT workflow_queues_pkey PRIMARY KEY (name),
    CONSTRAINT workflow_queues_limits_check
        CHECK (max_running > 0 AND max_per_worker > 0 AND max_per_partition > 0
               AND rate_window > 0 AND rate_count > 0 AND rate_burst > 0),
    CONSTRAINT workflow_queues_rate_check
        CHECK (num_nulls(rate_window, rate_count, rate_burst) IN (0, 3))
);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_queues                   IS 'One row per queue: what bounds the runs that are started on it.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.created_at        IS 'Creation, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.updated_at        IS 'Last change of this row, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.paused_at         IS 'Since when no run of the queue begins, Unix milliseconds; NULL: it is not paused.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.rate_window       IS 'Time in which rate_count runs may begin, milliseconds; NULL: as many as there are.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.rate_count        IS 'How many runs may begin in each rate_window, evenly spread.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.rate_burst        IS 'How many runs may begin at once after a pause, at that rate.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.max_running       IS 'How many runs of the queue may be running at once, on all workers; NULL: any number.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.max_per_worker    IS 'How many of them on one worker; NULL: any number.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.max_per_partition IS 'How many of them with one partition_key; NULL: any number.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queues.name              IS 'What runs name in their column queue.';

-- A claim of a queue's runs locks its row here and raises seq, so that nothing that people write to a queue is ever waited for.
CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_queue_turns (
    seq     BIGINT NOT NULL,
    free_at BIGINT NOT NULL DEFAULT 0,
    queue   TEXT   NOT NULL,
    CONSTRAINT workflow_queue_turns_pkey PRIMARY KEY (queue)
);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_queue_turns         IS 'Whose turn it is to claim runs of a queue: that of whoever holds its row. Only claims change it, and nothing else locks it.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queue_turns.seq     IS 'Raised by each claim: what was counted before holds only while this is unchanged.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queue_turns.free_at IS 'When the next run is due at the rate of the queue, Unix microseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_queue_turns.queue   IS 'Name of the queue.';

-- A claim asks for each priority by itself: a run without one would never be found.
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    ADD CONSTRAINT workflow_runs_queue_check
        CHECK (queue IS NULL OR priority IS NOT NULL AND priority BETWEEN 0 AND 4 AND partition_key IS NOT NULL);

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.dispatched_at IS 'When the run was last announced on the application''s own queue, Unix milliseconds; 0: not since it was last claimed; NULL: workers claim it by themselves.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.priority      IS 'Which runs of a queue go first: 0 to 4, the usual is 2; NULL: it has no queue.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.queue         IS 'Queue that the run was started on; NULL: none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.partition_key IS 'Whose run it is among those of its queue, such as a tenant''s; each partition gets its turn. Empty: nobody''s; NULL: it has no queue.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.unique_key    IS 'While this run is unfinished no other run of its workflow has the same key; NULL: none.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.queues     IS 'Queues that it serves, the empty name for runs without one; NULL or empty: all, and the runs without a queue.';

-- Claim of runs without a queue. Those of queues, and those that are announced elsewhere, would be in its way.
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_runnable;
CREATE INDEX workflow_runs_runnable ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (workflow, run_at)
    WHERE queue IS NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL;

-- Claim of a queue's runs: workflows that the worker does not know come first, to cost it nothing, and partitions next, to be
-- gone through one by one.
CREATE INDEX workflow_runs_queued ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (queue, workflow, partition_key, priority, run_at)
    WHERE queue IS NOT NULL AND dispatched_at IS NULL AND status IN ('pending', 'suspended') AND run_at IS NOT NULL;

-- What limits count.
CREATE INDEX workflow_runs_busy ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (queue, partition_key)
    WHERE queue IS NOT NULL AND status = 'running';

-- A deadline passes although nobody claims the run: its queue is full or paused.
CREATE INDEX workflow_runs_overdue ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (deadline_at)
    WHERE (queue IS NOT NULL OR dispatched_at IS NOT NULL) AND deadline_at IS NOT NULL AND status IN ('pending', 'suspended');

-- Runs to be announced on the application's own queue, now or later. However many were announced and wait there, none of them is in it.
CREATE INDEX workflow_runs_unannounced ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (run_at)
    WHERE dispatched_at < run_at AND status IN ('pending', 'suspended');

-- Runs that were announced: to be announced again after as long as they had waited then, an hour at most.
CREATE INDEX workflow_runs_announced ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs ((dispatched_at + least(dispatched_at - run_at, 3600000)))
    WHERE dispatched_at >= run_at AND status IN ('pending', 'suspended');

-- One unfinished run of a workflow for each key.
CREATE UNIQUE INDEX workflow_runs_unique ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (workflow, unique_key)
    WHERE unique_key IS NOT NULL AND status IN ('pending', 'running', 'suspended');

-- A library that does not know queues would begin runs beyond every limit.
UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema SET needs_version = 5;

-- +goose Down
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema SET needs_version = 4;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_unique;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_announced;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_unannounced;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_overdue;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_busy;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_queued;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_runnable;
CREATE INDEX workflow_runs_runnable ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (workflow, run_at)
    WHERE status IN ('pending', 'suspended') AND run_at IS NOT NULL;
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.queues     IS 'Queues that it serves; NULL or empty: all, and the runs without a queue. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.unique_key    IS 'While this run is unfinished no other run of its workflow has the same key. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.partition_key IS 'Whose run it is among those of its queue, such as a tenant''s; each partition gets its turn. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.queue         IS 'Queue that the run was started on; NULL: none. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.priority      IS 'Which runs of a queue go first; NULL: the usual priority. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.dispatched_at IS 'When the run was last announced on the application''s own queue, Unix milliseconds. Not used yet.';
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs DROP CONSTRAINT workflow_runs_queue_check;
DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_queue_turns;
DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_queues;
