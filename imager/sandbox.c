/*
 * Refusing is done in two ways. What a library may try in good faith (looking
 * for a file, a new system call that it can do without) gets an error, so that
 * an update of a library does not end the shop's pictures. What no decoder has
 * any business with (a socket, another program) ends the process: somebody is
 * already in it.
 */
#define _GNU_SOURCE /* CLONE_* */
#include "imager/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* A bound on how many processes a user may have, where the kernel has no
 * seccomp to forbid them altogether. It counts all of the user's. */
enum { PROCESSES_MAX = 4096 };

static enum rc
fail(struct err *e, const char *what)
{
	return err_set(e, RC_FAIL, "sandbox",
	    "The sandbox could not be set up: %s: %s", what, strerror(errno));
}

/* ---- limits */

static enum rc
limit_set(int what, int64_t value, const char *name, struct err *e)
{
	/* At the hard limit of CPU time the kernel kills without a word; a
	 * second earlier, at the soft one, with a signal that says why. */
	struct rlimit old, new = { (rlim_t)value,
		(rlim_t)(what == RLIMIT_CPU ? value + 1 : value) };

	if (getrlimit((__rlimit_resource_t)what, &old) != 0)
		return fail(e, name);
	/* Nobody needs to be allowed more than before. */
	if (new.rlim_max > old.rlim_max)
		new.rlim_max = old.rlim_max;
	if (new.rlim_cur > new.rlim_max)
		new.rlim_cur = new.rlim_max;
	if (setrlimit((__rlimit_resource_t)what, &new) != 0)
		return fail(e, name);
	return RC_OK;
}

static enum rc
limits_enter(
    const struct sandbox_limits *l, struct sandbox_state *out, struct err *e)
{
	const struct {
		int what;
		int64_t value;
		const char *name;
	} limits[] = {
		{ RLIMIT_CPU, l->cpu_s, "RLIMIT_CPU" },
		{ RLIMIT_FSIZE, l->file_bytes, "RLIMIT_FSIZE" },
		{ RLIMIT_NOFILE, SANDBOX_OUT + l->n_out, "RLIMIT_NOFILE" },
		{ RLIMIT_NPROC, PROCESSES_MAX, "RLIMIT_NPROC" },
		{ RLIMIT_CORE, 0, "RLIMIT_CORE" },
		{ RLIMIT_MEMLOCK, 0, "RLIMIT_MEMLOCK" },
		{ RLIMIT_AS, l->memory_bytes, "RLIMIT_AS" },
	};

	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		enum rc rc;

		if (SANITIZED && limits[i].what == RLIMIT_AS)
			continue;
		rc = limit_set(
		    limits[i].what, limits[i].value, limits[i].name, e);
		if (rc != RC_OK)
			return rc;
	}
	out->memory = !SANITIZED;
	return RC_OK;
}

/* ---- landlock: a ruleset that handles everything and allows nothing */

/* linux/landlock.h of the oldest systems that we build on knows ABI 2 alone:
 * the names below are ours, the numbers the kernel's (ABI 3, 5, 4, 6). */
struct ruleset {
	uint64_t fs, net, scoped;
};
enum {
	FS_ABI_1 = (1 << 13) - 1, /* execute ... make_sym */
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,
	FS_IOCTL_DEV = 1 << 15,
	NET_TCP = 1 << 0 | 1 << 1, /* bind, connect */
	SCOPED = 1 << 0 | 1 << 1,  /* abstract unix sockets, signals */
};

static size_t
ruleset_make(int abi, struct ruleset *r)
{
	*r = (struct ruleset){ .fs = FS_ABI_1 };
	r->fs |= abi >= 2 ? FS_REFER : 0;
	r->fs |= abi >= 3 ? FS_TRUNCATE : 0;
	r->fs |= abi >= 5 ? FS_IOCTL_DEV : 0;
	r->net = abi >= 4 ? NET_TCP : 0;
	r->scoped = abi >= 6 ? SCOPED : 0;
	return abi >= 6   ? sizeof *r
	       : abi >= 4 ? offsetof(struct ruleset, scoped)
			  : offsetof(struct ruleset, net);
}

static enum rc
landlock_enter(struct sandbox_state *out, struct err *e)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset ruleset;
	size_t size;
	int fd;

	if (abi < 1)
		return RC_OK; /* none here; out says so */
	size = ruleset_make((int)abi, &ruleset);
	fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
	if (fd < 0)
		return fail(e, "landlock_create_ruleset");
	if (syscall(SYS_landlock_restrict_self, fd, 0) != 0) {
		(void)close(fd);
		return fail(e, "landlock_restrict_self");
	}
	(void)close(fd);
	out->landlock = (int)abi;
	return RC_OK;
}

/* ---- seccomp */

/* Memory, threads, time, and ending. */
static const char *const allowed[] = { "brk", "clock_getres", "clock_gettime",
	"clock_nanosleep", "close", "exit", "exit_group", "futex",
	"futex_waitv", "getcpu", "getpid", "getppid", "getrandom", "getrusage",
	"gettid", "gettimeofday", "madvise", "membarrier", "mremap", "munmap",
	"nanosleep", "restart_syscall", "rseq", "rt_sigaction",
	"rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield",
	"set_robust_list", "sigaltstack", "sysinfo", "time", "times" };

/* Looking for a file: "no such permission" is an answer libraries know. */
static const char *const denied[] = { "access", "chdir", "chmod", "chown",
	"creat", "faccessat", "faccessat2", "fchmodat", "fchownat", "getcwd",
	"lchown", "link", "linkat", "lstat", "mkdir", "mkdirat", "mknod",
	"mknodat", "newfstatat", "open", "open_tree", "openat", "openat2",
	"readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir",
	"stat", "statfs", "statx", "symlink", "symlinkat", "truncate", "unlink",
	"unlinkat", "utimensat" };

/* Nothing that opens or encodes a picture calls these. */
static const char *const deadly[] = { "accept", "accept4", "add_key", "bind",
	"bpf", "chroot", "connect", "delete_module", "execve", "execveat",
	"finit_module", "fork", "init_module", "io_setup", "io_uring_enter",
	"io_uring_register", "io_uring_setup", "kcmp", "kexec_file_load",
	"kexec_load", "keyctl", "kill", "listen", "memfd_create", "mount",
	"mount_setattr", "move_mount", "name_to_handle_at", "open_by_handle_at",
	"perf_event_open", "pidfd_getfd", "pidfd_open", "pidfd_send_signal",
	"pivot_root", "process_madvise", "process_vm_readv",
	"process_vm_writev", "ptrace", "reboot", "request_key",
	"rt_sigqueueinfo", "rt_tgsigqueueinfo", "seccomp", "sendmmsg",
	"sendmsg", "sendto", "setdomainname", "setgid", "setgroups",
	"sethostname", "setns", "setregid", "setresgid", "setresuid",
	"setreuid", "setuid", "shmat", "shmget", "socket", "socketpair",
	"swapon", "tkill", "umount2", "unshare", "userfaultfd", "vfork" };

static int
rules_named(
    scmp_filter_ctx ctx, uint32_t action, size_t n, const char *const names[])
{
	for (size_t i = 0; i < n; i++) {
		int nr = seccomp_syscall_resolve_name(names[i]), rc;

		if (nr == __NR_SCMP_ERROR)
			continue; /* newer than this libseccomp: ENOSYS */
		rc = seccomp_rule_add(ctx, action, nr, 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}
#define RULES_NAMED(ctx, action, names)                                        \
	rules_named(ctx, action, sizeof names / sizeof *names, names)

/* The original is read, the variants are written, and 1 and 2 say how it went;
 * no byte goes anywhere else. Each number by itself: the kernel looks at 32
 * bits of a descriptor and the filter at 64, so "4 or more" would let 3 through
 * with a bit set above. */
static int
rules_for_descriptors(scmp_filter_ctx ctx, int n_out)
{
	int rc;

	rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(pread64), 1,
	    SCMP_A0(SCMP_CMP_EQ, SANDBOX_IN, 0));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(writev), 1,
		    SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO, 0));
	for (int fd = STDOUT_FILENO; fd < SANDBOX_OUT + n_out && rc == 0; fd++)
		if (fd != SANDBOX_IN)
			rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW,
			    SCMP_SYS(write), 1,
			    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)fd, 0));
	return rc;
}

/* What is allowed with some arguments only. */
static int
rules_with_arguments(scmp_filter_ctx ctx)
{
	enum {
		OWN = MAP_ANONYMOUS | MAP_PRIVATE,
		THREAD = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD,
		SPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
			 CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
			 CLONE_NEWNET,
	};
	const struct {
		bool allow; /* else it ends the process */
		int nr;
		unsigned n;
		struct scmp_arg_cmp arg[2];
	} rules[] = {
#define HAS(i, mask, value)                                                    \
	{                                                                      \
		i, SCMP_CMP_MASKED_EQ, mask, value                             \
	}
#define IS(i, value)                                                           \
	{                                                                      \
		i, SCMP_CMP_EQ, value, 0                                       \
	}
#define NAME(x) SCMP_SYS(x)
		/* Memory that nobody else sees and that is never run. */
		{ true, NAME(mmap), 2,
		    { HAS(2, PROT_EXEC, 0), HAS(3, OWN, OWN) } },
		{ true, NAME(mmap2), 2,
		    { HAS(2, PROT_EXEC, 0), HAS(3, OWN, OWN) } },
		{ true, NAME(mprotect), 1, { HAS(2, PROT_EXEC, 0) } },
		{ false, NAME(mmap), 1, { HAS(2, PROT_EXEC, PROT_EXEC) } },
		{ false, NAME(mmap2), 1, { HAS(2, PROT_EXEC, PROT_EXEC) } },
		{ false, NAME(mprotect), 1, { HAS(2, PROT_EXEC, PROT_EXEC) } },
		/* Threads, not processes. clone3 hides its flags in memory,
		 * where no filter sees them: ENOSYS by default, and libc
		 * falls back to clone. */
		{ true, NAME(clone), 1, { HAS(0, THREAD | SPACES, THREAD) } },
		{ false, NAME(clone), 1, { HAS(0, CLONE_THREAD, 0) } },
		/* abort() */
		{ true, NAME(tgkill), 1, { IS(0, (scmp_datum_t)getpid()) } },
		{ true, NAME(prctl), 1, { IS(0, PR_SET_NAME) } },
		{ true, NAME(prctl), 1, { IS(0, PR_SET_VMA) } },
		/* A thread asks how large its stack may be. */
		{ true, NAME(prlimit64), 2, { IS(0, 0), IS(2, 0) } },
#undef HAS
#undef IS
#undef NAME
	};

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		int rc = seccomp_rule_add_array(ctx,
		    rules[i].allow ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS,
		    rules[i].nr, rules[i].n, rules[i].arg);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool
seccomp_here(void)
{
	uint32_t action = SCMP_ACT_KILL_PROCESS;

	/* 2: SECCOMP_GET_ACTION_AVAIL */
	return syscall(SYS_seccomp, 2, 0, &action) == 0;
}

static enum rc
seccomp_enter(int n_out, struct sandbox_state *out, struct err *e)
{
	scmp_filter_ctx ctx;
	int rc;

	if (!seccomp_here())
		return RC_OK; /* out says so */
	/* A system call that this list does not know does not exist: that is
	 * how libc asks what the kernel has. */
	ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (ctx == NULL) {
		errno = ENOMEM;
		return fail(e, "seccomp_init");
	}
	rc = seccomp_attr_set(
	    ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	/* The most frequent are met first: a tree instead of a list. */
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = RULES_NAMED(ctx, SCMP_ACT_ALLOW, allowed);
	if (rc == 0)
		rc = RULES_NAMED(ctx, SCMP_ACT_ERRNO(EACCES), denied);
	if (rc == 0)
		rc = RULES_NAMED(ctx, SCMP_ACT_KILL_PROCESS, deadly);
	if (rc == 0)
		rc = rules_for_descriptors(ctx, n_out);
	if (rc == 0)
		rc = rules_with_arguments(ctx);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc != 0) {
		errno = -rc;
		return fail(e, "seccomp");
	}
	out->seccomp = true;
	return RC_OK;
}

/* ---- all of it */

/* Landlock binds the thread that asks for it and its children: another thread
 * would stay outside. -1: no /proc to ask. */
static int
thread_count(void)
{
	struct stat st;

	if (stat("/proc/self/task", &st) != 0)
		return -1;
	return (int)st.st_nlink - 2;
}

enum rc
sandbox_enter(const struct sandbox_limits *limits, unsigned layers, bool strict,
    struct sandbox_state *out, struct err *e)
{
	enum rc rc = RC_OK;

	*out = (struct sandbox_state){ false, 0, false };
	if (thread_count() > 1) {
		errno = EBUSY;
		return fail(e, "it must be entered before any thread starts");
	}
	if (syscall(SYS_close_range, SANDBOX_OUT + limits->n_out, ~0U, 0) != 0)
		for (int fd = SANDBOX_OUT + limits->n_out; fd < 1024; fd++)
			(void)close(fd);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return fail(e, "PR_SET_NO_NEW_PRIVS");
	/* Others of the same user have no way in by /proc or ptrace. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return fail(e, "PR_SET_DUMPABLE");
	/* Landlock needs a descriptor, seccomp forbids the rest: this order. */
	if (layers & SANDBOX_LANDLOCK)
		rc = landlock_enter(out, e);
	if (rc == RC_OK && layers & SANDBOX_LIMITS)
		rc = limits_enter(limits, out, e);
	if (rc == RC_OK && layers & SANDBOX_SECCOMP)
		rc = seccomp_enter(limits->n_out, out, e);
	if (rc != RC_OK)
		return rc;
	if (strict && (!out->seccomp || out->landlock == 0))
		return err_set(e, RC_FAIL, "sandbox",
		    "This kernel has no %s, and without it no picture is "
		    "opened here",
		    out->seccomp ? "landlock" : "seccomp");
	return RC_OK;
}
