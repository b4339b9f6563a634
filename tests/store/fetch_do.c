/*
 * fetch_do URL FILE MAX-BYTES TIMEOUT-MS [any|two|port]: one fetch. Says what
 * came of it, tab between tab: rc, code, bytes, type, words. any: every address
 * may be reached; two: of this host's only 127.0.0.2, as if it were a public
 * one; port: every address, but only the web's ports.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/fetch.h"

static bool
may_reach_two(const struct sockaddr *address)
{
	struct sockaddr_in four;

	if (address->sa_family != AF_INET)
		return fetch_address_ok(address);
	memcpy(&four, address, sizeof four);
	return ntohl(four.sin_addr.s_addr) == 0x7f000002 ||
	       fetch_address_ok(address);
}

int
main(int argc, char **argv)
{
	struct arena *arena = arena_new();
	struct fetch_answer answer = { .type = "" };
	struct err e = ERR_INIT;
	struct fetch_opts opts;
	enum rc rc;
	int fd;

	if (argc < 5)
		return 2;
	opts = (struct fetch_opts){ .max_bytes = atoll(argv[3]),
		.timeout_ms = atoi(argv[4]) };
	if (argc > 5) {
		opts.any_port = strcmp(argv[5], "port") != 0;
		opts.may_reach = strcmp(argv[5], "two") == 0
				     ? may_reach_two
				     : fetch_address_any;
	}
	fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return 99;
	rc = fetch_fd(&opts, argv[1], fd, arena, &answer, &e);
	(void)close(fd);
	(void)printf("%s\t%s\t%lld\t%s\t%s\n", rc_name(rc),
	    rc == RC_OK ? "" : e.code, (long long)answer.bytes, answer.type,
	    rc == RC_OK ? "" : e.msg);
	arena_free(arena);
	return 0;
}
