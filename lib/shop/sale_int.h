/*
 * sale_int - what the files of a running sale share.
 */
#ifndef SHOP_SALE_INT_H
#define SHOP_SALE_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "shop/counter.h"

struct arena;
struct pg_rows;
struct pg_stmt;
struct shop;

/* An item as the primary has it. */
struct sale_item {
	int64_t id, sale_id, product_id, variant_id, epoch;
	int allotment, limit;
	enum sale_item_state { SI_DRAFT, SI_OPEN, SI_CLOSED } state;
	bool over; /* the sale's end has passed */
};

static inline struct counter_ref
sale_item_ref(const struct sale_item *item)
{
	return (struct counter_ref){ item->sale_id, item->variant_id };
}

/* What a statement must select for sale_items_read(): from `i`. */
#define SALE_ITEM_COLUMNS                                                      \
	"i.id, i.sale_id, i.product_id, i.variant_id, i.epoch, i.allotment,"   \
	" i.per_buyer, i.state, (SELECT s.ends_at <= clock_timestamp()"        \
	"  FROM sale s WHERE s.id = i.sale_id)"
struct sale_item *sale_items_read(
    const struct pg_rows *rows, struct arena *arena);

/* "{1,2,3}": a bigint[] as PostgreSQL takes it. */
const char *sale_id_array(int n, const int64_t ids[], struct arena *arena);

/*
 * After a purchase's longest life nothing of it can come any more: its
 * deadline ([sale] deadline), three times (DESIGN 5.1).
 */
int64_t sale_grace_ms(const struct shop *shop);

/* One item anew, from the primary. RC_NONE. */
enum rc sale_item_get(struct shop *shop, int64_t item_id, struct arena *arena,
    struct sale_item *out, struct err *e);

/*
 * ---- the counter beside the unit rows (sale_compare.c)
 *
 * The two are read one after the other, so that a purchase under way looks like
 * a fault. What counts is what is found again at the same epoch after
 * sale_grace_ms().
 */
enum sale_wrong {
	SW_LOST,    /* neither free, nor held, nor sold */
	SW_UNFILED, /* sold, and the counter does not know to whom */
	SW_NO_ORDER /* held without a live order on it */
};

struct sale_finding {
	enum sale_wrong wrong;
	struct counter_unit unit; /* SW_UNFILED: the order's; SW_NO_ORDER: the
				     hold's; SW_LOST: its number alone */
};

struct sale_page {
	int64_t epoch; /* that the counter is armed with */
	int from, to;  /* what was looked at */
	bool last;     /* there are no more numbers */
	int n;
	struct sale_finding *finding;
};

/* A page from number `from` on. RC_RETRY "sale_unarmed". */
enum rc sale_compare(struct shop *shop, const struct sale_item *item, int from,
    struct arena *arena, struct sale_page *out, struct err *e);

/*
 * Holds older than sale_grace_ms(): those with their order are marked as
 * justified, the others are given back. At most a page of them. *given: how
 * many were, if wanted.
 */
enum rc sale_settle_holds(struct shop *shop, const struct sale_item *item,
    struct arena *arena, int *given, struct err *e);

/* Set one right; doing it twice does nothing. */
enum rc sale_mend(struct shop *shop, const struct sale_item *item,
    int64_t epoch, const struct sale_finding *finding, struct arena *arena,
    struct err *e);

/* Of an item that is closed: claim what nobody has, for its variant. Nothing
 * where every unit has its row. *n: how many. */
enum rc sale_claim_again(struct shop *shop, const struct sale_item *item,
    struct arena *arena, int64_t *n, struct err *e);

/* Arm it, waiting for somebody else who does: at most that long. RC_OK: it is
 * armed. */
enum rc sale_arm_wait(struct shop *shop, struct counter_ref ref, int ms,
    struct arena *arena, struct err *e);

#endif
