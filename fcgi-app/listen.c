#include "fcgi-app/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/span.h"
#include "base/text.h"

enum { ORPHANS_MS = 3000 };

static enum rc
bad_address(const char *s, const char *why, struct err *e)
{
	return err_set(e, RC_INVALID, "bad_listen",
	    "\"%s\": %s; write unix:/PATH, 127.0.0.1:PORT, [::1]:PORT or "
	    "*:PORT",
	    s, why);
}

static enum rc
parse_unix(
    const char *s, const char *path, struct listen_addr *out, struct err *e)
{
	if (path[0] != '/')
		return bad_address(s, "the path must be absolute", e);
	if (strlen(path) >= sizeof out->path)
		return bad_address(s, "the path is longer than 107 bytes", e);
	out->is_unix = out->loopback = true;
	snprintf(out->path, sizeof out->path, "%s", path);
	out->sa.un.sun_family = AF_UNIX;
	memcpy(out->sa.un.sun_path, path, strlen(path) + 1);
	out->len = sizeof out->sa.un;
	return RC_OK;
}

static bool
parse_ip(const char *host, uint16_t port, struct listen_addr *out)
{
	if (inet_pton(AF_INET, host, &out->sa.in.sin_addr) == 1) {
		out->sa.in.sin_family = AF_INET;
		out->sa.in.sin_port = htons(port);
		out->len = sizeof out->sa.in;
		out->loopback =
		    (ntohl(out->sa.in.sin_addr.s_addr) >> 24) == 127;
		return true;
	}
	if (inet_pton(AF_INET6, host, &out->sa.in6.sin6_addr) == 1) {
		out->sa.in6.sin6_family = AF_INET6;
		out->sa.in6.sin6_port = htons(port);
		out->len = sizeof out->sa.in6;
		out->loopback = IN6_IS_ADDR_LOOPBACK(&out->sa.in6.sin6_addr);
		return true;
	}
	return false;
}

enum rc
listen_parse(const char *s, struct listen_addr *out, struct err *e)
{
	const char *colon;
	char host[64];
	int64_t port;
	size_t n;

	memset(out, 0, sizeof *out);
	if (strncmp(s, "unix:", 5) == 0)
		return parse_unix(s, s + 5, out, e);
	colon = strrchr(s, ':');
	if (colon == NULL)
		return bad_address(s, "not an address", e);
	if (!text_int(span_of(colon + 1), 1, 65535, &port))
		return bad_address(s, "the port is not between 1 and 65535", e);
	n = (size_t)(colon - s);
	if (n >= 2 && s[0] == '[' && s[n - 1] == ']') {
		s++;
		n -= 2;
	} else if (memchr(s, ':', n) != NULL) {
		return bad_address(s, "an IPv6 address needs [ ]", e);
	}
	if (n >= sizeof host)
		return bad_address(s, "not an IP address", e);
	memcpy(host, s, n);
	host[n] = '\0';
	if (!parse_ip(
		strcmp(host, "*") == 0 ? "0.0.0.0" : host, (uint16_t)port, out))
		return bad_address(s, "not an IP address", e);
	return RC_OK;
}

/* ---- opening */

/* Does anybody answer? A queue that is full is an answer. */
static bool
is_alive(const struct listen_addr *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool alive;

	if (fd < 0)
		return true; /* rather leave it alone */
	alive = connect(fd, &addr->sa.sa, addr->len) == 0 ||
		(errno != ECONNREFUSED && errno != ENOENT);
	close(fd);
	return alive;
}

static enum rc
remove_stale(const struct listen_addr *addr, struct err *e)
{
	struct stat st;

	if (lstat(addr->path, &st) != 0)
		return RC_OK;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, RC_REFUSED, "not_a_socket",
		    "%s is there and is no socket", addr->path);
	/* Children of a master that was killed answer what they have begun. */
	for (int64_t end = deadline_in(ORPHANS_MS); is_alive(addr);) {
		if (deadline_left_ms(end) == 0)
			return err_set(e, RC_REFUSED, "address_in_use",
			    "%s: another process answers there", addr->path);
		clock_sleep_ms(100);
	}
	if (unlink(addr->path) != 0)
		return err_set(e, RC_FAIL, "listen", "unlink %s: %s",
		    addr->path, strerror(errno));
	return RC_OK;
}

static enum rc
permit(const struct listen_opts *opts, const struct listen_addr *addr,
    struct err *e)
{
	gid_t gid = (gid_t)-1;
	uid_t uid = (uid_t)-1;
	char *end;
	long mode = strtol(opts->mode, &end, 8);

	if (*end != '\0' || end == opts->mode || mode < 0 || mode > 0777)
		return err_set(e, RC_INVALID, "bad_mode",
		    "socket_mode \"%s\" is not an octal mode", opts->mode);
	if (opts->group[0] != '\0') {
		const struct group *gr = getgrnam(opts->group);

		if (gr == NULL)
			return err_set(e, RC_INVALID, "no_such_group",
			    "socket_group: there is no group \"%s\"",
			    opts->group);
		gid = gr->gr_gid;
	}
	if (opts->owner[0] != '\0' && geteuid() == 0) {
		const struct passwd *pw = getpwnam(opts->owner);

		if (pw == NULL)
			return err_set(e, RC_INVALID, "no_such_user",
			    "user: there is no user \"%s\"", opts->owner);
		uid = pw->pw_uid;
	}
	if ((gid != (gid_t)-1 || uid != (uid_t)-1) &&
	    chown(addr->path, uid, gid) != 0)
		return err_set(e, RC_FAIL, "listen", "chown %s: %s", addr->path,
		    strerror(errno));
	if (chmod(addr->path, (mode_t)mode) != 0)
		return err_set(e, RC_FAIL, "listen", "chmod %s: %s", addr->path,
		    strerror(errno));
	return RC_OK;
}

enum rc
listen_permit(const struct listen_opts *opts, struct err *e)
{
	struct listen_addr addr;
	enum rc rc = listen_parse(opts->address, &addr, e);

	if (rc != RC_OK || !addr.is_unix)
		return rc;
	return permit(opts, &addr, e);
}

static enum rc
bind_and_listen(int fd, const struct listen_opts *opts,
    const struct listen_addr *addr, struct err *e)
{
	mode_t mask;
	int on = 1, bound;

	if (!addr->is_unix)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* Nobody gets in before the mode is what it should be. */
	mask = umask(0777);
	bound = bind(fd, &addr->sa.sa, addr->len);
	umask(mask);
	if (bound != 0)
		return err_set(e, errno == EADDRINUSE ? RC_REFUSED : RC_FAIL,
		    errno == EADDRINUSE ? "address_in_use" : "listen",
		    "bind %s: %s", opts->address, strerror(errno));
	if (listen(fd, opts->backlog) != 0)
		return err_set(e, RC_FAIL, "listen", "listen %s: %s",
		    opts->address, strerror(errno));
	return addr->is_unix ? permit(opts, addr, e) : RC_OK;
}

enum rc
listen_open(const struct listen_opts *opts, int *fd, struct err *e)
{
	struct listen_addr addr;
	enum rc rc = listen_parse(opts->address, &addr, e);
	int s;

	if (rc != RC_OK)
		return rc;
	if (addr.is_unix && (rc = remove_stale(&addr, e)) != RC_OK)
		return rc;
	s = socket(addr.sa.sa.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s < 0)
		return err_set(
		    e, RC_FAIL, "listen", "socket: %s", strerror(errno));
	rc = bind_and_listen(s, opts, &addr, e);
	if (rc != RC_OK) {
		close(s);
		return rc;
	}
	*fd = s;
	return RC_OK;
}

/* ---- inherited ones */

bool
listen_is_socket(int fd)
{
	int on = 0, type = 0;
	socklen_t n = sizeof on;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) != 0 || on == 0)
		return false;
	n = sizeof type;
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 &&
	       type == SOCK_STREAM;
}

/* sd_listen_fds(3): the descriptors begin at 3. We take the first. */
int
listen_systemd(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	int64_t n = 0, p = 0;
	bool ours = pid != NULL && fds != NULL &&
		    text_int(span_of(pid), 1, INT32_MAX, &p) && p == getpid() &&
		    text_int(span_of(fds), 1, 1024, &n) && listen_is_socket(3);

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return ours ? 3 : -1;
}

enum rc
listen_prepare(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return err_set(e, RC_FAIL, "listen", "descriptor %d: %s", fd,
		    strerror(errno));
	return RC_OK;
}

void
listen_name(int fd, char *out, size_t size)
{
	union listen_sockaddr sa = { 0 };
	socklen_t n = sizeof sa;
	char ip[INET6_ADDRSTRLEN];

	if (getsockname(fd, &sa.sa, &n) != 0)
		snprintf(out, size, "?");
	else if (sa.sa.sa_family == AF_UNIX)
		snprintf(out, size, "unix:%.*s", (int)sizeof sa.un.sun_path,
		    sa.un.sun_path);
	else if (sa.sa.sa_family == AF_INET)
		snprintf(out, size, "%s:%d",
		    inet_ntop(AF_INET, &sa.in.sin_addr, ip, sizeof ip),
		    ntohs(sa.in.sin_port));
	else if (sa.sa.sa_family == AF_INET6)
		snprintf(out, size, "[%s]:%d",
		    inet_ntop(AF_INET6, &sa.in6.sin6_addr, ip, sizeof ip),
		    ntohs(sa.in6.sin6_port));
	else
		snprintf(out, size, "?");
}

bool
listen_same(int fd, const char *address)
{
	struct listen_addr addr;
	union listen_sockaddr sa = { 0 };
	socklen_t n = sizeof sa;

	if (listen_parse(address, &addr, NULL) != RC_OK ||
	    getsockname(fd, &sa.sa, &n) != 0 ||
	    sa.sa.sa_family != addr.sa.sa.sa_family)
		return false;
	if (addr.is_unix)
		return strncmp(sa.un.sun_path, addr.path,
			   sizeof sa.un.sun_path) == 0;
	if (sa.sa.sa_family == AF_INET)
		return sa.in.sin_port == addr.sa.in.sin_port &&
		       sa.in.sin_addr.s_addr == addr.sa.in.sin_addr.s_addr;
	return sa.in6.sin6_port == addr.sa.in6.sin6_port &&
	       memcmp(&sa.in6.sin6_addr, &addr.sa.in6.sin6_addr,
		   sizeof sa.in6.sin6_addr) == 0;
}

/* ---- the queue */

/* What `ss -xl` asks (sock_diag(7)): the kernel says of a listening unix socket
 * how many wait, by no other way. */
static bool
unix_queue(ino_t ino, struct unix_diag_rqlen *out)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} req = { .h = { .nlmsg_len = sizeof req,
		      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		      .nlmsg_flags = NLM_F_REQUEST },
		.r = { .sdiag_family = AF_UNIX,
		    .udiag_states = UINT32_MAX,
		    .udiag_ino = (uint32_t)ino,
		    .udiag_show = UDIAG_SHOW_RQLEN,
		    .udiag_cookie = { UINT32_MAX, UINT32_MAX } } };
	union {
		struct nlmsghdr h;
		char room[512];
	} rep;
	struct timeval limit = { 0, 100000 };
	bool found = false;
	ssize_t n;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	n = -1;
	if (send(fd, &req, sizeof req, 0) == (ssize_t)sizeof req)
		n = recv(fd, &rep, sizeof rep, 0);
	close(fd);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct unix_diag_msg)) ||
	    rep.h.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return false;
	for (size_t at = NLMSG_LENGTH(sizeof(struct unix_diag_msg));
	     at + sizeof(struct nlattr) <= (size_t)n;) {
		struct nlattr a;

		memcpy(&a, rep.room + at, sizeof a);
		if (a.nla_type == UNIX_DIAG_RQLEN &&
		    at + sizeof a + sizeof *out <= (size_t)n) {
			memcpy(out, rep.room + at + sizeof a, sizeof *out);
			found = true;
		}
		if (a.nla_len < sizeof a)
			break;
		at += (size_t)NLA_ALIGN(a.nla_len);
	}
	return found;
}

int
listen_queue(int fd, int *size)
{
	union listen_sockaddr sa = { 0 };
	struct unix_diag_rqlen q;
	struct tcp_info info;
	socklen_t n = sizeof sa;
	struct stat st;

	*size = -1;
	if (getsockname(fd, &sa.sa, &n) != 0)
		return -1;
	if (sa.sa.sa_family == AF_UNIX) {
		if (fstat(fd, &st) != 0 || !unix_queue(st.st_ino, &q))
			return -1;
		*size = (int)q.udiag_wqueue;
		return (int)q.udiag_rqueue;
	}
	n = sizeof info;
	memset(&info, 0, sizeof info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
		return -1;
	*size = (int)info.tcpi_sacked; /* for a listening socket: its room */
	return (int)info.tcpi_unacked;
}
