/*
 * fetch - GET of an address that a stranger has named, into a descriptor.
 *
 * Nobody can use it to reach what only this host can: every address that is
 * connected to, also after each redirect, is looked at as the kernel will get
 * it (a name may resolve to another one each time). Not to be reached are
 * loopback, private, link-local (also the clouds' metadata), carrier-grade,
 * multicast, documentation and reserved addresses, of IPv6 all that is not
 * global, and those that carry an IPv4 address (mapped, NAT64, 6to4) as that
 * one, and the addresses that this host's interfaces have. Only http and https,
 * at their own ports; no proxy, no cookies, no credentials, certificates
 * verified; redirects, bytes and time are bounded.
 */
#ifndef STORE_FETCH_H
#define STORE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;
struct sockaddr;

struct fetch_opts {
	int64_t max_bytes; /* of the body */
	int timeout_ms;    /* all in all */
	/* Which addresses may be connected to; NULL: fetch_address_public. */
	bool (*may_reach)(const struct sockaddr *address);
	bool any_port; /* else 80 and 443 */
};

enum { FETCH_REDIRECTS = 5, FETCH_URL_BYTES = 2000 };

struct fetch_answer {
	int64_t bytes;
	const char *type; /* Content-Type, in the arena; "" none */
};

/*
 * Writes the body of an answer of status 200 to fd, where it stands; on an
 * error a part of it may have been written.
 *
 * RC_INVALID: "fetch_address" (no address of http or https, or with a user in
 * it), "fetch_too_large", "fetch_redirects". RC_REFUSED: "fetch_private";
 * "fetch_port"; "fetch_status": any other 4xx. RC_NONE "fetch_status": 404,
 * 410. RC_RETRY: "fetch_away": no such host, no connection, no or a cut answer,
 * a certificate that is not good, too slow, 408, 425, 429, 5xx; "fetch_store":
 * fd takes no more.
 */
enum rc fetch_fd(const struct fetch_opts *opts, const char *url, int fd,
    struct arena *arena, struct fetch_answer *out, struct err *e);

/* Could it be fetched by its form? */
bool fetch_url_ok(const char *url);

/* Can everybody reach it? */
bool fetch_address_ok(const struct sockaddr *address);
/* Does an interface of this host have it? */
bool fetch_address_own(const struct sockaddr *address);
/* Can everybody reach it, and is it not this host's? */
bool fetch_address_public(const struct sockaddr *address);
bool fetch_address_any(const struct sockaddr *address); /* yes */

#endif
