/*
 * fcgi_stub - an application that answers as a test tells it: fcgi_stub SOCKET
 * DIR, or - for SOCKET where it is descriptor 0 (mod_fcgid). What the web
 * server's configuration does is told apart from what souk-fcgi does by putting
 * this in its place.
 *
 * DIR/cache, DIR/status, DIR/delay (ms), DIR/extra (a header line), read anew
 * at every request, say how to answer. DIR/log gets a line a request: what the
 * application was told. The body is the same line, so that a test sees what
 * was cached; it ends with DIR/body.
 */
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN = 8 };

static void
control_get(const char *name, char *buf, size_t size, const char *dflt)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0) {
		snprintf(buf, size, "%s", dflt);
		return;
	}
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

static const char *
param_get(const FCGX_Request *r, const char *name)
{
	const char *value = FCGX_GetParam(name, r->envp);

	return value == NULL ? "-" : value;
}

static void
request_log(const char *line)
{
	int fd = open("log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

	if (fd >= 0) {
		if (write(fd, line, strlen(line)) < 0)
			perror("log");
		close(fd);
	}
}

static void
request_answer(FCGX_Request *r)
{
	char cache[256], status[64], delay[16], extra[256], body[256];
	char line[16384];
	struct timespec wait;
	long ms;

	snprintf(line, sizeof line,
	    "%s path=%s query=%s enc=%s cookie=%s host=%s auth=%s start=%s\n",
	    param_get(r, "REQUEST_METHOD"),
	    FCGX_GetParam("SOUK_PATH", r->envp) != NULL
		? param_get(r, "SOUK_PATH")
		: param_get(r, "PATH_INFO"),
	    param_get(r, "QUERY_STRING"), param_get(r, "HTTP_ACCEPT_ENCODING"),
	    param_get(r, "HTTP_COOKIE"), param_get(r, "HTTP_X_FORWARDED_HOST"),
	    param_get(r, "HTTP_AUTHORIZATION"), param_get(r, "SOUK_START"));
	request_log(line);
	control_get("cache", cache, sizeof cache, "private, no-store");
	control_get("status", status, sizeof status, "200 OK");
	control_get("delay", delay, sizeof delay, "0");
	control_get("extra", extra, sizeof extra, "X-Stub: 1");
	control_get("body", body, sizeof body, "first");
	ms = strtol(delay, NULL, 10);
	wait.tv_sec = ms / 1000;
	wait.tv_nsec = ms % 1000 * 1000000;
	nanosleep(&wait, NULL);
	FCGX_FPrintF(r->out,
	    "Status: %s\r\nContent-Type: text/plain\r\nCache-Control: %s\r\n"
	    "ETag: \"%s-%s\"\r\nVary: Accept-Encoding\r\n%s\r\n\r\n%s%s\n",
	    status, cache, body, param_get(r, "HTTP_ACCEPT_ENCODING"), extra,
	    line, body);
}

static _Noreturn void
serve(int sock)
{
	FCGX_Request r;

	if (FCGX_InitRequest(&r, sock, 0) != 0)
		exit(1);
	while (FCGX_Accept_r(&r) == 0) {
		request_answer(&r);
		r.keepConnection = 0; /* few children, many connections */
		FCGX_Finish_r(&r);
	}
	exit(1);
}

int
main(int argc, char **argv)
{
	sigset_t set;
	int sock, sig;

	if (argc != 3 || chdir(argv[2]) != 0) {
		fprintf(stderr, "usage: fcgi_stub SOCKET DIR\n");
		return 2;
	}
	if (strcmp(argv[1], "-") == 0) {
		if (FCGX_Init() != 0)
			return 1;
		serve(0);
	}
	if (FCGX_Init() != 0 || (sock = FCGX_OpenSocket(argv[1], 1024)) < 0)
		return 1;
	/* The children are this process's group and go with it. */
	setpgid(0, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid == 0) {
			sigprocmask(SIG_UNBLOCK, &set, NULL);
			serve(sock);
		}
	}
	sigwait(&set, &sig);
	signal(SIGTERM, SIG_IGN);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	kill(0, SIGTERM);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	unlink(argv[1]);
	return 0;
}
