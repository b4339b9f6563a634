/*
 * redis_int - what redis.c and redis_sub.c share: an address, and a link, a
 * non-blocking connection that hiredis parses the replies of.
 *
 * Only hiredis's reader is used, not its connections: those write without
 * MSG_NOSIGNAL, are inherited by what we exec, and their timeouts count from
 * each read, so that a server which drips bytes is never too slow.
 */
#ifndef STORE_REDIS_INT_H
#define STORE_REDIS_INT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/span.h"
#include "base/strbuf.h"

struct redisReader;
struct redisReply;

struct redis_addr {
	char *host; /* NULL: path */
	char *port;
	char *path; /* of a unix socket */
	char *user; /* NULL: none */
	char *pass; /* NULL: none */
	int db;
};

/* RC_INVALID with what is wrong. *out needs redis_addr_release in any case. */
enum rc redis_addr_parse(
    const char *url, struct redis_addr *out, struct err *e);
void redis_addr_release(struct redis_addr *addr);

#define LINK_MAX_ADDRS 4

struct redis_link {
	int fd; /* -1: closed */
	bool connecting;
	struct redisReader *reader;
	struct strbuf out; /* not yet sent from sent on */
	size_t sent;
	struct sockaddr_storage sa[LINK_MAX_ADDRS];
	socklen_t salen[LINK_MAX_ADDRS];
	int naddr, next; /* addresses, the next one to try */
};

void link_init(struct redis_link *link);
void link_release(struct redis_link *link);
void link_close(struct redis_link *link);

/*
 * Begin to connect. Does not wait for the server; a host that is a name is
 * looked up by getaddrinfo(3), which may wait for a name server. RC_RETRY:
 * refused at once, or no such name.
 */
enum rc link_open(
    struct redis_link *link, const struct redis_addr *addr, struct err *e);

/* Queue one command. */
void link_command(struct redis_link *link, int argc, const struct span *argv);

/* AUTH as the address says; false: nothing to send. */
bool link_auth(struct redis_link *link, const struct redis_addr *addr);

/* What to poll the descriptor for. */
short link_events(const struct redis_link *link);

/* Send what can be sent; finishes connecting. 0: go on, -1: broken (errno). */
int link_flush(struct redis_link *link);

/* Read once. 1: something came, 0: nothing there, -1: broken or ended. */
int link_fill(struct redis_link *link);

/* 1: *out is a reply, to be freed by freeReplyObject; 0: not yet complete;
 * -1: not the protocol. */
int link_reply(struct redis_link *link, struct redisReply **out);

/* min(retries * 50, 1000) ms and up to a quarter more. retries counts from
 * 1. */
int redis_back_off_ms(int retries);

#endif
