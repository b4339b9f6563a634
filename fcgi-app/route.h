/*
 * route - from a request to its handler, and from an error to its answer.
 */
#ifndef FCGI_APP_ROUTE_H
#define FCGI_APP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct app;
struct match;
struct request;
struct response;

/* See app_max_body(). */
size_t route_max_body(
    struct app *app, struct request *rq, size_t max_body);

/* Fills the response, whatever happens. */
void route_handle(
    struct app *app, struct request *rq, struct response *rs);

/* Does a path match "/products/{id}" and the like? Fills *m. */
bool route_match(const char *pattern, const char *path, struct match *m);

/* The HTTP status of an error: by code, else by rc. */
int route_status(enum rc rc, const char *code);

#endif
