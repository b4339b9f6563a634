-- Pictures that the shop keeps itself: uploaded, or fetched from where a
-- catalogue names them. Whoever knows nothing of it goes on as before.

-- src is what a picture is known by within its product: an address, or of an
-- uploaded one "/media/" and its hash, which is not served. What shows a
-- picture that is ready are its variants:
-- [{"format":"webp","width":640,"height":427,"bytes":31000,"key":"..."}]
ALTER TABLE product_image
  ADD COLUMN status text NOT NULL DEFAULT 'external', -- external: none of ours
  ADD COLUMN original text,                    -- its key; never served
  ADD COLUMN problem text NOT NULL DEFAULT '', -- "code: words for a person"
  ADD COLUMN variants jsonb NOT NULL DEFAULT '[]';
-- What is there fulfils them: nobody waits for a look at all of it.
ALTER TABLE product_image
  ADD CONSTRAINT product_image_status
    CHECK (status IN ('external', 'waiting', 'ready', 'failed')) NOT VALID,
  ADD CONSTRAINT product_image_original
    CHECK (original <> '' AND length(original) <= 200) NOT VALID,
  ADD CONSTRAINT product_image_problem
    CHECK (length(problem) <= 500) NOT VALID,
  ADD CONSTRAINT product_image_variants
    CHECK (jsonb_typeof(variants) = 'array'
      AND (status <> 'ready' OR variants <> '[]')) NOT VALID;

-- Few rows each, so that they are made quickly.
CREATE INDEX product_image_todo ON product_image (id)
  WHERE status IN ('waiting', 'failed');
CREATE INDEX product_image_original ON product_image (original)
  WHERE original IS NOT NULL;
CREATE INDEX product_image_keys ON product_image USING gin (variants jsonb_path_ops)
  WHERE status = 'ready';

-- Objects that no picture may refer to: noted before they are stored, struck
-- out with the commit that refers to them, noted again when that picture goes.
-- What stands here for long is looked for and deleted.
CREATE TABLE image_loose (
  store text NOT NULL CHECK (store IN ('media', 'originals')),
  key   text NOT NULL CHECK (key <> ''),
  at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (store, key)
);
CREATE INDEX image_loose_old ON image_loose (at);

CREATE FUNCTION product_image_loose() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO image_loose (store, key)
    SELECT 'media', v ->> 'key' FROM jsonb_array_elements(OLD.variants) v
    UNION SELECT 'originals', OLD.original WHERE OLD.original IS NOT NULL
    ORDER BY 1, 2
  ON CONFLICT (store, key) DO UPDATE SET at = excluded.at;
  RETURN NULL;
END $$;
CREATE TRIGGER product_image_gone AFTER DELETE ON product_image
  FOR EACH ROW WHEN (OLD.status <> 'external')
  EXECUTE FUNCTION product_image_loose();
CREATE TRIGGER product_image_changed
  AFTER UPDATE OF original, variants ON product_image
  FOR EACH ROW WHEN (OLD.variants IS DISTINCT FROM NEW.variants
    OR OLD.original IS DISTINCT FROM NEW.original)
  EXECUTE FUNCTION product_image_loose();
