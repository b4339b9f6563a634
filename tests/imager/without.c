/*
 * without [landlock] [seccomp] -- PROGRAM ARG...: run a program as if this
 * kernel had not those. (By a seccomp filter, of all things: it is in force
 * before the program asks.)
 */
#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
hide(scmp_filter_ctx filter, const char *call)
{
	int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
	    seccomp_syscall_resolve_name(call), 0);

	if (rc != 0) {
		(void)fprintf(stderr, "%s: %s\n", call, strerror(-rc));
		exit(EXIT_FAILURE);
	}
}

int
main(int argc, char *argv[])
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int i;

	if (filter == NULL)
		return EXIT_FAILURE;
	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "landlock") == 0) {
			hide(filter, "landlock_create_ruleset");
			hide(filter, "landlock_restrict_self");
		} else {
			hide(filter, "seccomp");
		}
	}
	if (i + 1 >= argc || seccomp_load(filter) != 0)
		return EXIT_FAILURE;
	(void)execv(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return EXIT_FAILURE;
}
