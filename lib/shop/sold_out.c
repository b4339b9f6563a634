/*
 * Two small tables, each place shared by all that fall on it: what is sold out,
 * and which variants of a product a sale has. Both are forgotten by the clock,
 * so a stranger who asks for many sales costs a look-up each, never memory.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "shop/purchase_int.h"

enum { PLACES = 256, SOLD_OUT_MS = 1000, VARIANTS_MS = 2000 };

struct sold_out {
	bool fresh;
	struct {
		struct counter_ref ref;
		int64_t until; /* coarse ms; 0: empty */
	} sold[PLACES];
	struct {
		int64_t sale_id, product_id, until;
		struct variants variants;
	} variants[PLACES];
};

struct sold_out *
sold_out_new(void)
{
	return xcalloc(1, sizeof(struct sold_out));
}

void
sold_out_free(struct sold_out *so)
{
	free(so);
}

static size_t
place_of(int64_t a, int64_t b)
{
	uint64_t h = (uint64_t)a * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)b;

	h *= UINT64_C(0xd6e8feb86659fd93);
	return (size_t)(h >> 56) % PLACES;
}

void
sold_out_forget(struct sold_out *so)
{
	memset(so->sold, 0, sizeof so->sold);
}

void
sold_out_trust(struct sold_out *so, bool fresh)
{
	if (!fresh && so->fresh)
		sold_out_forget(so);
	so->fresh = fresh;
}

bool
sold_out_knows(const struct sold_out *so, struct counter_ref ref)
{
	size_t i = place_of(ref.sale_id, ref.variant_id);

	return so != NULL && so->fresh &&
	       so->sold[i].ref.sale_id == ref.sale_id &&
	       so->sold[i].ref.variant_id == ref.variant_id &&
	       clock_coarse_ms() < so->sold[i].until;
}

void
sold_out_note(struct sold_out *so, struct counter_ref ref)
{
	if (so == NULL || !so->fresh)
		return;
	size_t i = place_of(ref.sale_id, ref.variant_id);

	so->sold[i].ref = ref;
	so->sold[i].until = clock_coarse_ms() + SOLD_OUT_MS;
}

/* What is not of the form that we send makes it forget all. */
void
sold_out_message(struct sold_out *so, struct span payload)
{
	const char *colon =
	    payload.n == 0 ? NULL : memchr(payload.p, ':', payload.n);
	struct counter_ref ref;

	if (colon == NULL ||
	    !text_int((struct span){ payload.p, (size_t)(colon - payload.p) },
		1, INT64_MAX, &ref.sale_id) ||
	    !text_int((struct span){ colon + 1,
			  payload.n - (size_t)(colon - payload.p) - 1 },
		1, INT64_MAX, &ref.variant_id)) {
		sold_out_forget(so);
		return;
	}
	/* Whatever lies on its place: one look-up more, no harm. */
	so->sold[place_of(ref.sale_id, ref.variant_id)].until = 0;
}

/* ---- variants */

const struct variants *
variants_known(const struct sold_out *so, int64_t sale_id, int64_t product_id)
{
	size_t i = place_of(sale_id, product_id);

	if (so == NULL || so->variants[i].sale_id != sale_id ||
	    so->variants[i].product_id != product_id ||
	    clock_coarse_ms() >= so->variants[i].until)
		return NULL;
	return &so->variants[i].variants;
}

void
variants_note(struct sold_out *so, int64_t sale_id, int64_t product_id,
    const struct variants *variants)
{
	size_t i = place_of(sale_id, product_id);

	if (so == NULL)
		return;
	so->variants[i].sale_id = sale_id;
	so->variants[i].product_id = product_id;
	so->variants[i].variants = *variants;
	so->variants[i].until = clock_coarse_ms() + VARIANTS_MS;
}
