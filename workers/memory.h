/*
 * memory - how much of it this process has.
 */
#ifndef WORKERS_MEMORY_H
#define WORKERS_MEMORY_H

#include <stdint.h>

/* Bytes that are resident; 0: nobody can say. */
int64_t memory_resident(void);

#endif
