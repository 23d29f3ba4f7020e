-- Who may use this schema, and who executes its runs.

-- +goose ENVSUB ON
-- +goose Up
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema (
    singleton     BOOLEAN NOT NULL DEFAULT true,
    needs_version BIGINT  NOT NULL,
    CONSTRAINT workflow_schema_pkey PRIMARY KEY (singleton),
    CONSTRAINT workflow_schema_singleton_check CHECK (singleton)
);
INSERT INTO ${WORKFLOW_SCHEMA:-workflows}.workflow_schema (needs_version) VALUES (2);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_schema               IS 'One row: which releases of the library may use this schema.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schema.singleton     IS 'Always true: the key that keeps the table at one row.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_schema.needs_version IS 'A library whose newest migration is older than this must not touch the schema.';

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_workers (
    id         TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    started_at BIGINT,
    pid        INTEGER,
    host       TEXT,
    version    TEXT,
    workflows  TEXT[] NOT NULL DEFAULT '{}',
    queues     TEXT[],
    hanging    JSONB,
    CONSTRAINT workflow_workers_pkey PRIMARY KEY (id)
);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_workers            IS 'One row per process that executes runs.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.id         IS 'UUIDv7, new each time a process starts to work.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.expires_at IS 'End of the lease, Unix milliseconds; from then on others take over its runs.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.started_at IS 'When the process began to work, Unix milliseconds.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.pid        IS 'Process id on its host.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.host       IS 'Name of the machine or container that the process runs on.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.version    IS 'Version of the application, as it calls itself.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.workflows  IS 'Names of the workflows that it executes.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.queues     IS 'Queues that it serves; NULL or empty: all, and the runs without a queue. Not used yet.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_workers.hanging    IS 'Steps that have been in flight for longer than one heartbeat; NULL when there are none.';

-- +goose Down
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_workers;
DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_schema;
