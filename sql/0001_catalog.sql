-- Products and what belongs to them.
-- Money is an integer of the currency's minor units everywhere.

CREATE TABLE product (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  handle       text NOT NULL UNIQUE
               CHECK (handle ~ '^[[:alnum:]][[:alnum:]_.-]*$' AND length(handle) <= 255),
  title        text NOT NULL CHECK (title <> '' AND length(title) <= 500),
  description  text NOT NULL DEFAULT '',  -- HTML, sanitised before it is stored
  summary      text NOT NULL DEFAULT '' CHECK (length(summary) <= 300), -- plain text of it
  vendor       text NOT NULL DEFAULT '' CHECK (length(vendor) <= 255),
  type         text NOT NULL DEFAULT '' CHECK (length(type) <= 255),
  tags         text[] NOT NULL DEFAULT '{}' CHECK (array_position(tags, NULL) IS NULL),
  options      text[] NOT NULL DEFAULT '{}' -- names, in order: {Size,Colour}
               CHECK (cardinality(options) <= 5 AND array_position(options, NULL) IS NULL),
  status       text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'draft', 'archived')),
  seo_title    text NOT NULL DEFAULT '' CHECK (length(seo_title) <= 500),
  seo_description text NOT NULL DEFAULT '' CHECK (length(seo_description) <= 1000),
  rating_sum   integer NOT NULL DEFAULT 0,
  rating_count integer NOT NULL DEFAULT 0 CHECK (rating_count >= 0),
  version      bigint NOT NULL DEFAULT 1 CHECK (version > 0), -- grows with every change
  search       tsvector NOT NULL DEFAULT ''::tsvector, -- kept by a trigger
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  CHECK (rating_sum BETWEEN rating_count AND rating_count * 5)
);

CREATE INDEX product_active ON product (id DESC) WHERE status = 'active';
CREATE INDEX product_search ON product USING gin (search);

-- Found as it is written ("simple": names, codes, languages other than English)
-- and by its stem ("english").
CREATE FUNCTION product_search_fill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.search :=
    setweight(to_tsvector('simple', NEW.title), 'A') ||
    setweight(to_tsvector('english', NEW.title), 'B') ||
    setweight(to_tsvector('simple', NEW.vendor || ' ' || NEW.type || ' ' ||
                          array_to_string(NEW.tags, ' ')), 'B') ||
    setweight(to_tsvector('english', NEW.summary), 'D');
  RETURN NEW;
END $$;
CREATE TRIGGER product_search_fill
  BEFORE INSERT OR UPDATE OF title, vendor, type, tags, summary ON product
  FOR EACH ROW EXECUTE FUNCTION product_search_fill();

CREATE TABLE product_image (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  product_id bigint NOT NULL REFERENCES product ON DELETE CASCADE,
  position   integer NOT NULL DEFAULT 1 CHECK (position > 0),
  src        text NOT NULL CHECK (src <> '' AND length(src) <= 2000), -- https://... or /media/KEY
  alt        text NOT NULL DEFAULT '' CHECK (length(alt) <= 1000),
  width      integer CHECK (width > 0),
  height     integer CHECK (height > 0),
  UNIQUE (product_id, src),
  UNIQUE (id, product_id), -- so that a variant's picture is one of its product
  CHECK ((width IS NULL) = (height IS NULL))
);
CREATE INDEX product_image_order ON product_image (product_id, position, id);

CREATE TABLE variant (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  product_id bigint NOT NULL REFERENCES product ON DELETE CASCADE,
  position   integer NOT NULL DEFAULT 1 CHECK (position > 0),
  sku        text UNIQUE CHECK (sku <> '' AND length(sku) <= 255),
  options    text[] NOT NULL DEFAULT '{}' -- values, in the order of product.options
             CHECK (cardinality(options) <= 5 AND array_position(options, NULL) IS NULL),
  price      bigint NOT NULL CHECK (price BETWEEN 0 AND 100000000000000),
  compare_at bigint CHECK (compare_at BETWEEN 0 AND 100000000000000),
  stock      integer NOT NULL DEFAULT 0 CHECK (stock >= 0),
  image_id   bigint,
  barcode    text NOT NULL DEFAULT '' CHECK (length(barcode) <= 255),
  grams      integer NOT NULL DEFAULT 0 CHECK (grams >= 0),
  UNIQUE (product_id, options),
  UNIQUE (id, product_id), -- so that a line or sale item cannot mix the two
  FOREIGN KEY (image_id, product_id) REFERENCES product_image (id, product_id)
    ON DELETE SET NULL (image_id)
);
CREATE INDEX variant_order ON variant (product_id, position, id);
CREATE INDEX variant_image ON variant (image_id) WHERE image_id IS NOT NULL;

CREATE TABLE review (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  product_id  bigint NOT NULL REFERENCES product ON DELETE CASCADE,
  author      text NOT NULL CHECK (author <> '' AND length(author) <= 255),
  rating      integer NOT NULL CHECK (rating BETWEEN 1 AND 5),
  title       text NOT NULL DEFAULT '' CHECK (length(title) <= 500),
  body        text NOT NULL DEFAULT '' CHECK (length(body) <= 10000),
  created_at  timestamptz NOT NULL DEFAULT now(),
  UNIQUE (product_id, author, created_at) -- what makes an import repeatable
);
CREATE INDEX review_newest ON review (product_id, created_at DESC, id DESC);

-- The sums stand on the product, so that a list needs no look at the reviews.
-- Once per statement: an import brings many reviews of one product at a time.
CREATE FUNCTION review_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    UPDATE product p SET rating_sum = rating_sum - g.sum,
      rating_count = rating_count - g.count
      FROM (SELECT product_id, sum(rating), count(*) FROM gone GROUP BY product_id) g
      WHERE p.id = g.product_id;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    UPDATE product p SET rating_sum = rating_sum + c.sum,
      rating_count = rating_count + c.count
      FROM (SELECT product_id, sum(rating), count(*) FROM come GROUP BY product_id) c
      WHERE p.id = c.product_id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER review_come AFTER INSERT ON review
  REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION review_count();
CREATE TRIGGER review_changed AFTER UPDATE ON review
  REFERENCING OLD TABLE AS gone NEW TABLE AS come
  FOR EACH STATEMENT EXECUTE FUNCTION review_count();
CREATE TRIGGER review_gone AFTER DELETE ON review
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION review_count();

-- What every cache must forget because of a change, written with the change.
-- Carried out by the writer at once, else by whoever finds it; each web host
-- reads it as a log (by txid, so that rows which commit out of order are not
-- missed) to purge the page cache beside it.
CREATE TABLE invalidation (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  txid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  keys       text[] NOT NULL,     -- of the cache in Redis
  edge_paths text[] NOT NULL,     -- pages to purge by name
  edge_lists boolean NOT NULL,    -- and all pages that show many things
  done_at    timestamptz          -- when Redis was told
);
CREATE INDEX invalidation_log ON invalidation (txid);
CREATE INDEX invalidation_todo ON invalidation (id) WHERE done_at IS NULL;
CREATE INDEX invalidation_old ON invalidation (created_at);
