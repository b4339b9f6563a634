/*
 * Whose slots a counter counts. No script: what is read is compared twice
 * (sale_check.c), so it need not be of one moment.
 */
#include "shop/counter_int.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "store/redis.h"

static const char *
buyers_key(struct counter_ref ref, struct arena *arena)
{
	return arena_printf(arena, "stock:{%lld:%lld}:buyers",
	    (long long)ref.sale_id, (long long)ref.variant_id);
}

static const char *
text_of(const struct redis_reply *r)
{
	return r->type == RT_STRING && r->str.p != NULL ? r->str.p : "";
}

static enum rc
misshaped(struct err *e)
{
	return err_set(
	    e, RC_FAIL, "redis_error", "Redis: a sale's buyers are not a hash");
}

enum rc
counter_slots(struct redis *redis, struct counter_ref ref, int n,
    const char *const buyers[], struct arena *arena, const char ***out,
    struct err *e)
{
	const char *key = buyers_key(ref, arena);
	struct span *argv = arena_calloc(arena, (size_t)n + 2, sizeof *argv);
	struct redis_reply r;
	enum rc rc;

	*out = arena_calloc(arena, (size_t)n + 1, sizeof **out);
	if (n == 0)
		return RC_OK;
	argv[0] = span_of("HMGET");
	argv[1] = span_of(key);
	for (int i = 0; i < n; i++)
		argv[i + 2] = span_of(buyers[i]);
	if ((rc = redis_call(redis, key, n + 2, argv, arena, &r, e)) != RC_OK)
		return rc;
	if (r.type != RT_ARRAY || r.n != (size_t)n)
		return misshaped(e);
	for (int i = 0; i < n; i++)
		(*out)[i] = text_of(&r.item[i]);
	return RC_OK;
}

enum rc
counter_buyers(struct redis *redis, struct counter_ref ref, char cursor[21],
    struct arena *arena, int *n, const char ***buyers, const char ***slots,
    struct err *e)
{
	const char *key = buyers_key(ref, arena);
	const struct redis_reply *list;
	struct redis_reply r;
	enum rc rc = redis_callv(redis, key, arena, &r, e, "HSCAN", key, cursor,
	    "COUNT", "500", NULL);

	*n = 0;
	if (rc != RC_OK)
		return rc;
	if (r.type != RT_ARRAY || r.n != 2 || r.item[1].type != RT_ARRAY ||
	    r.item[0].str.n > 20)
		return misshaped(e);
	(void)snprintf(cursor, 21, "%s", text_of(&r.item[0]));
	list = &r.item[1];
	*buyers = arena_calloc(arena, list->n / 2 + 1, sizeof **buyers);
	*slots = arena_calloc(arena, list->n / 2 + 1, sizeof **slots);
	for (size_t i = 0; i + 1 < list->n; i += 2) {
		const char *buyer = text_of(&list->item[i]);

		if (strcmp(buyer, "#") == 0)
			continue; /* the epoch */
		(*buyers)[*n] = buyer;
		(*slots)[(*n)++] = text_of(&list->item[i + 1]);
	}
	return RC_OK;
}
