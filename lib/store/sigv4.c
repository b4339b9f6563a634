/*
 * The names of the parts are the document's: canonical request, string to
 * sign, scope, signing key.
 */
#include "store/sigv4.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "base/xmalloc.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define UNSIGNED "UNSIGNED-PAYLOAD"

enum {
	HASH = crypto_auth_hmacsha256_BYTES,
	HEX = 2 * HASH + 1,
	ADDED = 4 /* Date, Security-Token, Content-Sha256, Authorization */
};

static_assert(HASH == crypto_hash_sha256_BYTES);

/* What both forms sign by. */
struct scope {
	char date[24];     /* "20150830T123600Z" */
	const char *scope; /* "20150830/us-east-1/iam/aws4_request" */
};

/* ---- parts of the canonical request */

static bool
is_s3(const struct sigv4_request *rq)
{
	return strcmp(rq->service, "s3") == 0;
}

static bool
is_blank(char c)
{
	return (unsigned char)c <= ' ' || c == 0x7f;
}

/* Percent-encoded but for '/'. */
static void
add_path(struct strbuf *sb, const char *path)
{
	for (;;) {
		size_t n = strcspn(path, "/");

		strbuf_add_urlarg(sb, path, n);
		path += n;
		if (*path == '\0')
			return;
		strbuf_addc(sb, *path++);
	}
}

/* Without empty parts, "." and ".."; a slash at the end stays. */
static char *
path_normalise(struct arena *arena, const char *path)
{
	char *out = arena_alloc(arena, strlen(path) + 2), *w = out;
	size_t n;

	for (const char *p = path; *p != '\0'; p += n) {
		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (n == 0 || (n == 1 && *p == '.'))
			continue;
		if (n == 2 && memcmp(p, "..", 2) == 0) {
			while (w > out && *--w != '/')
				;
			continue;
		}
		*w++ = '/';
		memcpy(w, p, n);
		w += n;
	}
	if (w == out || path[strlen(path) - 1] == '/')
		*w++ = '/';
	*w = '\0';
	return out;
}

static const char *
path_encode(struct arena *arena, const char *path)
{
	struct strbuf sb;

	strbuf_init(&sb, 64);
	if (*path != '/')
		strbuf_addc(&sb, '/');
	add_path(&sb, path);
	path = arena_strdup(arena, sb.s);
	strbuf_release(&sb);
	return path;
}

static const char *
canonical_path(const struct sigv4_request *rq, struct arena *arena)
{
	const char *once = path_encode(arena, rq->path);

	if (is_s3(rq))
		return once;
	return path_encode(arena, path_normalise(arena, once));
}

static int
pair_order(const void *a, const void *b)
{
	const struct sigv4_pair *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : strcmp(x->value, y->value);
}

static const char *
url_encode(struct arena *arena, const char *s)
{
	struct strbuf sb;

	if (s == NULL)
		return "";
	strbuf_init(&sb, 64);
	strbuf_add_urlarg(&sb, s, strlen(s));
	s = arena_strdup(arena, sb.s);
	strbuf_release(&sb);
	return s;
}

/* Sorted by what is encoded; that is also how it is sent. */
static const char *
canonical_query(const struct sigv4_pair *query, int n, struct arena *arena)
{
	struct sigv4_pair *sorted =
	    arena_calloc(arena, (size_t)n + 1, sizeof *sorted);
	struct strbuf sb;

	for (int i = 0; i < n; i++)
		sorted[i] =
		    (struct sigv4_pair){ url_encode(arena, query[i].name),
			    url_encode(arena, query[i].value) };
	qsort(sorted, (size_t)n, sizeof *sorted, pair_order);
	strbuf_init(&sb, 128);
	for (int i = 0; i < n; i++)
		strbuf_addf(&sb, "%s%s=%s", i == 0 ? "" : "&", sorted[i].name,
		    sorted[i].value);
	const char *out = arena_strdup(arena, sb.s);

	strbuf_release(&sb);
	return out;
}

static const char *
target(const struct sigv4_request *rq, const char *query, struct arena *arena)
{
	return arena_concat(arena, path_encode(arena, rq->path),
	    *query == '\0' ? "" : "?", query, NULL);
}

static const char *
lower(struct arena *arena, const char *s)
{
	char *out = arena_strdup(arena, s);

	for (char *p = out; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	return out;
}

/* As it is signed: no space around it, one where there are several. */
static const char *
header_squeeze(struct arena *arena, const char *s)
{
	char *out = arena_alloc(arena, strlen(s) + 1), *w = out;

	for (; *s != '\0'; s++) {
		if (!is_blank(*s))
			*w++ = *s;
		else if (w > out && w[-1] != ' ')
			*w++ = ' ';
	}
	if (w > out && w[-1] == ' ')
		w--;
	*w = '\0';
	return out;
}

/* As it is sent: nothing in it can end the line. */
static const char *
header_line(struct arena *arena, const char *name, const char *value)
{
	size_t n;

	while (*value != '\0' && is_blank(*value))
		value++;
	n = strlen(value);
	while (n > 0 && is_blank(value[n - 1]))
		n--;
	if (n == 0)
		return arena_concat(arena, name, ";", NULL);

	char *clean = arena_strndup(arena, value, n);

	for (char *p = clean; *p != '\0'; p++) {
		if (is_blank(*p) && *p != '\t')
			*p = ' ';
	}
	return arena_concat(arena, name, ": ", clean, NULL);
}

/* ---- hashes */

static void
hash_hex(char hex[HEX], const void *p, size_t n)
{
	unsigned char hash[HASH];

	(void)crypto_hash_sha256(hash, p == NULL ? (const void *)"" : p, n);
	(void)sodium_bin2hex(hex, HEX, hash, sizeof hash);
}

static void
hmac(unsigned char out[HASH], const void *key, size_t n, const char *s)
{
	crypto_auth_hmacsha256_state state;

	(void)crypto_auth_hmacsha256_init(&state, key, n);
	(void)crypto_auth_hmacsha256_update(
	    &state, (const unsigned char *)s, strlen(s));
	(void)crypto_auth_hmacsha256_final(&state, out);
	sodium_memzero(&state, sizeof state);
}

static void
sign(char hex[HEX], const struct sigv4_request *rq, const struct sigv4_key *key,
    const struct scope *scope, const char *canonical, struct arena *arena)
{
	char canonical_hex[HEX], day[9] = "";
	unsigned char k[HASH];
	size_t n = 4 + strlen(key->secret);
	char *secret = xmalloc(n);

	memcpy(day, scope->date, 8);
	memcpy(secret, "AWS4", 4);
	memcpy(secret + 4, key->secret, n - 4);
	hmac(k, secret, n, day);
	sodium_memzero(secret, n);
	free(secret);
	hmac(k, k, sizeof k, rq->region);
	hmac(k, k, sizeof k, rq->service);
	hmac(k, k, sizeof k, "aws4_request");
	hash_hex(canonical_hex, canonical, strlen(canonical));
	hmac(k, k, sizeof k,
	    arena_concat(arena, ALGORITHM "\n", scope->date, "\n", scope->scope,
		"\n", canonical_hex, NULL));
	(void)sodium_bin2hex(hex, HEX, k, sizeof k);
	sodium_memzero(k, sizeof k);
}

static struct scope
scope_of(const struct sigv4_request *rq, struct arena *arena)
{
	struct scope scope;
	time_t now = (time_t)(rq->wall_ms / 1000);
	struct tm tm = { 0 };

	(void)gmtime_r(&now, &tm);
	(void)strftime(scope.date, sizeof scope.date, "%Y%m%dT%H%M%SZ", &tm);
	scope.scope = arena_printf(arena, "%.8s/%s/%s/aws4_request", scope.date,
	    rq->region, rq->service);
	return scope;
}

/* ---- in a header */

static void
add_header(struct sigv4_signed *out, struct sigv4_pair *sorted, int *n,
    const char *name, const char *value, struct arena *arena)
{
	if (value == NULL)
		value = "";
	out->header[out->n_headers++] = header_line(arena, name, value);
	sorted[(*n)++] = (struct sigv4_pair){ lower(arena, name),
		header_squeeze(arena, value) };
}

void
sigv4_sign(const struct sigv4_request *rq, const struct sigv4_key *key,
    struct arena *arena, struct sigv4_signed *out)
{
	struct scope scope = scope_of(rq, arena);
	struct sigv4_pair sorted[SIGV4_HEADERS + 1]; /* and Host */
	const char *query = canonical_query(rq->query, rq->n_query, arena);
	struct strbuf canonical, names;
	char payload[HEX], signature[HEX];
	int n = 0;

	assert(rq->n_headers + ADDED <= SIGV4_HEADERS);
	*out = (struct sigv4_signed){ .target = target(rq, query, arena) };
	sorted[n++] =
	    (struct sigv4_pair){ "host", header_squeeze(arena, rq->host) };
	for (int i = 0; i < rq->n_headers; i++)
		add_header(out, sorted, &n, rq->headers[i].name,
		    rq->headers[i].value, arena);
	add_header(out, sorted, &n, "X-Amz-Date", scope.date, arena);
	if (*key->token != '\0')
		add_header(
		    out, sorted, &n, "X-Amz-Security-Token", key->token, arena);
	if (rq->unsigned_body)
		memcpy(payload, UNSIGNED, sizeof UNSIGNED);
	else
		hash_hex(payload, rq->body.p, rq->body.n);
	/* Of others it is asked only where it says something new. */
	if (is_s3(rq) || rq->unsigned_body)
		add_header(
		    out, sorted, &n, "X-Amz-Content-Sha256", payload, arena);
	qsort(sorted, (size_t)n, sizeof *sorted, pair_order);

	strbuf_init(&canonical, 1024);
	strbuf_init(&names, 128);
	strbuf_addf(&canonical, "%s\n%s\n%s\n", rq->method,
	    canonical_path(rq, arena), query);
	for (int i = 0; i < n; i++) {
		strbuf_addf(
		    &canonical, "%s:%s\n", sorted[i].name, sorted[i].value);
		strbuf_addf(&names, "%s%s", i == 0 ? "" : ";", sorted[i].name);
	}
	strbuf_addf(&canonical, "\n%s\n%s", names.s, payload);
	sign(signature, rq, key, &scope, canonical.s, arena);
	out->header[out->n_headers++] = header_line(arena, "Authorization",
	    arena_concat(arena, ALGORITHM " Credential=", key->id, "/",
		scope.scope, ", SignedHeaders=", names.s,
		", Signature=", signature, NULL));
	strbuf_release(&canonical);
	strbuf_release(&names);
}

/* ---- in the address */

const char *
sigv4_presign(const struct sigv4_request *rq, const struct sigv4_key *key,
    int64_t seconds, struct arena *arena)
{
	struct scope scope = scope_of(rq, arena);
	char payload[HEX] = UNSIGNED, signature[HEX];
	struct sigv4_pair *all =
	    arena_calloc(arena, (size_t)rq->n_query + 6, sizeof *all);
	int n = rq->n_query;

	assert(seconds >= 1 && seconds <= 604800);
	if (n > 0)
		memcpy(all, rq->query, (size_t)n * sizeof *all);
	all[n++] = (struct sigv4_pair){ "X-Amz-Algorithm", ALGORITHM };
	all[n++] = (struct sigv4_pair){ "X-Amz-Credential",
		arena_concat(arena, key->id, "/", scope.scope, NULL) };
	all[n++] = (struct sigv4_pair){ "X-Amz-Date", scope.date };
	all[n++] = (struct sigv4_pair){ "X-Amz-Expires",
		arena_printf(arena, "%lld", (long long)seconds) };
	all[n++] = (struct sigv4_pair){ "X-Amz-SignedHeaders", "host" };
	if (*key->token != '\0')
		all[n++] =
		    (struct sigv4_pair){ "X-Amz-Security-Token", key->token };

	const char *query = canonical_query(all, n, arena);

	/* Only S3 takes a body that nobody signed. */
	if (!is_s3(rq) && !rq->unsigned_body)
		hash_hex(payload, rq->body.p, rq->body.n);
	sign(signature, rq, key, &scope,
	    arena_concat(arena, rq->method, "\n", canonical_path(rq, arena),
		"\n", query, "\nhost:", header_squeeze(arena, rq->host),
		"\n\nhost\n", payload, NULL),
	    arena);
	return arena_concat(arena, target(rq, query, arena),
	    "&X-Amz-Signature=", signature, NULL);
}
