-- Queues as an operator runs them, whichever service carries them.

-- Nobody takes tasks from these until they are resumed.
CREATE TABLE queue_pause (
  queue text PRIMARY KEY,
  at    timestamptz NOT NULL DEFAULT now()
);

-- Of a type with a limit as many may be worked on as it has slots. A slot is
-- leased, so that it comes free where its holder dies.
CREATE TABLE task_slot (
  type   text NOT NULL,
  slot   integer NOT NULL CHECK (slot > 0),
  holder text NOT NULL,
  until  timestamptz NOT NULL,
  PRIMARY KEY (type, slot)
) WITH (fillfactor = 50);

-- What went through a queue, by the minute (since 1970), for a day.
CREATE TABLE queue_minute (
  queue  text NOT NULL,
  minute bigint NOT NULL,
  came   bigint NOT NULL, -- of those that are done: written in that minute
  done   bigint NOT NULL,
  failed bigint NOT NULL, -- tries
  PRIMARY KEY (queue, minute)
) WITH (fillfactor = 50);
