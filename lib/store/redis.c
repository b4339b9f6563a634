/*
 * redis - see the header. One connection, opened when first needed:
 *
 *	call -> connected? -- no --> may we try now? -- no --> RC_RETRY
 *	                                  | yes
 *	        AUTH, SELECT, INFO in one round trip
 *	     -> send, then poll and read until every reply is there
 *
 * Nothing is ever sent twice: a connection that breaks in mid-call leaves it
 * open what was carried out, and only the caller knows whether that matters.
 * A connection that the server closed while it lay idle is found out before
 * anything is sent on it, so that a restarted Redis costs no call.
 */
#include "store/redis.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sha1.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/doing.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/redis_int.h"

/* A connection that was used this recently is not looked at first. */
#define IDLE_CHECK_MS 500

struct script_sha {
	struct script_sha *next;
	const struct redis_script *script;
	char sha[2 * SHA1_DIGEST_LENGTH + 1];
};

struct redis {
	struct redis_addr addr;
	struct redis_link link;
	int connect_ms, command_ms;
	struct doing *doing;

	int retries;      /* failures since it last worked */
	int64_t retry_at; /* not tried before */
	int64_t used_at;  /* monotonic ms */
	bool connected_once;

	char run_id[64];    /* "": not known */
	int64_t started_ms; /* the server, on our monotonic clock */

	struct script_sha *shas; /* a handful: a list will do */
	struct redis_stats stats;
};

enum rc
redis_new(const struct redis_opts *opts, struct redis **out, struct err *e)
{
	struct redis *redis = xcalloc(1, sizeof *redis);
	enum rc rc;

	link_init(&redis->link);
	rc = redis_addr_parse(opts->url, &redis->addr, e);
	if (rc != RC_OK) {
		redis_free(redis);
		return rc;
	}
	redis->connect_ms = opts->connect_ms;
	redis->command_ms = opts->command_ms;
	redis->doing = opts->doing;
	*out = redis;
	return RC_OK;
}

void
redis_free(struct redis *redis)
{
	if (redis == NULL)
		return;
	while (redis->shas != NULL) {
		struct script_sha *next = redis->shas->next;

		free(redis->shas);
		redis->shas = next;
	}
	link_release(&redis->link);
	redis_addr_release(&redis->addr);
	free(redis);
}

int64_t
redis_num(const struct redis_reply *r, int64_t dflt)
{
	int64_t n;

	if (r->type == RT_INT)
		return r->num;
	if ((r->type == RT_STRING || r->type == RT_STATUS) &&
	    text_int(r->str, INT64_MIN, INT64_MAX, &n))
		return n;
	return dflt;
}

/* ---- the connection */

/* Give the connection up; the next try comes after the back-off. */
static void
redis_drop(struct redis *redis)
{
	link_close(&redis->link);
	if (redis->retries < 1000)
		redis->retries++;
	redis->retry_at = deadline_in(redis_back_off_ms(redis->retries));
	redis->stats.errors++;
}

static enum rc
redis_broken(struct redis *redis, struct err *e)
{
	int err = errno;

	redis_drop(redis);
	return err_set(e, RC_RETRY, "redis_down", "Redis: %s", strerror(err));
}

static enum rc
redis_timed_out(struct redis *redis, const char *what, struct err *e)
{
	redis_drop(redis);
	redis->stats.timeouts++;
	return err_set(
	    e, RC_RETRY, "redis_timeout", "Redis: %s: no answer in time", what);
}

/* Send what is queued and wait for one reply. */
static enum rc
redis_wait(struct redis *redis, int64_t deadline, const char *what,
    redisReply **out, struct err *e)
{
	struct redis_link *link = &redis->link;

	for (;;) {
		struct pollfd pfd = { .fd = link->fd };
		int rv = link_reply(link, out);

		if (rv > 0)
			return RC_OK;
		if (rv < 0) {
			redis_drop(redis);
			return err_set(e, RC_RETRY, "redis_down",
			    "Redis: the answer is not its protocol");
		}
		if (link_flush(link) != 0) {
			int err = errno;

			/* It may have said why it would not hear us. */
			if (link_fill(link) > 0)
				continue;
			errno = err;
			return redis_broken(redis, e);
		}
		pfd.fd = link->fd; /* the next address: another one */
		pfd.events = link_events(link);
		rv = poll(&pfd, 1, deadline_left_ms(deadline));
		if (rv < 0 && errno != EINTR)
			return redis_broken(redis, e);
		if (rv == 0)
			return redis_timed_out(redis, what, e);
		if (rv > 0 && (pfd.revents & ~POLLOUT) != 0 &&
		    link_fill(link) < 0)
			return redis_broken(redis, e);
	}
}

/* The value of "name:" in INFO's answer; false: not there. */
static bool
info_field(struct span info, const char *name, char *out, size_t size)
{
	const char *p = info.p, *end = info.p + info.n;

	while (p < end) {
		const char *eol = memchr(p, '\r', (size_t)(end - p));
		struct span line = { p,
			(size_t)((eol == NULL ? end : eol) - p) };
		size_t skip = strlen(name);

		if (span_starts(line, name) && line.n - skip < size) {
			memcpy(out, line.p + skip, line.n - skip);
			out[line.n - skip] = '\0';
			return true;
		}
		p += line.n + 2 > (size_t)(end - p) ? (size_t)(end - p)
						    : line.n + 2;
	}
	return false;
}

static void
redis_learn_server(struct redis *redis, const redisReply *info)
{
	struct span text = { info->str, info->len };
	char uptime[24];
	int64_t s;

	redis->run_id[0] = '\0';
	redis->started_ms = clock_mono_ms();
	if (info->type != REDIS_REPLY_STRING)
		return; /* not permitted: a server we know nothing of */
	(void)info_field(text, "run_id:", redis->run_id, sizeof redis->run_id);
	if (info_field(text, "uptime_in_seconds:", uptime, sizeof uptime) &&
	    text_int(span_of(uptime), 0, INT64_MAX / 1000, &s))
		redis->started_ms -= s * 1000;
}

/* What to do about a refusal that waiting does not cure. */
static const char *
greet_hint(const char *text)
{
	if (strstr(text, "AUTH") != NULL || strncmp(text, "WRONGPASS", 9) == 0)
		return " (user and password stand in the URL: "
		       "redis://user:pass@host)";
	if (strstr(text, "DB index") != NULL)
		return " (the database stands in the URL: "
		       "redis://host:port/0)";
	return "";
}

static enum rc
redis_greet(struct redis *redis, int64_t deadline, struct err *e)
{
	struct span info[2] = { span_of("INFO"), span_of("server") };
	bool auth = link_auth(&redis->link, &redis->addr);
	char db[12];
	int n = auth ? 1 : 0;
	enum rc rc = RC_OK;

	if (redis->addr.db != 0) {
		struct span select[2] = { span_of("SELECT") };

		(void)snprintf(db, sizeof db, "%d", redis->addr.db);
		select[1] = span_of(db);
		link_command(&redis->link, 2, select);
		n++;
	}
	link_command(&redis->link, 2, info);
	for (int i = 0; i <= n && rc == RC_OK; i++) {
		redisReply *r = NULL;

		rc = redis_wait(redis, deadline, "connect", &r, e);
		if (rc != RC_OK)
			break;
		/* "max number of clients reached", NOAUTH, DENIED; but a server
		 * that only keeps INFO from us is one we know nothing of. */
		if (r->type == REDIS_REPLY_ERROR &&
		    (i < n || strncmp(r->str, "NOPERM", 6) != 0)) {
			redis_drop(redis);
			rc = err_set(e, RC_RETRY, "redis_down", "Redis: %s%s",
			    r->str, greet_hint(r->str));
		} else if (i == n) {
			redis_learn_server(redis, r);
		}
		freeReplyObject(r);
	}
	return rc;
}

/* Has the server ended the connection (or said what nobody asked for)? */
static bool
redis_went_away(struct redis *redis)
{
	struct pollfd pfd = { .fd = redis->link.fd, .events = POLLIN };

	return poll(&pfd, 1, 0) != 0;
}

static enum rc
redis_connect(struct redis *redis, struct err *e)
{
	int64_t now = clock_mono_ms();
	enum rc rc;

	if (redis->link.fd >= 0 && now - redis->used_at > IDLE_CHECK_MS &&
	    redis_went_away(redis)) {
		link_close(&redis->link);
		redis->retries = 0;
		redis->retry_at = 0;
	}
	redis->used_at = now;
	if (redis->link.fd >= 0)
		return RC_OK;
	if (now < redis->retry_at)
		return err_set(e, RC_RETRY, "redis_down",
		    "Redis does not answer (next try in %d ms)",
		    (int)(redis->retry_at - now));
	doing_set(redis->doing, "redis", "connect");
	rc = link_open(&redis->link, &redis->addr, e);
	if (rc != RC_OK) {
		redis_drop(redis);
		return rc;
	}
	rc = redis_greet(redis, now + redis->connect_ms, e);
	if (rc != RC_OK)
		return rc;
	redis->retries = 0;
	if (redis->connected_once)
		redis->stats.reconnects++;
	redis->connected_once = true;
	return RC_OK;
}

/* ---- replies */

static enum redis_type
reply_type(const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_STRING:
		return RT_STRING;
	case REDIS_REPLY_INTEGER:
		return RT_INT;
	case REDIS_REPLY_ARRAY:
		return RT_ARRAY;
	case REDIS_REPLY_STATUS:
		return RT_STATUS;
	case REDIS_REPLY_ERROR:
		return RT_ERROR;
	default: /* the other types of hiredis 1.x need RESP3 */
		return RT_NIL;
	}
}

/* At most as deep as hiredis reads: 7 levels, 9 from 1.0 on. */
static void
reply_copy(const redisReply *r, struct arena *arena, struct redis_reply *out)
{
	*out = (struct redis_reply){ .type = reply_type(r) };
	if (out->type == RT_INT) {
		out->num = r->integer;
	} else if (out->type == RT_ARRAY) {
		struct redis_reply *item =
		    arena_calloc(arena, r->elements, sizeof *item);

		for (size_t i = 0; i < r->elements; i++)
			reply_copy(r->element[i], arena, &item[i]);
		out->n = r->elements;
		out->item = item;
	} else if (out->type != RT_NIL) {
		out->str.n = (size_t)r->len;
		out->str.p = arena_strndup(arena, r->str, out->str.n);
	}
}

static bool
error_is(const char *text, const char *word)
{
	size_t n = strlen(word);

	return strncmp(text, word, n) == 0 &&
	       (text[n] == '\0' || text[n] == ' ');
}

/* What a command within a script was answered; before Redis 7 that stands at
 * the end: "ERR Error running script (...): @user_script:1: -READONLY You...".
 */
static const char *
error_inner(const char *text)
{
	const char *inner = strstr(text, ": -");

	return error_is(text, "ERR") && inner != NULL ? inner + 3 : text;
}

/* Errors of the server's state, not of our command. */
static bool
error_is_passing(const char *text)
{
	static const char *const passing[] = { "LOADING", "BUSY", "READONLY",
		"MASTERDOWN", "OOM", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS",
		"UNBLOCKED", "MISCONF" };

	for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
		if (error_is(text, passing[i]))
			return true;
	}
	return false;
}

/* A primary that became a replica goes on to answer: another one is to be
 * found, by a new connection. */
static bool
any_readonly(int n, const struct redis_reply out[])
{
	for (int i = 0; i < n; i++) {
		if (out[i].type == RT_ERROR &&
		    error_is(error_inner(out[i].str.p), "READONLY"))
			return true;
	}
	return false;
}

enum rc
redis_reply_error(const struct redis_reply *r, struct err *e)
{
	if (error_is_passing(error_inner(r->str.p)))
		return err_set(
		    e, RC_RETRY, "redis_unready", "Redis: %s", r->str.p);
	return err_set(e, RC_FAIL, "redis_error", "Redis: %s", r->str.p);
}

/* ---- calls */

static enum rc
redis_exchange(struct redis *redis, const char *what, int n,
    const struct redis_cmd cmds[], struct arena *arena,
    struct redis_reply out[], struct err *e)
{
	enum rc rc = redis_connect(redis, e);
	int64_t deadline;

	if (rc != RC_OK)
		return rc;
	doing_set(redis->doing, "redis", what);
	deadline = deadline_in(redis->command_ms);
	for (int i = 0; i < n; i++)
		link_command(&redis->link, cmds[i].argc, cmds[i].argv);
	redis->stats.commands += n;
	for (int i = 0; i < n; i++) {
		redisReply *r = NULL;

		rc = redis_wait(redis, deadline, what, &r, e);
		if (rc != RC_OK)
			return rc;
		reply_copy(r, arena, &out[i]);
		freeReplyObject(r);
		if (out[i].type == RT_ERROR &&
		    !span_starts(out[i].str, "NOSCRIPT"))
			redis->stats.errors++;
	}
	if (any_readonly(n, out))
		redis_drop(redis);
	return RC_OK;
}

enum rc
redis_call(struct redis *redis, const char *key, int argc,
    const struct span *argv, struct arena *arena, struct redis_reply *out,
    struct err *e)
{
	struct redis_cmd cmd = { argc, argv };
	char what[32];
	enum rc rc;

	(void)key; /* one server: one connection */
	assert(argc > 0);
	(void)snprintf(what, sizeof what, "%.*s",
	    argv[0].n > 31 ? 31 : (int)argv[0].n, argv[0].p);
	rc = redis_exchange(redis, what, 1, &cmd, arena, out, e);
	if (rc == RC_OK && out->type == RT_ERROR)
		return redis_reply_error(out, e);
	return rc;
}

enum rc
redis_callv(struct redis *redis, const char *key, struct arena *arena,
    struct redis_reply *out, struct err *e, ...)
{
	struct span argv[32];
	const char *word;
	int argc = 0;
	va_list ap;

	va_start(ap, e);
	while ((word = va_arg(ap, const char *)) != NULL) {
		assert(argc < (int)(sizeof argv / sizeof *argv));
		argv[argc++] = span_of(word);
	}
	va_end(ap);
	return redis_call(redis, key, argc, argv, arena, out, e);
}

enum rc
redis_pipeline(struct redis *redis, int n, const char *const keys[],
    const struct redis_cmd cmds[], struct arena *arena,
    struct redis_reply out[], struct err *e)
{
	(void)keys;
	if (n == 0)
		return RC_OK;
	return redis_exchange(redis, "pipeline", n, cmds, arena, out, e);
}

/* ---- scripts */

const char *
redis_script_sha(struct redis *redis, const struct redis_script *script)
{
	uint8_t digest[SHA1_DIGEST_LENGTH];
	struct script_sha *slot;
	SHA1_CTX ctx;

	for (slot = redis->shas; slot != NULL; slot = slot->next) {
		if (slot->script == script)
			return slot->sha;
	}
	slot = xcalloc(1, sizeof *slot);
	slot->script = script;
	slot->next = redis->shas;
	redis->shas = slot;
	SHA1Init(&ctx);
	SHA1Update(&ctx, (const uint8_t *)script->body, strlen(script->body));
	SHA1Final(digest, &ctx);
	text_hex(digest, sizeof digest, slot->sha);
	return slot->sha;
}

enum rc
redis_eval(struct redis *redis, const struct redis_script *script, int nkeys,
    const struct span keys[], int nargs, const struct span args[],
    struct arena *arena, struct redis_reply *out, struct err *e)
{
	int argc = 3 + nkeys + nargs;
	struct span *argv = arena_alloc(arena, (size_t)argc * sizeof *argv);
	struct redis_cmd cmd = { argc, argv };
	char num[12];
	enum rc rc;

	(void)snprintf(num, sizeof num, "%d", nkeys);
	argv[0] = span_of("EVALSHA");
	argv[1] = span_of(redis_script_sha(redis, script));
	argv[2] = span_of(num);
	for (int i = 0; i < nkeys; i++)
		argv[3 + i] = keys[i];
	for (int i = 0; i < nargs; i++)
		argv[3 + nkeys + i] = args[i];
	rc = redis_exchange(redis, script->name, 1, &cmd, arena, out, e);
	if (rc == RC_OK && out->type == RT_ERROR &&
	    span_starts(out->str, "NOSCRIPT")) {
		argv[0] = span_of("EVAL");
		argv[1] = span_of(script->body);
		rc =
		    redis_exchange(redis, script->name, 1, &cmd, arena, out, e);
	}
	if (rc == RC_OK && out->type == RT_ERROR) {
		rc = redis_reply_error(out, e);
		err_prefix(e, "%s: ", script->name);
	}
	return rc;
}

/* ---- what is known of it */

const char *
redis_run_id(const struct redis *redis)
{
	return redis->run_id[0] == '\0' ? NULL : redis->run_id;
}

int64_t
redis_uptime_s(const struct redis *redis)
{
	if (redis->run_id[0] == '\0')
		return 0;
	return (clock_mono_ms() - redis->started_ms) / 1000;
}

enum rc
redis_ping(struct redis *redis, struct err *e)
{
	struct arena *arena = arena_new();
	struct redis_reply r;
	enum rc rc = redis_callv(redis, NULL, arena, &r, e, "PING", NULL);

	arena_free(arena);
	return rc;
}

struct redis_stats
redis_stats(const struct redis *redis)
{
	return redis->stats;
}
