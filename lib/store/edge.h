/*
 * edge - purging the page cache of nginx on this host, without a module.
 *
 * nginx names a cached file by the MD5 of its key, in `levels=2` folders; the
 * keys are set in conf/nginx/souk.conf: "ENC ARGS PATH" with ENC one of
 * identity, gzip, br; ARGS "q=...&after=...&limit=..." as the application sees
 * it in QUERY_STRING; PATH the decoded path. A purged
 * file is removed: a miss to nginx, whose cache_lock holds the crowd while one
 * request makes it anew. Two zones: `item` (one file per thing, purged by name)
 * and `list` (pages that show many things, purged whole).
 */
#ifndef STORE_EDGE_H
#define STORE_EDGE_H

#include "base/err.h"

struct edge;

/* dir: the folder that holds item/ and list/; "" or NULL: no edge on this
 * host, all calls succeed and do nothing. Copied. */
struct edge *edge_new(const char *dir);
void edge_free(struct edge *edge); /* NULL is allowed */
const char *edge_dir(const struct edge *edge); /* "": no edge on this host */

/* path: decoded, such as "/products/42". All encodings, empty arguments: the
 * keys are "gzip q=&after=&limit= /products/42" and so on.
 * RC_FAIL: a file is there and can be neither written nor removed. */
enum rc edge_purge_item(struct edge *edge, const char *path, struct err *e);

/* Every entry of the list zone. */
enum rc edge_purge_lists(struct edge *edge, struct err *e);

/* Everything. */
enum rc edge_purge_all(struct edge *edge, struct err *e);

/*
 * What the entries were made with (any word of a program's version, templates
 * and settings), kept in a file beside the zones. SAME also where there is no
 * edge; UNKNOWN: nothing was remembered, the edge is new. RC_FAIL: cannot be
 * written.
 */
enum edge_look { EDGE_LOOK_SAME, EDGE_LOOK_OTHER, EDGE_LOOK_UNKNOWN };
enum edge_look edge_look(struct edge *edge, const char *look);
enum rc edge_set_look(struct edge *edge, const char *look, struct err *e);

#endif
