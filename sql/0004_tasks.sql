-- What must follow a change is written with it, as rows of the outbox. With the
-- embedded queue the workers take them from here.

CREATE TABLE outbox (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id      text NOT NULL UNIQUE CHECK (task_id ~ '^[0-9a-f]{32}$'),
  queue        text NOT NULL
               CHECK (queue IN ('inventory', 'payment', 'email', 'image', 'analytics', 'housekeeping')),
  type         text NOT NULL CHECK (type <> ''),
  priority     text NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
  aggregate    text NOT NULL DEFAULT '', -- order is kept within one
  data         jsonb NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  visible_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  receives     integer NOT NULL DEFAULT 0 CHECK (receives >= 0),
  lease        text,        -- receipt handle of the holder
  lease_until  timestamptz,
  last_error   text NOT NULL DEFAULT '',
  CHECK ((lease IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX outbox_ready ON outbox (queue, visible_at, id);
CREATE INDEX outbox_aggregate ON outbox (aggregate, id) WHERE aggregate <> '';

-- A task's id is recorded in the transaction of its effect: delivered twice, it
-- acts once.
CREATE TABLE finished_task (
  task_id     text PRIMARY KEY,
  finished_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX finished_task_old ON finished_task (finished_at);

CREATE TABLE dead_task (
  task_id    text PRIMARY KEY,
  queue      text NOT NULL,
  type       text NOT NULL,
  data       jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  died_at    timestamptz NOT NULL DEFAULT now(),
  receives   integer NOT NULL CHECK (receives >= 0),
  error      text NOT NULL, -- the original one
  history    jsonb NOT NULL DEFAULT '[]'
);
CREATE INDEX dead_task_queue ON dead_task (queue, died_at DESC);

CREATE TABLE analytics_event (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        text NOT NULL CHECK (name <> '' AND length(name) <= 100),
  customer_id bigint,
  order_id    text,
  data        jsonb NOT NULL DEFAULT '{}',
  at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX analytics_event_time ON analytics_event USING brin (at);
