-- +goose Up
CREATE TABLE example_shop.articles (
    code      TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    cents     INTEGER NOT NULL,
    delivered INTEGER NOT NULL,                    -- what we began with
    stock     INTEGER NOT NULL CHECK (stock >= 0)  -- what is left
);

CREATE TABLE example_shop.orders (
    number   TEXT PRIMARY KEY,      -- this is what finds a duplicate order
    run_id   TEXT NOT NULL UNIQUE,
    line     INTEGER NOT NULL,
    file     TEXT NOT NULL,
    customer TEXT NOT NULL,
    cents    INTEGER NOT NULL
);

CREATE TABLE example_shop.reservations (
    run_id       TEXT PRIMARY KEY,
    order_number TEXT NOT NULL REFERENCES example_shop.orders,
    article      TEXT NOT NULL REFERENCES example_shop.articles,
    quantity     INTEGER NOT NULL
);

CREATE TABLE example_shop.confirmations (
    run_id       TEXT PRIMARY KEY,
    order_number TEXT NOT NULL REFERENCES example_shop.orders,
    mail         TEXT NOT NULL,
    confirmed_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- This one belongs to the payment provider; a real one has it elsewhere.
CREATE TABLE example_shop.payments (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key       TEXT NOT NULL UNIQUE, -- the idempotency key: one charge for each
    reference TEXT NOT NULL,        -- our order number
    cents     INTEGER NOT NULL,
    requests  INTEGER NOT NULL DEFAULT 1 -- how often the charge was asked for
);

-- +goose Down
DROP TABLE example_shop.payments;
DROP TABLE example_shop.confirmations;
DROP TABLE example_shop.reservations;
DROP TABLE example_shop.orders;
DROP TABLE example_shop.articles;
