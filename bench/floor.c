/*
 * floor - the least that a FastCGI program on libfcgi can do, to measure
 * souk-fcgi against: the same number of processes, each holding many kept
 * connections at once (floor_loop.c), answering fixed bytes.
 *
 *	floor -l SOCKET [-c CHILDREN] [-s SLOTS] [-t TYPE] [-f FILE]
 *
 * Without -f the body is 200 bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/floor_loop.h"

enum { FIXED = 200, HEAD = 200 };

struct floor {
	const char *type;
	const char *file;
	char *answer; /* head and body */
	int answer_len;
};

static void
load(struct floor *f)
{
	FILE *in = f->file == NULL ? NULL : fopen(f->file, "rb");
	long n = FIXED;
	char *body;
	int head;

	if (f->file != NULL &&
	    (in == NULL || fseek(in, 0, SEEK_END) != 0 || (n = ftell(in)) < 0))
		floor_fail(f->file);
	f->answer = malloc(HEAD + (size_t)n);
	if (f->answer == NULL)
		floor_fail("malloc");
	head = snprintf(f->answer, HEAD,
	    "Status: 200 OK\r\nContent-Type: %s\r\nContent-Length: %ld\r\n\r\n",
	    f->type, n);
	body = f->answer + head;
	memset(body, 'x', (size_t)n);
	if (in != NULL) {
		rewind(in);
		if (fread(body, 1, (size_t)n, in) != (size_t)n)
			floor_fail(f->file);
		(void)fclose(in);
	}
	f->answer_len = head + (int)n;
}

static void
answer(void *state, FCGX_Request *rq)
{
	const struct floor *f = state;

	FCGX_PutStr(f->answer, f->answer_len, rq->out);
}

int
main(int argc, char **argv)
{
	struct floor f = { .type = "text/plain" };
	struct floor_opts opts = {
		.children = 8, .slots = 64, .answer = answer, .arg = &f
	};
	int c;

	while ((c = getopt(argc, argv, "l:c:s:t:f:")) != -1) {
		switch (c) {
		case 'l':
			opts.path = optarg;
			break;
		case 'c':
			opts.children = floor_number(optarg);
			break;
		case 's':
			opts.slots = floor_number(optarg);
			break;
		case 't':
			f.type = optarg;
			break;
		case 'f':
			f.file = optarg;
			break;
		default:
			return 2;
		}
	}
	if (opts.path == NULL) {
		fprintf(stderr, "floor: -l SOCKET is needed\n");
		return 2;
	}
	load(&f);
	floor_run(&opts);
}
