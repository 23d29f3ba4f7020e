-- What executes a run: who owns it, under which epoch, and when it may run next.

-- +goose ENVSUB ON
-- +goose Up
CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema (
    needs_version BIGINT NOT NULL
);
CREATE UNIQUE INDEX workflow_schema_one_row ON ${WORKFLOW_SCHEMA:-workflows}.workflow_schema ((true));
INSERT INTO ${WORKFLOW_SCHEMA:-workflows}.workflow_schema (needs_version) VALUES (2);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_schema               IS 'One row: which releases of the library may use this schema.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schema.needs_version IS 'A library whose newest migration is older than this must not touch the schema.';

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_workers (
    id         TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT workflow_workers_pkey PRIMARY KEY (id)
);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_workers            IS 'One row per process that executes runs.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.id         IS 'UUIDv7, new each time a process starts to work.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.expires_at IS 'End of the lease, Unix milliseconds; from then on others take over its runs.';

ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    ADD COLUMN owner  TEXT,
    ADD COLUMN epoch  BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN run_at BIGINT,
    ADD CONSTRAINT workflow_runs_owner_check
        CHECK (owner IS NULL OR status = 'running');

COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.owner  IS 'Worker that executes the run; NULL when nobody does.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.epoch  IS 'Raised whenever the run changes hands: a write of an older epoch is refused.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_runs.run_at IS 'When a worker may claim the run, Unix milliseconds; NULL: never.';

-- Claim: what can run now or later, by what a worker knows. Finished runs are not in it.
CREATE INDEX workflow_runs_runnable ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (workflow, run_at)
    WHERE status IN ('pending', 'suspended') AND run_at IS NOT NULL;

-- Take-over and release: the runs of one worker.
CREATE INDEX workflow_runs_owned ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (owner)
    WHERE owner IS NOT NULL;

-- Listing: newest first, a page at a time.
CREATE INDEX workflow_runs_by_creation ON ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (created_at, id);

-- Runs created before this migration become claimable.
UPDATE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs SET run_at = created_at WHERE status = 'pending';

-- +goose Down
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_by_creation;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_owned;
DROP INDEX ${WORKFLOW_SCHEMA:-workflows}.workflow_runs_runnable;
ALTER TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_runs
    DROP CONSTRAINT workflow_runs_owner_check,
    DROP COLUMN run_at,
    DROP COLUMN epoch,
    DROP COLUMN owner;
DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_workers;
DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema;
