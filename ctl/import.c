/* soukctl import, export: the catalogue in and out. */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/conf.h"
#include "shop/import.h"
#include "store/pg.h"

enum { PROGRESS_MS = 200, STEP_MS = 30 * 60 * 1000 };

/* A connection of its own: a step of an import may take minutes. */
static struct pg *
pg_patient(const struct ctl *ctl)
{
	return pg_new(&(struct pg_opts){
	    .url = conf_str(ctl->conf, "postgres", "url"),
	    .connect_ms = (int)conf_int(ctl->conf, "postgres", "connect"),
	    .query_ms = STEP_MS,
	    .pooler =
		strcmp(conf_str(ctl->conf, "postgres", "pooler"), "none") != 0,
	    .app_name = "soukctl import",
	});
}

struct progress {
	int64_t started_ms, shown_ms;
	bool shown;
};

/* One line that is written over, on a terminal only. */
static void
progress_show(void *arg, const char *phase, const struct import_report *report)
{
	struct progress *p = arg;
	int64_t now = clock_mono_ms(), ms = now - p->started_ms;

	if (now - p->shown_ms < PROGRESS_MS)
		return;
	p->shown_ms = now;
	p->shown = true;
	(void)fprintf(stderr, "\r%s: %lld products, %lld a second, %lld s  ",
	    phase, (long long)report->rows,
	    (long long)(ms > 0 ? report->rows * 1000 / ms : 0),
	    (long long)(ms / 1000));
	(void)fflush(stderr);
}

static void
say_all(const struct ctl *ctl, const struct import_report *r, bool dry_run)
{
	if (ctl->json) {
		ctl_print_json(json_pack(
		    "{s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "dryRun",
		    dry_run, "created", (json_int_t)r->created, "updated",
		    (json_int_t)r->updated, "unchanged",
		    (json_int_t)r->unchanged, "variants",
		    (json_int_t)r->variants, "images", (json_int_t)r->images,
		    "reviewsAdded", (json_int_t)r->reviews, "variantsRemoved",
		    (json_int_t)r->variants_removed, "variantsKept",
		    (json_int_t)r->variants_kept, "imagesRemoved",
		    (json_int_t)r->images_removed, "warnings",
		    (json_int_t)r->warnings));
		return;
	}
	if (r->created + r->updated == 0)
		(void)printf("nothing changed\n");
	(void)printf("products: %lld created, %lld updated, %lld unchanged\n"
		     "variants: %lld, %lld removed\n"
		     "images: %lld, %lld removed\n"
		     "reviews: %lld added\n"
		     "warnings: %lld\n",
	    (long long)r->created, (long long)r->updated,
	    (long long)r->unchanged, (long long)r->variants,
	    (long long)r->variants_removed, (long long)r->images,
	    (long long)r->images_removed, (long long)r->reviews,
	    (long long)r->warnings);
	if (dry_run)
		(void)printf("dry run: nothing was written\n");
}

static void
files_close(struct import_file *files, int n)
{
	for (int i = 0; i < n; i++) {
		if (files[i].fd != STDIN_FILENO)
			(void)close(files[i].fd);
	}
}

static enum rc
files_open(
    const struct ctl_args *args, struct import_file *files, struct err *e)
{
	for (int i = 0; i < args->n; i++) {
		const char *name = args->operand[i];
		bool is_stdin = strcmp(name, "-") == 0;
		int fd =
		    is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);

		if (fd < 0) {
			files_close(files, i);
			return err_set(e, RC_INVALID, "unreadable", "%s: %s",
			    name, strerror(errno));
		}
		files[i] =
		    (struct import_file){ .name = is_stdin ? "(stdin)" : name,
			    .fd = fd };
	}
	return RC_OK;
}

/* Each line marked: beside faults they would read as if they stopped it. */
static void
warnings_print(const char *lines)
{
	while (*lines != '\0') {
		size_t n = strcspn(lines, "\n");

		(void)fprintf(stderr, "warning: %.*s\n", (int)n, lines);
		lines += n + (lines[n] == '\n');
	}
}

static enum rc
import_command(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct progress progress = { .started_ms = clock_mono_ms() };
	bool dry_run = ctl_flag(args, "dry-run");
	struct import_file *files =
	    arena_calloc(ctl->arena, (size_t)args->n, sizeof *files);
	struct import_opts opts = {
		.currency = conf_str(ctl->conf, "shop", "currency"),
		.dry_run = dry_run,
		.arg = &progress,
	};
	struct import_report report;
	enum rc rc;

	if ((rc = files_open(args, files, e)) != RC_OK)
		return rc;
	if (!ctl->quiet && isatty(STDERR_FILENO))
		opts.progress = progress_show;
	import_report_init(&report);
	opts.pg = pg_patient(ctl);
	rc = import_run(&opts, args->n, files, &report, e);
	pg_free(opts.pg);
	files_close(files, args->n);
	if (progress.shown)
		(void)fputs("\r\033[K", stderr);
	if (!ctl->quiet && report.warned.len > 0) {
		warnings_print(report.warned.s);
		if (report.warnings > IMPORT_MAX_WARNINGS)
			ctl_say(ctl, "... and %lld warnings more",
			    (long long)report.warnings - IMPORT_MAX_WARNINGS);
	}
	(void)fwrite(report.wrong.s, 1, report.wrong.len, stderr);
	if (rc == RC_OK)
		say_all(ctl, &report, dry_run);
	import_report_release(&report);
	return rc;
}

/* ---- export */

struct sink {
	FILE *f;
	const char *name;
};

static enum rc
sink_write(void *arg, struct span bytes, struct err *e)
{
	struct sink *sink = arg;

	if (fwrite(bytes.p, 1, bytes.n, sink->f) == bytes.n)
		return RC_OK;
	return err_set(
	    e, RC_FAIL, "unwritable", "%s: %s", sink->name, strerror(errno));
}

/* A file appears whole or not at all. */
static enum rc
export_command(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *name = ctl_value(args, "output");
	struct sink sink = { stdout, "stdout" };
	char *tmp = NULL;
	int64_t products;
	struct pg *pg;
	enum rc rc;

	if (name != NULL && strcmp(name, "-") != 0) {
		tmp =
		    arena_printf(ctl->arena, "%s.tmp.%d", name, (int)getpid());
		sink = (struct sink){ fopen(tmp, "we"), tmp };
		if (sink.f == NULL)
			return err_set(e, RC_INVALID, "unwritable", "%s: %s",
			    tmp, strerror(errno));
	}
	pg = pg_patient(ctl);
	rc = export_run(pg, conf_str(ctl->conf, "shop", "currency"), sink_write,
	    &sink, &products, e);
	pg_free(pg);
	if (rc == RC_OK && fflush(sink.f) != 0)
		rc = sink_write(&sink, (struct span){ "", 1 }, e);
	if (tmp != NULL) {
		if (fclose(sink.f) != 0 && rc == RC_OK)
			rc = err_set(e, RC_FAIL, "unwritable", "%s: %s", tmp,
			    strerror(errno));
		if (rc == RC_OK && rename(tmp, name) != 0)
			rc = err_set(e, RC_FAIL, "unwritable", "%s: %s", name,
			    strerror(errno));
		if (rc != RC_OK)
			(void)unlink(tmp);
	}
	if (rc == RC_OK && tmp != NULL)
		ctl_say(ctl, "%lld products", (long long)products);
	return rc;
}

static const struct ctl_opt import_opts[] = {
	{ "dry-run", NULL, "check and count, write nothing" },
	{ 0 },
};

static const struct ctl_opt export_opts[] = {
	{ "output", "FILE", "write to FILE instead of stdout" },
	{ 0 },
};

const struct ctl_cmd import_cmds[] = {
	{ .name = "import",
	    .operands = "FILE...",
	    .min = 1,
	    .max = -1,
	    .help = "read products from Shopify CSV, WooCommerce CSV or JSON"
		    " Lines; - is stdin",
	    .opts = import_opts,
	    .run = import_command },
	{ .name = "export",
	    .operands = "",
	    .help = "write the catalogue as JSON Lines, which import reads",
	    .opts = export_opts,
	    .run = export_command },
	{ 0 },
};
