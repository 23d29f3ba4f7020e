-- +goose Up
CREATE TABLE example_refunds.orders (
    number   TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    article  TEXT NOT NULL,
    cents    INTEGER NOT NULL,
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded IN (0, cents)) -- cents; twice is refused
);

CREATE TABLE example_refunds.refunds (
    order_number TEXT PRIMARY KEY REFERENCES example_refunds.orders,
    run_id       TEXT NOT NULL UNIQUE,
    reason       TEXT NOT NULL,
    asked_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    outcome      TEXT,        -- NULL: not closed
    decided_by   TEXT,        -- NULL: nobody has decided, yet or in time
    closed_at    TIMESTAMPTZ
);

CREATE TABLE example_refunds.bank_events (
    id          TEXT PRIMARY KEY,
    reference   TEXT NOT NULL,                  -- the run that asked for the transfer
    transfer    TEXT NOT NULL,
    cents       INTEGER NOT NULL,
    received    INTEGER NOT NULL DEFAULT 1,     -- how often
    received_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    stray       BOOLEAN NOT NULL DEFAULT FALSE  -- no run waited for it
);

-- These two belong to the bank and to the post; real ones have them elsewhere.
CREATE TABLE example_refunds.bank_transfers (
    number    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key       TEXT NOT NULL UNIQUE,               -- the idempotency key: one transfer for each
    reference TEXT NOT NULL,
    cents     INTEGER NOT NULL,
    requests  INTEGER NOT NULL DEFAULT 1,         -- how often it was asked for
    calls     INTEGER NOT NULL DEFAULT 0,         -- of the webhook that were answered
    asked_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE example_refunds.messages (
    key       TEXT PRIMARY KEY, -- the idempotency key: one message for each
    recipient TEXT NOT NULL,
    text      TEXT NOT NULL
);

-- +goose Down
DROP TABLE example_refunds.messages;
DROP TABLE example_refunds.bank_transfers;
DROP TABLE example_refunds.bank_events;
DROP TABLE example_refunds.refunds;
DROP TABLE example_refunds.orders;
