/*
 * redis_server - a private redis-server for a test: on a unix socket in a
 * folder of its own, dead when the test is.
 */
#ifndef TESTS_REDIS_SERVER_H
#define TESTS_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
	char dir[64];
	char url[96];         /* unix:///... */
	pid_t pid;            /* 0: not running */
	const char *args[10]; /* more of them, as on its command line; the last
				 is NULL; set before the start */
};

bool redis_server_installed(void);

/* Starts it and waits until it answers. Keeps nothing on disk unless told to.
 */
void redis_server_start(struct redis_server *server);
void redis_server_kill(struct redis_server *server);  /* SIGKILL, reaped */
void redis_server_again(struct redis_server *server); /* empty, same place */
void redis_server_pause(const struct redis_server *server);
void redis_server_resume(const struct redis_server *server);
void redis_server_remove(struct redis_server *server); /* and its folder */

#endif
