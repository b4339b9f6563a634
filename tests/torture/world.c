#include "world.h"

#include <check.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/strbuf.h"
#include "fault.h"
#include "shop/notice.h"
#include "shop/order.h"
#include "store/mail.h"
#include "store/outbox.h"
#include "store/pay.h"
#include "store/queue.h"

struct world world;
struct work work;

static struct pg *beside;
static struct reconciler *reconciler;
static char maildir[96];
static struct mail *mail;
static struct notices *notices;

/* ---- looking */

void
look_run(const char *sql)
{
	ck_assert_msg(
	    pg_run(beside, sql, 20000, &e) == RC_OK, "%s: %s", sql, e.msg);
}

static const char *look_v(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0)));

static const char *
look_v(const char *fmt, va_list ap)
{
	struct pg_stmt st = { "look", NULL, 0 };
	struct pg_rows rows;

	st.sql = arena_vprintf(arena, fmt, ap);
	ck_assert_msg(
	    pg_exec(beside, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s: %s", st.sql, e.msg);
	return rows.n == 0 ? "" : pg_str(&rows, 0, 0);
}

const char *
look(const char *fmt, ...)
{
	const char *s;
	va_list ap;

	va_start(ap, fmt);
	s = look_v(fmt, ap);
	va_end(ap);
	return s;
}

int64_t
look_int(const char *fmt, ...)
{
	const char *s;
	va_list ap;

	va_start(ap, fmt);
	s = look_v(fmt, ap);
	va_end(ap);
	return strtoll(s, NULL, 10);
}

static void
redis_do(const char *what, ...)
{
	struct redis_reply r;
	struct span argv[8] = { span_of(what) };
	const char *word;
	int n = 1;
	va_list ap;

	va_start(ap, what);
	while ((word = va_arg(ap, const char *)) != NULL && n < 8)
		argv[n++] = span_of(word);
	va_end(ap);
	ck_assert_msg(
	    redis_call(shop->sale_redis, NULL, n, argv, arena, &r, &e) == RC_OK,
	    "%s: %s", what, e.msg);
}

/* ---- opening */

static void
work_open(void)
{
	work = (struct work){ .conf = shop->conf,
		.shop = shop,
		.arena = arena,
		.mail = mail,
		.notices = notices };
	ck_assert_msg(payment_open(&work, &e) == RC_OK, "%s", e.msg);
	reconciler = reconciler_new(shop);
	work.reconciler = reconciler;
}

static void
work_close(void)
{
	reconciler_free(reconciler);
	pay_close(work.pay);
}

const char *
world_maildir(void)
{
	return maildir;
}

void
world_open(void)
{
	(void)snprintf(maildir, sizeof maildir, "/tmp/souk-torture.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(maildir));
	/* By the environment, since a worker reads it there. */
	setenv("SOUK_SALE_DEADLINE", "100ms", 1);
	setenv("SOUK_PAYMENT_TIMEOUT", "2s", 1);
	setenv("SOUK_MAIL_URL", "maildir:/nonexistent", 1);
	buying_set_up();
	/* "pooler": nothing is prepared under a name. */
	beside = pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .connect_ms = 10000,
	    .query_ms = 30000,
	    .pooler = true,
	    .app_name = "beside" });
	ck_assert_msg(
	    mail_open(&(struct mail_opts){ .url = arena_concat(arena,
					       "maildir:", maildir, NULL),
			  .from = "Shop <shop@x.test>",
			  .timeout_ms = 5000 },
		&mail, &e) == RC_OK,
	    "%s", e.msg);
	ck_assert_msg(notices_open(shop, &notices, &e) == RC_OK, "%s", e.msg);
	work_open();
	fault_sleep_virtual(true);
}

static void
maildir_empty(bool remove)
{
	static const char *const subs[] = { "new", "tmp", "cur" };

	for (int i = 0; i < 3; i++) {
		const char *dir =
		    arena_concat(arena, maildir, "/", subs[i], NULL);
		DIR *dp = opendir(dir);
		struct dirent *d;

		while (dp != NULL && (d = readdir(dp)) != NULL) {
			if (d->d_name[0] != '.')
				(void)unlink(arena_concat(
				    arena, dir, "/", d->d_name, NULL));
		}
		if (dp != NULL)
			closedir(dp);
		if (remove)
			(void)rmdir(dir);
	}
	if (remove)
		(void)rmdir(maildir);
}

void
world_close(void)
{
	fault_sleep_virtual(false);
	maildir_empty(true);
	work_close();
	notices_close(notices);
	mail_close(mail);
	pg_free(beside);
	buying_tear_down();
}

/* The notices borrow the shop's configuration: they stay with the first. */
void
world_reopen(void)
{
	struct shop *old = shop;

	work_close();
	ck_assert_int_eq(shop_open(old->conf, "test", NULL, &shop, &e), RC_OK);
	shop_close(old);
	work_open();
}

void
world_forked(void)
{
	ck_assert_int_eq(shop_open(shop->conf, "test", NULL, &shop, &e), RC_OK);
	work_open();
}

void
world_wipe(void)
{
	arena_reset(arena);
	maildir_empty(false);
	look_run("DELETE FROM cart; DELETE FROM sale_unit; DELETE FROM"
		 " payment_attempt; DELETE FROM payment; DELETE FROM orders;"
		 "DELETE FROM sale; DELETE FROM product; DELETE FROM customer;"
		 "DELETE FROM outbox; DELETE FROM finished_task;"
		 "DELETE FROM dead_task; DELETE FROM sandbox_intent;"
		 "DELETE FROM sandbox_call; DELETE FROM analytics_event;"
		 "DELETE FROM clock_turn;"
		 "DELETE FROM invalidation");
	redis_do("FLUSHALL", NULL);
	memset(shop->arming, 0, sizeof shop->arming);
	shop->waker.noted = 0;
	reconciler_free(reconciler);
	work.reconciler = reconciler = reconciler_new(shop);
	world = (struct world){ .id = 1, .total = STOCK };
	world.product =
	    look_int("INSERT INTO product (handle, title, status)"
		     " VALUES ('mug', 'Mug', 'active') RETURNING id");
	world.variant = look_int(
	    "INSERT INTO variant (product_id, position, sku, options, price,"
	    " stock) VALUES (%lld, 1, 'mug', ARRAY['red'], %d, %d)"
	    " RETURNING id",
	    (long long)world.product, PRICE, STOCK);
	world.customer = look_int("INSERT INTO customer (email) VALUES"
				  " ('one@x.test') RETURNING id");
	world.other = look_int("INSERT INTO customer (email) VALUES"
			       " ('two@x.test') RETURNING id");
}

void
given_item(const char *state)
{
	world.sale_id = look_int(
	    "INSERT INTO sale (title, starts_at, ends_at) VALUES ('s', now()"
	    " - interval '1 hour', now() + interval '1 hour') RETURNING id");
	world.item = look_int(
	    "INSERT INTO sale_item (sale_id, product_id, variant_id, price,"
	    " allotment, per_buyer, state) VALUES (%lld, %lld, %lld, 3000, %d,"
	    " 1, '%s') RETURNING id",
	    (long long)world.sale_id, (long long)world.product,
	    (long long)world.variant, ALLOTMENT, state);
	world.ref = (struct counter_ref){ world.sale_id, world.variant };
	if (strcmp(state, "open") == 0)
		world.total += ALLOTMENT;
}

static void
may_arm_again(void)
{
	memset(shop->arming, 0, sizeof shop->arming);
	look_run("UPDATE sale_item SET armed_at = NULL");
}

void
given_counter(void)
{
	may_arm_again();
	ck_assert_msg(
	    sale_arm(shop, world.ref, arena, &e) == RC_OK, "%s", e.msg);
	may_arm_again();
}

static const char *
key(const char *tail)
{
	return arena_printf(arena, "stock:{%lld:%lld}%s",
	    (long long)world.sale_id, (long long)world.variant, tail);
}

void
counter_lost(void)
{
	redis_do("DEL", key(""), NULL);
}

/* ---- a worker, as workers/worker.c turns it */

static const struct task_row *
rows_of(const char *name)
{
	if (strcmp(name, "inventory") == 0)
		return inventory_tasks;
	if (strcmp(name, "payment") == 0)
		return payment_tasks;
	if (strcmp(name, "email") == 0)
		return email_tasks;
	return housekeeping_tasks;
}

static enum rc
run_one(const char *name, const struct task *task, struct err *err)
{
	for (const struct task_row *r = rows_of(name); r->type != NULL; r++) {
		if (strcmp(r->type, task->type) == 0)
			return r->run(&work, task, err);
	}
	return err_set(err, RC_INVALID, "unknown_task_type", "%s", task->type);
}

static void
settle(struct queue *queue, const struct task *task, enum rc rc,
    const struct err *told)
{
	const char *why =
	    arena_concat(arena, told->code, ": ", told->msg, NULL);
	struct err err;

	/* What fails here: the task comes again, and finds its effect done. */
	if (rc == RC_INVALID)
		(void)!queue_bury(queue, task, why, arena, &err);
	else if (rc == RC_RETRY || rc == RC_FAIL)
		(void)!queue_return(queue, task, 0, why, arena, &err);
	else
		(void)!queue_done(queue, 1, &task, NULL, arena, &err);
}

enum rc
world_work(const char *name, struct err *err)
{
	struct queue_opts opts = { .url = "pg:",
		.name = name,
		.visibility_ms = 60000,
		.max_receives = 100,
		.pg = shop->pg };
	bool batch = strcmp(name, "analytics") == 0;
	enum rc rcs[QUEUE_BATCH] = { RC_OK }, rc, worst = RC_OK;
	struct queue *queue = NULL;
	struct task *tasks;
	int n = 0;

	if (queue_open(&opts, &queue, err) != RC_OK)
		return RC_FAIL;
	rc = queue_receive(queue, QUEUE_BATCH, 0, arena, &tasks, &n, err);
	if (rc != RC_OK)
		worst = rc;
	if (batch && n > 0)
		worst = rc = analytics_batch(&work, n, tasks, rcs, err);
	for (int i = 0; i < n; i++) {
		struct err one = ERR_INIT;

		if (!batch)
			rcs[i] = run_one(name, &tasks[i], &one);
		else if (rc != RC_OK)
			rcs[i] = rc;
		if (rcs[i] != RC_OK && worst == RC_OK) {
			worst = rcs[i];
			*err = one;
		}
		settle(queue, &tasks[i], rcs[i], batch ? err : &one);
	}
	queue_close(queue);
	return worst;
}

void
world_hurry(void)
{
	look_run("UPDATE outbox SET visible_at = now(), lease = NULL,"
		 " lease_until = NULL WHERE visible_at < 'infinity'");
}

bool
world_has_work(const char *queue)
{
	return look_int("SELECT count(*) FROM outbox WHERE queue = '%s'"
			" AND visible_at < 'infinity'",
		   queue) > 0;
}

/* ---- the dust settles */

/* Holds are as old as the reconciler waits for. */
static void
holds_age(void)
{
	struct redis_reply r;

	redis_do("PING", NULL);
	ck_assert_int_eq(redis_callv(shop->sale_redis, NULL, arena, &r, &e,
			     "ZRANGEBYSCORE", key(":open"), "1", "+inf", NULL),
	    RC_OK);
	for (size_t i = 0; i < r.n; i++)
		redis_do("ZADD", key(":open"), "1", r.item[i].str.p, NULL);
}

/* Everybody has his turn until nothing is left to do, and once more for the
 * reconciler's second look. */
void
world_settle(void)
{
	struct err err = ERR_INIT;

	for (int round = 0; round < 8; round++) {
		bool busy = false;
		int n;

		fault_clock_jump(3000);
		may_arm_again();
		if (world.sale_id != 0)
			holds_age();
		(void)!reconciler_turn(reconciler, arena, &err);
		(void)!order_expire(shop, 100, arena, &n, &err);
		for (int i = 0; i < 8; i++) {
			const char *queue =
			    look("SELECT queue FROM outbox WHERE visible_at <"
				 " 'infinity' ORDER BY receives, id LIMIT 1");

			if (*queue == '\0')
				break;
			busy = true;
			world_hurry();
			(void)!world_work(queue, &err);
		}
		if (!busy && world_check() == NULL)
			return;
	}
}

/* ---- what must be true */

/* Each is a row for a fault. */
static const char checks[] =
    /* units and orders */
    "SELECT 'order ' || o.id || ' is ' || o.status || ' with ' ||"
    "  count(u.unit) || ' units' FROM orders o LEFT JOIN sale_unit u ON"
    "  u.order_id = o.id WHERE o.sale_item_id IS NOT NULL GROUP BY o.id"
    "  HAVING count(u.unit) <> CASE WHEN o.status IN ('reserved', 'paid',"
    "   'fulfilled') THEN 1 ELSE 0 END"
    " UNION ALL SELECT 'unit ' || unit || ' is nobody''s' FROM sale_unit u"
    "  JOIN sale_item i ON i.id = u.item_id WHERE u.order_id IS NULL AND"
    "  i.state <> 'closed'"
    " UNION ALL SELECT 'buyer ' || buyer || ' has ' || count(*) FROM sale_unit"
    "  WHERE buyer IS NOT NULL GROUP BY item_id, buyer HAVING count(*) > 1"
    " UNION ALL SELECT 'closed with ' || count(u.unit) || ' of ' ||"
    "  i.allotment FROM sale_item i LEFT JOIN sale_unit u ON u.item_id = i.id"
    "  WHERE i.state = 'closed' GROUP BY i.id HAVING count(u.unit) <>"
    "  i.allotment"
    " UNION ALL SELECT 'order ' || id || ' has expired' FROM orders WHERE"
    "  status IN ('pending', 'reserved') AND expires_at <= now()"
    " UNION ALL SELECT 'order ' || o.id || ' has ' || count(l.line) || ' lines'"
    "  FROM orders o LEFT JOIN order_line l ON l.order_id = o.id GROUP BY o.id"
    "  HAVING count(l.line) <> 1"
    /* money */
    " UNION ALL SELECT 'charged ' || charges || ' times' FROM sandbox_intent"
    "  WHERE charges > 1"
    " UNION ALL SELECT 'order ' || o.id || ' is ' || o.status || ', ' ||"
    "  coalesce(b.kept, 0) || ' was kept of ' || o.total FROM orders o LEFT"
    "  JOIN (SELECT p.order_id, b.charges * b.amount - b.refunded AS kept FROM"
    "   payment p JOIN sandbox_intent b ON b.id = p.intent) b ON b.order_id ="
    "  o.id WHERE coalesce(b.kept, 0) <> CASE WHEN o.status IN ('paid',"
    "   'fulfilled') THEN o.total ELSE 0 END"
    " UNION ALL SELECT 'money for no order' FROM sandbox_intent b WHERE NOT"
    "  EXISTS (SELECT FROM payment p WHERE p.intent = b.id) AND charges > 0"
    " UNION ALL SELECT 'an attempt of unknown outcome' FROM payment_attempt"
    "  WHERE outcome = 'unknown'"
    /* tasks */
    " UNION ALL SELECT 'task ' || type || ' is left: ' || last_error FROM"
    "  outbox"
    " UNION ALL SELECT 'task ' || type || ' is dead: ' || error FROM dead_task"
    " UNION ALL SELECT 'order ' || o.id || ' was told ' || count(a.id) ||"
    "  ' times as placed' FROM orders o LEFT JOIN analytics_event a ON"
    "  a.order_id = o.id AND a.name = 'order_placed' GROUP BY o.id HAVING"
    "  count(a.id) <> 1"
    " UNION ALL SELECT 'told twice: ' || name FROM analytics_event WHERE"
    "  order_id IS NOT NULL GROUP BY order_id, name HAVING count(*) > 1";

static void
check_sql(struct strbuf *out)
{
	struct pg_stmt st = { "look", checks, 0 };
	struct pg_rows rows;
	int64_t now;

	ck_assert_msg(
	    pg_exec(beside, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s", e.msg);
	for (int i = 0; i < rows.n; i++)
		strbuf_addf(out, "%s; ", pg_str(&rows, i, 0));
	now = look_int(
	    "SELECT v.stock"
	    " + (SELECT coalesce(sum(l.quantity), 0) FROM order_line l JOIN"
	    "  orders o ON o.id = l.order_id WHERE o.sale_item_id IS NULL AND"
	    "  o.status IN ('reserved', 'paid', 'fulfilled'))"
	    " + (SELECT coalesce(sum(CASE state WHEN 'open' THEN allotment WHEN"
	    "  'closed' THEN (SELECT count(*) FROM sale_unit u WHERE u.item_id"
	    "   = i.id AND u.order_id IS NOT NULL) ELSE 0 END), 0) FROM"
	    "  sale_item i) FROM variant v WHERE v.id = %lld",
	    (long long)world.variant);
	if (now != world.total)
		strbuf_addf(out, "there are %lld units, there were %lld; ",
		    (long long)now, (long long)world.total);
}

/* Sold + for sale = allotment, each number once. */
static void
check_counter(struct strbuf *out)
{
	struct redis_reply main, free, holds;
	struct err err = ERR_INIT;
	struct pg_stmt st = { "look",
		"SELECT u.unit, i.epoch FROM sale_item i LEFT JOIN sale_unit u"
		" ON u.item_id = i.id WHERE i.state = 'open'",
		0 };
	struct pg_rows rows;
	int seen[ALLOTMENT + 1] = { 0 };
	int64_t next, n_units = 0;

	ck_assert_msg(
	    pg_exec(beside, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s", e.msg);
	if (rows.n == 0)
		return;
	if (redis_callv(shop->sale_redis, NULL, arena, &main, &err, "HMGET",
		key(""), "state", "next", "epoch", NULL) != RC_OK ||
	    redis_callv(shop->sale_redis, NULL, arena, &free, &err,
		"ZRANGEBYSCORE", key(":free"), "1", "+inf", NULL) != RC_OK ||
	    redis_callv(shop->sale_redis, NULL, arena, &holds, &err, "HLEN",
		key(":holds"), NULL) != RC_OK) {
		strbuf_addf(out, "the counter: %s; ", err.msg);
		return;
	}
	if (main.item[0].type != RT_STRING ||
	    !span_is(main.item[0].str, "armed")) {
		strbuf_adds(out, "the counter is not armed; ");
		return;
	}
	if (redis_num(&main.item[2], -1) != pg_int(&rows, 0, 1))
		strbuf_adds(out, "the counter's epoch is another; ");
	for (int i = 0; i < rows.n; i++) {
		if (pg_cell(&rows, i, 0).p == NULL)
			continue;
		n_units++;
		seen[pg_int(&rows, i, 0)]++;
	}
	next = redis_num(&main.item[1], 0);
	for (int u = 1; u <= ALLOTMENT; u++)
		seen[u] += u >= next;
	for (size_t i = 0; i < free.n; i++)
		seen[redis_num(&free.item[i], 0)]++;
	for (int u = 1; u <= ALLOTMENT; u++) {
		if (seen[u] == 0)
			strbuf_addf(out, "unit %d is lost; ", u);
		else if (seen[u] > 1)
			strbuf_addf(out, "unit %d is sold and for sale; ", u);
	}
	if (redis_num(&holds, 0) - 1 != n_units)
		strbuf_addf(out, "%lld holds for %lld units; ",
		    (long long)redis_num(&holds, 0) - 1, (long long)n_units);
}

static bool
has_mail(const char *type, const char *task_key)
{
	char id[TASK_ID_CHARS + 1];

	task_id(type, task_key, id);
	return access(arena_concat(arena, maildir, "/new/", id, NULL), F_OK) ==
	       0;
}

/* Each order's, once, and nothing else; nothing left in tmp/. */
static void
check_mails(struct strbuf *out)
{
	struct pg_stmt st = { "look",
		"SELECT id, status FROM orders WHERE email <> ''", 0 };
	struct pg_rows rows;
	int want = world.n_mails, got = 0, left = 0;

	ck_assert_msg(
	    pg_exec(beside, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s", e.msg);
	for (int i = 0; i < rows.n; i++) {
		const char *id = pg_str(&rows, i, 0);
		const char *status = pg_str(&rows, i, 1);

		want++;
		if (!has_mail("order_confirmation", id))
			strbuf_addf(out, "order %s is not confirmed; ", id);
		if (strcmp(status, "paid") != 0 &&
		    strcmp(status, "cancelled") != 0)
			continue;
		want++;
		if (!has_mail("send_email",
			arena_concat(arena, id, ":order_", status, NULL)))
			strbuf_addf(out, "order %s: no mail that it is %s; ",
			    id, status);
	}
	for (int i = 0; i < 2; i++) {
		DIR *dp = opendir(arena_concat(
		    arena, maildir, i == 0 ? "/new" : "/tmp", NULL));
		struct dirent *d;

		ck_assert_ptr_nonnull(dp);
		while ((d = readdir(dp)) != NULL)
			*(i == 0 ? &got : &left) += d->d_name[0] != '.';
		closedir(dp);
	}
	if (got != want)
		strbuf_addf(out, "%d mails for %d; ", got, want);
	(void)left;
}

const char *
world_check(void)
{
	struct strbuf sb;
	const char *s = NULL;

	strbuf_init(&sb, 256);
	check_sql(&sb);
	check_counter(&sb);
	check_mails(&sb);
	if (sb.len > 0)
		s = arena_strdup(arena, sb.s);
	strbuf_release(&sb);
	return s;
}
