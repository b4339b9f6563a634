/* See the header. Each wrapper asks hit() and then does as the kind says. */
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
	bool armed;
	int nth, count;
	enum fault_kind kind;
	const char *what;
	bool file;
	int64_t clock_ms;
} fault;

static bool sleep_virtual;

void
fault_sleep_virtual(bool on)
{
	sleep_virtual = on;
}

void
fault_arm(int nth, enum fault_kind kind)
{
	int64_t clock_ms = fault.clock_ms;

	memset(&fault, 0, sizeof fault);
	fault.clock_ms = clock_ms;
	fault.armed = true;
	fault.nth = nth;
	fault.kind = kind;
}

int
fault_disarm(void)
{
	fault.armed = false;
	return fault.count;
}

const char *
fault_what(void)
{
	return fault.what;
}

bool
fault_is_file(void)
{
	return fault.file;
}

void
fault_clock_jump(int64_t ms)
{
	fault.clock_ms += ms;
}

void
fault_clock_reset(void)
{
	fault.clock_ms = 0;
}

static bool
hit_nth(const char *what)
{
	if (!fault.armed || ++fault.count != fault.nth)
		return false;
	fault.what = what;
	return true;
}

static bool
hit(const char *what)
{
	return fault.kind != FAULT_VANISH && hit_nth(what);
}

/* What is sent, to be: it does not leave, and the connection is no more. */
static bool
vanishes(const char *what, int fd)
{
	if (fault.kind != FAULT_VANISH || !hit_nth(what))
		return false;
	(void)shutdown(fd, SHUT_RDWR);
	return true;
}

static bool
hit_file(const char *what)
{
	if (!hit(what))
		return false;
	fault.file = true;
	return true;
}

#define AFTER (fault.kind == FAULT_AFTER)

/* The real one, and its wrapper's prototype. */
#define WRAP(type, name, ...)                                                  \
	type __real_##name(__VA_ARGS__);                                       \
	type __wrap_##name(__VA_ARGS__);                                       \
	type __wrap_##name(__VA_ARGS__)

/* ---- the clock */

WRAP(int, clock_gettime, clockid_t id, struct timespec *ts)
{
	int rv = __real_clock_gettime(id, ts);

	if (rv == 0 && id == CLOCK_MONOTONIC)
		ts->tv_sec += (time_t)((fault.clock_ms + 999) / 1000);
	return rv;
}

WRAP(int, nanosleep, const struct timespec *ts, struct timespec *left)
{
	if (!sleep_virtual)
		return __real_nanosleep(ts, left);
	fault.clock_ms += (int64_t)ts->tv_sec * 1000 + ts->tv_nsec / 1000000;
	return 0;
}

/* The deadline passes without a word; after: the answer is just there. A look
 * that does not wait is not made to fail: it says no more than the next call.
 */
int __real_poll(struct pollfd *fds, nfds_t n, int ms);

WRAP(int, poll, struct pollfd *fds, nfds_t n, int ms)
{
	if (ms <= 0 || !hit("poll"))
		return __real_poll(fds, n, ms);
	if (AFTER)
		(void)__real_poll(fds, n, ms < 2000 ? ms : 2000);
	fault.clock_ms += ms;
	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = 0;
	return 0;
}

/* ---- PostgreSQL */

/* What was sent is carried out, all of its answer is here. */
int __real_PQflush(PGconn *conn);
int __real_PQconsumeInput(PGconn *conn);

static void
carried_out(PGconn *conn)
{
	for (int i = 0; i < 500; i++) {
		struct pollfd p = { .fd = PQsocket(conn), .events = POLLIN };

		if (__real_PQflush(conn) == 0 && !PQisBusy(conn))
			return;
		(void)__real_poll(&p, 1, 20);
		if (!__real_PQconsumeInput(conn))
			return;
	}
}

WRAP(PGconn *, PQconnectStartParams, const char *const *keys,
    const char *const *values, int expand)
{
	return hit("PQconnectStartParams")
		   ? NULL
		   : __real_PQconnectStartParams(keys, values, expand);
}

WRAP(PostgresPollingStatusType, PQconnectPoll, PGconn *conn)
{
	if (!hit("PQconnectPoll"))
		return __real_PQconnectPoll(conn);
	if (AFTER)
		(void)__real_PQconnectPoll(conn);
	return PGRES_POLLING_FAILED;
}

WRAP(int, PQsetnonblocking, PGconn *conn, int on)
{
	return hit("PQsetnonblocking") ? -1 : __real_PQsetnonblocking(conn, on);
}

WRAP(int, PQsendQuery, PGconn *conn, const char *sql)
{
	if (vanishes("PQsendQuery", PQsocket(conn)))
		return 1;
	if (!hit("PQsendQuery"))
		return __real_PQsendQuery(conn, sql);
	if (AFTER && __real_PQsendQuery(conn, sql))
		carried_out(conn);
	return 0;
}

WRAP(int, PQsendPrepare, PGconn *conn, const char *name, const char *sql, int n,
    const Oid *types)
{
	if (vanishes("PQsendPrepare", PQsocket(conn)))
		return 1;
	if (!hit("PQsendPrepare"))
		return __real_PQsendPrepare(conn, name, sql, n, types);
	if (AFTER && __real_PQsendPrepare(conn, name, sql, n, types))
		carried_out(conn);
	return 0;
}

WRAP(int, PQsendQueryPrepared, PGconn *conn, const char *name, int n,
    const char *const *values, const int *lengths, const int *formats, int how)
{
	if (vanishes("PQsendQueryPrepared", PQsocket(conn)))
		return 1;

	bool fails = hit("PQsendQueryPrepared");
	int rv = 0;

	if (!fails || AFTER)
		rv = __real_PQsendQueryPrepared(
		    conn, name, n, values, lengths, formats, how);
	if (!fails)
		return rv;
	if (rv != 0)
		carried_out(conn);
	return 0;
}

WRAP(int, PQsendQueryParams, PGconn *conn, const char *sql, int n,
    const Oid *types, const char *const *values, const int *lengths,
    const int *formats, int how)
{
	if (vanishes("PQsendQueryParams", PQsocket(conn)))
		return 1;

	bool fails = hit("PQsendQueryParams");
	int rv = 0;

	if (!fails || AFTER)
		rv = __real_PQsendQueryParams(
		    conn, sql, n, types, values, lengths, formats, how);
	if (!fails)
		return rv;
	if (rv != 0)
		carried_out(conn);
	return 0;
}

WRAP(int, PQflush, PGconn *conn)
{
	if (!hit("PQflush"))
		return __real_PQflush(conn);
	if (AFTER)
		carried_out(conn);
	return -1;
}

WRAP(int, PQconsumeInput, PGconn *conn)
{
	if (!hit("PQconsumeInput"))
		return __real_PQconsumeInput(conn);
	if (AFTER)
		carried_out(conn);
	return 0;
}

/* Before: the library says that something was wrong, the server had done it
 * (no memory for its answer). After: the last answer that comes. */
WRAP(PGresult *, PQgetResult, PGconn *conn)
{
	PGresult *res = __real_PQgetResult(conn);

	if (res == NULL || !hit("PQgetResult"))
		return res;
	if (AFTER) {
		(void)shutdown(PQsocket(conn), SHUT_RDWR);
		return res;
	}
	PQclear(res);
	return PQmakeEmptyPGresult(conn, PGRES_FATAL_ERROR);
}

/* ---- Redis: our own sockets, hiredis's parser */

WRAP(int, socket, int domain, int type, int protocol)
{
	if (!hit("socket"))
		return __real_socket(domain, type, protocol);
	errno = EMFILE;
	return -1;
}

WRAP(int, connect, int fd, const struct sockaddr *sa, socklen_t len)
{
	if (!hit("connect"))
		return __real_connect(fd, sa, len);
	if (AFTER)
		(void)__real_connect(fd, sa, len);
	errno = ECONNREFUSED;
	return -1;
}

WRAP(ssize_t, send, int fd, const void *p, size_t n, int flags)
{
	struct pollfd answer = { .fd = fd, .events = POLLIN };

	if (vanishes("send", fd))
		return (ssize_t)n;
	if (!hit("send"))
		return __real_send(fd, p, n, flags);
	if (AFTER && __real_send(fd, p, n, flags) > 0) {
		(void)__real_poll(&answer, 1, 2000);
		(void)shutdown(fd, SHUT_RDWR);
		while (recv(fd, (char[4096]){ 0 }, 4096, 0) > 0)
			continue;
	}
	errno = ECONNRESET;
	return -1;
}

/* What was sent has been carried out either way. */
WRAP(ssize_t, recv, int fd, void *p, size_t n, int flags)
{
	if (!hit("recv"))
		return __real_recv(fd, p, n, flags);
	errno = ECONNRESET;
	return AFTER ? 0 : -1;
}

WRAP(redisReader *, redisReaderCreate, void)
{
	return hit("redisReaderCreate") ? NULL : __real_redisReaderCreate();
}

WRAP(int, redisReaderFeed, redisReader *r, const char *p, size_t n)
{
	return hit("redisReaderFeed") ? REDIS_ERR
				      : __real_redisReaderFeed(r, p, n);
}

WRAP(int, redisReaderGetReply, redisReader *r, void **reply)
{
	return hit("redisReaderGetReply")
		   ? REDIS_ERR
		   : __real_redisReaderGetReply(r, reply);
}

/* ---- files */

WRAP(int, open, const char *path, int flags, ...)
{
	bool fails = hit_file("open");
	int fd = -1, mode = 0;
	va_list ap;

	va_start(ap, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(ap, int);
	va_end(ap);
	if (!fails || AFTER)
		fd = __real_open(path, flags, mode);
	if (!fails)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	errno = EIO;
	return -1;
}

/* After: half of it. */
WRAP(ssize_t, write, int fd, const void *p, size_t n)
{
	if (!hit_file("write"))
		return __real_write(fd, p, n);
	if (AFTER)
		(void)!__real_write(fd, p, n / 2);
	errno = ENOSPC;
	return -1;
}

#define WRAP_FILE(name, params, args, error)                                   \
	WRAP(int, name, params)                                                \
	{                                                                      \
		if (!hit_file(#name))                                          \
			return __real_##name args;                             \
		if (AFTER)                                                     \
			(void)!__real_##name args;                             \
		errno = error;                                                 \
		return -1;                                                     \
	}
#define COMMA ,
WRAP_FILE(fsync, int fd, (fd), EIO)
WRAP_FILE(link, const char *from COMMA const char *to, (from, to), EIO)
WRAP_FILE(rename, const char *from COMMA const char *to, (from, to), EIO)
WRAP_FILE(unlink, const char *path, (path), EIO)
WRAP_FILE(mkdir, const char *path COMMA mode_t mode, (path, mode), ENOSPC)
WRAP_FILE(stat, const char *path COMMA struct stat *st, (path, st), EACCES)
WRAP_FILE(lstat, const char *path COMMA struct stat *st, (path, st), EACCES)

/* It is closed in any case. */
WRAP(int, close, int fd)
{
	struct stat st;
	bool file =
	    fault.armed && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) != 0;
	int rv = __real_close(fd);

	if (!file || !hit_file("close"))
		return rv;
	errno = EIO;
	return -1;
}

WRAP(DIR *, opendir, const char *path)
{
	if (!hit_file("opendir"))
		return __real_opendir(path);
	errno = EMFILE;
	return NULL;
}

/* ---- memory */

static struct {
	bool armed, hit;
	int nth, count;
} memory;

void
fault_memory_arm(int nth)
{
	memory.count = 0;
	memory.hit = false;
	memory.nth = nth;
	memory.armed = true;
}

int
fault_memory_disarm(void)
{
	memory.armed = false;
	return memory.count;
}

bool
fault_memory_hit(void)
{
	return memory.hit;
}

static bool
no_memory(void)
{
	if (!memory.armed || ++memory.count != memory.nth)
		return false;
	memory.hit = true;
	errno = ENOMEM;
	return true;
}

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define WITH_ASAN
#endif

#ifdef WITH_ASAN
WRAP(void *, malloc, size_t size)
{
	return no_memory() ? NULL : __real_malloc(size);
}
WRAP(void *, calloc, size_t n, size_t size)
{
	return no_memory() ? NULL : __real_calloc(n, size);
}
WRAP(void *, realloc, void *p, size_t size)
{
	return no_memory() ? NULL : __real_realloc(p, size);
}
#else
/* glibc's own, under the names that may be replaced. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

void *
malloc(size_t size)
{
	return no_memory() ? NULL : __libc_malloc(size);
}
void *
calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(n, size);
}
void *
realloc(void *p, size_t size)
{
	return no_memory() ? NULL : __libc_realloc(p, size);
}
WRAP(void *, malloc, size_t size)
{
	return __real_malloc(size);
}
WRAP(void *, calloc, size_t n, size_t size)
{
	return __real_calloc(n, size);
}
WRAP(void *, realloc, void *p, size_t size)
{
	return __real_realloc(p, size);
}
#endif
