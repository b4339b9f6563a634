-- People, their sessions, and the tokens of programs.
-- Of a secret only a hash is kept, so that a stolen backup opens nothing.

CREATE TABLE customer (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email         text NOT NULL CHECK (length(email) <= 254 AND position('@' IN email) > 1),
  password_hash text NOT NULL DEFAULT '' CHECK (length(password_hash) <= 200), -- '': cannot log in
  name          text NOT NULL DEFAULT '' CHECK (length(name) <= 255),
  role          text NOT NULL DEFAULT 'buyer' CHECK (role IN ('buyer', 'admin')),
  created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX customer_email ON customer (lower(email));

CREATE TABLE session (
  token_hash  bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
  customer_id bigint NOT NULL REFERENCES customer ON DELETE CASCADE,
  created_at  timestamptz NOT NULL DEFAULT now(),
  seen_at     timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL,
  user_agent  text NOT NULL DEFAULT '' CHECK (length(user_agent) <= 500),
  CHECK (expires_at > created_at)
);
CREATE INDEX session_customer ON session (customer_id, created_at DESC);
CREATE INDEX session_expiry ON session (expires_at);

CREATE TABLE password_reset (
  token_hash  bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
  customer_id bigint NOT NULL REFERENCES customer ON DELETE CASCADE,
  expires_at  timestamptz NOT NULL,
  used_at     timestamptz
);
CREATE INDEX password_reset_customer ON password_reset (customer_id);

CREATE TABLE api_token (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  token_hash  bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
  role        text NOT NULL CHECK (role IN ('admin')),
  name        text NOT NULL DEFAULT '' CHECK (length(name) <= 255),
  created_at  timestamptz NOT NULL DEFAULT now(),
  revoked_at  timestamptz
);
