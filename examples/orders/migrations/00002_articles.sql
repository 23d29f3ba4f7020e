-- +goose Up
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
    ('KEY-01',  'Key ring',            400, 1000, 1000);

-- +goose Down
-- Only what nobody has ordered: the orders are worth more than a tidy way back.
DELETE FROM example_shop.articles AS a
WHERE NOT EXISTS (SELECT FROM example_shop.reservations WHERE article = a.code);
