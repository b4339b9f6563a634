/* Keys; objects in a folder; where a bucket's objects are. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "store/aws_cred.h"
#include "store/object.h"

static char dir[64];
static struct arena *arena;
static struct object_store *store;
static struct err e;

static const struct object_meta plain = { .type = "text/plain" };

static const char *
path(const char *below)
{
	return arena_printf(arena, "%s%s", dir, below);
}

static enum rc
open_at(const char *url)
{
	return object_open(
	    &(struct object_opts){ .url = url, .timeout_ms = 1000 }, &store,
	    &e);
}

static void
given_store(void)
{
	ck_assert_int_eq(open_at(arena_printf(arena, "file:%s/m", dir)), RC_OK);
}

static void
setup(void)
{
	(void)snprintf(dir, sizeof dir, "/tmp/test-object.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	arena = arena_new();
	ck_assert_int_eq(mkdir(path("/m"), 0755), 0);
	ck_assert_int_eq(mkdir(path("/outside"), 0755), 0);
	store = NULL;
	e = (struct err)ERR_INIT;
}

static void
teardown(void)
{
	object_close(store);
	ck_assert_int_eq(system(arena_printf(arena, "rm -rf %s", dir)), 0);
	arena_free(arena);
}

static enum rc
put(const char *key, const char *body)
{
	return object_put(store, key, span_of(body), &plain, arena, &e);
}

/* "" for what is none, or not whole. */
static const char *
get(const char *key)
{
	struct span out;
	struct object_meta meta;

	if (object_get(store, key, 1 << 20, arena, &out, &meta, &e) != RC_OK)
		return "";
	ck_assert_int_eq(meta.size, (int64_t)out.n);
	return out.p;
}

static bool
exists(const char *below)
{
	struct stat st;

	return lstat(path(below), &st) == 0;
}

static int
mode_of(const char *below)
{
	struct stat st;

	ck_assert_int_eq(lstat(path(below), &st), 0);
	return st.st_mode & 07777;
}

static int
files_in(const char *below)
{
	DIR *dp = opendir(path(below));
	struct dirent *d;
	int n = 0;

	ck_assert_ptr_nonnull(dp);
	while ((d = readdir(dp)) != NULL)
		n += d->d_name[0] != '.';
	closedir(dp);
	return n;
}

static void
write_file(const char *below, const char *text)
{
	FILE *f = fopen(path(below), "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static const char *
read_file(const char *below)
{
	FILE *f = fopen(path(below), "r");
	char buf[4096];
	size_t n;

	ck_assert_ptr_nonnull(f);
	n = fread(buf, 1, sizeof buf, f);
	(void)fclose(f);
	return arena_strndup(arena, buf, n);
}

/* An open file of so many bytes, of no name any more. */
static int
given_file(const char *byte, size_t n)
{
	FILE *f = fopen(path("/source"), "w+");
	int fd;

	ck_assert_ptr_nonnull(f);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_ne(fputc(byte[0], f), EOF);
	ck_assert_int_eq(fflush(f), 0);
	fd = dup(fileno(f));
	(void)fclose(f);
	ck_assert_int_eq(unlink(path("/source")), 0);
	return fd;
}

/* ---- keys */

static const char *const bad_keys[] = { "", "/", "/a", "a/", "a//b", ".", "..",
	"./a", "../a", "a/.", "a/..", "a/./b", "a/../b", "a\nb", "a\tb", "\x7f",
	"\x1f/a", "a\xc2\x80", "a\xc2\x9f", "\xff", "a\xc3", "\xc0\xae",
	"\xed\xa0\x80" };

START_TEST(a_bad_key_is_refused_by_every_call)
{
	const char *key = bad_keys[_i], *url;
	struct object_meta meta = plain;
	struct span out;

	given_store();
	ck_assert_int_eq(put(key, "x"), RC_INVALID);
	ck_assert_str_eq(e.code, "bad_object_key");
	ck_assert_int_eq(
	    object_put_fd(store, key, 0, &meta, arena, &e), RC_INVALID);
	ck_assert_int_eq(
	    object_get(store, key, 9, arena, &out, &meta, &e), RC_INVALID);
	ck_assert_int_eq(
	    object_get_fd(store, key, 9, 1, arena, &meta, &e), RC_INVALID);
	ck_assert_int_eq(object_head(store, key, arena, &meta, &e), RC_INVALID);
	ck_assert_int_eq(object_delete(store, key, arena, &e), RC_INVALID);
	ck_assert_int_eq(
	    object_presign(store, key, 60, arena, &url, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "bad_object_key");
	ck_assert_int_eq(files_in("/m"), 0);
}
END_TEST

static const char *const good_keys[] = { "a", "a/b", "...", "..a", ".a/b.",
	"a b+c=d(e)&f?g#h%20.webp", "Grüße/日本/😀", "a\\b", "~", "'\"<>", "*",
	"\xc2\xa0" };

START_TEST(a_good_key_names_an_object)
{
	const char *key = good_keys[_i];

	given_store();
	ck_assert_int_eq(put(key, key), RC_OK);
	ck_assert_str_eq(get(key), key);
	ck_assert_str_eq(read_file(arena_concat(arena, "/m/", key, NULL)), key);
	ck_assert_int_eq(object_delete(store, key, arena, &e), RC_OK);
	ck_assert(!exists(arena_concat(arena, "/m/", key, NULL)));
}
END_TEST

/* 1000 bytes, in parts of so many. */
static const char *
long_key(size_t part, size_t n)
{
	char *key = arena_alloc(arena, n + 1);

	for (size_t i = 0; i < n; i++)
		key[i] = i % (part + 1) == part ? '/' : 'k';
	key[n] = '\0';
	return key;
}

START_TEST(a_key_has_1000_bytes_at_most)
{
	given_store();
	ck_assert_int_eq(put(long_key(1, 999), "deep"), RC_OK);
	ck_assert_str_eq(get(long_key(1, 999)), "deep");
	ck_assert_int_eq(put(long_key(249, 1000 - 1), "x"), RC_OK);
	ck_assert_int_eq(put(long_key(240, 1000), "x"), RC_OK);
	ck_assert_int_eq(put(long_key(240, 1001), "x"), RC_INVALID);
}
END_TEST

START_TEST(a_part_of_a_key_has_255_bytes_in_a_folder)
{
	const char *a = long_key(300, 256);

	given_store();
	ck_assert_int_eq(put(a, "x"), RC_INVALID);
	ck_assert_str_eq(e.code, "bad_object_key");
	ck_assert_int_eq(
	    put(arena_concat(arena, a, "/b", NULL), "x"), RC_INVALID);
	ck_assert_str_eq(e.code, "bad_object_key");
	ck_assert_str_eq(get(a), "");
	ck_assert_str_eq(e.code, "no_such_object");
	ck_assert_int_eq(object_delete(store, a, arena, &e), RC_OK);
	ck_assert_int_eq(put(a + 1, "x"), RC_OK);
}
END_TEST

static const char *const bad_headers[] = { "a\nb", "a\r\nX: y", "\x7f", "ü" };

START_TEST(a_header_cannot_be_smuggled_in)
{
	given_store();
	ck_assert_int_eq(
	    object_put(store, "a", span_of("x"),
		&(struct object_meta){ .type = bad_headers[_i] }, arena, &e),
	    RC_INVALID);
	ck_assert_str_eq(e.code, "bad_object_meta");
	ck_assert_int_eq(object_put(store, "a", span_of("x"),
			     &(struct object_meta){ .type = "a/b",
				 .cache_control = bad_headers[_i] },
			     arena, &e),
	    RC_INVALID);
	ck_assert(!exists("/m/a"));
}
END_TEST

/* ---- opening */

START_TEST(the_folder_may_be_a_link)
{
	ck_assert_int_eq(symlink("m", path("/link")), 0);
	ck_assert_int_eq(
	    open_at(arena_printf(arena, "file:%s/link", dir)), RC_OK);
	ck_assert_int_eq(put("a", "x"), RC_OK);
	ck_assert_str_eq(read_file("/m/a"), "x");
}
END_TEST

/* ---- put, get, head, delete */

START_TEST(what_was_put_is_there)
{
	struct object_meta meta;

	given_store();
	ck_assert_int_eq(put("p/mug.WebP", "one"), RC_OK);
	ck_assert_str_eq(get("p/mug.WebP"), "one");
	ck_assert_int_eq(
	    object_head(store, "p/mug.WebP", arena, &meta, &e), RC_OK);
	ck_assert_int_eq(meta.size, 3);
	ck_assert_str_eq(meta.type, "image/webp");
	ck_assert_str_eq(meta.cache_control, "");
	ck_assert_int_eq(files_in("/m/p"), 1);
	ck_assert_int_eq(files_in("/m/.souk-tmp"), 0);
}
END_TEST

START_TEST(a_put_replaces)
{
	given_store();
	ck_assert_int_eq(put("a", "a long one"), RC_OK);
	ck_assert_int_eq(put("a", "new"), RC_OK);
	ck_assert_str_eq(get("a"), "new");
	ck_assert_int_eq(
	    object_put(store, "a", (struct span){ NULL, 0 }, &plain, arena, &e),
	    RC_OK);
	ck_assert_int_eq(
	    object_head(store, "a", arena, &(struct object_meta){ 0 }, &e),
	    RC_OK);
	ck_assert_str_eq(get("a"), "");
}
END_TEST

static const struct {
	const char *key, *type;
} types[] = { { "a.jpg", "image/jpeg" }, { "a.JPEG", "image/jpeg" },
	{ "a.avif", "image/avif" }, { "a.png.svg", "image/svg+xml" },
	{ "a", "application/octet-stream" },
	{ "a.", "application/octet-stream" },
	{ "a.exe", "application/octet-stream" },
	{ "a.png/b", "application/octet-stream" }, { ".png", "image/png" } };

START_TEST(the_extension_is_the_type)
{
	struct object_meta meta;

	given_store();
	ck_assert_int_eq(put(types[_i].key, "x"), RC_OK);
	ck_assert_int_eq(
	    object_head(store, types[_i].key, arena, &meta, &e), RC_OK);
	ck_assert_str_eq(meta.type, types[_i].type);
}
END_TEST

START_TEST(what_is_none_is_none)
{
	struct object_meta meta;
	struct span out;

	given_store();
	ck_assert_int_eq(put("a/b", "x"), RC_OK);
	for (const char **k =
		 (const char *[]){ "b", "a", "a/c", "a/b/c", "c/d", NULL };
	     *k != NULL; k++) {
		e = (struct err)ERR_INIT;
		ck_assert_int_eq(
		    object_get(store, *k, 9, arena, &out, &meta, &e), RC_NONE);
		ck_assert_str_eq(e.code, "no_such_object");
		ck_assert_int_eq(
		    object_head(store, *k, arena, &meta, &e), RC_NONE);
		ck_assert_int_eq(object_delete(store, *k, arena, &e), RC_OK);
	}
	ck_assert_str_eq(get("a/b"), "x");
	ck_assert_int_eq(files_in("/m"), 1);
}
END_TEST

START_TEST(too_large_is_refused)
{
	struct object_meta meta;
	struct span out;

	given_store();
	ck_assert_int_eq(put("a", "12345"), RC_OK);
	ck_assert_int_eq(
	    object_get(store, "a", 4, arena, &out, &meta, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "object_too_large");
	ck_assert_int_eq(
	    object_get(store, "a", 5, arena, &out, &meta, &e), RC_OK);
	ck_assert(span_is(out, "12345"));
}
END_TEST

START_TEST(a_file_is_put_from_its_beginning)
{
	int fd = given_file("x", 200000), out = given_file("", 0);
	struct object_meta meta = { .type = "a/b", .size = 200000 };
	struct stat st;

	given_store();
	ck_assert_int_eq(lseek(fd, 77, SEEK_SET), 77);
	ck_assert_int_eq(
	    object_put_fd(store, "a", fd, &meta, arena, &e), RC_OK);
	ck_assert_uint_eq(strspn(get("a"), "x"), 200000);
	ck_assert_int_eq(
	    object_get_fd(store, "a", 200000, out, arena, &meta, &e), RC_OK);
	ck_assert_int_eq(fstat(out, &st), 0);
	ck_assert_int_eq(st.st_size, 200000);
	ck_assert_int_eq(meta.size, 200000);
	ck_assert_int_eq(
	    object_get_fd(store, "a", 199999, out, arena, &meta, &e),
	    RC_REFUSED);
	(void)close(fd);
	(void)close(out);
}
END_TEST

START_TEST(a_file_that_is_cut_changes_nothing)
{
	int fd = given_file("x", 100000);
	struct object_meta meta = { .size = 100001 };

	given_store();
	ck_assert_int_eq(put("a", "old"), RC_OK);
	ck_assert_int_eq(
	    object_put_fd(store, "a", fd, &meta, arena, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "object_cut");
	ck_assert_str_eq(get("a"), "old");
	ck_assert_int_eq(files_in("/m/.souk-tmp"), 0);
	(void)close(fd);
}
END_TEST

START_TEST(whatever_the_umask_the_web_server_may_read)
{
	mode_t old = umask(0077);

	given_store();
	ck_assert_int_eq(put("a/b/c", "x"), RC_OK);
	(void)umask(old);
	ck_assert_int_eq(mode_of("/m/a"), 0755);
	ck_assert_int_eq(mode_of("/m/a/b"), 0755);
	ck_assert_int_eq(mode_of("/m/a/b/c"), 0644);
	ck_assert_int_eq(mode_of("/m/.souk-tmp"), 0700);
}
END_TEST

START_TEST(a_folder_presigns_nothing)
{
	const char *url;

	given_store();
	ck_assert_int_eq(
	    object_presign(store, "a", 60, arena, &url, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "no_presign");
}
END_TEST

/* ---- what somebody else has put there */

START_TEST(something_in_the_way_stays)
{
	given_store();
	ck_assert_int_eq(put("a/b", "old"), RC_OK);
	ck_assert_int_eq(put("a", "x"), RC_INVALID);
	ck_assert_str_eq(e.code, "object_in_the_way");
	e = (struct err)ERR_INIT;
	ck_assert_int_eq(put("a/b/c", "x"), RC_INVALID);
	ck_assert_str_eq(e.code, "object_in_the_way");
	ck_assert_str_eq(get("a/b"), "old");
	ck_assert_int_eq(files_in("/m/.souk-tmp"), 0);
}
END_TEST

START_TEST(a_link_leads_nowhere)
{
	struct object_meta meta;

	given_store();
	write_file("/outside/secret", "secret");
	ck_assert_int_eq(symlink("../outside", path("/m/out")), 0);
	ck_assert_int_eq(symlink("out", path("/m/near")), 0);
	for (const char **k = (const char *[]){ "out/secret", "near/secret",
		 "out/new", "out/d/new", NULL };
	     *k != NULL; k++) {
		ck_assert_str_eq(get(*k), "");
		ck_assert_int_eq(
		    object_head(store, *k, arena, &meta, &e), RC_NONE);
		ck_assert_int_eq(put(*k, "x"), RC_INVALID);
		ck_assert_str_eq(e.code, "object_in_the_way");
		ck_assert_int_eq(object_delete(store, *k, arena, &e), RC_OK);
	}
	ck_assert_int_eq(files_in("/outside"), 1);
	ck_assert_str_eq(read_file("/outside/secret"), "secret");
}
END_TEST

START_TEST(a_link_in_an_objects_place_is_replaced_not_followed)
{
	given_store();
	write_file("/outside/secret", "secret");
	ck_assert_int_eq(symlink("../outside/secret", path("/m/a")), 0);
	ck_assert_int_eq(symlink("../outside/secret", path("/m/b")), 0);
	ck_assert_str_eq(get("a"), "");
	ck_assert_str_eq(e.code, "no_such_object");
	ck_assert_int_eq(put("a", "mine"), RC_OK);
	ck_assert_str_eq(get("a"), "mine");
	ck_assert_int_eq(object_delete(store, "b", arena, &e), RC_OK);
	ck_assert(!exists("/m/b"));
	ck_assert_str_eq(read_file("/outside/secret"), "secret");
}
END_TEST

START_TEST(nothing_is_written_through_the_hidden_folder)
{
	ck_assert_int_eq(symlink("../outside", path("/m/.souk-tmp")), 0);
	write_file("/outside/old", "old");
	ck_assert_int_eq(system(arena_printf(arena,
			     "touch -d '3 days ago' %s/outside/old", dir)),
	    0);
	given_store();
	ck_assert_int_ne(put("a", "x"), RC_OK);
	ck_assert(!exists("/m/a"));
	ck_assert_int_eq(files_in("/outside"), 1);
}
END_TEST

START_TEST(the_hidden_folder_holds_no_objects)
{
	struct object_meta meta;

	given_store();
	ck_assert_int_eq(put("a", "x"), RC_OK);
	write_file("/m/.souk-tmp/half", "ha");
	ck_assert_int_eq(put(".souk-tmp/b", "x"), RC_INVALID);
	ck_assert_str_eq(e.code, "bad_object_key");
	ck_assert_int_eq(put(".souk-tmp", "x"), RC_INVALID);
	ck_assert_str_eq(get(".souk-tmp/half"), "");
	ck_assert_int_eq(
	    object_head(store, ".souk-tmp/half", arena, &meta, &e), RC_NONE);
	ck_assert_int_eq(
	    object_delete(store, ".souk-tmp/half", arena, &e), RC_OK);
	ck_assert_int_eq(files_in("/m/.souk-tmp"), 1);
	ck_assert_int_eq(put(".souk-tmpx", "x"), RC_OK);
}
END_TEST

START_TEST(a_pipe_is_no_object)
{
	given_store();
	ck_assert_int_eq(mkfifo(path("/m/a"), 0644), 0);
	ck_assert_str_eq(get("a"), "");
	ck_assert_str_eq(e.code, "no_such_object");
}
END_TEST

/* ---- half of an object is never seen */

/* In another process, which may be killed for it: a put of 1 MB where files
 * may have 100 kB. */
static int
put_within_limit(bool killed)
{
	char *big = arena_alloc(arena, 1000000);
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		const struct rlimit small = { 100000, 100000 }, none = { 0, 0 };
		enum rc rc;

		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGXFSZ, killed ? SIG_DFL : SIG_IGN);
		memset(big, 'x', 1000000);
		if (setrlimit(RLIMIT_FSIZE, &small) != 0)
			_exit(99);
		rc = object_put(store, "a", (struct span){ big, 1000000 },
		    &plain, arena, &e);
		_exit(rc == RC_RETRY && strcmp(e.code, "object_store_full") == 0
			  ? 42
			  : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

START_TEST(a_file_that_may_not_grow_is_for_later)
{
	int status;

	given_store();
	ck_assert_int_eq(put("a", "old"), RC_OK);
	status = put_within_limit(false);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 42);
	ck_assert_str_eq(get("a"), "old");
	ck_assert_int_eq(files_in("/m/.souk-tmp"), 0);
}
END_TEST

START_TEST(what_a_killed_process_left_goes_after_a_day)
{
	int status;

	given_store();
	ck_assert_int_eq(put("a", "old"), RC_OK);
	status = put_within_limit(true);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGXFSZ);
	ck_assert_str_eq(get("a"), "old");
	ck_assert_int_eq(files_in("/m/.souk-tmp"), 1);

	object_close(store);
	given_store();
	ck_assert_int_eq(files_in("/m/.souk-tmp"), 1);
	object_close(store);
	ck_assert_int_eq(
	    system(arena_printf(arena,
		"touch -d '25 hours ago' %s/m/.souk-tmp/* %s/m/a", dir, dir)),
	    0);
	given_store();
	ck_assert_int_eq(files_in("/m/.souk-tmp"), 0);
	ck_assert_str_eq(get("a"), "old");
}
END_TEST

START_TEST(a_full_disk_is_for_later)
{
	char *big = arena_alloc(arena, 300000);
	enum rc rc, after;
	struct err err = ERR_INIT;
	const char *old;
	int n;

	if (mount("tmpfs", path("/m"), "tmpfs", 0, "size=200k") != 0) {
		(void)printf("# skipped, no tmpfs can be mounted: %s\n",
		    strerror(errno));
		return;
	}
	given_store();
	memset(big, 'x', 300000);
	after = put("a", "old");
	rc = object_put(
	    store, "a", (struct span){ big, 300000 }, &plain, arena, &err);
	n = files_in("/m/.souk-tmp");
	old = get("a");
	if (after == RC_OK)
		after = put("b", "small");
	object_close(store);
	store = NULL;
	ck_assert_int_eq(umount(path("/m")), 0);
	ck_assert_int_eq(rc, RC_RETRY);
	ck_assert_str_eq(err.code, "object_store_full");
	ck_assert_str_eq(old, "old");
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(after, RC_OK);
}
END_TEST

/* 'a' 100,001 times or 'b' 200,002 times, over and over. */
static pid_t
writer(char c, size_t n)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char *body = arena_alloc(arena, n);

		memset(body, c, n);
		for (;;) {
			if (object_put(store, "k/x", (struct span){ body, n },
				&plain, arena, &e) != RC_OK)
				_exit(1);
		}
	}
	return pid;
}

START_TEST(who_reads_while_others_write_sees_whole_objects)
{
	int status, seen_a = 0, seen_b = 0;
	pid_t a, b;

	given_store();
	ck_assert_int_eq(put("k/x", "first"), RC_OK);
	a = writer('a', 100001);
	b = writer('b', 200002);
	/* Bounded by check's time limit. */
	for (int i = 0; i < 300 || seen_a < 20 || seen_b < 20; i++) {
		const char *s = get("k/x");
		size_t n = strlen(s);

		if (strspn(s, "a") == n && n == 100001)
			seen_a++;
		else if (strspn(s, "b") == n && n == 200002)
			seen_b++;
		else
			ck_assert_str_eq(s, "first");
		if (i % 50 == 0)
			arena_reset(arena);
	}
	ck_assert_int_eq(kill(a, SIGKILL), 0);
	ck_assert_int_eq(kill(b, SIGKILL), 0);
	ck_assert_int_eq(waitpid(a, &status, 0), a);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(waitpid(b, &status, 0), b);
	ck_assert(WIFSIGNALED(status));
}
END_TEST

/* ---- where a bucket's objects are */

static const char *
env_of(void *arg, const char *name)
{
	(void)arg;
	if (strcmp(name, "AWS_ACCESS_KEY_ID") == 0)
		return "AKIDEXAMPLE";
	if (strcmp(name, "AWS_SECRET_ACCESS_KEY") == 0)
		return "secret";
	return NULL;
}

static const struct {
	const char *url, *region, *endpoint, *key, *address;
} places[] = {
	{ "s3://media", "eu-central-1", "", "a/b.webp",
	    "https://media.s3.eu-central-1.amazonaws.com/a/b.webp?" },
	{ "s3://media/", "cn-north-1", NULL, "a",
	    "https://media.s3.cn-north-1.amazonaws.com.cn/a?" },
	{ "s3://media/shop/one/", "eu-central-1", "", "a b",
	    "https://media.s3.eu-central-1.amazonaws.com/shop/one/a%20b?" },
	{ "s3://media.shop", "us-east-1", "", "ü",
	    "https://s3.us-east-1.amazonaws.com/media.shop/%C3%BC?" },
	{ "s3://media/p", "us-east-1", "http://127.0.0.1:4566", "a+b",
	    "http://127.0.0.1:4566/media/p/a%2Bb?" },
	{ "s3://media", "auto", "https://objects.example:8443", "a",
	    "https://objects.example:8443/media/a?" },
};

static enum rc
open_s3(const char *url, const char *region, const char *endpoint,
    struct aws_cred **cred)
{
	*cred = aws_cred_new(
	    &(struct aws_cred_opts){ .env = env_of, .timeout_ms = 1000 });
	return object_open(&(struct object_opts){ .url = url,
			       .region = region,
			       .endpoint = endpoint,
			       .cred = *cred,
			       .timeout_ms = 1000 },
	    &store, &e);
}

START_TEST(a_bucket_has_an_address)
{
	const char *url = "", *want = places[_i].address;
	struct aws_cred *cred;

	ck_assert_int_eq(open_s3(places[_i].url, places[_i].region,
			     places[_i].endpoint, &cred),
	    RC_OK);
	ck_assert_int_eq(
	    object_presign(store, places[_i].key, 60, arena, &url, &e), RC_OK);
	ck_assert_str_eq(arena_strndup(arena, url, strlen(want)), want);
	ck_assert_ptr_nonnull(strstr(url, "X-Amz-Expires=60"));
	ck_assert_int_eq(
	    object_presign(store, "a", 0, arena, &url, &e), RC_INVALID);
	ck_assert_int_eq(
	    object_presign(store, "a", 604801, arena, &url, &e), RC_INVALID);
	object_close(store);
	store = NULL;
	aws_cred_free(cred);
}
END_TEST

static const char *const bad_urls[] = { "", "file:", "file:m", "file:./m",
	"file:/no/such/folder", "file:/dev/null", "ftp://x", "/tmp",
	"s3:bucket", "s3://", "s3://ab", "s3://-bucket", "s3://bucket-",
	"s3://Bucket", "s3://buck_et", "s3://a..b", "s3://bucket/a//b",
	"s3://bucket/../b", "s3://user@host", "s3://host:80" };

START_TEST(an_address_that_cannot_be_used_is_told)
{
	struct aws_cred *cred;

	ck_assert_int_eq(
	    open_s3(bad_urls[_i], "eu-central-1", "", &cred), RC_INVALID);
	ck_assert_str_eq(e.code, "bad_configuration");
	ck_assert_ptr_null(store);
	aws_cred_free(cred);
}
END_TEST

START_TEST(a_bucket_needs_a_region)
{
	static const char *const bad[] = { "", "eu central", "x/y", "a@b" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct aws_cred *cred;

		ck_assert_int_eq(
		    open_s3("s3://media", bad[i], "", &cred), RC_INVALID);
		ck_assert_str_eq(e.code, "bad_configuration");
		aws_cred_free(cred);
	}
	ck_assert_ptr_null(store);
}
END_TEST

START_TEST(a_prefix_counts_to_a_keys_length)
{
	struct aws_cred *cred;
	const char *url;

	ck_assert_int_eq(open_s3("s3://media/0123456789/0123456789/01",
			     "eu-central-1", "", &cred),
	    RC_OK);
	ck_assert_int_eq(
	    object_presign(store, long_key(99, 999), 60, arena, &url, &e),
	    RC_OK);
	ck_assert_int_eq(
	    object_presign(store, long_key(98, 1000), 60, arena, &url, &e),
	    RC_INVALID);
	ck_assert_str_eq(e.code, "bad_object_key");
	object_close(store);
	store = NULL;
	aws_cred_free(cred);
}
END_TEST

#define N(list) (int)(sizeof(list) / sizeof *(list))

int
main(void)
{
	Suite *s = suite_create("object");
	TCase *tc = tcase_create("object");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(
	    tc, a_bad_key_is_refused_by_every_call, 0, N(bad_keys));
	tcase_add_loop_test(tc, a_good_key_names_an_object, 0, N(good_keys));
	tcase_add_test(tc, a_key_has_1000_bytes_at_most);
	tcase_add_test(tc, a_part_of_a_key_has_255_bytes_in_a_folder);
	tcase_add_loop_test(
	    tc, a_header_cannot_be_smuggled_in, 0, N(bad_headers));
	tcase_add_loop_test(
	    tc, an_address_that_cannot_be_used_is_told, 0, N(bad_urls));
	tcase_add_test(tc, the_folder_may_be_a_link);
	tcase_add_test(tc, what_was_put_is_there);
	tcase_add_test(tc, a_put_replaces);
	tcase_add_loop_test(tc, the_extension_is_the_type, 0, N(types));
	tcase_add_test(tc, what_is_none_is_none);
	tcase_add_test(tc, too_large_is_refused);
	tcase_add_test(tc, a_file_is_put_from_its_beginning);
	tcase_add_test(tc, a_file_that_is_cut_changes_nothing);
	tcase_add_test(tc, whatever_the_umask_the_web_server_may_read);
	tcase_add_test(tc, a_folder_presigns_nothing);
	tcase_add_test(tc, something_in_the_way_stays);
	tcase_add_test(tc, a_link_leads_nowhere);
	tcase_add_test(tc, a_link_in_an_objects_place_is_replaced_not_followed);
	tcase_add_test(tc, nothing_is_written_through_the_hidden_folder);
	tcase_add_test(tc, the_hidden_folder_holds_no_objects);
	tcase_add_test(tc, a_pipe_is_no_object);
	tcase_add_test(tc, a_file_that_may_not_grow_is_for_later);
	tcase_add_test(tc, what_a_killed_process_left_goes_after_a_day);
	tcase_add_test(tc, a_full_disk_is_for_later);
	tcase_add_test(tc, who_reads_while_others_write_sees_whole_objects);
	tcase_add_loop_test(tc, a_bucket_has_an_address, 0, N(places));
	tcase_add_test(tc, a_bucket_needs_a_region);
	tcase_add_test(tc, a_prefix_counts_to_a_keys_length);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
