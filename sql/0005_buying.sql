-- What buying needs on top: carts, what an order is paid with, the outbox as
-- a queue, the sandbox's books. And fewer locks on rows that every purchase of
-- a sale would touch.

-- A purchase takes no lock on the rows of its sale item and variant: a foreign
-- key to them is a FOR KEY SHARE on one row by every buyer at once. An order
-- keeps what it says of them for ever (title, price), whatever becomes of them.
ALTER TABLE orders DROP CONSTRAINT orders_sale_item_id_fkey;
ALTER TABLE order_line DROP CONSTRAINT order_line_variant_id_product_id_fkey;

ALTER TABLE orders ADD COLUMN language text NOT NULL DEFAULT ''
  CHECK (length(language) <= 35);
-- An order that is paid for keeps its units a little longer, a bounded number
-- of times (one for each attempt).
ALTER TABLE orders ADD COLUMN expires_cap timestamptz;

-- A variant's title ("S / blue") as it was when it was bought.
ALTER TABLE order_line ADD COLUMN variant_title text NOT NULL DEFAULT ''
  CHECK (length(variant_title) <= 500);

CREATE TABLE cart (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  token_hash  bytea UNIQUE CHECK (octet_length(token_hash) = 32), -- a guest's cookie
  customer_id bigint UNIQUE REFERENCES customer ON DELETE CASCADE,
  updated_at  timestamptz NOT NULL DEFAULT now(),
  CHECK ((token_hash IS NULL) <> (customer_id IS NULL))
);
CREATE INDEX cart_old ON cart (updated_at);

CREATE TABLE cart_line (
  cart_id    bigint NOT NULL REFERENCES cart ON DELETE CASCADE,
  variant_id bigint NOT NULL REFERENCES variant ON DELETE CASCADE,
  quantity   integer NOT NULL CHECK (quantity BETWEEN 1 AND 1000),
  price      bigint NOT NULL, -- when it was put in, to say what has changed
  added_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (cart_id, variant_id)
);
CREATE INDEX cart_line_variant ON cart_line (variant_id);

-- ---- sessions and logging in
ALTER TABLE session ADD COLUMN address text NOT NULL DEFAULT ''
  CHECK (length(address) <= 100);
-- What is shown and named in addresses instead of the token.
ALTER TABLE session ADD COLUMN public_id bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX session_public_id ON session (public_id);
CREATE INDEX session_seen ON session (seen_at);

-- ---- the outbox as a queue. Order within an aggregate is not asked for: what
-- a task may do is decided by the state it finds.
DROP INDEX outbox_aggregate;
-- Hidden until the transaction that makes it due: visible_at = 'infinity'. While
-- it is leased visible_at = lease_until, so that outbox_ready serves all.
-- What went wrong with it: [{"at","error"}], the first error first.
ALTER TABLE outbox ADD COLUMN history jsonb NOT NULL DEFAULT '[]';
ALTER TABLE dead_task ADD COLUMN priority text NOT NULL DEFAULT 'normal';
-- Of what runs by the clock on one host of many: who moves the time on has the
-- turn.
CREATE TABLE clock_turn (
  name text PRIMARY KEY,
  at   timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

-- ---- payments: what an attempt's provider calls it, and when it was last
-- asked about.
ALTER TABLE payment_attempt ADD COLUMN asked_at timestamptz;
CREATE INDEX payment_attempt_unknown ON payment_attempt (created_at)
  WHERE outcome = 'unknown';
CREATE TABLE payment_event ( -- of the provider's webhook: each counts once
  provider    text NOT NULL,
  event_id    text NOT NULL CHECK (length(event_id) <= 255),
  type        text NOT NULL DEFAULT '',
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (provider, event_id)
);
CREATE INDEX payment_event_old ON payment_event (received_at);

-- ---- the sandbox provider's books. They are the provider's, not the shop's:
-- written on a connection of its own, committed before it answers.
CREATE TABLE sandbox_intent (
  id         text PRIMARY KEY,            -- "sbx_" and 32 hex digits
  order_key  text NOT NULL UNIQUE,        -- the idempotency key it was made with
  amount     bigint NOT NULL CHECK (amount >= 0),
  currency   text NOT NULL,
  status     text NOT NULL DEFAULT 'open'
             CHECK (status IN ('open', 'succeeded', 'cancelled')),
  refunded   bigint NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount),
  charges    integer NOT NULL DEFAULT 0 CHECK (charges >= 0), -- how often money was taken
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sandbox_call ( -- what was answered to an idempotency key
  key        text PRIMARY KEY,
  request    text NOT NULL,
  answer     jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Sales whose end is near or just past: their counters are told.
CREATE INDEX sale_end ON sale (ends_at);
