/*
 * upload - an operator's picture as a request brings it: image_add() (image.h)
 * under an Idempotency-Key (DESIGN 4.2).
 */
#ifndef SHOP_UPLOAD_H
#define SHOP_UPLOAD_H

#include "base/err.h"

struct arena;
struct image;
struct image_upload;
struct shop;

/*
 * person: "customer:42", "token:7". key: the Idempotency-Key as sent, NULL:
 * none. Without one the same picture for the same product is the same image
 * too; a key besides refuses another picture or text under it for 30 days.
 * Only success is stored. Errors: image_add()'s; RC_INVALID
 * "idempotency_mismatch", "invalid_idempotency_key".
 */
enum rc upload_image(struct shop *shop, const char *person, const char *key,
    const struct image_upload *upload, struct arena *arena, struct image *out,
    struct err *e);

/* Forget old keys, at most max of them. */
enum rc upload_purge(
    struct shop *shop, int max, struct arena *arena, struct err *e);

extern const struct pg_stmt *const upload_statements[];

#endif
