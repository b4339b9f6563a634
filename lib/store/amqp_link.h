/*
 * amqp_link - a connection to RabbitMQ that comes back by itself.
 *
 * librabbitmq waits for ever in more places than not. So: connecting, the
 * handshake and every question have its own timeouts; frames are read one by
 * one, polled for with a deadline; and TCP_USER_TIMEOUT bounds a write to a
 * broker that does not read (it does not while its memory or disk runs out).
 *
 * Not for two threads. Two channels: ALINK_WORK consumes or publishes,
 * ALINK_ASK declares and looks, since a "no" closes the channel it was asked
 * on.
 */
#ifndef STORE_AMQP_LINK_H
#define STORE_AMQP_LINK_H

#include <amqp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct amqp_url;

enum { ALINK_WORK = 1, ALINK_ASK = 2 };

struct amqp_link {
	const struct amqp_url *url; /* borrowed */
	const char *name;           /* the queue's, for errors; borrowed */
	int connect_ms, timeout_ms;
	amqp_connection_state_t conn; /* NULL: none */
	bool ask_open;
	int fails;
	int64_t not_before; /* mono: no attempt to connect before */
	struct err last;    /* why not */
};

/*
 * Connected, with ALINK_WORK open. *fresh: just now, nothing is known of what
 * was before. Between attempts it backs off and gives the last error again.
 * RC_RETRY: away; RC_FAIL: it does not take us.
 */
enum rc alink_up(struct amqp_link *link, bool *fresh, struct err *e);

/* It is of no use any more: no word to the broker. */
void alink_drop(struct amqp_link *link);
void alink_close(struct amqp_link *link); /* says good-bye */

/* A write's status (amqp_basic_publish() and the like). Not OK: dropped. */
enum rc alink_wrote(struct amqp_link *link, int status, struct err *e);

/*
 * The answer to what was asked on that channel. RC_NONE: no such thing (404).
 * A no on ALINK_ASK closes that channel alone; everything else drops the link.
 */
enum rc alink_reply(struct amqp_link *link, int channel, struct err *e);

/* Opens ALINK_ASK where it is not. */
enum rc alink_ask(struct amqp_link *link, struct err *e);

enum alink_got { ALINK_LOST = -1, ALINK_NOTHING, ALINK_FRAME };

/*
 * The next frame of ALINK_WORK, waited for until the deadline, or until stop_fd
 * (0: none) is readable. It is valid until the next call. ALINK_LOST: dropped;
 * e says why.
 */
enum alink_got alink_frame(struct amqp_link *link, int64_t deadline,
    int stop_fd, amqp_frame_t *frame, struct err *e);

/* Waits; true: stop_fd is readable. */
bool alink_pause(int64_t until, int stop_fd);

static inline amqp_bytes_t
bytes_of(const char *s)
{
	return amqp_cstring_bytes(s);
}

#endif
