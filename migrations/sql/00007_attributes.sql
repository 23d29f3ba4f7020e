-- Search attributes: what an application finds its runs by. In a table of their own, so that a run's change of status touches no index of
-- them.

-- +goose ENVSUB ON
-- +goose Up
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

CREATE TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_attributes (
    created_at BIGINT NOT NULL,
    run_id     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    value      TEXT   NOT NULL,
    CONSTRAINT workflow_attributes_pkey PRIMARY KEY (run_id, name),
    CONSTRAINT workflow_attributes_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES ${WORKFLOW_SCHEMA:-workflows}.workflow_runs (id) ON DELETE CASCADE
);

COMMENT ON TABLE  ${WORKFLOW_SCHEMA:-workflows}.workflow_attributes            IS 'One row per search attribute of a run: what the application finds it by.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_attributes.created_at IS 'Creation of the run, Unix milliseconds: the order of a list.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_attributes.run_id     IS 'The run that has it.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_attributes.name       IS 'Name of the attribute.';
COMMENT ON COLUMN ${WORKFLOW_SCHEMA:-workflows}.workflow_attributes.value      IS 'Its value, as the application set it last.';

-- The runs that have a value, read from the newest on.
CREATE INDEX workflow_attributes_search ON ${WORKFLOW_SCHEMA:-workflows}.workflow_attributes (name, value, created_at, run_id);

-- +goose Down
SET LOCAL lock_timeout = '${WORKFLOW_LOCK_TIMEOUT:-2s}';
SET LOCAL statement_timeout = 0;

DROP TABLE ${WORKFLOW_SCHEMA:-workflows}.workflow_attributes;
