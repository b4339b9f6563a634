/*
 * object_do COMMAND KEY...: one call to the objects at $OBJECT_URL, by
 * $OBJECT_ENDPOINT. Says what came of it, tab between tab: rc, code, type,
 * Cache-Control, size, an address, the most memory it had in KiB, words.
 *
 *	put KEY FILE TYPE CACHE-CONTROL    put_fd KEY FILE TYPE CACHE-CONTROL
 *	get KEY MAX FILE                   get_fd KEY MAX FILE
 *	head KEY    delete KEY    presign KEY SECONDS
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/aws_cred.h"
#include "store/object.h"

static struct arena *arena;
static struct object_store *store;
static struct object_meta meta;
static struct err e;

static const char *
env_or(const char *name, const char *otherwise)
{
	const char *s = getenv(name);

	return s == NULL ? otherwise : s;
}

static int
file_or_die(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0600);

	if (fd < 0) {
		perror(name);
		exit(99);
	}
	return fd;
}

static enum rc
put(const char *key, char **more, bool by_fd)
{
	int fd = file_or_die(more[0], O_RDONLY);
	struct stat st;
	enum rc rc;

	if (fstat(fd, &st) != 0)
		exit(99);
	meta = (struct object_meta){
		.type = more[1], .cache_control = more[2], .size = st.st_size
	};
	if (by_fd) {
		rc = object_put_fd(store, key, fd, &meta, arena, &e);
	} else {
		char *p = arena_alloc(arena, (size_t)st.st_size + 1);

		if (read(fd, p, (size_t)st.st_size) != st.st_size)
			exit(99);
		rc = object_put(store, key,
		    (struct span){ p, (size_t)st.st_size }, &meta, arena, &e);
	}
	(void)close(fd);
	return rc;
}

static enum rc
get(const char *key, char **more, bool by_fd)
{
	int fd = file_or_die(more[1], O_WRONLY | O_CREAT | O_TRUNC);
	int64_t max = atoll(more[0]);
	struct span s = { "", 0 };
	enum rc rc;

	if (by_fd) {
		rc = object_get_fd(store, key, max, fd, arena, &meta, &e);
	} else {
		rc = object_get(store, key, max, arena, &s, &meta, &e);
		if (rc == RC_OK && write(fd, s.p, s.n) != (ssize_t)s.n)
			exit(99);
	}
	(void)close(fd);
	return rc;
}

/* Not getrusage(): what execve() was called from counts there. */
static long
peak_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[200];
	long kib = 0;

	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		if (strncmp(line, "VmHWM:", 6) == 0)
			kib = atol(line + 6);
	}
	if (f != NULL)
		(void)fclose(f);
	return kib;
}

int
main(int argc, char **argv)
{
	struct aws_cred *cred =
	    aws_cred_new(&(struct aws_cred_opts){ .timeout_ms = 2000 });
	const char *what = argc < 3 ? "" : argv[1], *url = "";
	char **more = argv + 3;
	enum rc rc;

	arena = arena_new();
	rc = object_open(
	    &(struct object_opts){ .url = env_or("OBJECT_URL", ""),
		.region = env_or("OBJECT_REGION", ""),
		.endpoint = env_or("OBJECT_ENDPOINT", ""),
		.cred = cred,
		.timeout_ms = atoi(env_or("OBJECT_TIMEOUT_MS", "10000")) },
	    &store, &e);
	if (rc != RC_OK)
		what = "";
	else if (strcmp(what, "put") == 0 || strcmp(what, "put_fd") == 0)
		rc = put(argv[2], more, strcmp(what, "put_fd") == 0);
	else if (strcmp(what, "get") == 0 || strcmp(what, "get_fd") == 0)
		rc = get(argv[2], more, strcmp(what, "get_fd") == 0);
	else if (strcmp(what, "head") == 0)
		rc = object_head(store, argv[2], arena, &meta, &e);
	else if (strcmp(what, "delete") == 0)
		rc = object_delete(store, argv[2], arena, &e);
	else if (strcmp(what, "presign") == 0)
		rc = object_presign(
		    store, argv[2], atoll(more[0]), arena, &url, &e);
	else
		rc = RC_INVALID;
	if (rc == RC_OK) /* what was tried again and went well */
		e = (struct err)ERR_INIT;
	(void)printf("%s\t%s\t%s\t%s\t%lld\t%s\t%ld\t%s\n", rc_name(rc), e.code,
	    meta.type == NULL ? "" : meta.type,
	    meta.cache_control == NULL ? "" : meta.cache_control,
	    (long long)meta.size, url, peak_kib(), e.msg);
	object_close(store);
	aws_cred_free(cred);
	arena_free(arena);
	return 0;
}
