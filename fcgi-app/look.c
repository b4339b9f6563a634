#include "config.h"

#include "fcgi-app/look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/strbuf.h"
#include "base/text.h"

enum { MAX_DEPTH = 8 };

static void
add(crypto_generichash_state *st, const void *p, size_t n)
{
	/* The length first, so that "ab","c" is not "a","bc". */
	unsigned long long len = n;

	(void)crypto_generichash_update(
	    st, (const unsigned char *)&len, sizeof len);
	(void)crypto_generichash_update(st, p, n);
}

/* A file that cannot be read is as good as none: who needs it will say so. */
static void
add_file(crypto_generichash_state *st, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[16384];
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, buf, sizeof buf)) > 0)
		add(st, buf, (size_t)n);
	(void)close(fd);
}

static enum rc
add_folder(crypto_generichash_state *st, const char *dir, int depth,
    struct err *e)
{
	struct dirent **list;
	struct strbuf path;
	enum rc rc = RC_OK;
	int n = scandir(dir, &list, NULL, alphasort);

	if (n < 0)
		return err_set(
		    e, RC_FAIL, "templates", "%s: %s", dir, strerror(errno));
	strbuf_init(&path, 256);
	for (int i = 0; i < n; i++) {
		struct stat sb;

		if (rc == RC_OK && list[i]->d_name[0] != '.') {
			strbuf_reset(&path);
			strbuf_addf(&path, "%s/%s", dir, list[i]->d_name);
			add(st, list[i]->d_name, strlen(list[i]->d_name));
			if (stat(path.s, &sb) != 0)
				sb.st_mode = 0;
			if (S_ISREG(sb.st_mode))
				add_file(st, path.s);
			else if (S_ISDIR(sb.st_mode) && depth < MAX_DEPTH)
				rc = add_folder(st, path.s, depth + 1, e);
		}
		free(list[i]);
	}
	free(list);
	strbuf_release(&path);
	return rc;
}

enum rc
look_name(const struct conf *conf, char out[LOOK_CHARS + 1], struct err *e)
{
	static const char *const keys[] = { "name", "base_url", "currency",
		"language" };
	unsigned char hash[LOOK_CHARS];
	crypto_generichash_state st;
	struct strbuf manifest;
	enum rc rc;

	(void)crypto_generichash_init(&st, NULL, 0, sizeof hash);
	add(&st, PACKAGE_VERSION, strlen(PACKAGE_VERSION));
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		const char *s = conf_str(conf, "shop", keys[i]);

		add(&st, s, strlen(s));
	}
	strbuf_init(&manifest, 256);
	strbuf_addf(&manifest, "%s/manifest.json",
	    conf_str(conf, "fcgi", "static"));
	add_file(&st, manifest.s);
	strbuf_release(&manifest);
	rc = add_folder(&st, conf_str(conf, "fcgi", "templates"), 0, e);
	(void)crypto_generichash_final(&st, hash, sizeof hash);
	text_hex(hash, LOOK_CHARS / 2, out);
	return rc;
}
