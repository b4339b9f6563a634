-- Sales, orders and what proves that nothing is sold twice.

CREATE TABLE sale (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  title      text NOT NULL CHECK (title <> '' AND length(title) <= 500),
  starts_at  timestamptz NOT NULL,
  ends_at    timestamptz NOT NULL,
  version    bigint NOT NULL DEFAULT 1 CHECK (version > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK (ends_at > starts_at)
);

-- One variant in one sale. It is open from `soukctl sale open`, which takes the
-- allotment out of the variant's stock, to its close, which is final.
CREATE TABLE sale_item (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sale_id    bigint NOT NULL REFERENCES sale ON DELETE CASCADE,
  product_id bigint NOT NULL,
  variant_id bigint NOT NULL,
  position   integer NOT NULL DEFAULT 1 CHECK (position > 0),
  price      bigint NOT NULL CHECK (price BETWEEN 0 AND 100000000000000),
  allotment  integer NOT NULL CHECK (allotment BETWEEN 1 AND 10000000),
  per_buyer  integer NOT NULL DEFAULT 1 CHECK (per_buyer BETWEEN 1 AND 1000),
  state      text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'open', 'closed')),
  epoch      bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  armed_at   timestamptz,
  UNIQUE (sale_id, variant_id),
  FOREIGN KEY (variant_id, product_id) REFERENCES variant (id, product_id)
);
CREATE INDEX sale_item_product ON sale_item (product_id, sale_id);
CREATE INDEX sale_item_open ON sale_item (id) WHERE state = 'open';
-- A variant's stock feeds one open sale at a time.
CREATE UNIQUE INDEX sale_item_one_open ON sale_item (variant_id) WHERE state = 'open';
CREATE SEQUENCE sale_epoch AS bigint;

CREATE TABLE orders (
  id           text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'), -- hash of person, method,
                                       -- path and Idempotency-Key, else random
  customer_id  bigint REFERENCES customer, -- NULL: a guest
  access_hash  bytea CHECK (octet_length(access_hash) = 32), -- of a guest's accessToken
  sale_item_id bigint REFERENCES sale_item, -- a flash-sale order
  status       text NOT NULL
               CHECK (status IN ('pending', 'reserved', 'paid', 'fulfilled', 'cancelled', 'refunded')),
  reason       text NOT NULL DEFAULT '' CHECK (length(reason) <= 200),
  currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  shipping     bigint NOT NULL DEFAULT 0 CHECK (shipping >= 0),
  tax          bigint NOT NULL DEFAULT 0 CHECK (tax >= 0),
  total        bigint NOT NULL CHECK (total >= 0),
  email        text NOT NULL DEFAULT '' CHECK (length(email) <= 254),
  address      jsonb,
  request_hash bytea CHECK (octet_length(request_hash) = 32), -- of the body, with a key
  answer       jsonb,                                          -- what was answered
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz,
  CHECK (customer_id IS NOT NULL OR access_hash IS NOT NULL),
  CHECK (sale_item_id IS NULL OR status <> 'pending')
);
CREATE INDEX orders_customer ON orders (customer_id, created_at DESC) WHERE customer_id IS NOT NULL;
CREATE INDEX orders_unpaid ON orders (expires_at) WHERE status IN ('pending', 'reserved');
CREATE INDEX orders_sale ON orders (sale_item_id) WHERE sale_item_id IS NOT NULL;

CREATE TABLE order_line (
  order_id   text NOT NULL REFERENCES orders ON DELETE CASCADE,
  line       integer NOT NULL CHECK (line > 0),
  product_id bigint NOT NULL,
  variant_id bigint NOT NULL,
  title      text NOT NULL,
  quantity   integer NOT NULL CHECK (quantity BETWEEN 1 AND 100000),
  price      bigint NOT NULL CHECK (price >= 0), -- of one
  PRIMARY KEY (order_id, line),
  UNIQUE (order_id, variant_id),
  FOREIGN KEY (variant_id, product_id) REFERENCES variant (id, product_id)
);
CREATE INDEX order_line_variant ON order_line (variant_id);

-- The truth of a sale: a flash-sale order is live while it has its row here.
-- No foreign key to sale_item: every purchase would share-lock that one row.
CREATE TABLE sale_unit (
  item_id  bigint NOT NULL,
  unit     integer NOT NULL CHECK (unit > 0), -- 1..allotment
  order_id text REFERENCES orders,            -- NULL: claimed by the close
  buyer    text,                              -- NULL likewise
  slot     integer CHECK (slot > 0),          -- 1..per_buyer
  PRIMARY KEY (item_id, unit),
  UNIQUE (item_id, buyer, slot),
  CHECK ((order_id IS NULL) = (buyer IS NULL) AND (buyer IS NULL) = (slot IS NULL))
);
CREATE UNIQUE INDEX sale_unit_order ON sale_unit (order_id) WHERE order_id IS NOT NULL;

-- One intent per order; an attempt is committed before the provider is called.
CREATE TABLE payment (
  order_id   text PRIMARY KEY REFERENCES orders,
  provider   text NOT NULL CHECK (provider <> ''),
  intent     text NOT NULL DEFAULT '',
  amount     bigint NOT NULL CHECK (amount >= 0),
  currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  status     text NOT NULL DEFAULT 'new'
             CHECK (status IN ('new', 'authorised', 'captured', 'declined', 'cancelled', 'refunded')),
  refunded   bigint NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX payment_intent ON payment (provider, intent) WHERE intent <> '';

CREATE TABLE payment_attempt (
  order_id   text NOT NULL REFERENCES payment,
  attempt    integer NOT NULL CHECK (attempt > 0),
  token      text NOT NULL DEFAULT '',
  outcome    text NOT NULL DEFAULT 'unknown' CHECK (outcome IN ('unknown', 'paid', 'declined')),
  error      text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  ended_at   timestamptz,
  PRIMARY KEY (order_id, attempt),
  CHECK ((outcome = 'unknown') = (ended_at IS NULL))
);
-- A new attempt begins only when the last one has definitely ended.
CREATE UNIQUE INDEX payment_attempt_one_open ON payment_attempt (order_id)
  WHERE outcome = 'unknown';
