/* cache.c against a real Redis. The truth is a word in shared memory, so that
 * forked clients share it and count together how often it was read. */
#include "store/cache.h"

#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "redis_server.h"
#include "store/redis.h"

static struct truth {
	atomic_int version; /* the body is "v<version>" */
	atomic_int fetches;
	int delay_ms;
	bool none;
	enum rc rc;
	int fresh_s;
	void (*meanwhile)(int nth); /* between the read and the fill */
} * truth;

static struct redis_server server;
static struct arena *arena;
static struct redis *redis, *other_redis;
static struct cache *cache, *other; /* another process's, so to say */
static struct err e;
static struct cache_entry out;

static const struct cache_kind page = { "page", 60, 60, 5, NULL, true };
static const struct cache_kind brief = { "brief", 1, 60, 1, NULL, false };
static const struct cache_kind listed = { "list", 60, 60, 5, "gen:catalog",
	true };

static struct redis *
new_redis(void)
{
	/* Long: the machine may be busy with other tests. */
	struct redis_opts opts = { server.url, 2000, 2000, NULL };
	struct redis *r = NULL;

	ck_assert_int_eq(redis_new(&opts, &r, &e), RC_OK);
	return r;
}

static struct cache *
new_cache(struct redis *r)
{
	struct cache_opts opts = { .redis = r,
		.local_bytes = 64 * 1024,
		.local_s = 5,
		.lease_ms = 2000,
		.wait_ms = 300,
		.marker_s = 60,
		.enabled = true };

	return cache_new(&opts);
}

static void
set_up(void)
{
	truth = mmap(NULL, sizeof *truth, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*truth = (struct truth){ .version = 1 };
	arena = arena_new();
	redis_server_start(&server);
	redis = new_redis();
	other_redis = new_redis();
	cache = new_cache(redis);
	other = new_cache(other_redis);
}

static void
tear_down(void)
{
	cache_free(cache);
	cache_free(other);
	redis_free(redis);
	redis_free(other_redis);
	redis_server_remove(&server);
	arena_free(arena);
	(void)munmap(truth, sizeof *truth);
}

static enum rc
fetch(void *arg, enum pg_node node, struct cache_fill *fill, struct err *err)
{
	int delay_ms = truth->delay_ms, nth = ++truth->fetches;

	(void)arg;
	ck_assert_int_eq(node, PG_PRIMARY); /* there is no replica */
	if (truth->rc != RC_OK)
		return err_set(err, truth->rc, "sick", "the database is sick");
	fill->none = truth->none;
	fill->fresh_s = truth->fresh_s;
	if (!fill->none)
		fill->body = span_of(
		    arena_printf(fill->arena, "v%d", (int)truth->version));
	if (truth->meanwhile != NULL)
		truth->meanwhile(nth);
	clock_sleep_ms(delay_ms);
	return RC_OK;
}

static enum rc
get(struct cache *c, const struct cache_kind *kind, const char *key)
{
	return cache_get(c, kind, key, fetch, NULL, arena, &out, &e);
}

static void
invalidate(struct cache *c, const char *key)
{
	ck_assert_int_eq(cache_invalidate(c, 1, &key, 0, arena, &e), RC_OK);
}

/* As whoever writes does it. */
static void
change(const char *key)
{
	truth->version++;
	invalidate(other, key);
}

#define ASSERT_BODY(want)                                                      \
	ck_assert_msg(span_is(out.body, want), "%s, want %s",                  \
	    arena_strndup(arena, out.body.p, out.body.n), want)
#define REDIS(r, ...)                                                          \
	ck_assert_int_eq(                                                      \
	    redis_callv(other_redis, NULL, arena, r, &e, __VA_ARGS__, NULL),   \
	    RC_OK)

/* ---- reading and filling */

START_TEST(a_miss_is_filled_and_hit_by_everybody)
{
	struct cache_stats stats;

	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_FILLED);
	ck_assert(out.storable);
	ck_assert_int_ge(out.fresh_left_s, 53); /* 60 less 10 %, rounded */
	ck_assert_int_le(out.fresh_left_s, 66);
	ASSERT_BODY("v1");
	ck_assert_int_eq(get(other, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
	ck_assert(out.storable);
	ck_assert_int_ge(out.fresh_left_s, 53);
	ASSERT_BODY("v1");
	ck_assert_int_eq(truth->fetches, 1);
	stats = cache_stats(cache);
	ck_assert_int_eq(stats.misses, 1);
	ck_assert_int_eq(stats.fills, 1);
	ck_assert_int_eq(cache_stats(other).hits, 1);
}
END_TEST

START_TEST(a_fetch_may_shorten_the_life)
{
	truth->fresh_s = 10;
	for (int i = 0; i < 50; i++) {
		invalidate(cache, "k");
		ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
		ck_assert_int_ge(out.fresh_left_s, 8);
		ck_assert_int_le(out.fresh_left_s, 10);
	}
}
END_TEST

START_TEST(a_body_is_any_bytes)
{
	struct redis_reply r;

	REDIS(&r, "SET", "k", "not one of ours");
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v1");
	ck_assert_int_eq(get(other, &page, "k"), RC_OK);
	ASSERT_BODY("v1");
	ck_assert_int_eq(truth->fetches, 1);
}
END_TEST

START_TEST(no_such_thing_is_remembered_shortly)
{
	struct redis_reply r;

	truth->none = true;
	ck_assert_int_eq(get(cache, &page, "k"), RC_NONE);
	ck_assert(out.storable);
	ck_assert_int_eq(get(other, &page, "k"), RC_NONE);
	ck_assert_int_eq(truth->fetches, 1);
	REDIS(&r, "PTTL", "k");
	ck_assert_int_gt(redis_num(&r, 0), 4000);
	ck_assert_int_le(redis_num(&r, 0), 5500);
	truth->none = false;
	change("k"); /* it has been created */
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
}
END_TEST

/* ---- races with an invalidation */

static const char *race_key;

static void
change_at_first(int nth)
{
	if (nth == 1)
		change(race_key);
}

static void
change_always(int nth)
{
	(void)nth;
	change(race_key);
}

START_TEST(a_fill_that_raced_with_a_change_leaves_nothing_old)
{
	race_key = "k";
	truth->meanwhile = change_at_first;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
	ck_assert(out.storable);
	ck_assert_int_eq(truth->fetches, 2);
	ck_assert_int_eq(cache_stats(cache).discarded, 1);
	truth->meanwhile = NULL;
	ck_assert_int_eq(get(other, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
}
END_TEST

START_TEST(changes_without_end_give_an_answer_that_nobody_keeps)
{
	struct redis_reply r;

	race_key = "k";
	truth->meanwhile = change_always;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert(!out.storable);
	ck_assert_int_eq(out.fresh_left_s, 0);
	ck_assert_int_eq(truth->fetches, 3);
	REDIS(&r, "EXISTS", "k");
	ck_assert_int_eq(redis_num(&r, 1), 0);
	/* And the local tier has none either. */
	cache_trust_local(cache, true);
	truth->meanwhile = NULL;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v4");
}
END_TEST

START_TEST(a_generation_that_ends_during_a_fetch_ends_the_fill)
{
	race_key = "gen:catalog";
	truth->meanwhile = change_at_first;
	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	ASSERT_BODY("v2");
	ck_assert(out.storable);
	ck_assert_int_eq(truth->fetches, 2);
	ck_assert_int_eq(get(other, &listed, "list:1"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
	ASSERT_BODY("v2");
}
END_TEST

static void
another_takes_over(int nth)
{
	struct cache_entry theirs;
	struct redis_reply r;

	if (nth != 1)
		return;
	/* Our lease has run out: somebody else takes it, and fills. */
	REDIS(&r, "HSET", "{k}:m", "u", "1");
	truth->version = 2;
	ck_assert_int_eq(
	    cache_get(other, &page, "k", fetch, NULL, arena, &theirs, &e),
	    RC_OK);
}

START_TEST(a_filler_that_lost_its_lease_does_not_overwrite)
{
	truth->meanwhile = another_takes_over;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
	ck_assert_int_eq(out.from, CF_REDIS);
	ck_assert_int_eq(truth->fetches, 2);
}
END_TEST

static void
another_begins(int nth)
{
	struct redis_reply r;

	/* Our lease has run out: somebody else takes it, and is at it still. */
	if (nth == 1) {
		REDIS(&r, "HSET", "{k}:m", "u", "1");
		truth->delay_ms = 700;
		if (fork() == 0) {
			struct cache *c = new_cache(new_redis());

			_exit(get(c, &page, "k") == RC_OK ? 0 : 1);
		}
		while (truth->fetches < 2)
			clock_sleep_ms(1);
		truth->delay_ms = 0;
	}
}

/* So a lease may be shorter than the slowest fill, and who waits for a filler
 * that died needs not wait long. */
START_TEST(a_slow_filler_is_still_heard)
{
	truth->meanwhile = another_begins;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_FILLED);
	ck_assert_int_eq(truth->fetches, 2);
	ck_assert_int_eq(get(other, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
}
END_TEST

static void
another_begins_and_it_changes(int nth)
{
	another_begins(nth);
	if (nth == 1)
		change("k");
}

START_TEST(an_invalidation_revokes_both)
{
	truth->meanwhile = another_begins_and_it_changes;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
	clock_sleep_ms(900); /* the other one comes with v1 */
	ck_assert_int_eq(get(other, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
}
END_TEST

START_TEST(the_least_version_outlives_the_record)
{
	const char *key = "k";
	struct redis_reply r;

	ck_assert_int_eq(
	    cache_invalidate(other, 1, &key, 5000, arena, &e), RC_OK);
	ck_assert_int_eq(
	    cache_invalidate(other, 1, &key, 4000, arena, &e), RC_OK);
	REDIS(&r, "HGET", "{k}:m", "v");
	ck_assert_int_eq(redis_num(&r, 0), 5000);
	REDIS(&r, "PTTL", "{k}:m");
	ck_assert_int_gt(redis_num(&r, 0), 59000);
	/* Taking a lease does not shorten it. */
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	REDIS(&r, "PTTL", "{k}:m");
	ck_assert_int_gt(redis_num(&r, 0), 59000);
}
END_TEST

/* ---- what is made of other records */

static enum rc
fetch_page(
    void *arg, enum pg_node node, struct cache_fill *fill, struct err *err)
{
	struct cache_entry part;
	enum rc rc;

	(void)node;
	rc =
	    cache_get(cache, arg, "part", fetch, NULL, fill->arena, &part, err);
	if (rc != RC_OK)
		return rc;
	fill->body = span_of(arena_printf(
	    fill->arena, "page of %.*s", (int)part.body.n, part.body.p));
	return RC_OK;
}

static enum rc
get_page(const struct cache_kind *part)
{
	return cache_get(cache, &page, "made", fetch_page,
	    (void *)(uintptr_t)part, arena, &out, &e);
}

START_TEST(nothing_is_made_of_an_old_local_copy)
{
	const char *keys[] = { "part", "made" };

	cache_trust_local(cache, true);
	ck_assert_int_eq(get_page(&page), RC_OK);
	ASSERT_BODY("page of v1");
	ck_assert_int_eq(get(cache, &page, "part"), RC_OK);
	ck_assert(cache_peek(cache, &page, "part", &out));
	truth->version = 2;
	ck_assert_int_eq(cache_invalidate(other, 2, keys, 0, arena, &e), RC_OK);
	/* The message of "made" is handled, that of "part" is not yet. */
	cache_dropped(cache, span_of("made"));
	ck_assert(cache_peek(cache, &page, "part", &out));
	ASSERT_BODY("v1");
	ck_assert_int_eq(get_page(&page), RC_OK);
	ASSERT_BODY("page of v2");
}
END_TEST

START_TEST(what_is_made_lives_no_longer_than_its_parts)
{
	ck_assert_int_eq(get(cache, &brief, "part"), RC_OK);
	ck_assert_int_eq(get_page(&brief), RC_OK);
	ck_assert(out.storable);
	ck_assert_int_le(out.fresh_left_s, 1);
	clock_sleep_ms(1150);
	truth->version = 2;
	ck_assert_int_eq(get_page(&brief), RC_OK);
	ASSERT_BODY("page of v2");
}
END_TEST

START_TEST(what_is_made_of_what_may_not_be_kept_is_not_kept)
{
	struct redis_reply r;

	race_key = "part";
	truth->meanwhile = change_always;
	ck_assert_int_eq(get_page(&page), RC_OK);
	ck_assert(!out.storable);
	REDIS(&r, "EXISTS", "made");
	ck_assert_int_eq(redis_num(&r, 1), 0);
	truth->meanwhile = NULL;
	ck_assert_int_eq(get_page(&page), RC_OK);
	ck_assert(out.storable);
	ASSERT_BODY("page of v4");
	/* A fill that had to be tried again is as good as any. */
	truth->fetches = 0;
	truth->meanwhile = change_at_first;
	invalidate(other, "part");
	invalidate(other, "made");
	ck_assert_int_eq(get_page(&page), RC_OK);
	ck_assert(out.storable);
	ASSERT_BODY("page of v5");
}
END_TEST

/* ---- crowds */

/* Forks n clients that ask for the key `times` times; how many did not get
 * what they should. */
static int
crowd(int n, int times, const struct cache_kind *kind, const char *want)
{
	int failed = 0, status;

	for (int i = 0; i < n; i++) {
		if (fork() != 0)
			continue;
		struct redis *r = new_redis();
		struct cache_opts opts = { .redis = r,
			.lease_ms = 20000,
			.wait_ms = 15000,
			.marker_s = 60,
			.enabled = true };
		struct cache *c = cache_new(&opts);
		int bad = 0;

		for (int j = 0; j < times; j++) {
			if (get(c, kind, "k") != RC_OK ||
			    !span_is(out.body, want) || !out.storable)
				bad = 1;
			arena_reset(arena);
		}
		_exit(bad);
	}
	while (wait(&status) > 0)
		failed += status != 0;
	return failed;
}

START_TEST(a_crowd_is_served_by_one_fill)
{
	/* The server is a child too: it must not be waited for. */
	truth->delay_ms = 300;
	pid_t pid = fork();

	if (pid == 0)
		_exit(crowd(200, 20, &page, "v1") == 0 ? 0 : 1);
	int status = -1;

	(void)waitpid(pid, &status, 0);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(truth->fetches, 1);
}
END_TEST

START_TEST(a_crowd_gets_the_stale_copy_while_one_refills)
{
	int64_t began;
	pid_t filler;

	ck_assert_int_eq(get(cache, &brief, "k"), RC_OK);
	clock_sleep_ms(1150);
	truth->version = 2;
	truth->delay_ms = 1500;
	filler = fork();
	if (filler == 0) {
		struct cache *c = new_cache(new_redis());

		_exit(get(c, &brief, "k") == RC_OK && out.from == CF_FILLED &&
			      span_is(out.body, "v2")
			  ? 0
			  : 1);
	}
	while (truth->fetches < 2) /* it has begun */
		clock_sleep_ms(1);
	began = clock_mono_ms();
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(get(cache, &brief, "k"), RC_OK);
		ck_assert_int_eq(out.from, CF_STALE);
		ck_assert_int_eq(out.fresh_left_s, 0);
		ASSERT_BODY("v1");
	}
	ck_assert_int_lt(clock_mono_ms() - began, 1400); /* the fetch */
	int status = -1;

	(void)waitpid(filler, &status, 0);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(truth->fetches, 2);
	ck_assert_int_eq(cache_stats(cache).stale, 20);
	ck_assert_int_eq(get(cache, &brief, "k"), RC_OK);
	ASSERT_BODY("v2");
}
END_TEST

START_TEST(waiting_for_a_filler_ends)
{
	struct redis_reply r;
	int64_t began = clock_mono_ms();

	REDIS(&r, "HSET", "{k}:m", "t", "somebody", "u", "99999999999999");
	ck_assert_int_eq(get(cache, &page, "k"), RC_RETRY);
	ck_assert_str_eq(e.code, "cache_busy");
	ck_assert_int_ge(clock_mono_ms() - began, 300);
	ck_assert_int_lt(clock_mono_ms() - began, 1200);
	ck_assert_int_eq(truth->fetches, 0);
	ck_assert_int_eq(cache_stats(cache).waits, 1);
	/* A filler that died: its lease runs out. */
	REDIS(&r, "HSET", "{k}:m", "u", "1");
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
}
END_TEST

/* A record as if filled in the past. */
static void
given_record(const char *key, int64_t left_ms, int64_t fill_ms)
{
	struct redis_reply r;

	REDIS(&r, "TIME");
	int64_t now =
	    redis_num(&r.item[0], 0) * 1000 + redis_num(&r.item[1], 0) / 1000;
	const char *text = arena_printf(arena, "souk1 0 %lld %lld 0 -\nv0",
	    (long long)(now + left_ms), (long long)fill_ms);

	REDIS(&r, "SET", key, text, "PX", "60000");
}

START_TEST(a_hot_key_is_refreshed_before_it_expires)
{
	int early = 0;

	for (int i = 0; i < 200; i++) {
		/* P = exp(-left / fill) = 0.37 */
		given_record("k", 10000, 10000);
		truth->fetches = 0;
		ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
		early += truth->fetches;
		ck_assert(out.storable);
	}
	ck_assert_int_ge(early, 40); /* 74 expected, s = 6.8 */
	ck_assert_int_le(early, 110);
	given_record("k", 30000, 1);
	truth->fetches = 0;
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(truth->fetches, 0);
}
END_TEST

START_TEST(early_refresh_is_done_by_one_and_failing_it_shows_nothing)
{
	struct redis_reply r;

	/* As good as certain to want it; somebody else is at it. */
	given_record("k", 100, 1000000);
	REDIS(&r, "HSET", "{k}:m", "t", "somebody", "u", "99999999999999");
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
	ASSERT_BODY("v0");
	REDIS(&r, "DEL", "{k}:m");
	given_record("k", 10000, 1000000000);
	truth->rc = RC_RETRY;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
	ck_assert_int_ge(out.fresh_left_s, 8);
	ASSERT_BODY("v0");
	ck_assert_int_eq(truth->fetches, 1);
}
END_TEST

/* ---- a sick database */

START_TEST(a_failing_fetch_is_covered_by_the_stale_copy)
{
	ck_assert_int_eq(get(cache, &brief, "k"), RC_OK);
	clock_sleep_ms(1150);
	truth->rc = RC_RETRY;
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(get(cache, &brief, "k"), RC_OK);
		ck_assert_int_eq(out.from, CF_STALE);
		ASSERT_BODY("v1");
	}
	ck_assert_int_eq(truth->fetches, 2); /* not asked by everyone */
	clock_sleep_ms(1050);
	truth->rc = RC_OK;
	truth->version = 2;
	ck_assert_int_eq(get(cache, &brief, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_FILLED);
	ASSERT_BODY("v2");
}
END_TEST

START_TEST(a_failing_fetch_without_a_copy_is_told_and_not_stored)
{
	struct redis_reply r;

	truth->rc = RC_RETRY;
	ck_assert_int_eq(get(cache, &page, "k"), RC_RETRY);
	ck_assert_str_eq(e.code, "sick");
	REDIS(&r, "EXISTS", "k");
	ck_assert_int_eq(redis_num(&r, 1), 0);
	truth->rc = RC_OK;
	/* Nobody lines up before a sick database, */
	int64_t began = clock_mono_ms();

	ck_assert_int_eq(get(other, &page, "k"), RC_RETRY);
	ck_assert_str_eq(e.code, "cache_busy");
	ck_assert_int_lt(clock_mono_ms() - began, 100);
	ck_assert_int_eq(truth->fetches, 1);
	clock_sleep_ms(250); /* and soon it is asked again. */
	ck_assert_int_eq(get(other, &page, "k"), RC_OK);
	truth->rc = RC_REFUSED; /* no sickness: nobody waits */
	ck_assert_int_eq(get(cache, &page, "k2"), RC_REFUSED);
	truth->rc = RC_OK;
	began = clock_mono_ms();
	ck_assert_int_eq(get(other, &page, "k2"), RC_OK);
	ck_assert_int_lt(clock_mono_ms() - began, 100);
}
END_TEST

/* ---- generations */

START_TEST(a_bump_ends_all_of_a_group)
{
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
		ck_assert_int_eq(get(cache, &listed, "list:2"), RC_OK);
		ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	}
	ck_assert_int_eq(truth->fetches, 3);
	change("gen:catalog");
	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	ASSERT_BODY("v2");
	ck_assert_int_eq(get(cache, &listed, "list:2"), RC_OK);
	ASSERT_BODY("v2");
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v1");
}
END_TEST

/* What makes room must not fail for want of it. */
START_TEST(a_full_redis_still_forgets)
{
	const char *const keys[] = { "k", "gen:catalog" };
	struct redis_reply r;

	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	REDIS(&r, "CONFIG", "SET", "maxmemory-policy", "noeviction");
	REDIS(&r, "CONFIG", "SET", "maxmemory", "1");
	truth->version = 2;
	ck_assert_int_eq(cache_invalidate(cache, 2, keys, 1, arena, &e), RC_OK);
	ck_assert_int_eq(get(other, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
	ck_assert_int_eq(get(other, &listed, "list:1"), RC_OK);
	ASSERT_BODY("v2");
}
END_TEST

START_TEST(an_ended_generation_is_not_served_stale)
{
	struct redis_reply r;

	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	change("gen:catalog");
	REDIS(&r, "HSET", "{list:1}:m", "t", "somebody", "u", "99999999999999");
	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_RETRY);
	ck_assert_str_eq(e.code, "cache_busy");
}
END_TEST

START_TEST(a_generation_has_no_ttl_and_is_never_an_old_one_again)
{
	struct redis_reply r;

	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	REDIS(&r, "PTTL", "gen:catalog");
	ck_assert_int_eq(redis_num(&r, 0), -1);
	truth->version = 2;
	REDIS(&r, "DEL", "gen:catalog");
	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	ASSERT_BODY("v2");
}
END_TEST

/* ---- the local tier */

START_TEST(a_trusted_copy_asks_nobody)
{
	int64_t commands;

	cache_trust_local(cache, true);
	ck_assert(!cache_peek(cache, &page, "k", &out));
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	commands = redis_stats(redis).commands;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_LOCAL);
	ck_assert_int_ge(out.fresh_left_s, 52);
	ASSERT_BODY("v1");
	ck_assert(cache_peek(cache, &page, "k", &out));
	ASSERT_BODY("v1");
	ck_assert_int_eq(redis_stats(redis).commands, commands);
	ck_assert_int_eq(cache_stats(cache).local_hits, 2);
}
END_TEST

START_TEST(a_copy_is_dropped_by_its_message)
{
	cache_trust_local(cache, true);
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	change("k");
	ck_assert(cache_peek(cache, &page, "k", &out)); /* not yet heard */
	ck_assert(cache_message(cache, span_of("{\"key\":\"k\"}")));
	ck_assert(!cache_peek(cache, &page, "k", &out));
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
	ck_assert(cache_peek(cache, &listed, "list:1", &out));
	cache_dropped(cache, span_of("gen:catalog"));
	ck_assert(!cache_peek(cache, &listed, "list:1", &out));
	ck_assert(!cache_message(cache, span_of("{\"key\":1}")));
	ck_assert(!cache_message(cache, span_of("nonsense")));
	ck_assert(!cache_message(cache, (struct span){ NULL, 0 }));
}
END_TEST

START_TEST(whoever_writes_sees_it_at_once)
{
	cache_trust_local(cache, true);
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	truth->version = 2;
	invalidate(cache, "k");
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
}
END_TEST

START_TEST(without_its_subscription_no_copy_is_trusted)
{
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert(!cache_peek(cache, &page, "k", &out));
	cache_trust_local(cache, true);
	/* Learned before the subscription stood. */
	ck_assert(!cache_peek(cache, &page, "k", &out));
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
	ck_assert(cache_peek(cache, &page, "k", &out));
	cache_trust_local(cache, false);
	ck_assert(!cache_peek(cache, &page, "k", &out));
	change("k");
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ASSERT_BODY("v2");
	cache_trust_local(cache, true);
	ck_assert(!cache_peek(cache, &page, "k", &out));
}
END_TEST

START_TEST(a_local_copy_lives_shortly)
{
	struct cache_opts opts = { .redis = redis,
		.local_bytes = 65536,
		.local_s = 1,
		.lease_ms = 1000,
		.wait_ms = 100,
		.marker_s = 60,
		.enabled = true };
	struct cache *c = cache_new(&opts);

	cache_trust_local(c, true);
	ck_assert_int_eq(get(c, &page, "k"), RC_OK);
	ck_assert(cache_peek(c, &page, "k", &out));
	clock_sleep_ms(1050);
	ck_assert(!cache_peek(c, &page, "k", &out));
	ck_assert_int_eq(get(c, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
	cache_free(c);
}
END_TEST

START_TEST(the_tier_is_bounded_and_keeps_what_is_used)
{
	struct cache_stats stats;
	char key[32];

	cache_trust_local(cache, true);
	ck_assert_int_eq(get(cache, &page, "hot"), RC_OK);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(key, sizeof key, "k%d", i);
		ck_assert_int_eq(get(cache, &page, key), RC_OK);
		ck_assert_msg(cache_peek(cache, &page, key, &out), "%s", key);
		ck_assert(cache_peek(cache, &page, "hot", &out));
		ck_assert_int_le(cache_stats(cache).local_bytes, 65536);
		arena_reset(arena);
	}
	stats = cache_stats(cache);
	ck_assert_int_gt(stats.local_entries, 200);
	ck_assert_int_lt(stats.local_entries, 500);
	ck_assert_int_eq(stats.local_evictions + stats.local_entries, 1001);
	ck_assert(!cache_peek(cache, &page, "k0", &out));
	ck_assert(cache_peek(cache, &page, "k999", &out));
}
END_TEST

static int freed;

static void
count_free(void *obj)
{
	freed++;
	free(obj);
}

START_TEST(what_is_derived_goes_with_its_copy)
{
	freed = 0;
	cache_trust_local(cache, true);
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_ptr_null(out.parsed);
	ck_assert(cache_attach(cache, &page, "k", malloc(10), count_free, 10));
	ck_assert(cache_peek(cache, &page, "k", &out));
	ck_assert_ptr_nonnull(out.parsed);
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_ptr_nonnull(out.parsed);
	cache_dropped(cache, span_of("k"));
	ck_assert_int_eq(freed, 1);
	/* No copy to tie it to: lives until the next get. */
	ck_assert(!cache_attach(cache, &page, "k", malloc(10), count_free, 10));
	ck_assert_int_eq(freed, 1);
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(freed, 2);
	/* Larger than the tier. */
	ck_assert(
	    !cache_attach(cache, &page, "k", malloc(10), count_free, 70000));
	ck_assert(cache_peek(cache, &page, "k", &out));
	/* Large: others make room for it. */
	ck_assert_int_eq(get(cache, &page, "k2"), RC_OK);
	ck_assert(
	    cache_attach(cache, &page, "k2", malloc(10), count_free, 65200));
	ck_assert(!cache_peek(cache, &page, "k", &out));
	ck_assert(cache_peek(cache, &page, "k2", &out));
	ck_assert_int_le(cache_stats(cache).local_bytes, 65536);
}
END_TEST

START_TEST(a_peek_is_cheap)
{
	enum { N = 1000000 };
	int64_t began;
	int hits = 0;

	cache_trust_local(cache, true);
	ck_assert_int_eq(get(cache, &page, "page:/products/1234567"), RC_OK);
	began = clock_mono_us();
	for (int i = 0; i < N; i++) /* ck_assert writes to a file */
		hits +=
		    cache_peek(cache, &page, "page:/products/1234567", &out);
	double us = (double)(clock_mono_us() - began) / N;

	ck_assert_int_eq(hits, N);
	printf("a peek: %.3f us\n", us);
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
	ck_assert_double_lt(us, 1.0);
#endif
}
END_TEST

/* ---- Redis in trouble */

START_TEST(without_redis_the_database_is_read_and_nothing_kept)
{
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	redis_server_kill(&server);
	truth->version = 2;
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
		ck_assert_int_eq(out.from, CF_DIRECT);
		ck_assert(!out.storable);
		ASSERT_BODY("v2");
	}
	/* Both away: what this process remembers. */
	truth->rc = RC_RETRY;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_STALE);
	ck_assert(!out.storable);
	ASSERT_BODY("v1");
	ck_assert_int_eq(get(cache, &page, "unknown"), RC_RETRY);
	ck_assert_str_eq(e.code, "sick");
	/* And back again, empty, without the scripts. */
	truth->rc = RC_OK;
	redis_server_again(&server);
	clock_sleep_ms(400);
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_FILLED);
	ASSERT_BODY("v2");
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
}
END_TEST

START_TEST(a_stopped_redis_costs_one_deadline)
{
	struct redis_opts opts = { server.url, 300, 300, NULL };
	struct redis *r = NULL;
	struct cache *c;
	int64_t began;

	ck_assert_int_eq(redis_new(&opts, &r, &e), RC_OK);
	c = new_cache(r);
	ck_assert_int_eq(get(c, &page, "k"), RC_OK);
	redis_server_pause(&server);
	began = clock_mono_ms();
	ck_assert_int_eq(get(c, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_DIRECT);
	ck_assert_int_ge(clock_mono_ms() - began, 290);
	ck_assert_int_lt(clock_mono_ms() - began, 900);
	began = clock_mono_ms();
	ck_assert_int_eq(get(c, &page, "k"), RC_OK);
	ck_assert_int_lt(clock_mono_ms() - began, 150);
	redis_server_resume(&server);
	cache_free(c);
	redis_free(r);
}
END_TEST

static void
stop_redis(int nth)
{
	(void)nth;
	redis_server_kill(&server);
}

START_TEST(redis_lost_during_a_fetch_makes_the_answer_not_storable)
{
	truth->meanwhile = stop_redis;
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	ck_assert_int_eq(out.from, CF_DIRECT);
	ck_assert(!out.storable);
}
END_TEST

START_TEST(scripts_that_redis_forgot_are_sent_again)
{
	struct redis_reply r;

	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	REDIS(&r, "SCRIPT", "FLUSH");
	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	ck_assert_int_eq(out.from, CF_REDIS);
	REDIS(&r, "SCRIPT", "FLUSH");
	change("gen:catalog");
	change("list:1");
	REDIS(&r, "SCRIPT", "FLUSH");
	ck_assert_int_eq(get(cache, &listed, "list:1"), RC_OK);
	ck_assert_int_eq(out.from, CF_FILLED);
	ASSERT_BODY("v3");
}
END_TEST

START_TEST(invalidating_without_redis_is_told)
{
	const char *keys[] = { "a", "gen:b" };

	redis_server_kill(&server);
	ck_assert_int_eq(
	    cache_invalidate(cache, 2, keys, 1, arena, &e), RC_RETRY);
}
END_TEST

static void
on_message(void *arg, struct span channel, struct span payload)
{
	ck_assert(span_is(channel, "cache:invalidate"));
	ck_assert(cache_message(arg, payload));
}

START_TEST(many_keys_of_any_letters_reach_the_others)
{
	static const char *const channels[] = { "cache:invalidate", NULL };
	struct redis_sub_events ev = { on_message, NULL, NULL, cache };
	const char *keys[150];
	struct redis_sub *sub;

	ck_assert_int_eq(
	    redis_sub_new(server.url, channels, &ev, &sub, &e), RC_OK);
	for (int i = 0; i < 5; i++) {
		redis_sub_turn(sub);
		clock_sleep_ms(20);
	}
	ck_assert(redis_sub_fresh(sub));
	cache_trust_local(cache, true);
	for (int i = 0; i < 150; i++) {
		keys[i] = arena_printf(
		    arena, "page:/caf\xc3\xa9 \"%d\"\\\n?q=a&b", i);
		ck_assert_int_eq(get(cache, &page, keys[i]), RC_OK);
	}
	ck_assert_int_eq(cache_stats(cache).local_entries, 150);
	ck_assert_int_eq(
	    cache_invalidate(other, 150, keys, 1, arena, &e), RC_OK);
	clock_sleep_ms(20);
	redis_sub_turn(sub);
	ck_assert_int_eq(cache_stats(cache).local_entries, 0);
	redis_sub_free(sub);
}
END_TEST

START_TEST(a_cache_that_is_off_reads_the_database)
{
	struct cache_opts opts = { .redis = redis, .enabled = false };
	struct cache *c = cache_new(&opts);

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(get(c, &page, "k"), RC_OK);
		ck_assert_int_eq(out.from, CF_DIRECT);
		ck_assert(!out.storable);
	}
	ck_assert_int_eq(truth->fetches, 2);
	ck_assert_int_eq(redis_stats(redis).commands, 0);
	cache_free(c);
}
END_TEST

START_TEST(hits_and_misses_are_added_up_now_and_then)
{
	struct redis_reply r;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	REDIS(&r, "EXISTS", "cache:hits", "cache:misses");
	ck_assert_int_eq(redis_num(&r, 1), 0);
	cache_flush_counters(cache, arena);
	cache_flush_counters(cache, arena);
	ck_assert_int_eq(get(cache, &page, "k"), RC_OK);
	cache_flush_counters(cache, arena);
	REDIS(&r, "GET", "cache:hits");
	ck_assert_int_eq(redis_num(&r, 0), 4);
	REDIS(&r, "GET", "cache:misses");
	ck_assert_int_eq(redis_num(&r, 0), 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cache");
	TCase *tc = tcase_create("cache");

	if (!redis_server_installed()) {
		printf("skipped: redis-server is not installed\n");
		return 77;
	}
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_miss_is_filled_and_hit_by_everybody);
	tcase_add_test(tc, a_fetch_may_shorten_the_life);
	tcase_add_test(tc, a_body_is_any_bytes);
	tcase_add_test(tc, no_such_thing_is_remembered_shortly);
	tcase_add_test(tc, a_fill_that_raced_with_a_change_leaves_nothing_old);
	tcase_add_test(
	    tc, changes_without_end_give_an_answer_that_nobody_keeps);
	tcase_add_test(tc, a_generation_that_ends_during_a_fetch_ends_the_fill);
	tcase_add_test(tc, a_filler_that_lost_its_lease_does_not_overwrite);
	tcase_add_test(tc, a_slow_filler_is_still_heard);
	tcase_add_test(tc, an_invalidation_revokes_both);
	tcase_add_test(tc, the_least_version_outlives_the_record);
	tcase_add_test(tc, nothing_is_made_of_an_old_local_copy);
	tcase_add_test(tc, what_is_made_lives_no_longer_than_its_parts);
	tcase_add_test(tc, what_is_made_of_what_may_not_be_kept_is_not_kept);
	tcase_add_test(tc, a_crowd_is_served_by_one_fill);
	tcase_add_test(tc, a_crowd_gets_the_stale_copy_while_one_refills);
	tcase_add_test(tc, waiting_for_a_filler_ends);
	tcase_add_test(tc, a_hot_key_is_refreshed_before_it_expires);
	tcase_add_test(
	    tc, early_refresh_is_done_by_one_and_failing_it_shows_nothing);
	tcase_add_test(tc, a_failing_fetch_is_covered_by_the_stale_copy);
	tcase_add_test(
	    tc, a_failing_fetch_without_a_copy_is_told_and_not_stored);
	tcase_add_test(tc, a_bump_ends_all_of_a_group);
	tcase_add_test(tc, a_full_redis_still_forgets);
	tcase_add_test(tc, an_ended_generation_is_not_served_stale);
	tcase_add_test(
	    tc, a_generation_has_no_ttl_and_is_never_an_old_one_again);
	tcase_add_test(tc, a_trusted_copy_asks_nobody);
	tcase_add_test(tc, a_copy_is_dropped_by_its_message);
	tcase_add_test(tc, whoever_writes_sees_it_at_once);
	tcase_add_test(tc, without_its_subscription_no_copy_is_trusted);
	tcase_add_test(tc, a_local_copy_lives_shortly);
	tcase_add_test(tc, the_tier_is_bounded_and_keeps_what_is_used);
	tcase_add_test(tc, what_is_derived_goes_with_its_copy);
	tcase_add_test(tc, a_peek_is_cheap);
	tcase_add_test(tc, without_redis_the_database_is_read_and_nothing_kept);
	tcase_add_test(tc, a_stopped_redis_costs_one_deadline);
	tcase_add_test(
	    tc, redis_lost_during_a_fetch_makes_the_answer_not_storable);
	tcase_add_test(tc, scripts_that_redis_forgot_are_sent_again);
	tcase_add_test(tc, invalidating_without_redis_is_told);
	tcase_add_test(tc, many_keys_of_any_letters_reach_the_others);
	tcase_add_test(tc, a_cache_that_is_off_reads_the_database);
	tcase_add_test(tc, hits_and_misses_are_added_up_now_and_then);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);

	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);

	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
