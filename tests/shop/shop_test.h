/*
 * shop_test - a shop for unit tests that need a database: the schema, made once
 * by the script around them, and a struct shop by the environment.
 */
#ifndef TESTS_SHOP_TEST_H
#define TESTS_SHOP_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/conf.h"
#include "shop/settings.h"
#include "shop/shop.h"
#include "store/migrate.h"
#include "store/pg.h"

static struct arena *arena;
static struct conf *conf;
static struct shop *shop;
static struct err e;

/* Once: the schema. $SHOP_SQL is the folder. */
static inline void
shop_migrate(void)
{
	struct arena *a = arena_new();
	struct migrate_opts opts = { .wait_ms = 10000 };
	struct pg *pg = pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
	    .connect_ms = 5000,
	    .query_ms = 30000,
	    .app_name = "test" });
	int applied;

	if (migrate_run(pg, getenv("SHOP_SQL"), &opts, a, &applied, &e) !=
	    RC_OK) {
		(void)printf("no schema: %s\n", e.msg);
		exit(99);
	}
	pg_free(pg);
	arena_free(a);
}

static inline void
shop_setup(void)
{
	e = (struct err)ERR_INIT;
	arena = arena_new();
	ck_assert_msg(settings_load("", &conf, NULL, &e) == RC_OK, "%s", e.msg);
	ck_assert_msg(
	    shop_open(conf, "test", NULL, &shop, &e) == RC_OK, "%s", e.msg);
}

static inline void
shop_teardown(void)
{
	shop_close(shop);
	conf_free(conf);
	arena_free(arena);
}

static inline void
sql(const char *text)
{
	ck_assert_msg(
	    pg_run(shop->pg, text, 30000, &e) == RC_OK, "%s: %s", text, e.msg);
}

/* The first column of the first row. */
static inline const char *
look(const char *text)
{
	struct pg_stmt st = { "look", text, 0 };
	struct pg *once =
	    pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
		.connect_ms = 5000,
		.query_ms = 30000,
		.app_name = "look" }); /* st does not live on */
	struct pg_rows rows;
	const char *s;

	ck_assert_msg(
	    pg_exec(once, PG_PRIMARY, &st, NULL, arena, &rows, &e) == RC_OK,
	    "%s: %s", text, e.msg);
	s = rows.n == 0 ? "nothing" : pg_str(&rows, 0, 0);
	pg_free(once);
	return s;
}

#endif
