#include "shop/import.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/xmalloc.h"
#include "shop/import_int.h"
#include "store/pg.h"

void
import_report_init(struct import_report *report)
{
	*report = (struct import_report){ 0 };
	strbuf_init(&report->warned, 0);
	strbuf_init(&report->wrong, 0);
}

void
import_report_release(struct import_report *report)
{
	strbuf_release(&report->warned);
	strbuf_release(&report->wrong);
}

static enum rc
wrong(const struct import_report *report, struct err *e)
{
	return err_set(e, RC_INVALID, "import_errors",
	    "%s%d fault%s: nothing was imported",
	    report->errors >= IMPORT_MAX_ERRORS ? "at least " : "",
	    report->errors, report->errors == 1 ? "" : "s");
}

/* In the transaction. */
static enum rc
import_all(struct import *im, struct pg *pg, int n,
    const struct import_file *files, struct import_stage *stage, struct err *e)
{
	enum rc rc = import_merge_begin(pg, e);

	for (int i = 0; i < n && rc == RC_OK && !import_enough(im); i++)
		rc = import_read_file(im, &files[i], i + 1, e);
	if (rc != RC_OK)
		return rc;
	if (im->report->errors > 0)
		return wrong(im->report, e);
	if ((rc = import_stage_flush(stage, e)) != RC_OK ||
	    (rc = import_merge(pg, im, files, e)) != RC_OK)
		return rc;
	if (im->report->errors > 0)
		return wrong(im->report, e);
	return import_invalidate(pg, e);
}

enum rc
import_run(const struct import_opts *opts, int n,
    const struct import_file *files, struct import_report *report,
    struct err *e)
{
	struct import *im = xcalloc(1, sizeof *im);
	struct import_stage *stage = import_stage_new(opts->pg);
	enum rc rc;

	im->currency = opts->currency;
	im->report = report;
	im->take = import_stage_take;
	im->arg = stage;
	im->progress = opts->progress;
	im->progress_arg = opts->arg;
	im->arena = arena_new();
	if ((rc = pg_begin(opts->pg, e)) == RC_OK) {
		rc = import_all(im, opts->pg, n, files, stage, e);
		if (rc == RC_OK && !opts->dry_run)
			rc = pg_commit(opts->pg, e);
		else
			pg_rollback(opts->pg);
	}
	import_stage_free(stage);
	arena_free(im->arena);
	free(im);
	return rc;
}
