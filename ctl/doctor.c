/*
 * soukctl doctor: is everything around the shop as it must be?
 * One line a finding: ok, warn or fail, what was looked at, why, and what to
 * do. Exit 0: all well, 1: warnings, 100: something fails.
 *
 * Each check stands alone: one that cannot look says so and the next goes on.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/settings.h"
#include "shop/shop.h"
#include "store/migrate.h"
#include "store/pg.h"
#include "store/redis.h"

enum level { OK, WARN, FAIL };

struct doctor {
	struct ctl *ctl;
	enum level worst;
	json_t *findings; /* with --json */
};

static void found(struct doctor *d, enum level level, const char *what,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void
found(
    struct doctor *d, enum level level, const char *what, const char *fmt, ...)
{
	static const char *const names[] = { "ok", "warn", "fail" };
	va_list ap;

	va_start(ap, fmt);
	const char *why = arena_vprintf(d->ctl->arena, fmt, ap);

	va_end(ap);
	if (level > d->worst)
		d->worst = level;
	if (d->findings != NULL)
		(void)json_array_append_new(
		    d->findings, json_pack("{s:s, s:s, s:s}", "level",
				     names[level], "what", what, "why", why));
	else
		(void)printf("%-4s %s: %s\n", names[level], what, why);
}

/* ---- PostgreSQL */

static const struct pg_stmt settings = { "doctor_settings",
	"SELECT current_setting('server_version_num')::int,"
	" current_setting('server_version'), current_setting('fsync'),"
	" current_setting('full_page_writes'),"
	" current_setting('synchronous_commit'),"
	" current_setting('max_connections')::int -"
	" current_setting('superuser_reserved_connections')::int,"
	" (SELECT count(*) FROM pg_stat_activity"
	"  WHERE backend_type = 'client backend'),"
	" pg_encoding_to_char(encoding), pg_is_in_recovery()"
	" FROM pg_database WHERE datname = current_database()",
	0 };

static const struct pg_stmt recovery = { "doctor_recovery",
	"SELECT pg_is_in_recovery()", 0 };

static void
must_be_on(
    struct doctor *d, const char *what, const char *value, const char *without)
{
	if (strcmp(value, "on") == 0)
		found(d, OK, what, "on");
	else
		found(d, FAIL, what, "%s: without it %s; set it to on", value,
		    without);
}

static void
check_commit(struct doctor *d, const char *value)
{
	if (strcmp(value, "off") == 0)
		found(d, FAIL, "postgres.synchronous_commit",
		    "off: an order that was answered 200 may be lost; set it "
		    "to on, also where the role or database overrides it");
	else if (strcmp(value, "local") == 0)
		found(d, WARN, "postgres.synchronous_commit",
		    "local: a standby that takes over may lack the last "
		    "orders; set it to on where fail-over is possible");
	else
		found(d, OK, "postgres.synchronous_commit", "%s", value);
}

static void
check_connections(struct doctor *d, int64_t max, int64_t used)
{
	int64_t children = conf_int(d->ctl->conf, "fcgi", "children");

	if (max < children + 10)
		found(d, WARN, "postgres.max_connections",
		    "%lld for everybody, %lld children want one each: raise "
		    "it, or put PgBouncer between",
		    (long long)max, (long long)children);
	else if (used * 10 > max * 9)
		found(d, WARN, "postgres.max_connections",
		    "%lld of %lld in use: see pg_stat_activity who holds them",
		    (long long)used, (long long)max);
	else
		found(d, OK, "postgres.max_connections", "%lld of %lld in use",
		    (long long)used, (long long)max);
}

static void
check_migrations(struct doctor *d)
{
	struct migrations all;
	struct err e = ERR_INIT;
	enum rc rc = migrate_status(ctl_pg(d->ctl),
	    conf_str(d->ctl->conf, "postgres", "migrations"), d->ctl->arena,
	    &all, &e);

	if (rc != RC_OK)
		found(d, FAIL, "postgres.migrations", "%s", e.msg);
	else if (all.pending > 0)
		found(d, FAIL, "postgres.migrations",
		    "%d not applied: run soukctl migrate", all.pending);
	else
		found(d, OK, "postgres.migrations", "all %d applied", all.n);
}

static void
check_replica(struct doctor *d)
{
	struct pg *pg = ctl_pg(d->ctl);
	struct err e = ERR_INIT;
	struct pg_rows rows;
	int64_t here = 0, there = 0;

	if (!pg_has_replica(pg))
		return;
	if (pg_ping(pg, PG_REPLICA, &e) != RC_OK) {
		found(d, WARN, "postgres.replica",
		    "%s; the primary answers for it", e.msg);
		return;
	}
	if (pg_exec(pg, PG_REPLICA, &recovery, NULL, d->ctl->arena, &rows,
		&e) != RC_OK ||
	    pg_position(pg, PG_PRIMARY, &here, &e) != RC_OK) {
		found(d, WARN, "postgres.replica", "%s", e.msg);
		return;
	}
	if (!pg_bool(&rows, 0, 0)) {
		found(d, FAIL, "postgres.replica",
		    "replica_url leads to a primary: correct it");
		return;
	}
	if (pg_position(pg, PG_REPLICA, &there, &e) != RC_OK)
		there = here;
	if (here - there > INT64_C(16) << 20)
		found(d, WARN, "postgres.replica",
		    "%lld MB behind: fills of the cache read the primary "
		    "meanwhile",
		    (long long)((here - there) >> 20));
	else
		found(d, OK, "postgres.replica", "%lld bytes behind",
		    (long long)(here > there ? here - there : 0));
}

static void
check_postgres(struct doctor *d)
{
	struct pg *pg = ctl_pg(d->ctl);
	struct err e = ERR_INIT;
	struct pg_rows r;

	if (pg_exec(pg, PG_PRIMARY, &settings, NULL, d->ctl->arena, &r, &e) !=
		RC_OK ||
	    r.n == 0) {
		found(d, FAIL, "postgres",
		    "%s; is it running, and is [postgres] url right?", e.msg);
		return;
	}
	if (pg_int(&r, 0, 0) < 140000)
		found(d, FAIL, "postgres.version", "%s: 14 or newer is needed",
		    pg_str(&r, 0, 1));
	else
		found(d, OK, "postgres.version", "%s", pg_str(&r, 0, 1));
	if (pg_bool(&r, 0, 8)) {
		found(d, FAIL, "postgres.primary",
		    "[postgres] url leads to a replica: nothing can be "
		    "written");
		return;
	}
	must_be_on(
	    d, "postgres.fsync", pg_str(&r, 0, 2), "a power cut loses orders");
	must_be_on(d, "postgres.full_page_writes", pg_str(&r, 0, 3),
	    "a power cut may tear pages");
	check_commit(d, pg_str(&r, 0, 4));
	if (strcmp(pg_str(&r, 0, 7), "UTF8") != 0)
		found(d, FAIL, "postgres.encoding",
		    "%s: make the database anew with ENCODING 'UTF8'",
		    pg_str(&r, 0, 7));
	check_connections(d, pg_int(&r, 0, 5), pg_int(&r, 0, 6));
	check_migrations(d);
	check_replica(d);
}

/* ---- Redis */

/* "name:value" out of INFO, in the arena; "" where it is not there. */
static const char *
info_field(struct doctor *d, struct span info, const char *name)
{
	size_t n = strlen(name);
	const char *p = info.p;

	while (p != NULL && *p != '\0') {
		if (strncmp(p, name, n) == 0 && p[n] == ':')
			return arena_strndup(d->ctl->arena, p + n + 1,
			    strcspn(p + n + 1, "\r\n"));
		p = strchr(p, '\n');
		p = p == NULL ? NULL : p + 1;
	}
	return "";
}

/* what: "redis" or "redis.sale", whose counters must not be evicted. */
static void
check_policy(
    struct doctor *d, const char *what, struct span info, bool counters)
{
	const char *policy = info_field(d, info, "maxmemory_policy");
	bool bounded = strcmp(info_field(d, info, "maxmemory"), "0") != 0;
	const char *name =
	    arena_concat(d->ctl->arena, what, ".maxmemory-policy", NULL);

	if (strncmp(policy, "allkeys", 7) == 0)
		found(d, counters ? FAIL : WARN, name,
		    "%s: it evicts %s; set volatile-lru", policy,
		    counters ? "the counters of running sales"
			     : "what is needed as soon as what is not");
	else if (bounded && strcmp(policy, "noeviction") == 0 &&
		 strcmp(what, "redis") == 0)
		found(d, WARN, name,
		    "noeviction: once it is full nothing more is cached; set "
		    "volatile-lru");
	else
		found(d, OK, name, "%s", policy);
	name = arena_concat(d->ctl->arena, what, ".maxmemory", NULL);
	if (!bounded)
		found(d, WARN, name,
		    "no bound: %s may take the machine's memory; set "
		    "maxmemory",
		    counters && strcmp(what, "redis") != 0 ? "the counters"
							   : "the cache");
	else
		found(d, OK, name, "%s, %s in use",
		    info_field(d, info, "maxmemory_human"),
		    info_field(d, info, "used_memory_human"));
}

static void
check_redis_info(
    struct doctor *d, const char *what, struct span info, bool counters)
{
	struct arena *arena = d->ctl->arena;
	const char *version = info_field(d, info, "redis_version");
	int64_t major = 0;

	(void)text_int(
	    (struct span){ version, strcspn(version, ".") }, 0, 999, &major);
	found(d, major < 6 ? FAIL : OK,
	    arena_concat(arena, what, ".version", NULL),
	    major < 6 ? "%s: 6 or newer is needed" : "%s", version);
	if (strcmp(info_field(d, info, "role"), "slave") == 0)
		found(d, FAIL, arena_concat(arena, what, ".role", NULL),
		    "[%s] url leads to a replica: nothing can be written",
		    what);
	check_policy(d, what, info, counters);
	if (strcmp(info_field(d, info, "aof_enabled"), "1") == 0)
		found(d, OK, arena_concat(arena, what, ".appendonly", NULL),
		    "yes");
	else
		found(d, WARN, arena_concat(arena, what, ".appendonly", NULL),
		    "no: after a restart the cache is cold and running sales "
		    "pause until they are armed again; set appendonly yes");
}

static void
check_redis_down(struct doctor *d, const char *what, const struct err *e)
{
	found(d, FAIL, what, "%s; is it running, and is [%s] url right?",
	    e->msg, what);
}

/* The counters' own, if there is one. */
static void
check_redis(struct doctor *d)
{
	bool own = conf_str(d->ctl->conf, "redis.sale", "url")[0] != '\0';
	struct arena *arena = d->ctl->arena;
	struct redis *redis;
	struct shop *shop;
	struct redis_reply r;
	struct err e = ERR_INIT;

	if (ctl_redis(d->ctl, &redis, &e) != RC_OK ||
	    redis_callv(redis, NULL, arena, &r, &e, "INFO", NULL) != RC_OK)
		check_redis_down(d, "redis", &e);
	else
		check_redis_info(d, "redis", r.str, !own);
	if (!own)
		return;
	if (ctl_shop(d->ctl, &shop, &e) != RC_OK ||
	    redis_callv(shop->sale_redis, NULL, arena, &r, &e, "INFO", NULL) !=
		RC_OK)
		check_redis_down(d, "redis.sale", &e);
	else
		check_redis_info(d, "redis.sale", r.str, true);
}

/* ---- this host */

static void
check_folder(struct doctor *d, enum level level, const char *what,
    const char *path, const char *file, int mode, const char *advice)
{
	const char *full =
	    file == NULL ? path
			 : arena_printf(d->ctl->arena, "%s/%s", path, file);

	if (access(full, mode) == 0)
		found(d, OK, what, "%s", path);
	else
		found(d, level, what, "%s: %s; %s", full, strerror(errno),
		    advice);
}

static void
check_folders(struct doctor *d)
{
	const struct conf *c = d->ctl->conf;
	const char *edge = conf_str(c, "edge", "nginx_cache");

	check_folder(d, FAIL, "folder.templates",
	    conf_str(c, "fcgi", "templates"), "layout.mustache", R_OK,
	    "set [fcgi] templates");
	check_folder(d, WARN, "folder.static", conf_str(c, "fcgi", "static"),
	    "manifest.json", R_OK,
	    "set [fcgi] static, or make it with soukctl assets");
	check_folder(d, WARN, "folder.media", conf_str(c, "fcgi", "media"),
	    NULL, R_OK | X_OK, "make it, readable by the web server");
	if (edge[0] == '\0')
		found(d, OK, "edge.nginx_cache",
		    "none (right where no nginx on this host keeps pages)");
	else
		check_folder(d, WARN, "edge.nginx_cache", edge, "item",
		    W_OK | X_OK,
		    "nginx makes it when it starts; the user of souk-fcgi "
		    "must be able to write there");
}

static void
check_backlog(struct doctor *d)
{
	int64_t backlog = conf_int(d->ctl->conf, "fcgi", "backlog");
	FILE *f = fopen("/proc/sys/net/core/somaxconn", "re");
	char line[32] = "";
	int64_t max;

	if (f == NULL)
		return; /* not Linux, or hidden: nothing to say */
	bool got = fgets(line, sizeof line, f) != NULL;

	(void)fclose(f);
	line[strcspn(line, "\n")] = '\0';
	if (!got || !text_int(span_of(line), 0, INT32_MAX, &max))
		return;
	if (max < backlog)
		found(d, WARN, "kernel.somaxconn",
		    "%lld caps [fcgi] backlog, which is %lld: sysctl -w "
		    "net.core.somaxconn=%lld",
		    (long long)max, (long long)backlog, (long long)backlog);
	else
		found(d, OK, "kernel.somaxconn", "%lld", (long long)max);
}

static void
check_open_files(struct doctor *d)
{
	enum { BESIDES = 64 }; /* log, Redis, PostgreSQL, templates ... */
	int64_t want = conf_int(d->ctl->conf, "fcgi", "slots") + BESIDES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur != RLIM_INFINITY && (int64_t)limit.rlim_cur < want)
		found(d, FAIL, "open_files",
		    "%lld a process, %lld are needed for [fcgi] slots: raise "
		    "the limit (ulimit -n, LimitNOFILE=)",
		    (long long)limit.rlim_cur, (long long)want);
	else
		found(d, OK, "open_files", "%lld a process",
		    (long long)limit.rlim_cur);
}

static void
check_address(struct doctor *d)
{
	const char *url = conf_str(d->ctl->conf, "shop", "base_url");
	size_t n = strlen(url);

	if (!conf_is_set(d->ctl->conf, "shop", "base_url"))
		found(d, WARN, "shop.base_url",
		    "not set: links for search engines lead to %s", url);
	else if ((strncmp(url, "http://", 7) != 0 &&
		     strncmp(url, "https://", 8) != 0) ||
		 url[n - 1] == '/')
		found(d, FAIL, "shop.base_url",
		    "%s: write it as https://shop.example, without a slash "
		    "at the end",
		    url);
	else
		found(d, OK, "shop.base_url", "%s", url);
}

static void
check_payment(struct doctor *d)
{
	const char *url = conf_str(d->ctl->conf, "payment", "provider");
	const char *key = conf_str(d->ctl->conf, "payment", "stripe_key");

	if (strcmp(url, "sandbox:") == 0)
		found(d, WARN, "payment.provider",
		    "sandbox: NO MONEY IS TAKEN, orders are marked as paid "
		    "all the same; for a real shop set stripe:");
	else if (strncmp(key, "sk_test_", 8) == 0 ||
		 strncmp(key, "rk_test_", 8) == 0)
		found(d, WARN, "payment.provider",
		    "%s with a test key: no money is taken", url);
	else
		found(d, OK, "payment.provider", "%s", url);
}

static enum rc
doctor_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct doctor d = { .ctl = ctl };
	struct strbuf problems;

	(void)args;
	if (ctl->json)
		d.findings = json_array();
	strbuf_init(&problems, 0);
	if (settings_load(ctl->conf_path, &ctl->conf, &problems, e) != RC_OK) {
		const char *line = problems.len > 0 ? problems.s : e->msg;

		for (; *line != '\0'; line += strspn(line, "\n")) {
			size_t n = strcspn(line, "\n");

			found(&d, FAIL, "configuration", "%.*s", (int)n, line);
			line += n;
		}
	} else {
		found(&d, OK, "configuration", "can be read");
		check_address(&d);
		check_payment(&d);
		check_postgres(&d);
		check_redis(&d);
		check_folders(&d);
		check_backlog(&d);
		check_open_files(&d);
	}
	strbuf_release(&problems);
	if (d.findings != NULL)
		ctl_print_json(d.findings);
	if (d.worst == FAIL)
		return err_set(e, RC_FAIL, "doctor", "%s", "");
	return d.worst == WARN ? err_set(e, RC_REFUSED, "doctor", "%s", "")
			       : RC_OK;
}

const struct ctl_cmd doctor_cmds[] = {
	{ .name = "doctor",
	    .operands = "",
	    .help = "look at everything around the shop; exit 1: warnings, "
		    "100: faults",
	    .no_conf = true,
	    .run = doctor_run },
	{ 0 },
};
