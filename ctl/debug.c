/*
 * soukctl debug statements: the SQL that runs per request, out of the programs
 * themselves, for the test that looks at its plans (tests/it/explain.sh) and
 * for whoever wonders.
 */
#include "ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>

#include "shop/account.h"
#include "shop/cart.h"
#include "shop/catalog.h"
#include "shop/event.h"
#include "shop/image.h"
#include "shop/notice.h"
#include "shop/payment.h"
#include "shop/payment_int.h"
#include "shop/purchase.h"
#include "shop/order.h"
#include "shop/order_life.h"
#include "shop/sale.h"
#include "shop/sale_run.h"
#include "shop/session.h"
#include "shop/stock.h"
#include "shop/stock_change.h"
#include "shop/token.h"
#include "shop/upload.h"
#include "store/invalidation.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "store/queue_pg.h"
#include "store/queue_record.h"
#include "store/ship.h"

static enum rc
statements_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const struct pg_stmt *const *const tables[] = { catalog_statements,
		catalog_update_statements, sale_statements, token_statements,
		invalidation_statements, invalidation_log_statements,
		outbox_statements, queue_statements, record_statements,
		ship_statements, event_statements,
		notice_statements, purchase_statements, account_statements,
		account_reset_statements, session_statements,
		payment_statements, payment_state_statements,
		payment_ask_statements, reconcile_statements,
		sale_compare_statements, sale_open_statements, order_statements,
		order_read_statements, order_change_statements,
		order_life_statements, stock_statements,
		stock_change_statements, cart_statements, image_statements,
		image_process_statements, image_store_statements,
		upload_statements };
	json_t *all = json_array();

	(void)args;
	(void)e;
	for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
		for (int i = 0; tables[t][i] != NULL; i++) {
			const struct pg_stmt *st = tables[t][i];

			if (!ctl->json) {
				(void)printf("%s\t%d\t%s\n", st->name,
				    st->params, st->sql);
				continue;
			}
			(void)json_array_append_new(
			    all, json_pack("{s:s, s:i, s:s}", "name", st->name,
				     "params", st->params, "sql", st->sql));
		}
	}
	if (ctl->json)
		ctl_print_json(json_incref(all));
	json_decref(all);
	return RC_OK;
}

const struct ctl_cmd debug_cmds[] = {
	{ .name = "debug statements",
	    .operands = "",
	    .help = "the SQL that runs per request: name, parameters, text",
	    .no_conf = true,
	    .run = statements_run },
	{ 0 },
};
