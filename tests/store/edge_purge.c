/* edge_purge DIR item PATH | lists | all: what edge.sh drives. */
#include "store/edge.h"

#include <stdio.h>
#include <string.h>

int
main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	enum rc rc = RC_INVALID;
	struct edge *edge;

	if (argc < 3)
		return 2;
	edge = edge_new(argv[1]);
	if (strcmp(argv[2], "item") == 0 && argc == 4)
		rc = edge_purge_item(edge, argv[3], &e);
	else if (strcmp(argv[2], "lists") == 0)
		rc = edge_purge_lists(edge, &e);
	else if (strcmp(argv[2], "all") == 0)
		rc = edge_purge_all(edge, &e);
	edge_free(edge);
	if (rc != RC_OK)
		fprintf(stderr, "%s: %s\n", e.code, e.msg);
	return rc == RC_OK ? 0 : 1;
}
