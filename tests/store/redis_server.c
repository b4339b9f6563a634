#include "config.h" /* _GNU_SOURCE: nftw */

#include "redis_server.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

bool
redis_server_installed(void)
{
	return access("/usr/bin/redis-server", X_OK) == 0 ||
	       access("/usr/local/bin/redis-server", X_OK) == 0;
}

static bool
answers(const struct redis_server *server)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	(void)snprintf(sun.sun_path, sizeof sun.sun_path, "%s/s", server->dir);
	ok = fd >= 0 &&
	     connect(fd, (const struct sockaddr *)&sun, sizeof sun) == 0;
	if (fd >= 0)
		(void)close(fd);
	return ok;
}

static void
run(const struct redis_server *server)
{
	char sock[80], log[80];
	int null = open("/dev/null", O_RDWR);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(null, STDIN_FILENO);
	(void)snprintf(sock, sizeof sock, "%s/s", server->dir);
	(void)snprintf(log, sizeof log, "%s/log", server->dir);
	const char *argv[32] = { "redis-server", "--port", "0", "--unixsocket",
		sock, "--dir", server->dir, "--save", "", "--appendonly", "no",
		"--logfile", log, "--daemonize", "no" };
	int n = 15;

	for (int i = 0; server->args[i] != NULL; i++)
		argv[n++] = server->args[i];
	(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

void
redis_server_again(struct redis_server *server)
{
	int64_t deadline = deadline_in(10000);
	char sock[80];

	(void)snprintf(sock, sizeof sock, "%s/s", server->dir);
	(void)unlink(sock);
	server->pid = fork();
	if (server->pid == 0)
		run(server);
	while (!answers(server)) {
		if (deadline_left_ms(deadline) == 0) {
			fprintf(stderr, "redis-server did not start\n");
			abort();
		}
		clock_sleep_ms(5);
	}
}

void
redis_server_start(struct redis_server *server)
{
	strcpy(server->dir, "/tmp/souk-redis.XXXXXX");
	if (mkdtemp(server->dir) == NULL)
		abort();
	(void)snprintf(
	    server->url, sizeof server->url, "unix://%s/s", server->dir);
	redis_server_again(server);
}

void
redis_server_kill(struct redis_server *server)
{
	if (server->pid <= 0)
		return;
	(void)kill(server->pid, SIGKILL);
	(void)waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

void
redis_server_pause(const struct redis_server *server)
{
	(void)kill(server->pid, SIGSTOP);
	clock_sleep_ms(20);
}

void
redis_server_resume(const struct redis_server *server)
{
	(void)kill(server->pid, SIGCONT);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void
redis_server_remove(struct redis_server *server)
{
	redis_server_kill(server);
	(void)nftw(server->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
