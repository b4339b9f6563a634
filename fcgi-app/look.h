/*
 * look - what the pages are made with, as a short name: the program's version,
 * the templates and texts, the names of the static files, the shop's name and
 * address. A page kept by a cache that was made with another look is made anew,
 * so that edited templates show at once after a reload, whatever was cached.
 */
#ifndef FCGI_APP_LOOK_H
#define FCGI_APP_LOOK_H

#include "base/err.h"

struct conf;

enum { LOOK_CHARS = 16 };

/* RC_FAIL: the templates cannot be read. */
enum rc look_name(
    const struct conf *conf, char out[LOOK_CHARS + 1], struct err *e);

#endif
