/*
 * imager - a picture from a stranger becomes variants, in a sandbox.
 * imager_run() starts the program souk-imager with the original and one empty
 * memory file for each variant, waits for its answer and judges it: whatever a
 * picture makes of that process, it can only change what it was given. No file
 * has a name, so none is left behind; no process outlives the call.
 * What is enforced, and by what: docs/images.md.
 */
#ifndef STORE_IMAGER_H
#define STORE_IMAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;

enum imager_format {
	IMAGER_WEBP = 1,
	IMAGER_AVIF = 2, /* left out where this libvips cannot write it */
};

enum {
	IMAGER_WIDTHS = 8,
	IMAGER_VARIANTS = 2 * IMAGER_WIDTHS,
};

/* 0 or NULL is the default everywhere. */
struct imager_opts {
	const char *program; /* souk-imager; default: where it is installed */
	const int *widths;   /* ascending; default: 320, 640, 1280, 1920 */
	int n_widths;        /* at most IMAGER_WIDTHS */
	unsigned formats;    /* of imager_format; default: all */
	/* What the sender says it is: a media type ("image/jpeg") or a file's
	 * name. Where that names a type that we know and the content is of
	 * another, it is refused. Default: believed nothing, asked nothing. */
	const char *claimed;
	int64_t max_bytes;  /* of the original; default 32 MiB */
	int64_t max_pixels; /* of the original; default 64 million */
	int memory_mb;      /* address space; default 1024 */
	int cpu_s;          /* default 30 */
	int timeout_ms;     /* by the clock, all in all; default 60,000 */
	bool strict; /* refuse to work where seccomp or landlock is missing */
};

struct imager_variant {
	int fd;             /* a sealed memory file, open for reading */
	const char *format; /* "webp", "avif" */
	int width, height;
	int64_t bytes;
	char sha256[65]; /* hex; computed here, of what fd holds */
};

/* All zeros is an empty one. */
struct imager_result {
	const char *type; /* by content: "jpeg", "png", "webp", "gif", "avif" */
	int width, height; /* of the original as it is to be seen */
	int frames;        /* more than 1: animated; the first was taken */
	int n;
	/* By width, and the formats of one width side by side. No variant is
	 * wider than the original; one narrower than all widths has variants of
	 * its own width. Metadata are gone, colours sRGB, orientation applied,
	 * alpha kept. */
	struct imager_variant variants[IMAGER_VARIANTS];
	/* What the kernel enforced: */
	bool seccomp;
	int landlock; /* its ABI; 0: none */
	bool memory;  /* memory_mb */
	/* What it cost: */
	int64_t cpu_ms, peak_kb;
};

/*
 * Reads original_fd (a regular file, also an unlinked or memory file) from its
 * beginning; its offset and content stay as they are. The caller must not
 * ignore SIGCHLD, nor reap other processes' children while this runs.
 * *out is written on RC_OK only, and then owned by the caller:
 * imager_result_free(). Its strings are constants.
 *
 * RC_INVALID, the picture's fault, for a person: "not_an_image",
 * "unsupported_type", "type_mismatch" (claimed), "truncated" (cut off or
 * damaged), "too_many_pixels", "too_large", "timed_out" (cpu_s),
 * "out_of_memory" (memory_mb), "imager_crashed".
 * RC_RETRY: "timed_out" (timeout_ms), "out_of_memory" (killed from outside),
 * "imager_busy" (no process or descriptor to be had).
 * RC_FAIL: "sandbox" (it could not be entered, or the program tried what it
 * forbids), "imager_missing", "imager_answer" (it says what cannot be),
 * "imager_opts", "no_encoder".
 */
enum rc imager_run(const struct imager_opts *opts, int original_fd,
    struct arena *arena, struct imager_result *out, struct err *e);

/* Closes the descriptors and empties it; an empty one is allowed. */
void imager_result_free(struct imager_result *result);

#endif
