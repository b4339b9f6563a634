/*
 * settings - every key of souk.ini, one row each (see base/conf.h).
 */
#ifndef SHOP_SETTINGS_H
#define SHOP_SETTINGS_H

#include "base/conf.h"

extern const struct conf_row settings_rows[]; /* ends with section NULL */

/*
 * Load `path`, or where it is NULL: $SOUK_CONF, else SYSCONFDIR/souk/souk.ini
 * if that is there, else the defaults and the environment alone.
 */
enum rc settings_load(const char *path, struct conf **out,
    struct strbuf *problems, struct err *e);

/* Set the process's log up as [log] says. */
void settings_log(const struct conf *conf);

#endif
