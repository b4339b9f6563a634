-- Queues elsewhere (SQS, RabbitMQ): a task's row stays while the queue has it.

-- Since when the queue has it; NULL: not sent. Due again (visible_at) after a
-- while: what was sent and never finished is sent again.
ALTER TABLE outbox ADD COLUMN shipped_at timestamptz;

-- Two tasks about one thing are sent in the order they were written in, however
-- many send.
CREATE INDEX outbox_aggregate ON outbox (aggregate, id) WHERE aggregate <> '';
ALTER TABLE dead_task ADD COLUMN aggregate text NOT NULL DEFAULT '';
