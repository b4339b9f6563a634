/*
 * The variants are memory files: made here, filled by the program, sealed here.
 * A folder for it to write into was tried; it needed a rule in the sandbox for
 * opening files, names to check, and somebody to clean up after a crash.
 *
 * What the program says is what a stranger may have made it say. It is checked
 * (sizes, numbers, the first bytes of each variant), hashes are computed here,
 * and its words are cut and cleaned.
 */
#define _GNU_SOURCE /* memfd_create, pipe2 */
#include "store/imager.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <sha2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/sig.h"
#include "base/sniff.h"
#include "base/span.h"
#include "base/text.h"
#include "base/xmalloc.h"

enum {
	ANSWER_MAX = 64 * 1024,
	WORDS_MAX = 400, /* of standard error */
	FILE_MB = 16,
	SIDE_MAX = 16383,
	IN = 3,
	OUT = 4,
	/* Above all the numbers that the program's descriptors have. */
	SAFE = OUT + IMAGER_VARIANTS,
	EXIT_NO_PROGRAM = 127,
};

static const int default_widths[] = { 320, 640, 1280, 1920 };

/* One run. */
struct run {
	struct imager_opts o; /* defaults filled in */
	int n_files;
	int in, files[IMAGER_VARIANTS]; /* -1 where closed */
	int answer[2], words[2];        /* pipes: read, write */
	pid_t pid;
	int status;
	struct rusage usage;
	bool overdue, chatty; /* why we killed it */
	size_t answer_len, words_len;
	char answer_text[ANSWER_MAX + 1], words_text[WORDS_MAX + 1];
};

static void
fd_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static enum rc
busy(struct err *e, const char *what)
{
	return err_set(
	    e, RC_RETRY, "imager_busy", "%s: %s", what, strerror(errno));
}

/* ---- before */

static enum rc
opts_fill(const struct imager_opts *in, struct imager_opts *o, struct err *e)
{
	*o = *in;
	if (o->program == NULL)
		o->program = LIBEXECDIR "/souk-imager";
	if (o->widths == NULL) {
		o->widths = default_widths;
		o->n_widths = sizeof default_widths / sizeof *default_widths;
	}
	if (o->formats == 0)
		o->formats = IMAGER_WEBP | IMAGER_AVIF;
	o->max_bytes = o->max_bytes == 0 ? 32 << 20 : o->max_bytes;
	o->max_pixels = o->max_pixels == 0 ? 64 * 1000 * 1000 : o->max_pixels;
	o->memory_mb = o->memory_mb == 0 ? 1024 : o->memory_mb;
	o->cpu_s = o->cpu_s == 0 ? 30 : o->cpu_s;
	o->timeout_ms = o->timeout_ms == 0 ? 60 * 1000 : o->timeout_ms;
	if (o->n_widths < 1 || o->n_widths > IMAGER_WIDTHS ||
	    (o->formats & ~(unsigned)(IMAGER_WEBP | IMAGER_AVIF)) != 0 ||
	    o->max_bytes < 1 || o->max_bytes > 1 << 30 || o->max_pixels < 1 ||
	    o->max_pixels > 1 << 30 || o->memory_mb < 64 ||
	    o->memory_mb > 1 << 20 || o->cpu_s < 1 || o->cpu_s > 3600 ||
	    o->timeout_ms < 1)
		return err_set(e, RC_FAIL, "imager_opts",
		    "A limit for pictures is out of range");
	for (int i = 0; i < o->n_widths; i++)
		if (o->widths[i] < 1 || o->widths[i] > SIDE_MAX ||
		    (i > 0 && o->widths[i] <= o->widths[i - 1]))
			return err_set(e, RC_FAIL, "imager_opts",
			    "The widths of pictures must ascend, up to %d",
			    SIDE_MAX);
	return RC_OK;
}

/* A descriptor of our own for reading alone: what the program does to it, the
 * caller's offset and the file stay as they are. */
static enum rc
original_open(struct run *r, int fd, struct err *e)
{
	char path[40];
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return err_set(e, RC_FAIL, "imager_opts",
		    "The original of a picture must be a regular file");
	if (st.st_size > r->o.max_bytes)
		return err_set(e, RC_INVALID, "too_large",
		    "The file has %" PRId64 " bytes, %" PRId64 " are allowed",
		    (int64_t)st.st_size, r->o.max_bytes);
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	r->in = open(path, O_RDONLY | O_CLOEXEC);
	if (r->in >= 0)
		return RC_OK;
	if (errno == EMFILE || errno == ENFILE)
		return busy(e, "The original of a picture");
	/* No /proc, or a file that we may not open again. */
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
		r->in = fcntl(fd, F_DUPFD_CLOEXEC, SAFE);
	if (r->in < 0)
		return err_set(e, RC_FAIL, "imager_opts",
		    "The original of a picture must be open for reading alone "
		    "where it cannot be opened again");
	return RC_OK;
}

static enum rc
files_make(struct run *r, struct err *e)
{
	int formats = (r->o.formats & IMAGER_WEBP ? 1 : 0) +
		      (r->o.formats & IMAGER_AVIF ? 1 : 0);

	for (; r->n_files < r->o.n_widths * formats; r->n_files++) {
		int fd = memfd_create(
		    "souk-variant", MFD_CLOEXEC | MFD_ALLOW_SEALING);

		if (fd < 0)
			return busy(e, "A picture's variant");
		r->files[r->n_files] = fd;
	}
	if (pipe2(r->answer, O_CLOEXEC) != 0 || pipe2(r->words, O_CLOEXEC) != 0)
		return busy(e, "A pipe to souk-imager");
	return RC_OK;
}

/* ---- the program's start */

enum { ARGS = 24 };

static void
args_make(const struct run *r, struct arena *arena, char *argv[ARGS])
{
	const char *claimed = sniff_claimed(r->o.claimed);
	const char *widths = text_num(r->o.widths[0], (char[TEXT_NUM]){ 0 });
	int n = 0;

	widths = arena_strdup(arena, widths);
	for (int i = 1; i < r->o.n_widths; i++)
		widths = arena_printf(arena, "%s,%d", widths, r->o.widths[i]);
#define ARG(...) argv[n++] = arena_printf(arena, __VA_ARGS__)
	ARG("souk-imager");
	ARG("--widths=%s", widths);
	ARG("--formats=%s%s%s", r->o.formats & IMAGER_WEBP ? "webp" : "",
	    r->o.formats == (IMAGER_WEBP | IMAGER_AVIF) ? "," : "",
	    r->o.formats & IMAGER_AVIF ? "avif" : "");
	ARG("--files=%d", r->n_files);
	ARG("--max-bytes=%" PRId64, r->o.max_bytes);
	ARG("--max-pixels=%" PRId64, r->o.max_pixels);
	ARG("--memory-mb=%d", r->o.memory_mb);
	ARG("--cpu-s=%d", r->o.cpu_s);
	ARG("--file-mb=%d", FILE_MB);
	if (claimed != NULL)
		ARG("--claimed=%s", claimed);
	if (r->o.strict)
		ARG("--strict");
#undef ARG
	argv[n] = NULL;
}

/* In the child, between fork() and exec: nothing here may allocate. The
 * descriptors are first brought out of each other's way. */
static _Noreturn void
child_exec(struct run *r, char *argv[], pid_t parent)
{
	char *const envp[] = { (char[]){ "LC_ALL=C.UTF-8" },
		(char[]){ "PATH=/usr/bin:/bin" }, NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int from[SAFE] = { null, r->answer[1], r->words[1], r->in };
	int n = OUT + r->n_files;
	bool ok = true;

	sig_reset();
	/* Whoever waits for it may be killed: then it ends, too. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(EXIT_NO_PROGRAM);
	for (int i = 0; i < r->n_files; i++)
		from[OUT + i] = r->files[i];
	for (int i = 0; i < n; i++) {
		from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, SAFE);
		ok = ok && from[i] >= 0;
	}
	for (int i = 0; i < n && ok; i++)
		ok = dup2(from[i], i) == i;
	if (ok && syscall(SYS_close_range, n, ~0U, 0) != 0)
		for (int fd = n; fd < 65536; fd++)
			(void)close(fd);
	if (ok)
		(void)execve(r->o.program, argv, envp);
	{
		const char *why = strerrordesc_np(errno);

		(void)!write(STDERR_FILENO, why, strlen(why));
	}
	_exit(EXIT_NO_PROGRAM);
}

static enum rc
program_start(struct run *r, struct arena *arena, struct err *e)
{
	pid_t parent = getpid();
	char *argv[ARGS];

	args_make(r, arena, argv);
	r->pid = fork();
	if (r->pid == 0)
		child_exec(r, argv, parent);
	if (r->pid < 0)
		return busy(e, "souk-imager");
	fd_close(&r->answer[1]);
	fd_close(&r->words[1]);
	fd_close(&r->in);
	return RC_OK;
}

/* ---- its end */

/* What is there to be read; bytes beyond max are thrown away and counted. */
static void
drain(int *fd, char *text, size_t max, size_t *len)
{
	char spill[4096];
	bool full = *len >= max;
	ssize_t n;

	n = read(
	    *fd, full ? spill : text + *len, full ? sizeof spill : max - *len);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		fd_close(fd);
		return;
	}
	if (full)
		*len = max + 1;
	else
		*len += (size_t)n;
}

/* Until it closes both pipes, talks too much or is overdue. */
static void
program_hear(struct run *r, int64_t deadline)
{
	while (r->answer[0] >= 0 || r->words[0] >= 0) {
		struct pollfd p[2] = { { .fd = r->answer[0], .events = POLLIN },
			{ .fd = r->words[0], .events = POLLIN } };
		int left = deadline_left_ms(deadline);

		if (left == 0) {
			r->overdue = true;
			return;
		}
		if (poll(p, 2, left) <= 0)
			continue;
		if (p[0].revents != 0)
			drain(&r->answer[0], r->answer_text, ANSWER_MAX,
			    &r->answer_len);
		if (p[1].revents != 0)
			drain(&r->words[0], r->words_text, WORDS_MAX,
			    &r->words_len);
		if (r->answer_len > ANSWER_MAX) {
			r->chatty = true;
			return;
		}
	}
}

/* It is gone when this returns. */
static void
program_end(struct run *r, int64_t deadline)
{
	pid_t done = 0;

	program_hear(r, deadline);
	/* It has nothing more to say, so its end is near; else we end it. */
	while (!r->chatty && !r->overdue) {
		done = wait4(r->pid, &r->status, WNOHANG, &r->usage);
		if (done != 0 && !(done < 0 && errno == EINTR))
			break;
		if (deadline_left_ms(deadline) == 0)
			r->overdue = true;
		else
			clock_sleep_ms(1);
	}
	if (r->chatty || r->overdue) {
		(void)kill(r->pid, SIGKILL);
		do {
			done = wait4(r->pid, &r->status, 0, &r->usage);
		} while (done < 0 && errno == EINTR);
	}
	r->pid = -1;
	r->answer_text[r->answer_len > ANSWER_MAX ? 0 : r->answer_len] = '\0';
	r->words_text[r->words_len > WORDS_MAX ? WORDS_MAX : r->words_len] =
	    '\0';
}

/* ---- what it said */

/* Its words, as one clean line. */
static const char *
clean(struct arena *arena, const char *s)
{
	size_t n = utf8_cut(s, strlen(s), 300);
	char *out = arena_strndup(arena, s, n);

	if (!utf8_valid(out, n))
		return "(not to be read)";
	for (char *p = out; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	return out;
}

static enum rc
bad_answer(struct err *e, const char *why)
{
	return err_set(e, RC_FAIL, "imager_answer",
	    "souk-imager gave an answer that cannot be: %s", why);
}

/* How a process ends that gave no answer. */
static enum rc
death(const struct run *r, struct arena *arena, struct err *e)
{
	int sig = WIFSIGNALED(r->status) ? WTERMSIG(r->status) : 0;
	int status = WIFEXITED(r->status) ? WEXITSTATUS(r->status) : 0;

	switch (sig) {
	case 0:
		break;
	case SIGXCPU:
		return err_set(e, RC_INVALID, "timed_out",
		    "The picture took more than %d s of computing", r->o.cpu_s);
	case SIGSYS:
		return err_set(e, RC_FAIL, "sandbox",
		    "souk-imager tried what its sandbox forbids, and was "
		    "killed: a hostile picture, or a new version of a "
		    "library (souk-imager --self-test)");
	case SIGKILL:
		return err_set(e, RC_RETRY, "out_of_memory",
		    "souk-imager was killed from outside, as the kernel does "
		    "where memory ends");
	default:
		return err_set(e, RC_INVALID, "imager_crashed",
		    "The decoder crashed on this picture (signal %d)", sig);
	}
	if (status == EXIT_NO_PROGRAM)
		return err_set(e, RC_FAIL, "imager_missing",
		    "%s could not be started: %s", r->o.program,
		    clean(arena, r->words_text));
	if (status == EXIT_AGAIN)
		return err_set(e, RC_INVALID, "out_of_memory",
		    "The picture takes more memory than is allowed");
	return err_set(e, RC_FAIL, "imager_answer",
	    "souk-imager ended with %d and no answer: %s", status,
	    clean(arena, r->words_text));
}

static enum rc
error_take(json_t *tree, struct arena *arena, struct err *e)
{
	static const struct {
		const char *code;
		enum rc rc;
	} codes[] = {
		{ "not_an_image", RC_INVALID },
		{ "unsupported_type", RC_INVALID },
		{ "type_mismatch", RC_INVALID },
		{ "truncated", RC_INVALID },
		{ "too_many_pixels", RC_INVALID },
		{ "too_large", RC_INVALID },
		{ "out_of_memory", RC_INVALID },
		{ "sandbox", RC_FAIL },
		{ "no_encoder", RC_FAIL },
	};
	const char *code = json_string_value(json_object_get(tree, "error"));
	const char *msg = json_string_value(json_object_get(tree, "message"));

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (code != NULL && msg != NULL &&
		    strcmp(code, codes[i].code) == 0)
			return err_set(e, codes[i].rc, codes[i].code, "%s",
			    clean(arena, msg));
	return bad_answer(e, "an error without a name");
}

static bool
int_get(json_t *o, const char *key, int64_t min, int64_t max, int64_t *out)
{
	json_t *v = json_object_get(o, key);

	*out = json_integer_value(v);
	return json_is_integer(v) && *out >= min && *out <= max;
}

/* One of a list; NULL: none of it. */
static const char *
name_get(json_t *o, const char *key, const char *const names[])
{
	const char *s = json_string_value(json_object_get(o, key));

	for (size_t i = 0; s != NULL && names[i] != NULL; i++)
		if (strcmp(s, names[i]) == 0)
			return names[i];
	return NULL;
}

/* Nobody changes it any more; is it what it is said to be? */
static enum rc
file_judge(int fd, struct imager_variant *v, struct err *e)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	unsigned char buf[16384];
	SHA2_CTX sha;
	struct stat st;
	off_t at = 0;
	ssize_t n;

	if (fcntl(fd, F_ADD_SEALS,
		F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
		return busy(e, "A picture's variant cannot be sealed");
	if (fstat(fd, &st) != 0 || st.st_size != v->bytes)
		return bad_answer(e, "a variant's size");
	SHA256Init(&sha);
	for (; (n = pread(fd, buf, sizeof buf, at)) > 0; at += n) {
		SHA256Update(&sha, buf, (size_t)n);
		if (at > 0)
			continue;
		if (n < 12 || (strcmp(v->format, "webp") == 0
				      ? memcmp(buf, "RIFF", 4) != 0 ||
					    memcmp(buf + 8, "WEBP", 4) != 0
				      : memcmp(buf + 4, "ftypavif", 8) != 0))
			return bad_answer(e, "a variant's type");
	}
	if (at != st.st_size)
		return busy(e, "A picture's variant cannot be read");
	SHA256Final(digest, &sha);
	text_hex(digest, sizeof digest, v->sha256);
	(void)lseek(fd, 0, SEEK_SET);
	return RC_OK;
}

/* The i-th, which must lie in the i-th file. */
static enum rc
variant_take(struct run *r, json_t *o, struct imager_result *out, struct err *e)
{
	static const char *const formats[] = { "webp", "avif", NULL };
	struct imager_variant *v = &out->variants[out->n];
	int64_t file, w, h, bytes;

	v->format = name_get(o, "format", formats);
	if (v->format == NULL ||
	    !(r->o.formats &
		(v->format == formats[0] ? IMAGER_WEBP : IMAGER_AVIF)) ||
	    !int_get(o, "file", OUT + out->n, OUT + out->n, &file) ||
	    !int_get(o, "width", 1, out->width, &w) ||
	    !int_get(o, "height", 1, out->height, &h) ||
	    !int_get(o, "bytes", 1, (int64_t)FILE_MB << 20, &bytes))
		return bad_answer(e, "a variant");
	v->width = (int)w;
	v->height = (int)h;
	v->bytes = bytes;
	v->fd = r->files[out->n];
	return file_judge(v->fd, v, e);
}

static enum rc
result_take(
    struct run *r, json_t *tree, struct imager_result *out, struct err *e)
{
	static const char *const types[] = { "jpeg", "png", "webp", "gif",
		"avif", NULL };
	json_t *list = json_object_get(tree, "variants"), *o;
	json_t *sandbox = json_object_get(tree, "sandbox");
	int64_t w, h, frames, landlock;
	enum rc rc;
	size_t i;

	out->type = name_get(tree, "type", types);
	if (out->type == NULL || !int_get(tree, "width", 1, SIDE_MAX, &w) ||
	    !int_get(tree, "height", 1, SIDE_MAX, &h) ||
	    w * h > r->o.max_pixels ||
	    !int_get(tree, "frames", 1, INT32_MAX, &frames) ||
	    !int_get(sandbox, "landlock", 0, 1000, &landlock) ||
	    json_array_size(list) < 1 ||
	    json_array_size(list) > (size_t)r->n_files)
		return bad_answer(e, "the picture");
	out->width = (int)w;
	out->height = (int)h;
	out->frames = (int)frames;
	out->landlock = (int)landlock;
	out->seccomp = json_is_true(json_object_get(sandbox, "seccomp"));
	out->memory = json_is_true(json_object_get(sandbox, "memory"));
	json_array_foreach(list, i, o)
	{
		rc = variant_take(r, o, out, e);
		if (rc != RC_OK)
			return rc;
		out->n++;
	}
	return RC_OK;
}

static enum rc
answer_take(struct run *r, struct arena *arena, struct imager_result *out,
    struct err *e)
{
	json_t *tree;
	enum rc rc;

	if (r->overdue)
		return err_set(e, RC_RETRY, "timed_out",
		    "The picture was not done after %d ms", r->o.timeout_ms);
	if (r->chatty)
		return bad_answer(e, "it is too long");
	/* It may have answered and died of what came next: a signal is never
	 * a good end. */
	if (!WIFEXITED(r->status) || r->answer_len == 0)
		return death(r, arena, e);
	tree = json_loadb(
	    r->answer_text, r->answer_len, JSON_REJECT_DUPLICATES, NULL);
	if (tree == NULL)
		return bad_answer(e, "it is no JSON");
	if (WEXITSTATUS(r->status) == 0)
		rc = result_take(r, tree, out, e);
	else
		rc = error_take(tree, arena, e);
	json_decref(tree);
	return rc;
}

static int64_t
ms(struct timeval t)
{
	return (int64_t)t.tv_sec * 1000 + t.tv_usec / 1000;
}

enum rc
imager_run(const struct imager_opts *opts, int original_fd, struct arena *arena,
    struct imager_result *out, struct err *e)
{
	struct imager_result result = { 0 };
	struct run *r = xcalloc(1, sizeof *r);
	int64_t deadline;
	enum rc rc;

	r->in = r->answer[0] = r->answer[1] = r->words[0] = r->words[1] = -1;
	for (int i = 0; i < IMAGER_VARIANTS; i++)
		r->files[i] = -1;
	rc = opts_fill(opts, &r->o, e);
	deadline = deadline_in(r->o.timeout_ms);
	if (rc == RC_OK)
		rc = original_open(r, original_fd, e);
	if (rc == RC_OK)
		rc = files_make(r, e);
	if (rc == RC_OK)
		rc = program_start(r, arena, e);
	if (rc == RC_OK) {
		program_end(r, deadline);
		rc = answer_take(r, arena, &result, e);
	}
	if (rc == RC_OK) {
		result.cpu_ms = ms(r->usage.ru_utime) + ms(r->usage.ru_stime);
		result.peak_kb = r->usage.ru_maxrss;
		*out = result;
	}
	/* What the result owns stays open. */
	for (int i = rc == RC_OK ? result.n : 0; i < IMAGER_VARIANTS; i++)
		fd_close(&r->files[i]);
	fd_close(&r->in);
	for (int i = 0; i < 2; i++) {
		fd_close(&r->answer[i]);
		fd_close(&r->words[i]);
	}
	free(r);
	return rc;
}

void
imager_result_free(struct imager_result *result)
{
	for (int i = 0; i < result->n; i++)
		fd_close(&result->variants[i].fd);
	*result = (struct imager_result){ 0 };
}
