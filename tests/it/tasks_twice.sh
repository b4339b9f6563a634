#!/bin/bash
# Orders through souk-fcgi and the real workers: each ends as it must, and every
# task delivered again, in whatever order, changes nothing.
. "${srcdir:-.}/tests/it/lib.sh" || exit 99
it_need initdb psql redis-server nginx jq curl
it_start_pg
it_start_redis
it_souk_install
it_mkdir "$IT/mail"
it_start_fcgi "mail.url=maildir:$IT/mail" workers.visibility=2s \
	workers.backoff=50ms workers.max_backoff=200ms workers.max_receives=200 \
	"workers.status_file=$IT/run/workers" "workers.pid_file=$IT/run/workers.pid" \
	order.expires=10m
it_sample
it_start_nginx
sql() { it_psql -c "$1"; }
# Whatever is written to the outbox, for later.
it_psql <<'SQL' || it_bail "trigger"
CREATE TABLE t_copy AS SELECT task_id, queue, type, priority, data FROM outbox;
CREATE FUNCTION t_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO t_copy VALUES (new.task_id, new.queue, new.type,
		new.priority, new.data);
	RETURN new; END $$;
CREATE TRIGGER t_keep AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION t_keep();
SQL
read -r product variant < <(sql "SELECT product_id || ' ' || v.id FROM variant v
	JOIN product p ON p.id = product_id WHERE stock > 20 AND status = 'active'
	ORDER BY v.id LIMIT 1")
before=$(sql "SELECT stock FROM variant WHERE id = $variant")

# order TOKEN QUANTITY: its id and access token
order() {
	it_get /api/orders -H 'Content-Type: application/json' -H "Origin: $SOUK_URL" -d '{"items":[{"productId":'"$product"',
	"variantId":'"$variant"',"quantity":'"$2"'}],"email":"buyer@example.com",
	"address":{"name":"B. Uyer","line1":"1 Street","city":"Town","postalCode":"12345","country":"US"},
	"payment":{"token":"'"$1"'"}}' | tee -a "$IT/orders.log" | jq -r '"\(.id) \(.accessToken)"'
}
workers() {
	it_spawn workers TERM "${IT_AS[@]+"${IT_AS[@]}"}" env -u DATABASE_URL \
		-u REDIS_URL -u SOUK_URL souk-workers
}
left() { sql "SELECT count(*) FROM outbox WHERE visible_at < 'infinity'"; }
is() { [ "$("${@:2}")" = "$1" ]; }
status_of() { sql "SELECT status FROM orders WHERE id = '$1'"; }
mails() { find "$IT/mail" -type f | wc -l; }
all() {
	sql "SELECT 'order', id, status, reason FROM orders ORDER BY id"
	sql "SELECT 'stock', id, stock FROM variant ORDER BY id"
	sql "SELECT 'intent', status, charges, refunded FROM sandbox_intent ORDER BY order_key"
	sql "SELECT 'attempt', order_id, attempt, outcome FROM payment_attempt ORDER BY 2, 3"
	sql "SELECT 'events', count(*) FROM analytics_event"
	sql "SELECT 'dead', count(*) FROM dead_task"
	echo "mails $(mails)"
}
# again ORDER-BY: every task once more
again() {
	sql "INSERT INTO outbox (task_id, queue, type, priority, data, visible_at)
	SELECT task_id, queue, type, priority, data, now() + (row_number() OVER
		(ORDER BY $1)) * interval '1 ms'
	FROM (SELECT DISTINCT ON (task_id) * FROM t_copy) t
	ON CONFLICT (task_id) DO UPDATE SET visible_at = now()"
}

read -r paid _ < <(order tok_ok 2)
read -r declined _ < <(order tok_declined 3)
read -r cancelled token < <(order tok_ok 4)
it_match "orders are placed" "$paid $declined $cancelled" '^([0-9a-f]{32} ?){3}$'
it_eq "one is cancelled before anything happens" "$(it_status \
	"/api/orders/$cancelled/cancel?t=$token" -H "Origin: $SOUK_URL" \
	-H 'Content-Type: application/json' -d '{}')" 200
it_eq "the answer comes before any effect" \
	"$(sql "SELECT stock FROM variant WHERE id = $variant")" "$before"

# Everything at once and backwards: also what is not due yet.
sql "UPDATE outbox SET visible_at = now() - id * interval '1 s'"
workers
it_ok "all is done" it_wait_for 30 is 0 left
it_wait_for 10 is paid status_of "$paid"
it_eq "one is paid" "$(status_of "$paid")" paid
it_eq "the declined one keeps its stock until it expires" "$(status_of "$declined")" reserved
it_eq "the cancelled one is cancelled" "$(status_of "$cancelled")" cancelled
it_eq "stock is taken for two" "$(sql "SELECT stock FROM variant WHERE id = $variant")" $((before - 5))
it_eq "money once" "$(sql "SELECT sum(charges) FROM sandbox_intent")" 1
it_eq "nothing died" "$(sql 'SELECT count(*) FROM dead_task')" 0
it_match "there are e-mails" "$(mails)" '^[3-9]$'

first=$(all)
for how in 'task_id DESC' 'type' 'type DESC' 'random()'; do
	again "$how"
	it_ok "again, by $how" it_wait_for 30 is 0 left
	it_eq "changes nothing" "$(all)" "$first"
done
# A worker dies between its effect and the deletion of the task.
again task_id
for pid in $(sed -n 's/.* pid=\([1-9][0-9]*\) state=running.*/\1/p' "$IT/run/workers"); do
	kill -KILL "$pid"
done
it_ok "killed meanwhile" it_wait_for 30 is 0 left
it_eq "changes nothing either" "$(all)" "$first"

# The declined one is not paid in time.
sql "UPDATE orders SET expires_at = now() - interval '1 s' WHERE id = '$declined'"
it_ok "an unpaid order expires" it_wait_for 15 is cancelled status_of "$declined"
stock_is() { [ "$(sql "SELECT stock FROM variant WHERE id = $variant")" = "$1" ]; }
it_ok "and its stock comes back" it_wait_for 15 stock_is $((before - 2))
it_wait_for 20 is 0 left
first=$(all)
again 'random()'
it_ok "all tasks once more" it_wait_for 30 is 0 left
it_eq "change nothing" "$(all)" "$first"
it_stop workers
it_summary
