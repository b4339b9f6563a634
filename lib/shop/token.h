/*
 * token - the keys of programs that use the API ("Authorization: Bearer ...").
 * A token is "souk_" and 32 random bytes in base64url. Only its SHA-256 is
 * stored, and it is looked up by that: how long a look-up takes says nothing
 * about the token itself.
 */
#ifndef SHOP_TOKEN_H
#define SHOP_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arena;
struct pg;

enum { TOKEN_CHARS = 5 + 43 };

struct token_owner {
	int64_t id;       /* of the token: for the log */
	const char *role; /* "admin"; in the arena */
};

/*
 * role: "admin". name: what it is for, or NULL. token: the only time that it
 * is seen. RC_INVALID: role or name cannot be.
 */
enum rc token_create(struct pg *pg, const char *role, const char *name,
    struct arena *arena, char token[TOKEN_CHARS + 1], int64_t *id,
    struct err *e);

/*
 * Who presents this? RC_NONE: nobody (malformed, unknown or revoked). Asks the
 * primary: a revoked token is refused at once.
 */
enum rc token_check(struct pg *pg, const char *presented, struct arena *arena,
    struct token_owner *out, struct err *e);

/* RC_NONE: no such token. Safe to repeat. */
enum rc token_revoke(
    struct pg *pg, int64_t id, struct arena *arena, struct err *e);

struct token_row {
	int64_t id;
	const char *role, *name, *created_at;
	const char *revoked_at; /* NULL: it is good */
};

/* All, oldest first, in the arena. */
enum rc token_list(struct pg *pg, struct arena *arena,
    const struct token_row **out, int *n, struct err *e);

/* Of these, what runs per request. Ends with NULL. */
extern const struct pg_stmt *const token_statements[];

#endif
