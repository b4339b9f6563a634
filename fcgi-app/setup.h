/*
 * setup - what several parts of the server read from the configuration.
 */
#ifndef FCGI_APP_SETUP_H
#define FCGI_APP_SETUP_H

#include "fcgi-app/listen.h"
#include "fcgi-app/request.h"

struct conf;

struct request_limits setup_limits(const struct conf *conf);
/* Borrows conf's strings. */
struct listen_opts setup_listen(const struct conf *conf);

/* That user, group, mode and address can be what they say. RC_INVALID names
 * where it stands. */
enum rc setup_check(const struct conf *conf, struct err *e);

/* Become [fcgi] user and group, if started by root and one is set. */
enum rc setup_user(const struct conf *conf, struct err *e);

#endif
