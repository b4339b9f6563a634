/*
 * image_int - what the files of the shop's pictures share.
 */
#ifndef SHOP_IMAGE_INT_H
#define SHOP_IMAGE_INT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "store/imager.h"

struct arena;
struct conf;
struct object_store;
struct shop;

/* In SQL, of a product_image known as t: is it shown, and what shows it. (No
 * percent sign: one of these statements is a format.) */
#define IMAGE_SHOWN(t)                                                         \
	"(" t ".status IN ('external', 'ready') OR left(" t ".src, 4) = "      \
	"'http')"
#define IMAGE_VARIANTS(t)                                                      \
	"'variants', CASE WHEN " t ".status = 'ready' THEN " t ".variants END"

/* A picture as the database gives it ("url" is its src, "variants" null or as
 * stored) becomes what is told to everybody (image.h). */
enum image_place { IMAGE_IN_PRODUCT, IMAGE_IN_LIST };
void image_publish(
    const struct shop *shop, json_t *image, enum image_place place);

/* [image] widths. How many; 0: it is no such list. */
int image_widths(const char *s, int out[IMAGER_WIDTHS]);

enum image_store { IMAGE_MEDIA, IMAGE_ORIGINALS };
#define IMAGE_CACHE_CONTROL "public, max-age=31536000, immutable"

/* Do the originals lie in a folder that everybody may read, or below it, by
 * whatever name? Of folders that are there already. */
bool image_originals_public(const struct conf *conf);

/* Opened at the first use; of the shop. */
enum rc image_store(struct shop *shop, enum image_store which,
    struct object_store **out, struct err *e);

/* Before n objects are stored: whatever happens, they are not forgotten. */
enum rc image_note(struct shop *shop, enum image_store which, int n,
    const char *const keys[], struct arena *arena, struct err *e);
/* In the transaction that refers to them. */
enum rc image_strike(struct shop *shop, enum image_store which, int n,
    const char *const keys[], struct arena *arena, struct err *e);

/* SHA-256 as 64 hex digits. */
enum { IMAGE_HASH_CHARS = 64, IMAGE_NAME_CHARS = 32 };
void image_hash(struct span bytes, char out[IMAGE_HASH_CHARS + 1]);

/* "HASH.jpeg" */
const char *image_original_key(
    const char *hash, const char *type, struct arena *arena);

struct invalidation;
/* After the commit. */
void image_told(struct shop *shop, const struct invalidation *inv,
    int64_t inv_id, struct arena *arena);

/* Its task; within a transaction. */
enum rc image_enqueue(struct shop *shop, int n, const int64_t ids[],
    struct arena *arena, struct err *e);

enum rc image_product_lock(
    struct shop *shop, int64_t product_id, struct arena *arena, struct err *e);

#endif
