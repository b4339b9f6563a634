/*
 * aws_cred_int - what the files of aws_cred share. A source answers RC_OK;
 * RC_NONE: nothing is configured here, go on to the next; anything else ends
 * the search: another identity by chance would be worse than none. In each case
 * but RC_OK e->msg says why, and holds nothing secret.
 */
#ifndef STORE_AWS_CRED_INT_H
#define STORE_AWS_CRED_INT_H

#include <stdbool.h>

#include "store/aws_cred.h"
#include "store/http.h"

/* Credentials on the heap, wiped when they go. */
struct cred_held {
	char *id; /* NULL: none */
	char *secret;
	char *token;        /* "" none */
	int64_t expires_ms; /* 0: not known to */
};

struct aws_cred {
	struct aws_cred_opts opts;
	char *sts;
	struct http http; /* opened when something is fetched */
	struct cred_held held;
	int64_t refresh_ms; /* of what expires: when the next is asked for */
	/* What a service refused as expired, and until when it is not believed
	 * to be anything else: for ever would be too long, were it wrong. */
	struct cred_held refused;
	int64_t refused_ms;
	bool from_instance; /* it answered once, so it is there */
	/* The last search, if it failed. */
	int failures;
	int64_t retry_ms;  /* not before */
	int64_t forgot_ms; /* when aws_cred_forget() was last of use */
	struct err why;
};

/* "" where it is not set. */
const char *cred_env(const struct aws_cred *cred, const char *name);
int64_t cred_now(const struct aws_cred *cred);

void cred_held_release(struct cred_held *held);

/* Copies. RC_FAIL where a value cannot be right; `where` says whose it is. */
enum rc cred_held_set(struct cred_held *held, const char *where, const char *id,
    const char *secret, const char *token, int64_t expires_ms, struct err *e);

/* A small file, with a NUL behind it. RC_NONE: there is none; RC_FAIL: it
 * cannot be read, or is over max. cred_wipe() frees it. */
enum rc cred_file_read(
    const char *path, size_t max, char **out, size_t *n, struct err *e);
void cred_wipe(char *p, size_t n); /* NULL is allowed */

/* aws_cred_profile.c */
enum rc cred_from_profile(
    struct aws_cred *cred, struct cred_held *held, struct err *e);
/* The profile's region, in the arena; "" none. */
const char *cred_profile_region(struct aws_cred *cred, struct arena *arena);

/* aws_cred_fetch.c */
enum rc cred_from_web_identity(
    struct aws_cred *cred, struct cred_held *held, struct err *e);
enum rc cred_from_container(
    struct aws_cred *cred, struct cred_held *held, struct err *e);
/* May something secret go there, as libcurl itself reads it? *near: in the
 * clear, within this host, and so never by a proxy. */
bool cred_url_is_safe(const char *url, bool *near);
/* Where the container's agent is to be asked; in the arena. */
enum rc cred_container_url(const struct aws_cred *cred, struct arena *arena,
    const char **out, bool *near, struct err *e);
enum rc cred_from_instance(
    struct aws_cred *cred, struct cred_held *held, struct err *e);

#endif
