/*
 * image - pictures that the shop keeps itself: uploaded by an operator, or
 * fetched from the address that a catalogue names (mirrored). The original is
 * stored as it came and served to nobody (it may hold places and names); a
 * worker makes variants of it in a sandbox (store/imager.h) and stores them
 * where everybody may read them.
 *
 * external  has an address of somebody else's, or a file of the shop's; the
 *           catalogue shows that address
 * waiting   a worker is to make its variants. An upload is not shown, a picture
 *           that is being mirrored by its address
 * ready     is shown by its variants
 * failed    "problem" says why: the picture is at fault, or nobody could make
 *           its variants, however often. Shown as while it was waiting
 *
 * The catalogue's JSON (catalog.h) has those that are shown; of one that is
 * ready "url", "width" and "height" are those of its largest WebP of at most
 * 1280 pixels (640 where a list, cart or sale shows it), and it has
 * "variants":[{"format":"webp"|"avif","width","height","url"}, ...], ascending
 * by width; in a list, cart or sale those of at most 640 pixels.
 */
#ifndef SHOP_IMAGE_H
#define SHOP_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct arena;
struct conf;
struct image_stores;
struct json_t;
struct shop;
struct task;

enum { IMAGE_PER_PRODUCT = 250, IMAGE_ALT_CHARS = 1000 };

/* Strings are in the arena, or constants. */
struct image {
	int64_t id, product_id;
	int position;        /* within its product */
	const char *status;  /* "waiting" */
	const char *problem; /* "truncated: It ends in the middle"; "" none */
	const char *src;     /* as it is known: its address, or "/media/HASH" */
	const char *url;     /* what shows it now; "" nothing does */
	const char *alt;
	int width, height; /* of url; 0: not known */
	int variants;      /* how many there are */
	bool found;        /* image_add(): it was there */
};

/* {"id","productId","position","status","problem"|null,"url"|null,"alt",
 * "width"|null,"height"|null,"variants":N}; the caller's. */
struct json_t *image_json(const struct image *image);

struct image_upload {
	int64_t product_id;
	struct span bytes;
	const char *claimed; /* what the sender says it is: a media type or a
				file's name; NULL: nothing */
	const char *alt;     /* NULL: "" */
	int64_t deadline;    /* clock.h: till then it is stored, or RC_RETRY;
				0: nobody waits */
};

/*
 * Keep an upload: original stored, a row of status "waiting", its task, in one
 * transaction. The same bytes for the same product again are the picture that
 * is there; one that failed, or came with another shop's export, is worked on.
 * Nothing is decoded: what only a decoder can find ends as "failed".
 *
 * RC_NONE "product_not_found". RC_INVALID "not_an_image", "unsupported_type",
 * "type_mismatch", "too_large", "invalid_field" (alt). RC_REFUSED
 * "too_many_images"; "no_images": souk was built without. RC_RETRY, RC_FAIL: as
 * store/object.h and store/pg.h say; RC_INVALID "bad_configuration" is not the
 * sender's fault.
 */
enum rc image_add(struct shop *shop, const struct image_upload *upload,
    struct arena *arena, struct image *out, struct err *e);

struct image_query {
	int64_t product_id; /* 0: of all */
	const char *status; /* NULL: any */
	int64_t after;      /* id; of one product: all are given at once */
	int limit;          /* 1..1000 */
};

/* Of one product in the order they are shown in, else by id. */
enum rc image_list(struct shop *shop, const struct image_query *query,
    struct arena *arena, struct image **out, int *n, struct err *e);

/* How many pictures there are of each status: external, waiting, ready,
 * failed. product_id 0: of all. */
struct image_counts {
	int64_t external, waiting, ready, failed;
};
enum rc image_count(struct shop *shop, int64_t product_id, struct arena *arena,
    struct image_counts *out, struct err *e);

/* RC_NONE "image_not_found": this product has none of that id. Its objects go
 * some days later (image_collect). */
enum rc image_delete(struct shop *shop, int64_t product_id, int64_t id,
    struct arena *arena, struct err *e);

/*
 * Have variants made of at most max of them: of those that are not ours but at
 * an https:// or http:// address (mirrored), of failed or waiting ones (once
 * more), of ready ones (anew, as the settings are now; shown as before until
 * then). By id, from after on; *last: the last one looked at, *n: how many; 0:
 * there are no more. product_id 0: of all.
 */
enum image_which { IMAGE_MIRROR, IMAGE_FAILED, IMAGE_WAITING, IMAGE_READY };
enum rc image_ask(struct shop *shop, enum image_which which, int64_t product_id,
    int64_t after, int max, struct arena *arena, int64_t *last, int *n,
    struct err *e);

/*
 * Task process_image {"imageId":N}, or {"productId":N,"imageUrl":"https://..."}
 * of a picture that may have no row yet. RC_OK: the variants stand and the
 * product's caches are told, or the picture is "failed" and says why. last: it
 * will not be tried again, so that what may pass is said there, too.
 */
enum rc image_process(struct shop *shop, const struct task *task, bool last,
    struct arena *arena, struct err *e);

/* Pictures that wait for a task that is dead (its worker died of it, or a
 * person buried it) become "failed", "given_up: ..."; of the max that died
 * last. Where the queue is not in the database its dead letters are not seen.
 */
enum rc image_give_up_dead(
    struct shop *shop, int max, struct arena *arena, struct err *e);

/* Delete objects that no picture refers to, of those noted for longer than
 * grace_s; looks at max. *n: at how many it looked. */
enum rc image_collect(struct shop *shop, int64_t grace_s, int max,
    struct arena *arena, int *n, struct err *e);

/*
 * Where anybody may read a variant for so many seconds (five minutes at least,
 * if the credentials are a session's), by its key as it stands behind /media/:
 * for a bucket that has no address of its own. RC_NONE: a folder, [media]
 * base_url is elsewhere, or it can be no variant's key.
 */
enum rc image_link(struct shop *shop, const char *key, int64_t seconds,
    struct arena *arena, const char **url, struct err *e);

/* For -t: the program is there, the stores can be opened, folders be written
 * to. RC_INVALID. Asks nobody over the network. */
enum rc image_check(const struct conf *conf, struct err *e);

/* Is a worker for them to be started: built in, and [workers] image is not 0.
 */
bool image_wanted(const struct conf *conf);

/* Of a shop; opened at the first use. */
void image_stores_free(struct image_stores *stores); /* NULL is allowed */

/* What runs per request or task. End with NULL. */
extern const struct pg_stmt *const image_statements[];
extern const struct pg_stmt *const image_process_statements[];
extern const struct pg_stmt *const image_store_statements[];

#endif
