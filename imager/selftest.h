/*
 * selftest - tries what the sandbox forbids, with all layers and with each
 * alone, and prints what was refused and how.
 */
#ifndef IMAGER_SELFTEST_H
#define IMAGER_SELFTEST_H

#include <stdbool.h>

/* True where all was refused that must be, and nothing that must not. Uses the
 * descriptors from 3 on as it likes. */
bool selftest_run(void);

#endif
