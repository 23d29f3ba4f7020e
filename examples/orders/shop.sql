-- The shop's tables. The program sends this text at every start, as one transaction.
SELECT pg_advisory_xact_lock(20250101); -- processes that start at the same time take turns

CREATE SCHEMA IF NOT EXISTS example_shop;

CREATE TABLE IF NOT EXISTS example_shop.articles (
    code      TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    cents     INTEGER NOT NULL,
    delivered INTEGER NOT NULL,                    -- what we began with
    stock     INTEGER NOT NULL CHECK (stock >= 0)  -- what is left
);

CREATE TABLE IF NOT EXISTS example_shop.orders (
    number   TEXT PRIMARY KEY,      -- this is what finds a duplicate order
    run_id   TEXT NOT NULL UNIQUE,
    line     INTEGER NOT NULL,
    file     TEXT NOT NULL,
    customer TEXT NOT NULL,
    cents    INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS example_shop.reservations (
    run_id       TEXT PRIMARY KEY,
    order_number TEXT NOT NULL REFERENCES example_shop.orders,
    article      TEXT NOT NULL REFERENCES example_shop.articles,
    quantity     INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS example_shop.confirmations (
    run_id       TEXT PRIMARY KEY,
    order_number TEXT NOT NULL REFERENCES example_shop.orders,
    mail         TEXT NOT NULL,
    confirmed_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- This one belongs to the payment provider; a real one has it elsewhere.
CREATE TABLE IF NOT EXISTS example_shop.payments (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key       TEXT NOT NULL UNIQUE, -- the idempotency key: one charge for each
    reference TEXT NOT NULL,        -- our order number
    cents     INTEGER NOT NULL,
    requests  INTEGER NOT NULL DEFAULT 1 -- how often the charge was asked for
);

INSERT INTO example_shop.articles (code, name, cents, delivered, stock) VALUES
    ('LAMP-01', 'Desk lamp',          3900, 1000, 1000),
    ('LAMP-02', 'Floor lamp',         8900, 1000, 1000),
    ('MUG-01',  'Mug, blue',           900, 1000, 1000),
    ('MUG-02',  'Mug, green',          900, 1000, 1000),
    ('CUP-07',  'Espresso cup',        700, 1000, 1000),
    ('TEA-12',  'Green tea 绿茶',      500, 1000, 1000),
    ('PEN-01',  'Fountain pen',       2400, 1000, 1000),
    ('PAD-01',  'Writing pad',         600, 1000, 1000),
    ('BAG-01',  'Tote bag',           1500, 1000, 1000),
    ('KEY-01',  'Key ring',            400, 1000, 1000)
ON CONFLICT (code) DO NOTHING;
