/*
 * souk-imager - makes the variants of one picture, in a sandbox.
 *
 * Started by lib/store/imager.c, which knows the other side of all this:
 *
 *	descriptor 3		the original
 *	descriptors 4..		empty files, one for each variant
 *	standard output		the answer, one line of JSON:
 *	    {"type":"jpeg","width":W,"height":H,"frames":1,"variants":[
 *	    {"file":4,"format":"webp","width":W,"height":H,"bytes":N,
 *	    "sha256":"..."}],"sandbox":{"seccomp":true,"landlock":3,
 *	    "memory":true}}
 *	    or {"error":"truncated","message":"..."}
 *	exit status		0: variants; 1: an error in the answer; 2: usage
 *
 * The order is the point: load the libraries, enter the sandbox, and only then
 * read the first byte.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <sha2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "config.h"
#include "imager/picture.h"
#include "imager/sandbox.h"
#include "imager/selftest.h"
#include "base/sniff.h"

enum { WIDTHS_MAX = 16, FILES_MAX = 64, EXIT_ERROR = 1, EXIT_USAGE = 2 };

struct args {
	int widths[WIDTHS_MAX], n_widths;
	unsigned formats;
	int64_t max_bytes, max_pixels, memory_mb, cpu_s, file_mb, files;
	const char *claimed; /* "jpeg" ...; NULL: nothing */
	bool strict, self_test, report;
};

struct answer {
	struct strbuf variants; /* JSON, without brackets */
	int n, max;
};

/* With AddressSanitizer: what needs a second process or a file cannot be. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "detect_leaks=0:allocator_may_return_null=1";
}

/* ---- arguments */

static void
usage(FILE *to)
{
	(void)fputs(
	    "usage: souk-imager --self-test [--report]\n"
	    "       souk-imager [OPTION]... 3<ORIGINAL 4>VARIANT ...\n"
	    "\n"
	    "--self-test        try what the sandbox forbids; exit 0 if "
	    "all was refused\n"
	    "--report           exit 0 in any case\n"
	    "--widths N,N...    ascending (320,640,1280,1920)\n"
	    "--formats F,F      webp, avif (both)\n"
	    "--files N          descriptors from 4 on (1)\n"
	    "--claimed TYPE     refuse content of another type\n"
	    "--max-bytes N      of the original (33554432)\n"
	    "--max-pixels N     of the original (64000000)\n"
	    "--memory-mb N      address space (1024)\n"
	    "--cpu-s N          CPU time (30)\n"
	    "--file-mb N        of one variant (16)\n"
	    "--strict           nothing without seccomp and landlock\n"
	    "--version, --help\n",
	    to);
}

static bool
number(const char *s, int64_t min, int64_t max, int64_t *out)
{
	return text_int(span_of(s), min, max, out);
}

static bool
widths_read(struct args *a, const char *s)
{
	a->n_widths = 0;
	for (;; s++) {
		size_t n = strcspn(s, ",");
		int64_t w;

		if (a->n_widths == WIDTHS_MAX ||
		    !text_int((struct span){ s, n }, 1, 16383, &w) ||
		    (a->n_widths > 0 && w <= a->widths[a->n_widths - 1]))
			return false;
		a->widths[a->n_widths++] = (int)w;
		s += n;
		if (*s == '\0')
			return true;
	}
}

static bool
formats_read(struct args *a, const char *s)
{
	a->formats = 0;
	for (;; s++) {
		struct span f = { s, strcspn(s, ",") };

		if (span_is(f, "webp"))
			a->formats |= PICTURE_WEBP;
		else if (span_is(f, "avif"))
			a->formats |= PICTURE_AVIF;
		else
			return false;
		s += f.n;
		if (*s == '\0')
			return true;
	}
}

static bool
option_read(struct args *a, int c, const char *arg)
{
	switch (c) {
	case 'w':
		return widths_read(a, arg);
	case 'f':
		return formats_read(a, arg);
	case 'n':
		return number(arg, 1, FILES_MAX, &a->files);
	case 'c':
		a->claimed = arg;
		return true;
	case 'b':
		return number(arg, 1, 1 << 30, &a->max_bytes);
	case 'p':
		return number(arg, 1, 1 << 30, &a->max_pixels);
	case 'm':
		return number(arg, 64, 1 << 20, &a->memory_mb);
	case 't':
		return number(arg, 1, 3600, &a->cpu_s);
	case 'o':
		return number(arg, 1, 1024, &a->file_mb);
	case 's':
		return a->strict = true;
	case 'T':
		return a->self_test = true;
	case 'R':
		return a->report = true;
	case 'V':
		(void)puts("souk-imager " PACKAGE_VERSION);
		exit(EXIT_SUCCESS);
	case 'h':
		usage(stdout);
		exit(EXIT_SUCCESS);
	default:
		return false;
	}
}

static bool
args_read(struct args *a, int argc, char *argv[])
{
	static const struct option options[] = {
		{ "widths", required_argument, NULL, 'w' },
		{ "formats", required_argument, NULL, 'f' },
		{ "files", required_argument, NULL, 'n' },
		{ "claimed", required_argument, NULL, 'c' },
		{ "max-bytes", required_argument, NULL, 'b' },
		{ "max-pixels", required_argument, NULL, 'p' },
		{ "memory-mb", required_argument, NULL, 'm' },
		{ "cpu-s", required_argument, NULL, 't' },
		{ "file-mb", required_argument, NULL, 'o' },
		{ "strict", no_argument, NULL, 's' },
		{ "self-test", no_argument, NULL, 'T' },
		{ "report", no_argument, NULL, 'R' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		if (!option_read(a, c, optarg))
			return false;
	return optind == argc;
}

/* ---- files */

/* RC_FAIL "sandbox" where the caller gave something that cannot be used. */
static enum rc
write_all(int fd, const char *p, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EFBIG)
			return err_set(e, RC_INVALID, "too_large",
			    "A variant would be larger than is allowed");
		if (done <= 0)
			return err_set(e, RC_FAIL, "sandbox",
			    "Descriptor %d: %s", fd, strerror(errno));
		p += done;
		n -= (size_t)done;
	}
	return RC_OK;
}

/* At most max bytes: one more is an error. By pread(): its offset, which the
 * caller may share, stays where it is. */
static enum rc
original_read(int64_t max, struct strbuf *out, struct err *e)
{
	for (;;) {
		ssize_t n;

		strbuf_grow(out, 256 * 1024);
		n = pread(SANDBOX_IN, out->s + out->len,
		    out->cap - out->len - 1, (off_t)out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, RC_FAIL, "sandbox",
			    "Descriptor %d: %s", SANDBOX_IN, strerror(errno));
		if (n == 0)
			return RC_OK;
		out->len += (size_t)n;
		out->s[out->len] = '\0';
		if ((int64_t)out->len > max)
			return err_set(e, RC_INVALID, "too_large",
			    "The file has more than %lld bytes",
			    (long long)max);
	}
}

/* ---- the work */

static enum rc
variant_write(void *ctx, const struct picture_variant *v, struct err *e)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	struct answer *a = ctx;
	int fd = SANDBOX_OUT + a->n;
	char hex[2 * sizeof digest + 1];
	SHA2_CTX sha;
	enum rc rc;

	if (a->n == a->max)
		return err_set(e, RC_FAIL, "sandbox",
		    "%d files for variants are not enough", a->max);
	rc = write_all(fd, v->bytes.p, v->bytes.n, e);
	if (rc != RC_OK)
		return rc;
	SHA256Init(&sha);
	SHA256Update(&sha, (const uint8_t *)v->bytes.p, v->bytes.n);
	SHA256Final(digest, &sha);
	text_hex(digest, sizeof digest, hex);
	strbuf_addf(&a->variants,
	    "%s{\"file\":%d,\"format\":\"%s\",\"width\":%d,\"height\":%d,"
	    "\"bytes\":%zu,\"sha256\":\"%s\"}",
	    a->n == 0 ? "" : ",", fd, v->format, v->width, v->height,
	    v->bytes.n, hex);
	a->n++;
	return RC_OK;
}

static enum rc
type_find(const struct args *a, struct span bytes, enum sniff_type *type,
    const char **name, struct err *e)
{
	*type = sniff(bytes, name);
	if (*type == SNIFF_UNKNOWN)
		return err_set(e, RC_INVALID, "not_an_image",
		    "This is no picture but %s%s%s%s",
		    strcmp(*name, "empty") == 0 ? "an empty file" : *name,
		    a->claimed == NULL ? "" : ", though it is called ",
		    a->claimed == NULL ? "" : a->claimed,
		    strcmp(*name, "unknown") == 0 ? " data" : "");
	if (*type == SNIFF_OTHER)
		return err_set(e, RC_INVALID, "unsupported_type",
		    "%s is not taken: JPEG, PNG, WebP, GIF and AVIF are",
		    *name);
	if (a->claimed != NULL && strcmp(a->claimed, *name) != 0)
		return err_set(e, RC_INVALID, "type_mismatch",
		    "The file is called %s, but it is %s", a->claimed, *name);
	return RC_OK;
}

/* The line of JSON, in line. */
static enum rc
work(const struct args *a, struct strbuf *line, struct err *e)
{
	const struct picture_want want = { a->widths, a->n_widths, a->formats,
		a->max_pixels };
	struct answer answer = { .max = (int)a->files };
	struct strbuf bytes;
	struct picture pic;
	enum sniff_type type;
	const char *name;
	enum rc rc;

	strbuf_init(&answer.variants, 4096);
	strbuf_init(&bytes, 1 << 20);
	rc = original_read(a->max_bytes, &bytes, e);
	if (rc == RC_OK)
		rc = type_find(a, strbuf_span(&bytes), &type, &name, e);
	if (rc == RC_OK)
		rc = picture_make(strbuf_span(&bytes), type, &want, &pic,
		    variant_write, &answer, e);
	if (rc == RC_OK)
		strbuf_addf(line,
		    "{\"type\":\"%s\",\"width\":%d,\"height\":%d,"
		    "\"frames\":%d,\"variants\":[%s],",
		    name, pic.width, pic.height, pic.frames, answer.variants.s);
	strbuf_release(&bytes);
	strbuf_release(&answer.variants);
	return rc;
}

/* Called where nothing can be allocated any more. */
static _Noreturn void
die_out_of_memory(void)
{
	static const char line[] =
	    "{\"error\":\"out_of_memory\",\"message\":"
	    "\"The picture takes more memory than is allowed\"}\n";

	(void)!write(STDOUT_FILENO, line, sizeof line - 1);
	_exit(EXIT_ERROR);
}

static void
when_out_of_memory(void)
{
	die_out_of_memory();
}

static enum rc
run(const struct args *a, const char *argv0, struct strbuf *line, struct err *e)
{
	const struct sandbox_limits limits = {
		.memory_bytes = a->memory_mb << 20,
		.file_bytes = a->file_mb << 20,
		.cpu_s = (int)a->cpu_s,
		.n_out = (int)a->files,
	};
	struct sandbox_state state;
	enum rc rc;

	rc = picture_init(argv0, when_out_of_memory, e);
	if (rc == RC_OK)
		rc = sandbox_enter(&limits, SANDBOX_ALL, a->strict, &state, e);
	if (rc == RC_OK)
		rc = work(a, line, e);
	if (rc == RC_OK)
		strbuf_addf(line,
		    "\"sandbox\":{\"seccomp\":%s,\"landlock\":%d,"
		    "\"memory\":%s}}\n",
		    state.seccomp ? "true" : "false", state.landlock,
		    state.memory ? "true" : "false");
	return rc;
}

int
main(int argc, char *argv[])
{
	struct args a = {
		.widths = { 320, 640, 1280, 1920 },
		.n_widths = 4,
		.formats = PICTURE_WEBP | PICTURE_AVIF,
		.max_bytes = 32 << 20,
		.max_pixels = 64 * 1000 * 1000,
		.memory_mb = 1024,
		.cpu_s = 30,
		.file_mb = 16,
		.files = 1,
	};
	struct err e = ERR_INIT;
	struct strbuf line;
	enum rc rc;

	if (!args_read(&a, argc, argv)) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (a.self_test)
		return selftest_run() || a.report ? EXIT_SUCCESS : EXIT_ERROR;
	/* Threads would each reserve 64 MiB of what the limit counts. */
	(void)mallopt(M_ARENA_MAX, 1);
	/* A file that may not grow is an error to report. */
	(void)signal(SIGXFSZ, SIG_IGN);
	strbuf_init(&line, 8192);
	rc = run(&a, argv[0], &line, &e);
	if (rc != RC_OK) {
		strbuf_reset(&line);
		strbuf_addf(&line, "{\"error\":\"%s\",\"message\":\"", e.code);
		strbuf_add_json(&line, e.msg, strlen(e.msg));
		strbuf_adds(&line, "\"}\n");
	}
	if (write_all(STDOUT_FILENO, line.s, line.len, &e) != RC_OK)
		rc = RC_FAIL;
	/* No destructors: they have much to do, and nothing that matters. */
	_exit(rc == RC_OK ? EXIT_SUCCESS : EXIT_ERROR);
}
