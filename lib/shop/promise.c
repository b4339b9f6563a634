#include "shop/promise.h"

#include <string.h>

#include "base/arena.h"
#include "shop/shop.h"
#include "store/pg.h"
#include "store/redis.h"

static const struct pg_stmt promise_settings = { "promise_settings",
	"SELECT current_setting('fsync'), current_setting('full_page_writes'),"
	" current_setting('synchronous_commit')",
	0 };

struct told {
	void (*line)(void *arg, const char *what, const char *why);
	void *arg;
	int *n;
};

static void
tell(const struct told *t, const char *what, const char *why)
{
	++*t->n;
	t->line(t->arg, what, why);
}

static enum rc
check_postgres(
    struct shop *shop, const struct told *t, struct arena *arena, struct err *e)
{
	struct pg_rows r;
	enum rc rc = pg_exec(
	    shop->pg, PG_PRIMARY, &promise_settings, NULL, arena, &r, e);

	if (rc != RC_OK)
		return rc;
	if (strcmp(pg_str(&r, 0, 0), "on") != 0)
		tell(t, "postgres.fsync", "off: a power cut loses orders");
	if (strcmp(pg_str(&r, 0, 1), "on") != 0)
		tell(t, "postgres.full_page_writes",
		    "off: a power cut may tear pages");
	if (strcmp(pg_str(&r, 0, 2), "off") == 0)
		tell(t, "postgres.synchronous_commit",
		    "off: an order that was answered 200 may be lost");
	return RC_OK;
}

static enum rc
check_redis(
    struct shop *shop, const struct told *t, struct arena *arena, struct err *e)
{
	struct redis_reply r;
	enum rc rc = redis_callv(
	    shop->sale_redis, NULL, arena, &r, e, "INFO", "memory", NULL);

	if (rc != RC_OK)
		return rc;
	if (r.type == RT_STRING && r.str.p != NULL &&
	    strstr(r.str.p, "maxmemory_policy:allkeys") != NULL)
		tell(t, "redis.maxmemory-policy",
		    "allkeys: it evicts the counters of running sales; set "
		    "volatile-lru");
	return RC_OK;
}

enum rc
promise_check(struct shop *shop,
    void (*line)(void *arg, const char *what, const char *why), void *arg,
    int *n, struct arena *arena, struct err *e)
{
	const struct told t = { line, arg, n };
	struct err other;
	enum rc rc, redis_rc;

	*n = 0;
	rc = check_postgres(shop, &t, arena, e);
	redis_rc = check_redis(shop, &t, arena, rc == RC_OK ? e : &other);
	return rc != RC_OK ? rc : redis_rc;
}
