/*
 * Each try is a process of its own, which enters the sandbox with some layers
 * and then tries: it ends with 0 where it succeeded, with errno where it was
 * refused, or is killed. The column "none" shows that a try would succeed but
 * for the sandbox; else it proved nothing.
 */
#define _GNU_SOURCE /* strerrorname_np, CLONE_* */
#include "imager/selftest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "imager/sandbox.h"

enum {
	MEMORY = 512 * 1024 * 1024,
	FILE_BYTES = 64 * 1024,
	CPU_S = 1,
	TRY_MS = 10 * 1000, /* by the clock, for one try */
	N_OUT = 8,          /* room for a try's own descriptors */
	/* How a try ends, beyond errno. */
	ENDED_NO_SANDBOX = 250,
};

struct world {
	char file[64]; /* in a folder that anybody may write to */
	uint16_t port; /* somebody listens there on 127.0.0.1 */
	pid_t other;   /* a process of the same user */
	int listener;
};

/* 0: it went well; else errno. */
typedef int try_fn(const struct world *w);

static int
why(bool failed)
{
	return failed ? errno : 0;
}

/* ---- what must be refused */

static int
try_read_file(const struct world *w)
{
	(void)w;
	return why(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0);
}

static int
try_write_file(const struct world *w)
{
	return why(open(w->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0);
}

static int
try_write_original(const struct world *w)
{
	(void)w;
	return why(write(SANDBOX_IN, "x", 1) != 1);
}

/* Its number with a bit that the kernel does not look at. */
static int
try_write_disguised(const struct world *w)
{
	(void)w;
	return why(syscall(SYS_write, 1ULL << 32 | SANDBOX_IN, "x", 1) != 1);
}

static int
try_large_file(const struct world *w)
{
	static const char page[4096];

	(void)w;
	for (int i = 0; i <= FILE_BYTES / (int)sizeof page; i++)
		if (write(SANDBOX_OUT, page, sizeof page) !=
		    (ssize_t)sizeof page)
			return why(true);
	return 0;
}

static int
try_stat_file(const struct world *w)
{
	struct stat st;

	(void)w;
	return why(stat("/etc/passwd", &st) != 0);
}

static int
try_tcp(const struct world *w)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(w->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return why(true);
	return why(connect(fd, (struct sockaddr *)&to, sizeof to) != 0);
}

static int
try_udp(const struct world *w)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(w->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return why(true);
	return why(
	    sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) != 1);
}

static int
try_exec(const struct world *w)
{
	char *const argv[] = { (char[]){ "true" }, NULL };
	char *const envp[] = { NULL };

	(void)w;
	(void)execve("/bin/true", argv, envp);
	return why(true);
}

static int
try_fork(const struct world *w)
{
	pid_t pid;

	(void)w;
	/* glibc's fork() is clone(). */
	pid = fork();
	if (pid == 0)
		_exit(0);
	return why(pid < 0);
}

static int
try_clone3(const struct world *w)
{
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal,
		    stack, stack_size, tls;
	} args = { .exit_signal = SIGCHLD };
	long pid;

	(void)w;
	pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		_exit(0);
	return why(pid < 0);
}

static int
try_ptrace(const struct world *w)
{
	return why(ptrace(PTRACE_SEIZE, w->other, NULL, NULL) != 0);
}

static int
try_kill(const struct world *w)
{
	return why(kill(w->other, 0) != 0);
}

static int
try_code(const struct world *w)
{
	(void)w;
	return why(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
}

static int
try_descriptors(const struct world *w)
{
	(void)w;
	for (int i = 0; i < 2 * N_OUT; i++)
		if (dup(STDOUT_FILENO) < 0)
			return why(true);
	return 0;
}

static int
try_userns(const struct world *w)
{
	(void)w;
	return why(syscall(SYS_unshare, CLONE_NEWUTS | CLONE_NEWUSER) != 0);
}

static int
try_ring(const struct world *w)
{
	char params[120] = { 0 };

	(void)w;
	return why(syscall(SYS_io_uring_setup, 1, params) < 0);
}

static int
try_memory(const struct world *w)
{
	(void)w;
	return why(mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
}

static int
try_cpu(const struct world *w)
{
	int64_t end = clock_mono_ms() + TRY_MS;

	(void)w;
	/* One thread alone would have to burn for twice the limit. */
	while (clock_mono_ms() < end) {
		struct rusage ru;

		if (getrusage(RUSAGE_SELF, &ru) == 0 &&
		    ru.ru_utime.tv_sec + ru.ru_stime.tv_sec > CPU_S + 2)
			return 0;
	}
	return ETIMEDOUT;
}

/* ---- what must go on */

static int
try_read_original(const struct world *w)
{
	char c;

	(void)w;
	return why(pread(SANDBOX_IN, &c, 1, 0) != 1);
}

static int
try_write_variant(const struct world *w)
{
	(void)w;
	return why(write(SANDBOX_OUT, "x", 1) != 1);
}

static void *
thread_main(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static int
try_thread(const struct world *w)
{
	pthread_t thread;
	int ran = 0, bad = pthread_create(&thread, NULL, thread_main, &ran);

	(void)w;
	if (bad != 0)
		return bad;
	bad = pthread_join(thread, NULL);
	return bad != 0 || ran ? bad : EIO;
}

enum {
	MUST_PASS = 1,
	LIMITS_ONLY = 2, /* endless or endlessly large without the limits */
};

static const struct {
	const char *name;
	try_fn *fn;
	unsigned flags;
} tries[] = {
	{ "read /etc/passwd", try_read_file, 0 },
	{ "look at /etc/passwd (stat)", try_stat_file, 0 },
	{ "write a file in /tmp", try_write_file, 0 },
	{ "write to the original", try_write_original, 0 },
	{ "the same, in disguise", try_write_disguised, 0 },
	{ "connect by TCP", try_tcp, 0 },
	{ "send by UDP", try_udp, 0 },
	{ "run another program", try_exec, 0 },
	{ "fork", try_fork, 0 },
	{ "fork by clone3", try_clone3, 0 },
	{ "trace another process", try_ptrace, 0 },
	{ "signal another process", try_kill, 0 },
	{ "make memory executable", try_code, 0 },
	{ "new namespaces", try_userns, 0 },
	{ "io_uring", try_ring, 0 },
	{ "more descriptors", try_descriptors, 0 },
	{ "a file larger than allowed", try_large_file, LIMITS_ONLY },
	{ "memory beyond the limit", try_memory, LIMITS_ONLY },
	{ "CPU time beyond the limit", try_cpu, LIMITS_ONLY },
	{ "read the original", try_read_original, MUST_PASS },
	{ "write a variant", try_write_variant, MUST_PASS },
	{ "start a thread", try_thread, MUST_PASS },
};

/* ---- running them */

/* The child's part; never returns. */
static _Noreturn void
child_try(const struct world *w, size_t i, unsigned layers)
{
	const struct sandbox_limits limits = { .memory_bytes = MEMORY,
		.file_bytes = FILE_BYTES,
		.cpu_s = CPU_S,
		.n_out = N_OUT };
	struct sandbox_state state;
	struct err e = ERR_INIT;

	if (layers != 0 &&
	    sandbox_enter(&limits, layers, false, &state, &e) != RC_OK)
		_exit(ENDED_NO_SANDBOX);
	errno = 0;
	_exit(tries[i].fn(w));
}

/* The original and a variant on their descriptors: writable on purpose, so that
 * what refuses is the sandbox. */
static bool
child_files(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int in = memfd_create("original", MFD_CLOEXEC);
	int out = memfd_create("variant", MFD_CLOEXEC);

	if (in < 0 || out < 0 || write(in, "picture", 7) != 7)
		return false;
	/* Out of the way of the numbers that they will have. */
	in = fcntl(in, F_DUPFD_CLOEXEC, 20);
	out = fcntl(out, F_DUPFD_CLOEXEC, 20);
	if (in < 0 || out < 0 || dup2(in, SANDBOX_IN) != SANDBOX_IN ||
	    dup2(out, SANDBOX_OUT) != SANDBOX_OUT)
		return false;
	/* The same for all columns, what the sandbox closes included; and
	 * what a try has to say is in how it ends. */
	for (int fd = SANDBOX_OUT + 1; fd < 1024; fd++)
		if (fd != null)
			(void)close(fd);
	return null >= 0 && dup2(null, STDOUT_FILENO) == STDOUT_FILENO &&
	       dup2(null, STDERR_FILENO) == STDERR_FILENO;
}

/* As waitpid(2) says; -1: it could not be tried. */
static int
status_of(const struct world *w, size_t i, unsigned layers)
{
	int64_t end = deadline_in(2 * TRY_MS);
	int status;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (!child_files())
			_exit(ENDED_NO_SANDBOX);
		child_try(w, i, layers);
	}
	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (deadline_left_ms(end) == 0) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			return 0; /* it went on and on */
		}
		clock_sleep_ms(1);
	}
	(void)unlink(w->file);
	return status;
}

/* In words; *passed: it did what it tried. */
static const char *
outcome(int status, bool *passed)
{
	const char *name;

	*passed = false;
	if (status == -1 ||
	    (WIFEXITED(status) && WEXITSTATUS(status) == ENDED_NO_SANDBOX))
		return "untried";
	if (WIFSIGNALED(status)) {
		switch (WTERMSIG(status)) {
		case SIGSYS:
			return "killed";
		case SIGXCPU:
			return "XCPU";
		case SIGXFSZ:
			return "XFSZ";
		default:
			return "signal";
		}
	}
	if (WEXITSTATUS(status) == 0) {
		*passed = true;
		return "works";
	}
	name = strerrorname_np(WEXITSTATUS(status));
	return name == NULL ? "error" : name;
}

/* One line of the table. */
static bool
try_print(const struct world *w, size_t i)
{
	static const unsigned columns[] = { SANDBOX_ALL, SANDBOX_SECCOMP,
		SANDBOX_LANDLOCK, SANDBOX_LIMITS, 0 };
	bool must_pass = tries[i].flags & MUST_PASS, good = false;

	for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
		bool passed;
		const char *word;

		if (tries[i].flags & LIMITS_ONLY &&
		    !(columns[c] & SANDBOX_LIMITS)) {
			printf(" %-8s", "-");
			continue;
		}
		word = outcome(status_of(w, i, columns[c]), &passed);
		if (c == 0) {
			good =
			    strcmp(word, "untried") != 0 && passed == must_pass;
			printf("%-27s %-7s", tries[i].name,
			    good ? "ok" : "NOT OK");
		}
		printf(" %-8s", word);
	}
	printf("\n");
	return good;
}

/* Somebody to talk to and somebody to harm. */
static bool
world_make(struct world *w)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof at;

	(void)snprintf(w->file, sizeof w->file,
	    "/tmp/souk-imager-self-test.%ld", (long)getpid());
	w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (w->listener >= 0 &&
	    bind(w->listener, (struct sockaddr *)&at, sizeof at) == 0 &&
	    listen(w->listener, 16) == 0 &&
	    getsockname(w->listener, (struct sockaddr *)&at, &n) == 0)
		w->port = ntohs(at.sin_port);
	w->other = fork();
	if (w->other == 0) {
		(void)pause();
		_exit(0);
	}
	return w->other > 0;
}

/* Which layers this kernel has. */
static void
state_print(void)
{
	const struct sandbox_limits limits = { MEMORY, FILE_BYTES, CPU_S, 0 };
	struct sandbox_state s;
	struct err e = ERR_INIT;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		char line[200];
		int n;

		if (sandbox_enter(&limits, SANDBOX_ALL, false, &s, &e) == RC_OK)
			n = snprintf(line, sizeof line,
			    "seccomp: %s, landlock: %s%d, memory limit: %s\n",
			    s.seccomp ? "yes" : "NO",
			    s.landlock > 0 ? "ABI " : "NO ", s.landlock,
			    s.memory ? "yes" : "NO (AddressSanitizer)");
		else
			n = snprintf(line, sizeof line, "%s\n", e.msg);
		(void)!write(STDOUT_FILENO, line, (size_t)n);
		_exit(0);
	}
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

bool
selftest_run(void)
{
	struct world w = { 0 };
	size_t n = sizeof tries / sizeof *tries, good = 0;

	if (!world_make(&w)) {
		perror("souk-imager");
		return false;
	}
	state_print();
	printf("%-27s %-7s %-8s %-8s %-8s %-8s %s\n", "the sandbox must refuse",
	    "", "all", "seccomp", "landlock", "limits", "none");
	for (size_t i = 0; i < n; i++) {
		if (tries[i].flags & MUST_PASS &&
		    !(tries[i - 1].flags & MUST_PASS))
			printf("and let pass\n");
		good += try_print(&w, i);
	}
	(void)kill(w.other, SIGKILL);
	(void)waitpid(w.other, NULL, 0);
	if (w.listener >= 0)
		(void)close(w.listener);
	printf("%zu of %zu as they must be\n", good, n);
	return good == n;
}
