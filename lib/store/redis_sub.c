/*
 * redis_sub - the subscription: a small machine that its owner turns.
 *
 *	DOWN --connect, AUTH, SUBSCRIBE--> JOINING --all confirmed--> UP
 *	  ^---- refused, broken, silent for SILENT_MS ------------------'
 *
 * Freshness is not "when did bytes come": what we read now may have lain in
 * the kernel's buffer while this process did something else for seconds. It is
 * the time at which the last answered PING was sent: the server answered it
 * after all that it had published until then.
 */
#include "store/redis.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/xmalloc.h"
#include "store/redis_int.h"

#define FRESH_MS 750
#define PING_MS 200    /* less than the 250 ms between turns */
#define SILENT_MS 3000 /* then the connection is given up */
#define JOIN_MS 2000   /* time to connect and subscribe */
#define MAX_READS 64   /* a turn: 1 MiB, then the owner's other work */

enum sub_state { SUB_DOWN, SUB_JOINING, SUB_UP };

struct redis_sub {
	struct redis_addr addr;
	struct redis_link link;
	char **channels; /* ends with NULL */
	int nchannels, confirmed;
	struct redis_sub_events ev;
	enum sub_state state;
	int retries;
	int64_t retry_at;
	int64_t since;     /* JOINING: when it began */
	int64_t ping_at;   /* when the last PING was sent */
	bool ping_pending; /* it is not answered yet */
	int64_t fresh_at;  /* see above */
};

enum rc
redis_sub_new(const char *url, const char *const channels[],
    const struct redis_sub_events *ev, struct redis_sub **out, struct err *e)
{
	struct redis_sub *sub = xcalloc(1, sizeof *sub);
	enum rc rc;

	link_init(&sub->link);
	rc = redis_addr_parse(url, &sub->addr, e);
	if (rc != RC_OK) {
		redis_sub_free(sub);
		return rc;
	}
	while (channels[sub->nchannels] != NULL)
		sub->nchannels++;
	assert(sub->nchannels > 0);
	sub->channels =
	    xcalloc((size_t)sub->nchannels + 1, sizeof *sub->channels);
	for (int i = 0; i < sub->nchannels; i++)
		sub->channels[i] = xstrdup(channels[i]);
	sub->ev = *ev;
	*out = sub;
	return RC_OK;
}

void
redis_sub_free(struct redis_sub *sub)
{
	if (sub == NULL)
		return;
	for (int i = 0; i < sub->nchannels; i++)
		free(sub->channels[i]);
	free(sub->channels);
	link_release(&sub->link);
	redis_addr_release(&sub->addr);
	free(sub);
}

int
redis_sub_fd(const struct redis_sub *sub)
{
	return sub->link.fd;
}

bool
redis_sub_wants_write(const struct redis_sub *sub)
{
	return sub->link.fd >= 0 && (link_events(&sub->link) & POLLOUT) != 0;
}

bool
redis_sub_fresh(const struct redis_sub *sub)
{
	return sub->state == SUB_UP &&
	       clock_coarse_ms() - sub->fresh_at <= FRESH_MS;
}

/* ---- changes of state: here only */

static void
sub_down(struct redis_sub *sub)
{
	bool was_up = sub->state == SUB_UP;

	link_close(&sub->link);
	sub->state = SUB_DOWN;
	if (sub->retries < 1000)
		sub->retries++;
	sub->retry_at = deadline_in(redis_back_off_ms(sub->retries));
	if (was_up && sub->ev.lost != NULL)
		sub->ev.lost(sub->ev.arg);
}

static void
sub_join(struct redis_sub *sub, int64_t now)
{
	if (link_open(&sub->link, &sub->addr, NULL) != RC_OK) {
		sub_down(sub);
		return;
	}
	(void)link_auth(&sub->link, &sub->addr);
	for (int i = 0; i < sub->nchannels; i++) {
		struct span argv[2] = { span_of("SUBSCRIBE"),
			span_of(sub->channels[i]) };

		link_command(&sub->link, 2, argv);
	}
	sub->state = SUB_JOINING;
	sub->confirmed = 0;
	sub->since = now;
}

static void
sub_up(struct redis_sub *sub, int64_t now)
{
	sub->state = SUB_UP;
	sub->retries = 0;
	/* Nothing published before now matters: whoever trusts what he
	 * learns from here on learns it later than the subscription. */
	sub->fresh_at = now;
	sub->ping_at = now - PING_MS;
	sub->ping_pending = false;
	if (sub->ev.restarted != NULL)
		sub->ev.restarted(sub->ev.arg);
}

/* ---- what the server says */

static bool
word_is(const redisReply *r, const char *word)
{
	return r->type == REDIS_REPLY_STRING &&
	       span_is((struct span){ r->str, (size_t)r->len }, word);
}

/* False: an answer that ends the connection, such as an error. */
static bool
sub_reply(struct redis_sub *sub, const redisReply *r, int64_t now)
{
	if (r->type == REDIS_REPLY_STATUS)
		return true; /* AUTH's OK */
	if (r->type != REDIS_REPLY_ARRAY || r->elements < 2)
		return false;
	if (word_is(r->element[0], "message")) {
		const redisReply *ch = r->element[1];
		const redisReply *text = r->elements == 3 ? r->element[2] : ch;

		if (sub->ev.message != NULL)
			sub->ev.message(sub->ev.arg,
			    (struct span){ ch->str, (size_t)ch->len },
			    (struct span){ text->str, (size_t)text->len });
	} else if (word_is(r->element[0], "pong")) {
		if (sub->ping_pending)
			sub->fresh_at = sub->ping_at;
		sub->ping_pending = false;
	} else if (word_is(r->element[0], "subscribe")) {
		if (++sub->confirmed == sub->nchannels)
			sub_up(sub, now);
	}
	return true;
}

/* All that has arrived. False: the connection is of no more use. */
static bool
sub_read(struct redis_sub *sub, int64_t now)
{
	for (int i = 0; i < MAX_READS; i++) {
		int got = link_fill(&sub->link), rv;
		redisReply *r;

		while (got > 0 && (rv = link_reply(&sub->link, &r)) != 0) {
			bool ok = rv > 0 && sub_reply(sub, r, now);

			if (rv > 0)
				freeReplyObject(r);
			if (!ok)
				return false;
		}
		if (got <= 0)
			return got == 0;
	}
	return true;
}

static void
sub_ping(struct redis_sub *sub, int64_t now)
{
	struct span ping = span_of("PING");

	if (sub->ping_pending || now - sub->ping_at < PING_MS)
		return;
	link_command(&sub->link, 1, &ping);
	sub->ping_pending = true;
	sub->ping_at = now;
}

void
redis_sub_turn(struct redis_sub *sub)
{
	int64_t now = clock_mono_ms();
	bool ok;

	if (sub->state == SUB_DOWN && now >= sub->retry_at)
		sub_join(sub, now);
	if (sub->state == SUB_DOWN)
		return;
	ok = link_flush(&sub->link) == 0 && sub_read(sub, now);
	if (ok && sub->state == SUB_UP) {
		sub_ping(sub, now);
		ok = link_flush(&sub->link) == 0;
	}
	if (sub->state == SUB_JOINING && now - sub->since > JOIN_MS)
		ok = false;
	/* Silent: a PING is not answered. An owner who did not turn for long
	 * is not the server's silence: his PING goes out only now. */
	if (sub->state == SUB_UP && sub->ping_pending &&
	    now - sub->ping_at > SILENT_MS)
		ok = false;
	if (!ok)
		sub_down(sub);
}
