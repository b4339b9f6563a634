/*
 * An operator's pictures of a product (DESIGN 4.2). A picture comes as a form
 * with a part "file", or as a body of its own. Nothing of it is opened here: it
 * is kept, and a worker makes of it what pages show (shop/image.h).
 */
#include <jansson.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/form.h"
#include "base/multipart.h"
#include "base/text.h"
#include "fcgi-app/app_int.h"
#include "fcgi-app/guard.h"
#include "shop/image.h"
#include "shop/upload.h"

enum {
	UPLOAD_MAX = 64 << 20, /* it is read into memory */
	FORM_ROOM = 64 << 10,  /* of a form, beside the picture */
	FORM_PARTS = 16,
	LIST_MAX = 1000
};

static int64_t
picture_max(const struct app *app)
{
	int64_t max = conf_int(app->conf, "image", "max_bytes");

	return max < UPLOAD_MAX ? max : UPLOAD_MAX;
}

size_t
upload_max_body(const struct app *app)
{
	return (size_t)picture_max(app) + FORM_ROOM;
}

static enum rc
too_large(const struct app *app, struct err *e)
{
	return err_set(e, RC_INVALID, "body_too_large",
	    "A picture may have at most %lld bytes ([image] max_bytes)",
	    (long long)picture_max(app));
}

/* ---- what was sent */

static enum rc
read_alt(struct span alt, struct arena *arena, const char **out, struct err *e)
{
	if ((alt.n > 0 && memchr(alt.p, '\0', alt.n) != NULL) ||
	    !utf8_valid(alt.p, alt.n))
		return err_set(
		    e, RC_INVALID, "invalid_field", "alt: text is wanted");
	*out = alt.n == 0 ? "" : arena_strndup(arena, alt.p, alt.n);
	return RC_OK;
}

/* What the sender says it is: where the type says nothing the name may. */
static const char *
claim(const struct part *file)
{
	if (strncmp(file->type, "image/", 6) == 0)
		return file->type;
	return file->filename;
}

static enum rc
read_form(const struct request *rq, struct image_upload *out, struct err *e)
{
	char boundary[MULTIPART_BOUNDARY + 1];
	const struct part *file, *alt;
	struct parts parts;
	enum rc rc;

	if ((rc = multipart_boundary(
		 request_param(rq, "CONTENT_TYPE"), boundary, e)) != RC_OK ||
	    (rc = multipart_parse(rq->body, boundary, FORM_PARTS, rq->arena,
		 &parts, e)) != RC_OK ||
	    (rc = parts_one(&parts, "file", &file, e)) != RC_OK ||
	    (rc = parts_one(&parts, "alt", &alt, e)) != RC_OK)
		return rc;
	if (file == NULL)
		return err_set(e, RC_INVALID, "invalid_field",
		    "file: the form has no part of that name");
	out->bytes = file->body;
	out->claimed = claim(file);
	return alt == NULL ? RC_OK
			   : read_alt(alt->body, rq->arena, &out->alt, e);
}

static enum rc
read_upload(const struct request *rq, struct image_upload *out, struct err *e)
{
	const char *alt = fields_get(&rq->query, "alt");

	if (strcmp(rq->content_type, "multipart/form-data") == 0)
		return read_form(rq, out, e);
	if (strncmp(rq->content_type, "image/", 6) != 0)
		return err_set(e, RC_INVALID, "unsupported_media_type",
		    "Content-Type must be multipart/form-data, or image/... "
		    "for a picture alone");
	out->bytes = rq->body;
	out->claimed = rq->content_type;
	out->alt = alt;
	return RC_OK;
}

/* ---- answers */

static enum rc
answer(struct request *rq, struct response *rs, int status, json_t *tree)
{
	size_t n = json_dumpb(tree, NULL, 0, JSON_COMPACT);
	char *p = arena_alloc(rq->arena, n + 1);

	(void)json_dumpb(tree, p, n, JSON_COMPACT);
	json_decref(tree);
	return answer_json(rs, status, (struct span){ p, n });
}

enum rc
api_image_post(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct image_upload upload = { .product_id = m->id,
		.deadline = rq->deadline };
	struct image image;
	const char *person;
	enum rc rc;

	if ((rc = guard_admin_person(app, rq, rs, &person, e)) != RC_OK)
		return rc;
	if (rq->too_large)
		return too_large(app, e);
	if ((rc = read_upload(rq, &upload, e)) != RC_OK)
		return rc;
	if (upload.bytes.n == 0)
		return err_set(
		    e, RC_INVALID, "invalid_field", "file: it is empty");
	rc = upload_image(app->shop, person, rq->idempotency_key, &upload,
	    rq->arena, &image, e);
	if (rc != RC_OK)
		return rc;
	response_header(rs, rq->arena, "Location",
	    arena_printf(rq->arena, "/api/products/%lld/images/%lld",
		(long long)m->id, (long long)image.id));
	return answer(rq, rs, image.found ? 200 : 201, image_json(&image));
}

/* All of a product, in the arena, for an operator. */
static enum rc
read_list(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct image **images, int *n, struct err *e)
{
	const struct image_query query = { .product_id = m->id,
		.limit = LIST_MAX };
	enum rc rc = guard_admin(app, rq, rs, e);

	return rc != RC_OK
		   ? rc
		   : image_list(app->shop, &query, rq->arena, images, n, e);
}

enum rc
api_image_list(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct image *images;
	json_t *list;
	enum rc rc;
	int n;

	if ((rc = read_list(app, rq, m, rs, &images, &n, e)) != RC_OK)
		return rc;
	list = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(list, image_json(&images[i]));
	return answer(rq, rs, 200, json_pack("{so}", "images", list));
}

enum rc
api_image_get(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	struct image *images;
	enum rc rc;
	int n;

	if ((rc = read_list(app, rq, m, rs, &images, &n, e)) != RC_OK)
		return rc;
	for (int i = 0; i < n; i++) {
		if (images[i].id == m->id2)
			return answer(rq, rs, 200, image_json(&images[i]));
	}
	return err_set(
	    e, RC_NONE, "image_not_found", "This product has no such picture");
}

enum rc
api_image_delete(struct app *app, struct request *rq, const struct match *m,
    struct response *rs, struct err *e)
{
	enum rc rc = guard_admin(app, rq, rs, e);

	if (rc != RC_OK || (rc = image_delete(app->shop, m->id, m->id2,
				rq->arena, e)) != RC_OK)
		return rc;
	rs->status = 204;
	return RC_OK;
}
