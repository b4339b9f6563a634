/*
 * A list of blocks, filled from the front. The first block is kept over a
 * reset, so that a process in its stride allocates nothing; larger requests
 * get a block of their own behind it. Block sizes double up to 256 KiB.
 */
#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>

#include "base/xmalloc.h"

enum { FIRST_BLOCK = 16 * 1024, KEEP_BLOCK = 256 * 1024 };

struct block {
	struct block *next;
	size_t size; /* of data */
	size_t used;
	alignas(max_align_t) unsigned char data[];
};

struct arena {
	struct block *head; /* the one being filled */
	size_t used;        /* bytes handed out, all blocks */
};

static struct block *
block_new(size_t size, struct block *next)
{
	struct block *b = xmalloc(sizeof *b + size);

	b->next = next;
	b->size = size;
	b->used = 0;
	return b;
}

struct arena *
arena_new(void)
{
	struct arena *arena = xmalloc(sizeof *arena);

	arena->head = block_new(FIRST_BLOCK, NULL);
	arena->used = 0;
	return arena;
}

void
arena_free(struct arena *arena)
{
	if (arena == NULL)
		return;
	for (struct block *b = arena->head; b != NULL;) {
		struct block *next = b->next;

		free(b);
		b = next;
	}
	free(arena);
}

/* Of the blocks the largest that may be kept stays. */
void
arena_reset(struct arena *arena)
{
	struct block *keep = NULL;

	for (struct block *b = arena->head; b != NULL;) {
		struct block *next = b->next;

		if (b->size <= KEEP_BLOCK &&
		    (keep == NULL || b->size > keep->size)) {
			free(keep);
			keep = b;
		} else {
			free(b);
		}
		b = next;
	}
	if (keep == NULL)
		keep = block_new(FIRST_BLOCK, NULL);
	keep->next = NULL;
	keep->used = 0;
	arena->head = keep;
	arena->used = 0;
}

size_t
arena_used(const struct arena *arena)
{
	return arena->used;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct block *b = arena->head;

	if (size > SIZE_MAX - align)
		abort(); /* a length that wrapped: our bug, not want of memory */
	size = (size + align - 1) & ~(align - 1);
	if (size > b->size - b->used) {
		size_t want = b->size < KEEP_BLOCK ? b->size * 2 : KEEP_BLOCK;

		if (want < size)
			want = size;
		b = block_new(want, b);
		arena->head = b;
	}
	void *p = b->data + b->used;

	b->used += size;
	arena->used += size;
	return p;
}

void *
arena_calloc(struct arena *arena, size_t count, size_t size)
{
	size_t total;

	assert(!__builtin_mul_overflow(count, size, &total));
	void *p = arena_alloc(arena, total);

	memset(p, 0, total);
	return p;
}

void *
arena_memdup(struct arena *arena, const void *p, size_t size)
{
	void *q = arena_alloc(arena, size);

	if (size > 0)
		memcpy(q, p, size);
	return q;
}

char *
arena_strdup(struct arena *arena, const char *s)
{
	return arena_strndup(arena, s, strlen(s));
}

char *
arena_strndup(struct arena *arena, const char *s, size_t n)
{
	char *p = arena_alloc(arena, n + 1);

	if (n > 0)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *
arena_concat(struct arena *arena, ...)
{
	va_list ap, again;
	size_t n = 0;
	char *out, *p;
	const char *s;

	va_start(ap, arena);
	va_copy(again, ap);
	while ((s = va_arg(ap, const char *)) != NULL)
		n += strlen(s);
	va_end(ap);
	p = out = arena_alloc(arena, n + 1);
	while ((s = va_arg(again, const char *)) != NULL) {
		size_t len = strlen(s);

		memcpy(p, s, len);
		p += len;
	}
	va_end(again);
	*p = '\0';
	return out;
}

char *
arena_vprintf(struct arena *arena, const char *fmt, va_list ap)
{
	struct block *b = arena->head;
	char *at = (char *)b->data + b->used;
	size_t left = b->size - b->used;
	va_list again;

	/* Mostly what is left of the block is enough: then one pass does. */
	va_copy(again, ap);
	int n = vsnprintf(at, left, fmt, again);

	va_end(again);
	assert(n >= 0);
	char *p = arena_alloc(arena, (size_t)n + 1);

	if (p != at) /* it was not */
		(void)vsnprintf(p, (size_t)n + 1, fmt, ap);
	return p;
}

char *
arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *p = arena_vprintf(arena, fmt, ap);

	va_end(ap);
	return p;
}
