-- +goose Up
INSERT INTO example_refunds.orders (number, customer, article, cents) VALUES
    ('1001', 'Zoë',     'Mug, blue',      900),
    ('1002', 'Juan',    'Desk lamp',     3900),
    ('1003', 'Mei',     'Green tea 绿茶',  500),
    ('1004', 'unknown', 'Tote bag',      1500),
    ('1005', 'Fatima',  'Fountain pen',  2400),
    ('1006', 'Lars',    'Floor lamp',    8900),
    ('1007', 'Amélie',  'Armchair',     69000),
    ('1008', 'Kofi',    'Oak table',   129000);

-- +goose Down
-- Only what nobody wants to give back: the refunds are worth more than a tidy way back.
DELETE FROM example_refunds.orders AS o
WHERE NOT EXISTS (SELECT FROM example_refunds.refunds WHERE order_number = o.number);
