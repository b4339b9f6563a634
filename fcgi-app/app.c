/*
 * Stands in until the routes are there: alive, and nothing else.
 */
#include "fcgi-app/app.h"

#include <string.h>

#include "base/xmalloc.h"
#include "fcgi-app/request.h"

#include <stdlib.h>

struct app {
	struct app_opts opts;
};

enum rc
app_open(const struct app_opts *opts, struct app **out, struct err *e)
{
	(void)e;
	*out = xcalloc(1, sizeof **out);
	(*out)->opts = *opts;
	return RC_OK;
}

void
app_close(struct app *app)
{
	free(app);
}

void
app_handle(struct app *app, struct request *rq, struct response *rs)
{
	(void)app;
	rs->type = "application/json";
	if (rq->bad.status != 0) {
		rs->status = rq->bad.status;
		rs->body = span_of("{\"error\":\"Bad request\"}\n");
	} else if (strcmp(rq->path, "/healthz") == 0) {
		rs->body = span_of("{\"status\":\"ok\"}\n");
	} else {
		rs->status = 404;
		rs->body = span_of(
		    "{\"error\":\"Not found\",\"code\":\"not_found\"}\n");
	}
}

int
app_pollfds(struct app *app, struct pollfd *fds, int max)
{
	(void)app;
	(void)fds;
	(void)max;
	return 0;
}

void
app_turn(struct app *app)
{
	(void)app;
}
