#include "buying.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/xmalloc.h"
#include "shop/settings.h"
#include "store/migrate.h"

extern char **environ;

struct redis_server server;
struct arena *arena;
struct shop *shop;
struct err e;

static struct pg *
new_pg(void)
{
	return pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .connect_ms = 5000,
	    .query_ms = 30000,
	    .app_name = "test" });
}

void
buying_migrate(void)
{
	struct migrate_opts opts = { .wait_ms = 10000 };
	struct pg *pg = new_pg();
	const char *dir;
	int applied;

	arena = arena_new();
	dir = arena_concat(arena, getenv("srcdir"), "/sql", NULL);
	if (migrate_run(pg, dir, &opts, arena, &applied, &e) != RC_OK) {
		fprintf(stderr, "migrate: %s\n", e.msg);
		exit(EXIT_FAILURE);
	}
	pg_free(pg);
	arena_free(arena);
}

struct shop *
shop_another(const char *redis_url)
{
	struct conf *conf = NULL; /* freed with it */
	struct shop *out = NULL;

	ck_assert_int_eq(setenv("REDIS_URL", redis_url, 1), 0);
	ck_assert_int_eq(
	    conf_load(settings_rows, NULL, environ, &conf, NULL, &e), RC_OK);
	ck_assert_int_eq(shop_open(conf, "test", NULL, &out, &e), RC_OK);
	return out;
}

void
shop_end(struct shop *sh)
{
	struct conf *conf = (struct conf *)(uintptr_t)sh->conf;

	shop_close(sh);
	conf_free(conf);
}

void
buying_set_up(void)
{
	/* Long: the machine may be busy with other tests. */
	ck_assert_int_eq(setenv("SOUK_REDIS_COMMAND", "5s", 1), 0);
	ck_assert_int_eq(setenv("SOUK_POSTGRES_QUERY", "10s", 1), 0);
	ck_assert_int_eq(setenv("SOUK_POSTGRES_CONNECT", "5s", 1), 0);
	arena = arena_new();
	redis_server_start(&server);
	shop = shop_another(server.url);
}

void
buying_tear_down(void)
{
	shop_end(shop);
	redis_server_remove(&server);
	arena_free(arena);
}

void
sql(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = arena_vprintf(arena, fmt, ap);
	va_end(ap);
	ck_assert_msg(
	    pg_run(shop->pg, text, 20000, &e) == RC_OK, "%s: %s", text, e.msg);
}

int64_t
number(const char *fmt, ...)
{
	struct pg *once = new_pg(); /* st does not live on */
	struct pg_stmt st = { "test", NULL, 0 };
	struct pg_rows rows;
	int64_t n;
	va_list ap;

	va_start(ap, fmt);
	st.sql = arena_vprintf(arena, fmt, ap);
	va_end(ap);
	ck_assert_msg(
	    pg_exec(once, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s: %s", st.sql, e.msg);
	n = rows.n == 0 ? -1 : pg_int(&rows, 0, 0);
	pg_free(once);
	return n;
}

struct sale
given_sale(int allotment, int limit)
{
	struct sale s;

	s.product_id = number("INSERT INTO product (handle, title, status)"
			      " VALUES (md5(random()::text), 'Mug', 'active')"
			      " RETURNING id");
	s.variant_id = number("INSERT INTO variant (product_id, position, sku,"
			      " options, price, stock) VALUES (%lld, 1,"
			      " md5(random()::text), ARRAY['red'], 5000, 7)"
			      " RETURNING id",
	    (long long)s.product_id);
	s.sale_id = number(
	    "INSERT INTO sale (title, starts_at, ends_at) VALUES"
	    " ('s', now() - interval '1 hour', now() + interval '1 hour')"
	    " RETURNING id");
	s.item_id = number("INSERT INTO sale_item (sale_id, product_id,"
			   " variant_id, price, allotment, per_buyer, state)"
			   " VALUES (%lld, %lld, %lld, 3000, %d, %d, 'open')"
			   " RETURNING id",
	    (long long)s.sale_id, (long long)s.product_id,
	    (long long)s.variant_id, allotment, limit);
	s.ref = (struct counter_ref){ s.sale_id, s.variant_id };
	return s;
}

void
may_arm(const struct sale *sale)
{
	sql("UPDATE sale_item SET armed_at = NULL WHERE id = %lld",
	    (long long)sale->item_id);
	memset(shop->arming, 0, sizeof shop->arming);
}

void
arm(const struct sale *sale)
{
	may_arm(sale);
	ck_assert_msg(sale_arm(shop, sale->ref, arena, &e) == RC_OK, "%s: %s",
	    e.code, e.msg);
}

struct sale
given_armed(int allotment, int limit)
{
	struct sale s = given_sale(allotment, limit);

	arm(&s);
	return s;
}

int64_t
given_customers(int n)
{
	return number("WITH c AS (INSERT INTO customer (email)"
		      " SELECT md5(random()::text) || '@x.test'"
		      " FROM generate_series(1, %d) RETURNING id)"
		      " SELECT min(id) FROM c",
	    n);
}

void
given_order(const struct sale *sale, const char *id, int64_t customer, int unit,
    int slot)
{
	sql("INSERT INTO orders (id, customer_id, sale_item_id, status,"
	    " currency, total) VALUES ('%s', %lld, %lld, 'reserved', 'USD',"
	    " 3000);"
	    "INSERT INTO sale_unit VALUES (%lld, %d, '%s', '%lld', %d)",
	    id, (long long)customer, (long long)sale->item_id,
	    (long long)sale->item_id, unit, id, (long long)customer, slot);
}

const char *
id_of(int n)
{
	return arena_printf(
	    arena, "%08llx%024d", (unsigned long long)getpid(), n);
}

struct counter_state
state_of(const struct sale *sale)
{
	struct counter_state st = { 0 };

	ck_assert_msg(
	    counter_state(shop->sale_redis, sale->ref, arena, &st, &e) == RC_OK,
	    "%s", e.msg);
	return st;
}

struct counter_hold
hold(const struct sale *sale, const char *id, const char *buyer)
{
	struct counter_hold out = { 0 };

	ck_assert_msg(counter_hold(shop->sale_redis, sale->ref, id, buyer,
			  arena, &out, &e) == RC_OK,
	    "%s", e.msg);
	return out;
}
