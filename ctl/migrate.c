/* soukctl migrate: bring the database's schema to what this program knows. */
#include "ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/conf.h"
#include "store/migrate.h"

enum { WAIT_S = 60 };

static void
said(void *arg, const struct migration *m, int64_t ms)
{
	const struct ctl *ctl = arg;

	if (ms < 0) {
		ctl_say(ctl, "applying %s", m->name);
		return;
	}
	if (!ctl->json) {
		(void)puts(m->name);
		(void)fflush(stdout);
	}
	ctl_say(ctl, "applied %s in %lld ms", m->name, (long long)ms);
}

static void
waits(void *arg, const char *who)
{
	ctl_say(arg, "waiting: %s is migrating this database", who);
}

static json_t *
as_json(const struct migrations *all, bool pending_only)
{
	json_t *list = json_array();

	for (int i = 0; i < all->n; i++) {
		const struct migration *m = &all->m[i];

		if (pending_only && m->applied)
			continue;
		(void)json_array_append_new(
		    list, json_pack("{s:i, s:s, s:s, s:s?, s:o, s:s}", "number",
			      m->number, "name", m->name, "state",
			      m->applied ? "applied" : "pending", "appliedAt",
			      m->applied ? m->applied_at : NULL, "ms",
			      m->applied ? json_integer(m->ms) : json_null(),
			      "checksum", m->checksum));
	}
	return json_pack("{s:i, s:i, s:o}", "applied", all->n - all->pending,
	    "pending", all->pending, "migrations", list);
}

static enum rc
status_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct migrations all;
	enum rc rc = migrate_status(ctl_pg(ctl),
	    conf_str(ctl->conf, "postgres", "migrations"), ctl->arena, &all, e);

	(void)args;
	if (rc != RC_OK)
		return rc;
	if (ctl->json) {
		ctl_print_json(as_json(&all, false));
		return RC_OK;
	}
	for (int i = 0; i < all.n; i++) {
		const struct migration *m = &all.m[i];

		(void)printf("%-32s %-8s %s\n", m->name,
		    m->applied ? "applied" : "pending", m->applied_at);
	}
	ctl_say(
	    ctl, "%d applied, %d pending", all.n - all.pending, all.pending);
	return RC_OK;
}

static enum rc
dry_run(struct ctl *ctl, const char *dir, struct err *e)
{
	struct migrations all;
	enum rc rc = migrate_status(ctl_pg(ctl), dir, ctl->arena, &all, e);

	if (rc != RC_OK)
		return rc;
	if (ctl->json) {
		ctl_print_json(as_json(&all, true));
		return RC_OK;
	}
	for (int i = 0; i < all.n; i++) {
		if (!all.m[i].applied)
			(void)puts(all.m[i].name);
	}
	ctl_say(ctl, "%d would be applied; nothing was changed", all.pending);
	return RC_OK;
}

static enum rc
migrate_cmd_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *dir = conf_str(ctl->conf, "postgres", "migrations");
	struct migrate_opts opts = {
		.progress = said, .waiting = waits, .arg = ctl
	};
	int64_t wait_s = WAIT_S;
	int applied = 0;
	enum rc rc;

	if ((rc = ctl_int(args, "wait", 0, 86400, &wait_s, e)) != RC_OK)
		return rc;
	if (ctl_flag(args, "dry-run"))
		return dry_run(ctl, dir, e);
	opts.wait_ms = (int)wait_s * 1000;
	rc = migrate_run(ctl_pg(ctl), dir, &opts, ctl->arena, &applied, e);
	if (ctl->json && rc == RC_OK)
		ctl_print_json(json_pack("{s:i}", "applied", applied));
	if (rc == RC_OK && applied == 0)
		ctl_say(ctl, "the schema is up to date");
	return rc;
}

static const struct ctl_opt migrate_opts[] = {
	{ "dry-run", NULL, "print what would be applied, change nothing" },
	{ "wait", "SECONDS",
	    "for another one that migrates, and for tables in use (60)" },
	{ 0 },
};

const struct ctl_cmd migrate_cmds[] = {
	{ .name = "migrate",
	    .operands = "",
	    .help = "apply the migrations that the database has not",
	    .opts = migrate_opts,
	    .run = migrate_cmd_run },
	{ .name = "migrate status",
	    .operands = "",
	    .help = "which migrations the database has",
	    .run = status_run },
	{ 0 },
};
