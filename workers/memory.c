#include "workers/memory.h"

#include <stdio.h>
#include <unistd.h>

int64_t
memory_resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long long pages = 0;

	if (f == NULL)
		return 0;
	/* The program's size comes first (proc(5)). */
	if (fscanf(f, "%*20s %18lld", &pages) != 1)
		pages = 0;
	(void)fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}
