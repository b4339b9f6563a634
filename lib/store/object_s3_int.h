/*
 * object_s3_int - what the files of s3: share.
 */
#ifndef STORE_OBJECT_S3_INT_H
#define STORE_OBJECT_S3_INT_H

#include "store/aws.h"
#include "store/object_int.h"

enum {
	S3_PART = 8 << 20, /* of what goes up or comes down */
	S3_MULTIPART_FROM = 16 << 20,
	S3_TRIES = 5,
	S3_PUT_HEADERS = 2
};

struct s3 {
	struct object_store base;
	struct aws *aws;
	char *before; /* of a key, in the path: "/bucket/prefix/" */
	size_t prefix_n;
	int timeout_ms;
};

/*
 * Ask, tries times at most. RC_OK: 2xx. Else *out is the last answer; its
 * status is 0 where there was none.
 */
enum rc s3_ask(const struct s3 *s3, struct aws_request *rq, int tries,
    struct arena *arena, struct aws_answer *out, struct err *e);

/* What stands between <name> and </name>, plain, in the arena; NULL. xml ends
 * with a NUL that is not counted. */
const char *s3_xml_text(struct span xml, const char *name, struct arena *arena);

/* How many: S3_PUT_HEADERS at most. */
int s3_put_headers(const struct object_meta *meta, struct sigv4_pair *out);

/* object_s3_upload.c: in parts. */
enum rc s3_upload(const struct s3 *s3, const char *path,
    const struct object_source *from, const struct object_meta *meta,
    struct arena *arena, struct err *e);

#endif
