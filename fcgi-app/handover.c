/*
 * SOCK_SEQPACKET and not SOCK_DGRAM: its queue is bounded by bytes, a few
 * hundred messages of one byte, while datagrams are bounded by
 * net.unix.max_dgram_qlen, which is 10 where nobody raised it.
 */
#include "fcgi-app/handover.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int
handover_open(int pair[2])
{
	int room = 1 << 20; /* the kernel gives what it allows */

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC,
		0, pair) != 0)
		return -1;
	setsockopt(
	    pair[HANDOVER_SEND], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	return 0;
}

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

bool
handover_send(int sock, int conn)
{
	char byte = 1;
	struct iovec iov = { &byte, 1 };
	union control control = { 0 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof conn);
	memcpy(CMSG_DATA(c), &conn, sizeof conn);
	if (sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
		return false;
	close(conn);
	return true;
}

int
handover_take(int sock)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	union control control = { 0 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control };
	struct cmsghdr *c;
	int conn;

	if (recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c == NULL || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof conn))
		return -1; /* out of descriptors: the kernel dropped it */
	memcpy(&conn, CMSG_DATA(c), sizeof conn);
	return conn;
}
