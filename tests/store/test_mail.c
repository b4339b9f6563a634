/* Addresses, the form of a message, delivery into a maildir. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "store/mail.h"

static char dir[64];
static struct arena *arena;
static struct mail *mail;
static struct err e;

static const struct mail_message hello = {
	.id = "0123456789abcdef0123456789abcdef",
	.to = "buyer@example.com",
	.subject = "Hello",
	.text = "One line\n",
};

static const char *
path(const char *below)
{
	return arena_printf(arena, "%s%s", dir, below);
}

static enum rc
open_at(const char *url, const char *from)
{
	return mail_open(&(struct mail_opts){ .url = url,
			     .from = from,
			     .host = "shop.example",
			     .timeout_ms = 1000 },
	    &mail, &e);
}

static void
given_maildir(void)
{
	ck_assert_int_eq(open_at(arena_printf(arena, "maildir:%s/m", dir),
			     "The “Shop” <shop@example.com>"),
	    RC_OK);
}

static void
setup(void)
{
	(void)snprintf(dir, sizeof dir, "/tmp/test-mail.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	arena = arena_new();
	mail = NULL;
	e = (struct err)ERR_INIT;
}

static void
teardown(void)
{
	mail_close(mail);
	ck_assert_int_eq(system(arena_printf(arena, "rm -rf %s", dir)), 0);
	arena_free(arena);
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

static const char *
read_file(const char *name)
{
	FILE *f = fopen(name, "r");
	char buf[4096];
	struct strbuf sb;
	const char *s;
	size_t n;

	ck_assert_ptr_nonnull(f);
	strbuf_init(&sb, 4096);
	while ((n = fread(buf, 1, sizeof buf, f)) > 0)
		strbuf_add(&sb, buf, n);
	(void)fclose(f);
	s = arena_strndup(arena, sb.s, sb.len);
	strbuf_release(&sb);
	return s;
}

/* ---- addresses */

static const struct {
	const char *address;
	bool ok;
} addresses[] = {
	{ "a@example.com", true },
	{ "first.last+tag@mail.example.co.uk", true },
	{ "o'brien_{x}@xn--bcher-kva.example", true },
	{ "1@2.de", true },
	{ "", false },
	{ "@example.com", false },
	{ "a@", false },
	{ "a", false },
	{ "a@b", false },
	{ "a@localhost", false },
	{ "a@@example.com", false },
	{ "a@b@example.com", false },
	{ ".a@example.com", false },
	{ "a.@example.com", false },
	{ "a..b@example.com", false },
	{ "a@.example.com", false },
	{ "a@example.com.", false },
	{ "a@example..com", false },
	{ "a@-example.com", false },
	{ "a@example-.com", false },
	{ "a@exa_mple.com", false },
	{ "a@127.0.0.1", false },
	{ "a@[127.0.0.1]", false },
	{ "a b@example.com", false },
	{ "a@example.com ", false },
	{ " a@example.com", false },
	{ "a@example.com\n", false },
	{ "a@example.com\r\nBcc: x@example.com", false },
	{ "a\n@example.com", false },
	{ "a\t@example.com", false },
	{ "\"a\"@example.com", false },
	{ "<a@example.com>", false },
	{ "a@example.com,b@example.com", false },
	{ "a@example.com>", false },
	{ "j\xc3\xb6rg@example.com", false },
	{ "a@b\xc3\xbc.de", false },
	{ "a@\x7f.de", false },
};

START_TEST(address)
{
	ck_assert_msg(
	    mail_address_ok(addresses[_i].address) == addresses[_i].ok,
	    "\"%s\" should be %s", addresses[_i].address,
	    addresses[_i].ok ? "taken" : "refused");
}
END_TEST

START_TEST(an_address_has_lengths)
{
	char s[300];

	memset(s, 'a', sizeof s);
	memcpy(s + 64, "@example.com", 13);
	ck_assert(mail_address_ok(s));
	memset(s, 'a', 65);
	memcpy(s + 65, "@example.com", 13);
	ck_assert(!mail_address_ok(s));
	/* 254 in all: "a@" and labels of 63, 63, 63 and 60 */
	memset(s, 'a', sizeof s);
	s[1] = '@';
	for (int i = 1; i <= 3; i++)
		s[1 + i * 64] = '.';
	s[254] = '\0';
	ck_assert(mail_address_ok(s));
	s[254] = 'a';
	s[255] = '\0';
	ck_assert(!mail_address_ok(s));
	/* and a label has 63 at most */
	memcpy(s + 254, "", 1);
	s[1 + 64] = 'a';
	ck_assert(!mail_address_ok(s));
}
END_TEST

/* ---- what must not be sent */

START_TEST(a_header_cannot_be_smuggled_in)
{
	struct mail_message m = hello;

	given_maildir();
	m.subject = "Hi\r\nBcc: x@example.com";
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "invalid_subject");
	m = hello;
	m.to = "a@example.com\nBcc: x@example.com";
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "invalid_address");
	m = hello;
	m.id = "../../etc/passwd";
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "invalid_id");
	m.id = "";
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_INVALID);
	m = hello;
	m.text = "\xff";
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_INVALID);
	ck_assert_int_eq(files_in("/m/new"), 0);
}
END_TEST

static const struct {
	const char *url, *from, *words;
} bad[] = {
	{ "ftp://x", "a@example.com", "smtp://" },
	{ "maildir:relative", "a@example.com", "whole path" },
	{ "smtp://", "a@example.com", "write it as" },
	{ "smtp://user@host", "a@example.com", "no password" },
	{ "maildir:/tmp", "nobody", "[mail] from" },
	{ "maildir:/tmp", "Shop <a@example.com", "[mail] from" },
	{ "maildir:/tmp", "Shop\nBcc: x@y.de <a@example.com>", "[mail] from" },
};

START_TEST(a_setting_that_cannot_be_used_is_named)
{
	ck_assert_int_eq(open_at(bad[_i].url, bad[_i].from), RC_INVALID);
	ck_assert_msg(strstr(e.msg, bad[_i].words) != NULL, "%s", e.msg);
	/* what -t can say of it */
	ck_assert_msg(strstr(bad[_i].words, "no password") != NULL ||
			  !mail_url_ok(bad[_i].url) ||
			  !mail_from_ok(bad[_i].from),
	    "%s %s", bad[_i].url, bad[_i].from);
}
END_TEST

START_TEST(a_shop_without_a_domain_may_send)
{
	ck_assert(mail_url_ok("maildir:/var/mail"));
	ck_assert(mail_url_ok("smtp://mx"));
	ck_assert(mail_url_ok("smtps://a:b@mx:465"));
	ck_assert(mail_from_ok("Souk <shop@localhost>"));
	ck_assert_int_eq(open_at(arena_printf(arena, "maildir:%s/m", dir),
			     "Souk <shop@localhost>"),
	    RC_OK);
	ck_assert_int_eq(mail_send(mail, &hello, arena, &e), RC_OK);
}
END_TEST

/* ---- the maildir */

START_TEST(a_message_lies_in_new_once)
{
	struct stat st;

	given_maildir();
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(mail_send(mail, &hello, arena, &e), RC_OK);
	ck_assert_int_eq(files_in("/m/new"), 1);
	ck_assert_int_eq(files_in("/m/tmp"), 0);
	ck_assert_int_eq(stat(path("/m"), &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0700);
	ck_assert_int_eq(
	    stat(path("/m/new/0123456789abcdef0123456789abcdef"), &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_uint_eq(st.st_nlink, 1);
}
END_TEST

START_TEST(a_message_that_was_read_is_not_sent_again)
{
	given_maildir();
	ck_assert_int_eq(mail_send(mail, &hello, arena, &e), RC_OK);
	ck_assert_int_eq(
	    rename(path("/m/new/0123456789abcdef0123456789abcdef"),
		path("/m/cur/0123456789abcdef0123456789abcdef:2,S")),
	    0);
	ck_assert_int_eq(mail_send(mail, &hello, arena, &e), RC_OK);
	ck_assert_int_eq(files_in("/m/new"), 0);
	ck_assert_int_eq(files_in("/m/cur"), 1);
}
END_TEST

START_TEST(one_whose_name_begins_alike_is_another)
{
	struct mail_message m = hello;

	given_maildir();
	m.id = "abcd";
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_OK);
	ck_assert_int_eq(
	    rename(path("/m/new/abcd"), path("/m/cur/abcd:2,")), 0);
	m.id = "abc";
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_OK);
	ck_assert_int_eq(files_in("/m/new"), 1);
}
END_TEST

START_TEST(of_many_that_deliver_at_once_one_file_comes)
{
	int status, bad_exits = 0;

	given_maildir();
	for (int i = 0; i < 8; i++) {
		if (fork() == 0) {
			for (int k = 0; k < 20; k++) {
				struct mail_message m = hello;
				char id[8];

				(void)snprintf(id, sizeof id, "m%d", k);
				m.id = id;
				if (mail_send(mail, &m, arena, &e) != RC_OK)
					_exit(1);
			}
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		bad_exits += status != 0;
	ck_assert_int_eq(bad_exits, 0);
	ck_assert_int_eq(files_in("/m/new"), 20);
	ck_assert_int_eq(files_in("/m/tmp"), 0);
}
END_TEST

START_TEST(a_missing_folder_is_named)
{
	ck_assert_int_eq(
	    open_at(arena_printf(arena, "maildir:%s/no/such/m", dir),
		"a@example.com"),
	    RC_FAIL);
	ck_assert_msg(
	    strstr(e.msg, "/no/such: there is no such folder") != NULL, "%s",
	    e.msg);
}
END_TEST

START_TEST(a_folder_taken_away_is_told_and_nothing_lost)
{
	given_maildir();
	ck_assert_int_eq(rmdir(path("/m/new")), 0);
	ck_assert_int_eq(mail_send(mail, &hello, arena, &e), RC_FAIL);
	ck_assert_msg(strstr(e.msg, "/m/new") != NULL, "%s", e.msg);
	ck_assert_int_eq(files_in("/m/tmp"), 0);
	ck_assert_int_eq(mkdir(path("/m/new"), 0700), 0);
	ck_assert_int_eq(mail_send(mail, &hello, arena, &e), RC_OK);
	ck_assert_int_eq(files_in("/m/new"), 1);
}
END_TEST

START_TEST(a_file_in_the_folders_place_is_told)
{
	int fd = open(path("/m"), O_CREAT | O_WRONLY, 0600);

	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(
	    open_at(arena_printf(arena, "maildir:%s/m", dir), "a@example.com"),
	    RC_FAIL);
	ck_assert_msg(strstr(e.msg, "Not a directory") != NULL, "%s", e.msg);
}
END_TEST

START_TEST(a_full_disk_is_for_later)
{
	struct mail_message m = hello;
	char *big = arena_alloc(arena, 300001);
	struct err err = ERR_INIT;
	enum rc rc;
	int n;

	if (mount("tmpfs", dir, "tmpfs", 0, "size=200k") != 0) {
		(void)printf("# skipped, no tmpfs can be mounted: %s\n",
		    strerror(errno));
		return;
	}
	given_maildir();
	memset(big, 'x', 300000);
	big[300000] = '\0';
	m.text = big;
	rc = mail_send(mail, &m, arena, &err);
	n = files_in("/m/tmp") + files_in("/m/new");
	m.text = "small";
	enum rc after = mail_send(mail, &m, arena, &e);
	mail_close(mail);
	mail = NULL;
	ck_assert_int_eq(umount(dir), 0);
	ck_assert_int_eq(rc, RC_RETRY);
	ck_assert_str_eq(err.code, "mail_full");
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(after, RC_OK);
}
END_TEST

/* ---- the message, as Python's parser reads it */

static const char parse[] =
    "import sys, email, email.policy\n"
    "raw = open(sys.argv[1], 'rb').read()\n"
    "assert all(len(l) <= 78 and max(l, default=0) < 128 "
    "for l in raw.split(b'\\n')), 'long line'\n"
    "assert b'\\r' not in raw\n"
    "m = email.message_from_bytes(raw, policy=email.policy.default)\n"
    "assert not m.defects, m.defects\n"
    "for k in 'From To Subject Message-ID MIME-Version Auto-Submitted'"
    ".split():\n"
    "    print(k + ': ' + m[k])\n"
    "assert m['Date'].datetime.utcoffset().total_seconds() == 0\n"
    "import datetime\n"
    "age = datetime.datetime.now(datetime.timezone.utc) - "
    "m['Date'].datetime\n"
    "assert abs(age.total_seconds()) < 600, m['Date']\n"
    "for p in m.walk():\n"
    "    assert not p.defects, p.defects\n"
    "    print(p.get_content_type())\n"
    "    if not p.is_multipart():\n"
    "        print(p.get_content().replace('\\n', '|\\n'), end='')\n";

static const char *
parsed(const char *name)
{
	FILE *f = fopen(path("/parse.py"), "w");
	int rc;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(parse, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	rc = system(arena_printf(
	    arena, "python3 %s/parse.py %s >%s/out 2>&1", dir, name, dir));
	ck_assert_msg(rc == 0, "%s", read_file(path("/out")));
	return read_file(path("/out"));
}

static bool
python_there(void)
{
	if (system("python3 -c pass >/dev/null 2>&1") == 0)
		return true;
	(void)printf("# skipped: python3 is not installed\n");
	return false;
}

static const char subject[] =
    "Ihre Bestellung bei “Süß & Salzig” — 東京の市場 ist bezahlt und unterwegs "
    "zu Ihnen nach Überlingen";
static const char text[] =
    "Grüße aus Köln\n"
    ".a line that begins with a dot\n"
    "..\n"
    "From here on\n"
    "trailing blank \n"
    "a tab\tand = and =3D\n"
    "\n"
    "a very long line that goes on and on and on and on and on and on. And on "
    "and on and on, until it is well over the seventy-six that are allowed "
    "…………………………………………………… and ends\n"
    "crlf\r\n"
    "no end";
static const char html[] =
    "<!DOCTYPE html>\n<p style=\"margin:0\">ü &amp; ö</p>\n";

START_TEST(a_message_is_what_mime_wants)
{
	struct mail_message m = hello;
	const char *want;

	if (!python_there())
		return;
	given_maildir();
	m.subject = subject;
	m.text = text;
	m.html = html;
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_OK);
	want = arena_concat(arena,
	    "From: The “Shop” <shop@example.com>\n"
	    "To: buyer@example.com\n"
	    "Subject: ",
	    subject,
	    "\n"
	    "Message-ID: <0123456789abcdef0123456789abcdef@shop.example>\n"
	    "MIME-Version: 1.0\n"
	    "Auto-Submitted: auto-generated\n"
	    "multipart/alternative\n"
	    "text/plain\n"
	    "Grüße aus Köln|\n"
	    ".a line that begins with a dot|\n"
	    "..|\n"
	    "From here on|\n"
	    "trailing blank |\n"
	    "a tab\tand = and =3D|\n"
	    "|\n"
	    "a very long line that goes on and on and on and on and on and on. "
	    "And on and on and on, until it is well over the seventy-six that "
	    "are allowed …………………………………………………… and ends|\n"
	    "crlf|\n"
	    "no end|\n"
	    "text/html\n"
	    "<!DOCTYPE html>|\n<p style=\"margin:0\">ü &amp; ö</p>|\n",
	    NULL);
	ck_assert_str_eq(
	    parsed(path("/m/new/0123456789abcdef0123456789abcdef")), want);
}
END_TEST

START_TEST(a_message_of_text_alone)
{
	struct mail_message m = hello;

	if (!python_there())
		return;
	ck_assert_int_eq(open_at(arena_printf(arena, "maildir:%s/m/", dir),
			     "A \"B\" \\ C <shop@localhost>"),
	    RC_OK);
	/* Looks like an encoded word and is none. */
	m.subject = "=?UTF-8?B?QQ==?=";
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_OK);
	ck_assert_str_eq(
	    parsed(path("/m/new/0123456789abcdef0123456789abcdef")),
	    "From: \"A \\\"B\\\" \\\\ C\" <shop@localhost>\n"
	    "To: buyer@example.com\n"
	    "Subject: =?UTF-8?B?QQ==?=\n"
	    "Message-ID: <0123456789abcdef0123456789abcdef@shop.example>\n"
	    "MIME-Version: 1.0\n"
	    "Auto-Submitted: auto-generated\n"
	    "text/plain\n"
	    "One line|\n");
}
END_TEST

/* What a server or a mailbox would take for its own is not in the bytes. */
START_TEST(no_line_begins_with_a_dot_or_From)
{
	struct mail_message m = hello;
	const char *raw;
	char *dots = arena_alloc(arena, 1001);

	given_maildir();
	memset(dots, '.', 1000);
	dots[1000] = '\0';
	m.text = arena_concat(arena, "From x\n.\n", dots, NULL);
	ck_assert_int_eq(mail_send(mail, &m, arena, &e), RC_OK);
	raw = strstr(
	    read_file(path("/m/new/0123456789abcdef0123456789abcdef")), "\n\n");
	ck_assert_ptr_null(strstr(raw, "\n."));
	ck_assert_ptr_null(strstr(raw, "\nFrom "));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("mail");
	TCase *tc = tcase_create("mail");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(
	    tc, address, 0, sizeof addresses / sizeof *addresses);
	tcase_add_test(tc, an_address_has_lengths);
	tcase_add_test(tc, a_header_cannot_be_smuggled_in);
	tcase_add_loop_test(tc, a_setting_that_cannot_be_used_is_named, 0,
	    sizeof bad / sizeof *bad);
	tcase_add_test(tc, a_shop_without_a_domain_may_send);
	tcase_add_test(tc, a_message_lies_in_new_once);
	tcase_add_test(tc, a_message_that_was_read_is_not_sent_again);
	tcase_add_test(tc, one_whose_name_begins_alike_is_another);
	tcase_add_test(tc, of_many_that_deliver_at_once_one_file_comes);
	tcase_add_test(tc, a_missing_folder_is_named);
	tcase_add_test(tc, a_folder_taken_away_is_told_and_nothing_lost);
	tcase_add_test(tc, a_file_in_the_folders_place_is_told);
	tcase_add_test(tc, a_full_disk_is_for_later);
	tcase_add_test(tc, a_message_is_what_mime_wants);
	tcase_add_test(tc, a_message_of_text_alone);
	tcase_add_test(tc, no_line_begins_with_a_dot_or_From);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
