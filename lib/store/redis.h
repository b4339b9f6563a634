/*
 * redis - Redis by hiredis: commands as argument vectors, with deadlines.
 *
 * One struct redis per process, made after fork(). Callers name the key a
 * command is about and the layer picks the connection for it, so that Redis
 * Cluster can come without touching them; a script's keys share a hash tag.
 * A connection is opened when first needed. One that broke is tried again
 * after min(retries * 50, 1000) ms plus up to a quarter of jitter; until then
 * every call fails at once with RC_RETRY, code "redis_down". A call that
 * misses its deadline closes the connection (an answer that comes late must
 * not be taken for the next one's): RC_RETRY, "redis_timeout". Other states of
 * the server that pass: RC_RETRY, "redis_unready".
 */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct doing;
struct redis;

struct redis_opts {
	const char *url; /* redis://[user:pass@]host[:port][/db],
			    unix:///path[?db=n]; copied */
	int connect_ms;
	int command_ms;      /* deadline of a command or a pipeline */
	struct doing *doing; /* NULL: nobody watches */
};

/* RC_INVALID: the URL, with what is wrong. *out is given. */
enum rc redis_new(
    const struct redis_opts *opts, struct redis **out, struct err *e);
void redis_free(struct redis *redis); /* NULL is allowed */

enum redis_type { RT_NIL, RT_STRING, RT_INT, RT_ARRAY, RT_STATUS, RT_ERROR };

struct redis_reply {
	enum redis_type type;
	int64_t num;     /* RT_INT */
	struct span str; /* RT_STRING, RT_STATUS, RT_ERROR; ends with NUL */
	size_t n;        /* RT_ARRAY */
	const struct redis_reply *item;
};

/* A number in a string or an integer reply; dflt for nil and anything else. */
int64_t redis_num(const struct redis_reply *r, int64_t dflt);

struct redis_cmd {
	int argc;
	const struct span *argv;
};

/*
 * One command. key picks the connection; NULL: any (PUBLISH, INFO). The reply
 * is in the arena. An error reply is RC_FAIL with its text, but LOADING,
 * BUSY, READONLY, MASTERDOWN, OOM, TRYAGAIN and CLUSTERDOWN are RC_RETRY.
 */
enum rc redis_call(struct redis *redis, const char *key, int argc,
    const struct span *argv, struct arena *arena, struct redis_reply *out,
    struct err *e);

/* The same for words without NUL bytes; the last argument is NULL. */
enum rc redis_callv(struct redis *redis, const char *key, struct arena *arena,
    struct redis_reply *out, struct err *e, ...) __attribute__((sentinel));

/*
 * n commands in one round trip per connection. keys[i] is command i's key.
 * RC_OK: out[0..n) are set, each may be RT_ERROR. RC_RETRY: none may be relied
 * on, some may have been carried out.
 */
enum rc redis_pipeline(struct redis *redis, int n, const char *const keys[],
    const struct redis_cmd cmds[], struct arena *arena,
    struct redis_reply out[], struct err *e);

/*
 * What an error reply of a pipeline means, as redis_call tells it: RC_RETRY,
 * "redis_unready": the server's state, which passes; RC_FAIL, "redis_error".
 */
enum rc redis_reply_error(const struct redis_reply *r, struct err *e);

/* A Lua script, called by its SHA-1 and sent whole where it is not known. */
struct redis_script {
	const char *name; /* "cache_read": for doing and errors */
	const char *body;
};

/*
 * keys[0] picks the connection; all keys share its slot. The SHA-1 is
 * calculated once per process and script.
 */
enum rc redis_eval(struct redis *redis, const struct redis_script *script,
    int nkeys, const struct span keys[], int nargs, const struct span args[],
    struct arena *arena, struct redis_reply *out, struct err *e);

/* The script's SHA-1 in hex, for an EVALSHA within a pipeline; borrowed as
 * long as redis lives. A reply that begins with NOSCRIPT: redis_eval it. */
const char *redis_script_sha(
    struct redis *redis, const struct redis_script *script);

/*
 * What INFO server said when the connection was made, with the same round trip
 * as the rest of the greeting. NULL and 0 before, and where INFO is not
 * permitted.
 */
const char *redis_run_id(const struct redis *redis);
int64_t redis_uptime_s(const struct redis *redis); /* now */

/* For /readyz. */
enum rc redis_ping(struct redis *redis, struct err *e);

struct redis_stats {
	int64_t commands, errors, reconnects, timeouts;
};
struct redis_stats redis_stats(const struct redis *redis);

/*
 * ---- Subscription: a connection of its own that never blocks (but for a
 * host given by name, which getaddrinfo(3) looks up at each connect).
 *
 * The owner polls redis_sub_fd() (asking for it anew each time: a reconnect
 * changes it) and calls redis_sub_turn() when it is readable and at least every
 * 250 ms: it reconnects with the same back-off, resubscribes and keeps a
 * heartbeat (PING). Trust: redis_sub_fresh() is true while the subscription
 * stands and all that was published until 750 ms ago at the latest has been
 * given to message(): the answer to a PING comes behind it on the connection.
 */
struct redis_sub;

struct redis_sub_events {
	/* payload is borrowed until the call returns. */
	void (*message)(void *arg, struct span channel, struct span payload);
	/* The subscription stands again after it did not: whatever was
	 * learned by it before must be forgotten. */
	void (*restarted)(void *arg);
	/* The subscription is gone. */
	void (*lost)(void *arg);
	void *arg;
};

/* channels: copied, ends with NULL. url as in redis_opts. */
enum rc redis_sub_new(const char *url, const char *const channels[],
    const struct redis_sub_events *ev, struct redis_sub **out, struct err *e);
void redis_sub_free(struct redis_sub *sub);              /* NULL is allowed */
int redis_sub_fd(const struct redis_sub *sub);           /* -1: not connected */
bool redis_sub_wants_write(const struct redis_sub *sub); /* poll for POLLOUT */
void redis_sub_turn(struct redis_sub *sub);
bool redis_sub_fresh(const struct redis_sub *sub);

#endif
