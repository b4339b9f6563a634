/*
 * The bucket is one number, the time at which it would be full again (GCRA,
 * ITU-T I.371): a try moves it on by window / tries; a try that would move it
 * further than a window ahead of now is refused. In Redis it is a string that
 * lives as long as it is not full, by Redis's clock.
 *
 * While Redis does not answer: the same in a table of a fixed size. Two names
 * may share a place in it; then the one has fewer tries for a while.
 */
#include "shop/throttle.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/span.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/redis.h"

enum { PLACES = 1024 };

struct throttle {
	unsigned char key[crypto_shorthash_KEYBYTES];
	int64_t full_ms[PLACES]; /* mono ms */
};

/* KEYS[1] the bucket; ARGV: ms that a try costs, ms of the window. Answers the
 * ms to wait, 0: taken. A negative cost gives back. */
static const struct redis_script script_throttle = { "throttle",
	"local t = redis.call('TIME')\n"
	"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
	"local cost, window = tonumber(ARGV[1]), tonumber(ARGV[2])\n"
	"local full = tonumber(redis.call('GET', KEYS[1]) or now)\n"
	"if full < now then full = now end\n"
	"full = full + cost\n"
	"if full > now + window then return full - now - window end\n"
	"if full <= now then redis.call('DEL', KEYS[1]) return 0 end\n"
	"redis.call('SET', KEYS[1], string.format('%.0f', full),"
	" 'PX', string.format('%.0f', full - now))\n"
	"return 0\n" };

struct throttle *
throttle_new(void)
{
	struct throttle *t = xcalloc(1, sizeof *t);

	randombytes_buf(t->key, sizeof t->key);
	return t;
}

void
throttle_free(struct throttle *throttle)
{
	free(throttle);
}

const char *
throttle_network(const char *address, struct arena *arena)
{
	struct in6_addr six;
	struct in_addr four;
	char *out = arena_alloc(arena, INET6_ADDRSTRLEN + 4);

	if (inet_pton(AF_INET, address, &four) == 1) {
		if (inet_ntop(AF_INET, &four, out, INET6_ADDRSTRLEN) == NULL)
			return "?";
		return out;
	}
	if (inet_pton(AF_INET6, address, &six) != 1)
		return "?";
	if (IN6_IS_ADDR_V4MAPPED(&six)) {
		memcpy(&four, six.s6_addr + 12, sizeof four);
		if (inet_ntop(AF_INET, &four, out, INET6_ADDRSTRLEN) == NULL)
			return "?";
		return out;
	}
	memset(six.s6_addr + 8, 0, 8);
	if (inet_ntop(AF_INET6, &six, out, INET6_ADDRSTRLEN) == NULL)
		return "?";
	memcpy(out + strlen(out), "/64", 4);
	return out;
}

static int64_t
cost_ms(const struct throttle_rule *rule)
{
	int64_t cost = rule->window_s * 1000 / rule->tries;

	return cost > 0 ? cost : 1;
}

/* As the script does. */
static int64_t
move_here(struct throttle *t, const char *name, int64_t cost, int64_t window)
{
	unsigned char out[crypto_shorthash_BYTES];
	int64_t now = clock_mono_ms(), *full, next;
	uint64_t hash;

	(void)crypto_shorthash(
	    out, (const unsigned char *)name, strlen(name), t->key);
	memcpy(&hash, out, sizeof hash);
	full = &t->full_ms[hash % PLACES];
	next = (*full > now ? *full : now) + cost;
	if (next > now + window)
		return next - now - window;
	*full = next;
	return 0;
}

/* The ms to wait, 0: done. */
static int64_t
move(struct throttle *t, struct redis *redis, const struct throttle_rule *rule,
    int64_t cost, const char *who, struct arena *arena)
{
	int64_t window = rule->window_s * 1000;
	unsigned char digest[crypto_hash_sha256_BYTES];
	char hex[33], cost_s[TEXT_NUM], window_s[TEXT_NUM];
	struct redis_reply reply;
	const char *name;
	struct span key, args[2];

	/* Who it is need not be readable in a dump of Redis. */
	(void)crypto_hash_sha256(
	    digest, (const unsigned char *)who, strlen(who));
	text_hex(digest, 16, hex);
	name = arena_concat(arena, "throttle:", rule->what, ":", hex, NULL);
	key = span_of(name);
	args[0] = span_of(text_num(cost, cost_s));
	args[1] = span_of(text_num(window, window_s));
	if (redis_eval(redis, &script_throttle, 1, &key, 2, args, arena, &reply,
		NULL) == RC_OK &&
	    reply.type == RT_INT)
		return reply.num;
	return move_here(t, name, cost, window);
}

enum rc
throttle_take(struct throttle *throttle, struct redis *redis,
    const struct throttle_rule *rule, const char *who, struct arena *arena,
    int *retry_after_s, struct err *e)
{
	int64_t wait = move(throttle, redis, rule, cost_ms(rule), who, arena);

	if (wait <= 0)
		return RC_OK;
	*retry_after_s = (int)((wait + 999) / 1000);
	return err_set(e, RC_REFUSED, "too_many_tries",
	    "Too many tries. Please wait %d s", *retry_after_s);
}

void
throttle_give(struct throttle *throttle, struct redis *redis,
    const struct throttle_rule *rule, int percent, const char *who,
    struct arena *arena)
{
	(void)move(
	    throttle, redis, rule, -cost_ms(rule) * percent / 100, who, arena);
}
