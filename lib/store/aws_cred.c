/*
 * The chain, and what was found last. Only a search that failed is waited for
 * (1 s, 2 s, 4 s ... a minute), so that a metadata service which is away does
 * not cost its timeout at each call.
 *
 * One clock, the wall's: what expires does so by it, and a wait that it makes
 * absurd (it was set back) is over.
 */
#include "store/aws_cred.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"
#include "store/aws_cred_int.h"

enum {
	EARLY_MS = 5 * 60 * 1000,
	WAIT_MIN_MS = 1000,
	WAIT_MAX_MS = 60 * 1000,
	REFUSED_MS = 60 * 1000,
	TIMEOUT_MS = 5000,
	MAX_ID = 256,
	MAX_SECRET = 512,
	MAX_TOKEN = 32 * 1024
};

const char *
cred_env(const struct aws_cred *cred, const char *name)
{
	const char *s = cred->opts.env == NULL
			    ? getenv(name)
			    : cred->opts.env(cred->opts.env_arg, name);

	return s == NULL ? "" : s;
}

int64_t
cred_now(const struct aws_cred *cred)
{
	return cred->opts.wall_ms == NULL
		   ? clock_wall_ms()
		   : cred->opts.wall_ms(cred->opts.env_arg);
}

/* ---- secrets on the heap */

void
cred_wipe(char *p, size_t n)
{
	if (p == NULL)
		return;
	sodium_memzero(p, n);
	free(p);
}

void
cred_held_release(struct cred_held *held)
{
	if (held->id != NULL) {
		cred_wipe(held->id, strlen(held->id));
		cred_wipe(held->secret, strlen(held->secret));
		cred_wipe(held->token, strlen(held->token));
	}
	*held = (struct cred_held){ 0 };
}

/* Printable ASCII without spaces, as all of them are. */
static bool
is_word(const char *s, size_t max)
{
	size_t n = 0;

	for (; s[n] != '\0'; n++) {
		if (n >= max || s[n] <= ' ' || s[n] >= 0x7f)
			return false;
	}
	return true;
}

enum rc
cred_held_set(struct cred_held *held, const char *where, const char *id,
    const char *secret, const char *token, int64_t expires_ms, struct err *e)
{
	const struct {
		const char *name, *value;
		size_t max;
		bool needed;
	} parts[] = { { "access key id", id, MAX_ID, true },
		{ "secret access key", secret, MAX_SECRET, true },
		{ "session token", token, MAX_TOKEN, false } };

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (parts[i].needed && *parts[i].value == '\0')
			return err_set(e, RC_FAIL, "aws_no_credentials",
			    "%s: no %s", where, parts[i].name);
		if (!is_word(parts[i].value, parts[i].max))
			return err_set(e, RC_FAIL, "aws_no_credentials",
			    "%s: the %s is too long, or has a space or a "
			    "control character in it",
			    where, parts[i].name);
	}
	cred_held_release(held);
	*held = (struct cred_held){ .id = xstrdup(id),
		.secret = xstrdup(secret),
		.token = xstrdup(token),
		.expires_ms = expires_ms };
	return RC_OK;
}

enum rc
cred_file_read(
    const char *path, size_t max, char **out, size_t *n, struct err *e)
{
	char *buf = NULL;
	struct stat st;
	ssize_t got;
	enum rc rc = RC_OK;
	/* What is no file must not be waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	*out = NULL;
	*n = 0;
	if (fd == -1)
		return err_set(e,
		    errno == ENOENT || errno == ENOTDIR ? RC_NONE : RC_FAIL,
		    "aws_no_credentials", "%.80s: %s", path, strerror(errno));
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    st.st_size > (off_t)max) {
		rc = err_set(e, RC_FAIL, "aws_no_credentials",
		    "%.80s: no file, or a large one", path);
		goto out;
	}
	buf = xmalloc(max + 1);
	while (*n < max && (got = read(fd, buf + *n, max - *n)) != 0) {
		if (got > 0)
			*n += (size_t)got;
		else if (errno != EINTR) {
			rc = err_set(e, RC_FAIL, "aws_no_credentials",
			    "%.80s: %s", path, strerror(errno));
			cred_wipe(buf, max + 1);
			goto out;
		}
	}
	buf[*n] = '\0';
	*out = buf;
out:
	(void)close(fd);
	return rc;
}

/* ---- the chain */

static enum rc
from_env(struct aws_cred *cred, struct cred_held *held, struct err *e)
{
	const char *id = cred_env(cred, "AWS_ACCESS_KEY_ID");
	const char *secret = cred_env(cred, "AWS_SECRET_ACCESS_KEY");

	if (*id == '\0' && *secret == '\0')
		return err_set(e, RC_NONE, "aws_no_credentials",
		    "AWS_ACCESS_KEY_ID: not set");
	return cred_held_set(held, "the environment", id, secret,
	    cred_env(cred, "AWS_SESSION_TOKEN"), 0, e);
}

/* What each said is told where none has any. */
static enum rc
search(struct aws_cred *cred, struct cred_held *held, struct err *e)
{
	static enum rc (*const sources[])(struct aws_cred *, struct cred_held *,
	    struct err *) = { from_env, cred_from_web_identity,
		cred_from_profile, cred_from_container, cred_from_instance };
	struct strbuf notes;
	enum rc rc = RC_NONE;

	strbuf_init(&notes, 256);
	for (size_t i = 0;
	     i < sizeof sources / sizeof *sources && rc == RC_NONE; i++) {
		struct err one = ERR_INIT;

		rc = sources[i](cred, held, &one);
		if (rc == RC_NONE)
			strbuf_addf(
			    &notes, "%s%s", i == 0 ? "" : "; ", one.msg);
		else if (rc != RC_OK)
			rc = err_set(e, rc, one.code, "credentials for AWS: %s",
			    one.msg);
	}
	if (rc == RC_NONE)
		rc = err_set(e, RC_FAIL, "aws_no_credentials",
		    "no credentials for AWS: %s", notes.s);
	strbuf_release(&notes);
	return rc;
}

/* ---- what is held */

static bool
held_good(const struct cred_held *held, int64_t now)
{
	return held->id != NULL &&
	       (held->expires_ms == 0 || now < held->expires_ms);
}

static bool
held_same(const struct cred_held *a, const struct cred_held *b)
{
	return a->id != NULL && b->id != NULL && strcmp(a->id, b->id) == 0 &&
	       strcmp(a->token, b->token) == 0;
}

/* Found, and worth to be used? */
static enum rc
fresh_judge(const struct aws_cred *cred, const struct cred_held *fresh,
    int64_t now, struct err *e)
{
	if (!held_good(fresh, now))
		return err_set(e, RC_RETRY, "aws_credentials_away",
		    "credentials for AWS: what is handed out has expired");
	if (now < cred->refused_ms && now >= cred->refused_ms - REFUSED_MS &&
	    held_same(fresh, &cred->refused))
		return err_set(e, RC_RETRY, "aws_credentials_away",
		    "credentials for AWS: they were refused as expired, and "
		    "there are no others yet");
	return RC_OK;
}

static void
fetch(struct aws_cred *cred)
{
	struct cred_held fresh = { 0 };
	enum rc rc = search(cred, &fresh, &cred->why);
	int64_t now = cred_now(cred); /* that may have taken a while */

	if (rc == RC_OK)
		rc = fresh_judge(cred, &fresh, now, &cred->why);
	if (rc != RC_OK) {
		int64_t wait = WAIT_MIN_MS;

		for (int i = 0; i < cred->failures && wait < WAIT_MAX_MS; i++)
			wait *= 2;
		cred->failures++;
		cred->retry_ms =
		    now + (wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS);
		cred_held_release(&fresh);
		return;
	}
	cred_held_release(&cred->held);
	cred->held = fresh;
	cred->failures = 0;
	cred->retry_ms = 0;
	/* Some hand out the same until its last minutes: no fetch per call. */
	cred->refresh_ms = fresh.expires_ms - EARLY_MS;
	if (cred->refresh_ms < now + WAIT_MIN_MS) {
		int64_t half = (fresh.expires_ms - now) / 2;

		cred->refresh_ms = now + (half < WAIT_MIN_MS      ? WAIT_MIN_MS
					     : half > WAIT_MAX_MS ? WAIT_MAX_MS
								  : half);
	}
}

struct aws_cred *
aws_cred_new(const struct aws_cred_opts *opts)
{
	struct aws_cred *cred = xcalloc(1, sizeof *cred);

	cred->opts = *opts;
	cred->sts = xstrdup(opts->sts == NULL ? "" : opts->sts);
	cred->opts.sts = cred->sts;
	if (cred->opts.timeout_ms <= 0)
		cred->opts.timeout_ms = TIMEOUT_MS;
	return cred;
}

void
aws_cred_free(struct aws_cred *cred)
{
	if (cred == NULL)
		return;
	http_close(&cred->http);
	cred_held_release(&cred->held);
	cred_held_release(&cred->refused);
	free(cred->sts);
	free(cred);
}

enum rc
aws_cred_get(struct aws_cred *cred, struct arena *arena, struct sigv4_key *out,
    struct err *e)
{
	struct cred_held *held = &cred->held;
	int64_t now = cred_now(cred);

	if (cred->retry_ms > now + WAIT_MAX_MS)
		cred->retry_ms = 0;
	if (now >= cred->retry_ms &&
	    (!held_good(held, now) ||
		(held->expires_ms != 0 && now >= cred->refresh_ms))) {
		fetch(cred);
		now = cred_now(cred);
	}
	if (!held_good(held, now)) {
		cred_held_release(held);
		return err_set(
		    e, cred->why.rc, cred->why.code, "%s", cred->why.msg);
	}
	*out = (struct sigv4_key){ .id = arena_strdup(arena, held->id),
		.secret = arena_strdup(arena, held->secret),
		.token = arena_strdup(arena, held->token) };
	return RC_OK;
}

void
aws_cred_forget(struct aws_cred *cred)
{
	int64_t now = cred_now(cred);

	if (cred->held.id == NULL)
		return;
	cred_held_release(&cred->refused);
	cred->refused = cred->held;
	cred->refused_ms = now + REFUSED_MS;
	cred->held = (struct cred_held){ 0 };
	/* A service that refuses whatever it gets must not make us ask for new
	 * ones at each call. */
	cred->retry_ms = cred->forgot_ms + WAIT_MIN_MS;
	cred->forgot_ms = now;
	(void)err_set(&cred->why, RC_RETRY, "aws_credentials_away",
	    "credentials for AWS: refused as expired as soon as they came");
}

const char *
aws_region(struct aws_cred *cred, struct arena *arena)
{
	const char *region = cred_env(cred, "AWS_REGION");

	if (*region == '\0')
		region = cred_env(cred, "AWS_DEFAULT_REGION");
	if (*region != '\0')
		return arena_strdup(arena, region);
	return cred_profile_region(cred, arena);
}
