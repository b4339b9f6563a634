/*
 * doing - what this process is doing right now, in words that another process
 * may read: the master logs them when it must kill a child.
 * The storage may be shared memory. A reader may see a torn line, never one
 * without an end.
 */
#ifndef BASE_DOING_H
#define BASE_DOING_H

struct doing {
	char what[64]; /* "pg product_get", "redis cache_read", "render" */
};

/* NULL doing is allowed: nobody watches. Cuts what is too long. */
void doing_set(struct doing *doing, const char *what, const char *detail);

#endif
