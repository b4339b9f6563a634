/*
 * listen - where the listening socket comes from: an address of ours, systemd,
 * or descriptor 0 from spawn-fcgi and mod_fcgid.
 */
#ifndef FCGI_APP_LISTEN_H
#define FCGI_APP_LISTEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"

union listen_sockaddr {
	struct sockaddr sa;
	struct sockaddr_un un;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct listen_addr {
	union listen_sockaddr sa;
	socklen_t len;
	bool is_unix;
	bool loopback;  /* or unix */
	char path[108]; /* unix */
};

/* "unix:/path", "127.0.0.1:9000", "[::1]:9000", "*:9000". No names: what a name
 * means may change. RC_INVALID says what would be right. */
enum rc listen_parse(const char *s, struct listen_addr *out, struct err *e);

struct listen_opts {
	const char *address;
	const char *mode;  /* of the unix socket, octal */
	const char *group; /* of the unix socket; "": as it comes */
	const char *owner; /* the same; only set by root */
	int backlog;
};

/*
 * Bind and listen; non-blocking, close-on-exec. A unix socket that nobody
 * answers on is replaced, one that is in use is not: RC_REFUSED,
 * "address_in_use". A file that is no socket is never touched. A TCP address
 * that is not loopback is RC_OK, the caller warns (listen_parse tells): FastCGI
 * has no authentication. *fd is the caller's.
 */
enum rc listen_open(const struct listen_opts *opts, int *fd, struct err *e);

/* mode, group and owner of a unix socket, again after a reload. */
enum rc listen_permit(const struct listen_opts *opts, struct err *e);

/* True if fd is a listening stream socket. */
bool listen_is_socket(int fd);

/* From systemd (LISTEN_PID, LISTEN_FDS): the descriptor, or -1 if there is
 * none. The variables are removed. */
int listen_systemd(void);

/* Non-blocking and close-on-exec, as the loop needs it. */
enum rc listen_prepare(int fd, struct err *e);

/* "unix:/path" or "127.0.0.1:9000", of any socket. */
void listen_name(int fd, char *out, size_t size);

/* Is fd bound to just this address? */
bool listen_same(int fd, const char *address);

/* Connections that wait to be accepted, and how many may. -1: not known. */
int listen_queue(int fd, int *size);

#endif
