-- n products in the shop's tables, for the bench that compares few with many.
-- psql -v n=100 -f catalogue.sql. What a page shows does not depend on n: each
-- product has 3 variants, 2 pictures and 5 reviews, and a word of its own
-- ("lot7") for every 20 products.
BEGIN;
SET LOCAL synchronous_commit = off;
INSERT INTO product (handle, title, description, summary, vendor, type, tags,
                     options)
SELECT 'thing-' || g, 'Thing ' || g || ' lot' || g / 20,
       '<p>' || repeat('A plain thing for plain days. ', 20) || '</p>',
       'A plain thing for plain days.', 'Maker ' || g % 50, 'Things',
       ARRAY['plain', 'tag' || g % 20], '{Colour}'
FROM generate_series(1, :n) g;
INSERT INTO variant (product_id, position, sku, options, price, stock)
SELECT p.id, v, p.handle || '-' || v, ARRAY['Colour ' || v], 1000 + 100 * v, 9
FROM product p, generate_series(1, 3) v;
INSERT INTO product_image (product_id, position, src, width, height)
SELECT p.id, i, '/media/' || p.handle || '-' || i || '.svg', 800, 800
FROM product p, generate_series(1, 2) i;
INSERT INTO review (product_id, author, rating, title, body, created_at)
SELECT p.id, 'Reader ' || r, 4, 'Good', repeat('It does what it should. ', 4),
       timestamptz '2026-01-01' + r * interval '1 day'
FROM product p, generate_series(1, 5) r;
COMMIT;
VACUUM (ANALYZE) product, variant, product_image, review;
