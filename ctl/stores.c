/* The stores a command uses: opened when first asked for. */
#include "ctl/ctl.h"

#include <string.h>

#include "base/conf.h"
#include "shop/shop.h"
#include "store/pg.h"
#include "store/redis.h"

struct pg *
ctl_pg(struct ctl *ctl)
{
	const struct conf *c = ctl->conf;

	if (ctl->pg == NULL) {
		struct pg_opts opts = {
			.url = conf_str(c, "postgres", "url"),
			.replica_url = conf_str(c, "postgres", "replica_url"),
			.connect_ms = (int)conf_int(c, "postgres", "connect"),
			.query_ms = (int)conf_int(c, "postgres", "query"),
			.pooler = strcmp(conf_str(c, "postgres", "pooler"),
				      "none") != 0,
			.app_name = "soukctl",
		};

		ctl->pg = pg_new(&opts);
	}
	return ctl->pg;
}

enum rc
ctl_redis(struct ctl *ctl, struct redis **out, struct err *e)
{
	const struct conf *c = ctl->conf;

	if (ctl->redis == NULL) {
		struct redis_opts opts = {
			.url = conf_str(c, "redis", "url"),
			.connect_ms = (int)conf_int(c, "redis", "connect"),
			.command_ms = (int)conf_int(c, "redis", "command"),
		};
		enum rc rc = redis_new(&opts, &ctl->redis, e);

		if (rc != RC_OK)
			return rc;
	}
	*out = ctl->redis;
	return RC_OK;
}

enum rc
ctl_shop(struct ctl *ctl, struct shop **out, struct err *e)
{
	enum rc rc = RC_OK;

	if (ctl->shop == NULL)
		rc = shop_open(ctl->conf, "soukctl", NULL, &ctl->shop, e);
	if (rc == RC_INVALID) /* the configuration, not what was asked */
		rc = err_set(e, RC_FAIL, e->code, "%s", e->msg);
	*out = ctl->shop;
	return rc;
}

void
ctl_close(struct ctl *ctl)
{
	shop_close(ctl->shop);
	pg_free(ctl->pg);
	redis_free(ctl->redis);
	ctl->pg = NULL;
	ctl->redis = NULL;
	ctl->shop = NULL;
}
