-- Which body an upload's Idempotency-Key stands for. The picture itself is one
-- by its content; this tells a key that is used for another one.
CREATE TABLE upload_key (
  id         text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'), -- hash of person, method, path, key
  body_hash  bytea NOT NULL CHECK (octet_length(body_hash) = 32),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX upload_key_old ON upload_key (created_at);
