#!/bin/sh
# Started by mod_fcgid, which hands the listening socket over as descriptor 0:
# souk-fcgi then serves as a single process, and mod_fcgid starts more of them
# as they are needed.
SOUK_CONF=${SOUK_CONF:-@PREFIX@/etc/souk/souk.ini}
export SOUK_CONF
exec "@PREFIX@/sbin/souk-fcgi"
