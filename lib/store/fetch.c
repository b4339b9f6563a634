/*
 * The address is judged where libcurl is about to make a socket for it
 * (CURLOPT_OPENSOCKETFUNCTION): what is judged is what is connected to. Looking
 * a name up first and judging that was the other way; between the two look-ups
 * the name may change.
 */
#include "store/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/text.h"
#include "store/http.h"

enum { CONNECT_MS = 10000 };

/* ---- which addresses */

struct range4 {
	uint32_t net;
	int bits;
};

/* Not reachable for everybody (IANA's registry of special addresses). */
static bool
ipv4_ok(uint32_t a)
{
	static const struct range4 refused[] = {
		{ 0x00000000, 8 },  /* this network */
		{ 0x0a000000, 8 },  /* private */
		{ 0x64400000, 10 }, /* carrier-grade NAT; a cloud's metadata */
		{ 0x7f000000, 8 },  /* loopback */
		{ 0xa9fe0000, 16 }, /* link-local: metadata */
		{ 0xac100000, 12 }, /* private */
		{ 0xc0000000, 24 }, /* protocol assignments */
		{ 0xc0000200, 24 }, /* documentation */
		{ 0xc0586300, 24 }, /* 6to4 relays */
		{ 0xc0a80000, 16 }, /* private */
		{ 0xc6120000, 15 }, /* benchmarks */
		{ 0xc6336400, 24 }, /* documentation */
		{ 0xcb007100, 24 }, /* documentation */
		{ 0xa83f8110, 32 }, /* Azure's own, of its hosts alone */
		{ 0xe0000000, 3 },  /* multicast, reserved, broadcast */
	};

	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		uint32_t mask = UINT32_MAX << (32 - refused[i].bits);

		if ((a & mask) == refused[i].net)
			return false;
	}
	return true;
}

static uint32_t
big_endian(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static bool
begins(const unsigned char *a, const char *prefix, size_t n)
{
	return memcmp(a, prefix, n) == 0;
}

static bool
ipv6_ok(const unsigned char a[16])
{
	static const char mapped[12] = { [10] = '\xff', [11] = '\xff' };
	static const char nat64[12] = "\x00\x64\xff\x9b";

	if (begins(a, mapped, sizeof mapped) || begins(a, nat64, sizeof nat64))
		return ipv4_ok(big_endian(a + 12));
	if (begins(a, "\x20\x02", 2)) /* 6to4 */
		return ipv4_ok(big_endian(a + 2));
	/* Global unicast, without what is set apart in there. */
	return (a[0] & 0xe0) == 0x20 &&
	       !(begins(a, "\x20\x01", 2) && a[2] < 2) && /* Teredo, ... */
	       !begins(a, "\x20\x01\x0d\xb8", 4) &&       /* documentation */
	       !begins(a, "\x3f\xff", 2);
}

bool
fetch_address_ok(const struct sockaddr *address)
{
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	switch (address->sa_family) {
	case AF_INET:
		memcpy(&four, address, sizeof four);
		return ipv4_ok(ntohl(four.sin_addr.s_addr));
	case AF_INET6:
		memcpy(&six, address, sizeof six);
		return ipv6_ok(six.sin6_addr.s6_addr);
	default:
		return false;
	}
}

/* As IPv6 has it, IPv4's mapped. */
static bool
address_bytes(const struct sockaddr *address, unsigned char out[16])
{
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	if (address->sa_family == AF_INET6) {
		memcpy(&six, address, sizeof six);
		memcpy(out, six.sin6_addr.s6_addr, 16);
		return true;
	}
	if (address->sa_family != AF_INET)
		return false;
	memcpy(&four, address, sizeof four);
	memset(out, 0, 10);
	memset(out + 10, 0xff, 2);
	memcpy(out + 12, &four.sin_addr.s_addr, 4);
	return true;
}

bool
fetch_address_own(const struct sockaddr *address)
{
	unsigned char want[16], has[16];
	struct ifaddrs *all;
	bool own = false;

	/* Where nobody can say, it may be. */
	if (!address_bytes(address, want) || getifaddrs(&all) != 0)
		return true;
	for (const struct ifaddrs *i = all; i != NULL && !own; i = i->ifa_next)
		own = i->ifa_addr != NULL && address_bytes(i->ifa_addr, has) &&
		      memcmp(want, has, sizeof has) == 0;
	freeifaddrs(all);
	return own;
}

bool
fetch_address_public(const struct sockaddr *address)
{
	return fetch_address_ok(address) && !fetch_address_own(address);
}

bool
fetch_address_any(const struct sockaddr *address)
{
	return address->sa_family == AF_INET || address->sa_family == AF_INET6;
}

bool
fetch_url_ok(const char *url)
{
	const char *host = NULL;
	size_t n = strnlen(url, FETCH_URL_BYTES + 1), end;

	if (n > FETCH_URL_BYTES || !utf8_valid(url, n))
		return false;
	if (strncasecmp(url, "https://", 8) == 0)
		host = url + 8;
	else if (strncasecmp(url, "http://", 7) == 0)
		host = url + 7;
	if (host == NULL)
		return false;
	for (const char *p = url; *p != '\0'; p++) {
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return false;
	}
	end = strcspn(host, "/?#\\");
	return end > 0 && memchr(host, '@', end) == NULL;
}

/* ---- one fetch */

struct fetching {
	const struct fetch_opts *opts;
	bool (*may_reach)(const struct sockaddr *address);
	int fd;
	int64_t bytes;
	bool private, too_large, full;
	int port; /* one that may not be reached */
	char peer[INET6_ADDRSTRLEN];
};

static void
peer_note(struct fetching *f, const struct sockaddr *address)
{
	const void *from =
	    address->sa_family == AF_INET6
		? (const void *)&(
		      (const struct sockaddr_in6 *)(const void *)address)
		      ->sin6_addr
		: (const void *)&(
		      (const struct sockaddr_in *)(const void *)address)
		      ->sin_addr;

	if (inet_ntop(address->sa_family, from, f->peer, sizeof f->peer) ==
	    NULL)
		f->peer[0] = '\0';
}

static int
port_of(const struct sockaddr *address)
{
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	if (address->sa_family == AF_INET6) {
		memcpy(&six, address, sizeof six);
		return ntohs(six.sin6_port);
	}
	memcpy(&four, address, sizeof four);
	return ntohs(four.sin_port);
}

static bool
port_ok(const struct fetching *f, int port)
{
	return f->opts->any_port || port == 80 || port == 443;
}

static curl_socket_t
socket_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct fetching *f = arg;

	if (purpose != CURLSOCKTYPE_IPCXN)
		return CURL_SOCKET_BAD;
	if (!f->may_reach(&address->addr)) {
		f->private = true;
		peer_note(f, &address->addr);
		return CURL_SOCKET_BAD;
	}
	if (!port_ok(f, port_of(&address->addr))) {
		f->port = port_of(&address->addr);
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC,
	    address->protocol);
}

static bool
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return false;
		p += w;
		n -= (size_t)w;
	}
	return true;
}

static size_t
body_take(char *p, size_t size, size_t n, void *arg)
{
	struct fetching *f = arg;

	n *= size;
	f->bytes += (int64_t)n;
	if (f->bytes > f->opts->max_bytes) {
		f->too_large = true;
		return 0;
	}
	if (!write_all(f->fd, p, n)) {
		f->full = true;
		return 0;
	}
	return n;
}

/* On top of what all our calls have: redirects are followed, and nobody is
 * trusted. */
static void
set_up(struct http *http, struct fetching *f, const char *url)
{
	CURL *c = http->curl;

	http_begin(http, &(struct http_request){ .method = "GET",
			     .url = url,
			     .connect_ms = CONNECT_MS,
			     .timeout_ms = f->opts->timeout_ms,
			     .take = body_take,
			     .arg = f });
	(void)curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L); /* no such body */
	(void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	(void)curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)FETCH_REDIRECTS);
#if LIBCURL_VERSION_NUM >= 0x075500
	(void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
	(void)curl_easy_setopt(
	    c, CURLOPT_REDIR_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
	/* Neither the environment's nor ours: it would do the looking up. */
	(void)curl_easy_setopt(c, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, socket_open);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, f);
	(void)curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
	(void)curl_easy_setopt(
	    c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)f->opts->max_bytes);
}

static enum rc
too_large(const struct fetching *f, struct err *e)
{
	return err_set(e, RC_INVALID, "fetch_too_large",
	    "What lies there has more than %lld bytes",
	    (long long)f->opts->max_bytes);
}

static enum rc
status_judge(long status, struct err *e)
{
	enum rc rc = RC_REFUSED;

	if (status == 404 || status == 410)
		rc = RC_NONE;
	else if (status < 400 || status >= 500 || status == 408 ||
		 status == 425 || status == 429)
		rc = RC_RETRY;
	return err_set(e, rc, rc == RC_RETRY ? "fetch_away" : "fetch_status",
	    "The server answers %ld", status);
}

static enum rc
judge(const struct fetching *f, CURLcode code, long status, const char *why,
    struct err *e)
{
	if (f->too_large || code == CURLE_FILESIZE_EXCEEDED)
		return too_large(f, e);
	if (f->full)
		return err_set(e, RC_RETRY, "fetch_store",
		    "What was fetched cannot be kept: no room");
	switch (code) {
	case CURLE_OK:
		return status == 200 ? RC_OK : status_judge(status, e);
	case CURLE_HTTP_RETURNED_ERROR:
		return status_judge(status, e);
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_LOGIN_DENIED:
		return err_set(e, RC_INVALID, "fetch_address",
		    "It is, or leads to, no address of http or https");
	case CURLE_TOO_MANY_REDIRECTS:
		return err_set(e, RC_INVALID, "fetch_redirects",
		    "More than %d redirects", FETCH_REDIRECTS);
	default:
		break;
	}
	/* None of the addresses of that name could be connected to. */
	if (f->private && code == CURLE_COULDNT_CONNECT)
		return err_set(e, RC_REFUSED, "fetch_private",
		    "It is, or leads to, %s, which is not an address of the "
		    "public net",
		    f->peer);
	if (f->port != 0 && code == CURLE_COULDNT_CONNECT)
		return err_set(e, RC_REFUSED, "fetch_port",
		    "It is, or leads to, port %d; pictures come from 80 and "
		    "443",
		    f->port);
	return err_set(e, RC_RETRY, "fetch_away", "%s", why);
}

enum rc
fetch_fd(const struct fetch_opts *opts, const char *url, int fd,
    struct arena *arena, struct fetch_answer *out, struct err *e)
{
	struct fetching f = { .opts = opts,
		.fd = fd,
		.may_reach = opts->may_reach != NULL ? opts->may_reach
						     : fetch_address_public };
	struct http http = { 0 };
	const char *type = NULL;
	long status = 0;
	CURLcode code;
	enum rc rc;

	if (!fetch_url_ok(url))
		return err_set(e, RC_INVALID, "fetch_address",
		    "It is no address of http or https");
	if ((rc = http_open(&http, e)) != RC_OK)
		return rc;
	set_up(&http, &f, url);
	code = curl_easy_perform(http.curl);
	(void)curl_easy_getinfo(http.curl, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(http.curl, CURLINFO_CONTENT_TYPE, &type);
	rc = judge(&f, code, status, http_why(&http, code), e);
	if (rc == RC_OK)
		*out = (struct fetch_answer){ .bytes = f.bytes,
			.type = arena_strdup(arena, type == NULL ? "" : type) };
	http_end(&http);
	http_close(&http);
	return rc;
}
