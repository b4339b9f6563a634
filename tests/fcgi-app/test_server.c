#include "config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "fcgi-app/handover.h"
#include "fcgi-app/listen.h"
#include "fcgi-app/request.h"
#include "fcgi-app/scoreboard.h"

static struct arena *arena;
static struct err e;
static const struct request_limits limits = { 1000, 30000, 5000 };

static void
setup(void)
{
	arena = arena_new();
}

static void
teardown(void)
{
	arena_free(arena);
}

/* ---- requests */

static struct request
parsed(const char *const *params)
{
	struct request rq;

	request_parse(&rq, arena, params, &limits);
	return rq;
}

#define PARSED(...) parsed((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(request_takes_what_it_knows)
{
	struct request rq = PARSED("FCGI_ROLE=RESPONDER", "REQUEST_METHOD=POST",
	    "DOCUMENT_URI=/products/7", "QUERY_STRING=q=a+b",
	    "HTTP_COOKIE=souk_session=x", "CONTENT_LENGTH=5",
	    "CONTENT_TYPE=Application/JSON; charset=utf-8", "HTTPS=on",
	    "REMOTE_ADDR=192.0.2.1", "HTTP_X_REQUEST_ID=abc.1");

	ck_assert_int_eq(rq.bad.status, 0);
	ck_assert_int_eq(rq.method, M_POST);
	ck_assert_str_eq(rq.path, "/products/7");
	ck_assert_str_eq(rq.query_raw, "q=a+b");
	ck_assert_str_eq(fields_get(&rq.query, "q"), "a b");
	ck_assert_str_eq(fields_get(&rq.cookies, "souk_session"), "x");
	ck_assert_str_eq(rq.content_type, "application/json");
	ck_assert_int_eq(rq.content_length, 5);
	ck_assert(rq.https);
	ck_assert_str_eq(rq.remote_addr, "192.0.2.1");
	ck_assert_str_eq(rq.id, "abc.1");
	ck_assert_str_eq(request_param(&rq, "HTTPS"), "on");
	ck_assert_ptr_null(request_param(&rq, "HTTP"));
	ck_assert_int_gt(rq.deadline, clock_mono_ms() + 20000);
}
END_TEST

START_TEST(request_of_nothing_is_refused_but_safe)
{
	struct request rq = PARSED("FCGI_ROLE=RESPONDER");

	ck_assert_int_eq(rq.bad.status, 400);
	ck_assert_int_eq(rq.method, M_OTHER);
	ck_assert_str_eq(rq.path, "/");
	ck_assert_str_eq(rq.query_raw, "");
	ck_assert_str_eq(rq.content_type, "");
	ck_assert_str_eq(rq.remote_addr, "");
	ck_assert_int_eq(rq.content_length, -1);
	ck_assert_uint_eq(strlen(rq.id), 32);
}
END_TEST

static const struct {
	const char *souk, *document, *script, *info, *want;
} paths[] = {
	{ "/a", "/b", "/c", "/d", "/a" },
	{ NULL, "/b", "/c", "/d", "/b" },
	{ "", "", "/c", "/d", "/c/d" },
	{ NULL, NULL, "/products/1", NULL, "/products/1" },
	{ NULL, NULL, "", "/products/1", "/products/1" },
	{ NULL, NULL, "/souk.fcgi", "/products/1", "/products/1" },
	{ NULL, NULL, "/shop/souk.fcgi", "", "/" },
	{ NULL, "/\xed\x95\x9c", NULL, NULL, "/\xed\x95\x9c" },
};

static const char *
named(const char *name, const char *value)
{
	return value == NULL ? "NOTHING="
			     : arena_printf(arena, "%s=%s", name, value);
}

START_TEST(path_comes_from_the_best_source)
{
	struct request rq = PARSED(named("SOUK_PATH", paths[_i].souk),
	    named("DOCUMENT_URI", paths[_i].document),
	    named("SCRIPT_NAME", paths[_i].script),
	    named("PATH_INFO", paths[_i].info));

	ck_assert_int_eq(rq.bad.status, 0);
	ck_assert_str_eq(rq.path, paths[_i].want);
}
END_TEST

static const struct {
	const char *param;
	int status;
} refusals[] = {
	{ "DOCUMENT_URI=no-slash", 400 },
	{ "DOCUMENT_URI=/\xff", 400 },
	{ "DOCUMENT_URI=/a\nb", 400 },
	{ "DOCUMENT_URI=/\x7f", 400 },
	{ "QUERY_STRING=a=%ff", 400 },
	{ "QUERY_STRING=a=%00", 400 },
	{ "CONTENT_LENGTH=5x", 400 },
	{ "CONTENT_LENGTH=-1", 400 },
	{ "CONTENT_LENGTH=99999999999999999999", 400 },
	{ "SOUK_START=1000000000.000", 503 },
	{ "SOUK_START=99999999999.000", 0 },
	{ "SOUK_START=nonsense", 0 },
	{ "SOUK_START=1000000000.1", 0 },
	{ "CONTENT_LENGTH=", 0 },
};

START_TEST(what_is_wrong_is_refused)
{
	struct request rq =
	    PARSED(refusals[_i].param, "DOCUMENT_URI=/", "REQUEST_METHOD=GET");

	ck_assert_int_eq(rq.bad.status, refusals[_i].status);
	ck_assert_int_eq(rq.path[0], '/');
	ck_assert(refusals[_i].status == 0 || rq.bad.code[0] != '\0');
}
END_TEST

START_TEST(a_slow_upload_is_not_late)
{
	struct request rq = PARSED("DOCUMENT_URI=/", "REQUEST_METHOD=POST",
	    "CONTENT_LENGTH=900000", "SOUK_START=1000000000.000");

	ck_assert_int_eq(rq.bad.status, 0);
	ck_assert_int_gt(rq.waited_ms, 5000);
}
END_TEST

START_TEST(parameters_are_capped)
{
	const char *many[RQ_MAX_PARAMS + 3];
	char *large = arena_alloc(arena, RQ_MAX_PARAM_BYTES + 2);
	struct request rq;

	for (int i = 0; i < RQ_MAX_PARAMS + 2; i++)
		many[i] = "HTTP_A=b";
	many[RQ_MAX_PARAMS + 2] = NULL;
	request_parse(&rq, arena, many, &limits);
	ck_assert_int_eq(rq.bad.status, 431);
	memset(large, 'a', RQ_MAX_PARAM_BYTES + 1);
	large[RQ_MAX_PARAM_BYTES + 1] = '\0';
	rq = PARSED("DOCUMENT_URI=/", large);
	ck_assert_int_eq(rq.bad.status, 431);
	large[RQ_MAX_PATH + 20] = '\0';
	memcpy(large, "DOCUMENT_URI=/", 14);
	rq = PARSED(large);
	ck_assert_int_eq(rq.bad.status, 414);
	ck_assert_str_eq(rq.path, "/");
}
END_TEST

START_TEST(an_id_that_is_no_token_is_replaced)
{
	static const char *const bad[] = { "HTTP_X_REQUEST_ID=",
		"HTTP_X_REQUEST_ID=a b", "HTTP_X_REQUEST_ID=a\"b",
		"HTTP_X_REQUEST_ID=123456789012345678901234567890123" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct request rq = PARSED("DOCUMENT_URI=/", bad[i]);

		ck_assert_uint_eq(strlen(rq.id), 32);
		ck_assert_ptr_null(strpbrk(rq.id, " \""));
	}
}
END_TEST

static const struct {
	const char *length;
	uint64_t got;
	int status;
} bodies[] = {
	{ "CONTENT_LENGTH=5", 5, 0 },
	{ "CONTENT_LENGTH=5", 4, 400 },
	{ "CONTENT_LENGTH=5", 6, 400 },
	{ "CONTENT_LENGTH=0", 0, 0 },
	{ "CONTENT_LENGTH=", 0, 0 },
	{ "CONTENT_LENGTH=", 1, 411 },
	{ "CONTENT_LENGTH=1000", 1000, 0 },
	{ "CONTENT_LENGTH=1001", 1001, 413 },
	{ "CONTENT_LENGTH=1001", 0, 413 },
	{ "CONTENT_LENGTH=", 1001, 413 },
};

START_TEST(a_body_is_what_was_declared)
{
	struct request rq = PARSED("DOCUMENT_URI=/", bodies[_i].length);
	struct span body = { "0123456789", 5 };

	request_body(&rq, body, bodies[_i].got, &limits);
	ck_assert_int_eq(rq.bad.status, bodies[_i].status);
	ck_assert_int_eq(rq.too_large, bodies[_i].status == 413);
	ck_assert_uint_eq(rq.body.n, bodies[_i].status == 0 ? 5 : 0);
}
END_TEST

/* ---- responses */

START_TEST(head_says_what_there_is_and_ids_private_answers_alone)
{
	struct request rq = PARSED("DOCUMENT_URI=/", "HTTP_X_REQUEST_ID=i");
	struct response rs = { .status = 404,
		.type = "text/html",
		.cache = "public",
		.etag = "\"v1\"",
		.encoding = "gzip",
		.vary_encoding = true,
		.body = { "abc", 3 } };
	struct strbuf out;

	strbuf_init(&out, 0);
	response_header(&rs, arena, "Allow", "GET");
	ck_assert_int_eq(response_head(&rs, &rq, &out, &e), RC_OK);
	ck_assert_str_eq(out.s,
	    "Status: 404 Not Found\r\nContent-Type: text/html\r\n"
	    "Cache-Control: public\r\nETag: \"v1\"\r\n"
	    "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
	    "Allow: GET\r\nContent-Length: 3\r\n\r\n");
	strbuf_reset(&out);
	rs = (struct response){ .status = 304 };
	ck_assert_int_eq(response_head(&rs, &rq, &out, &e), RC_OK);
	ck_assert_str_eq(out.s,
	    "Status: 304 Not Modified\r\nCache-Control: private, no-store\r\n"
	    "X-Request-Id: i\r\n\r\n");
	strbuf_release(&out);
}
END_TEST

START_TEST(head_with_a_line_end_is_refused)
{
	struct request rq = PARSED("DOCUMENT_URI=/");
	struct response rs = { .status = 302 };
	struct strbuf out;

	strbuf_init(&out, 0);
	strbuf_adds(&out, "kept");
	response_header(&rs, arena, "Location", "/a\r\nSet-Cookie: b=c");
	ck_assert_int_eq(response_head(&rs, &rq, &out, &e), RC_FAIL);
	ck_assert_str_eq(out.s, "kept");
	rs = (struct response){ .status = 200, .etag = "\"\n\"" };
	ck_assert_int_eq(response_head(&rs, &rq, &out, &e), RC_FAIL);
	strbuf_release(&out);
}
END_TEST

/* ---- scoreboard */

static struct scoreboard *
new_board(void)
{
	struct scoreboard *board;
	bool named;

	ck_assert_int_eq(scoreboard_create(NULL, &board, &named, &e), RC_OK);
	ck_assert(!named);
	return board;
}

START_TEST(totals_outlive_the_children)
{
	struct scoreboard *board = new_board();
	struct score_slot *a = scoreboard_take(board, 1, false);
	struct score_slot *b = scoreboard_take(board, 1, false);
	struct score_end end = { .status = 200, .bytes_out = 10, .us = 700 };
	struct score_total t;

	ck_assert_ptr_ne(a, b);
	for (int i = 0; i < 3; i++)
		score_end(a, &end);
	end.status = 503;
	end.late = true;
	score_end(b, &end);
	score_conns(b, 7);
	score_idle(b);
	scoreboard_retire(board, a);
	scoreboard_total(board, &t);
	ck_assert_uint_eq(t.n.requests, 4);
	ck_assert_uint_eq(t.n.status[2], 3);
	ck_assert_uint_eq(t.n.status[5], 1);
	ck_assert_uint_eq(t.n.late, 1);
	ck_assert_uint_eq(t.n.bytes_out, 40);
	ck_assert_uint_eq(t.n.bucket[1], 4); /* 0.5 to 1 ms */
	ck_assert_int_eq(t.conns, 7);
	ck_assert_int_eq(t.idle, 1);
	ck_assert_int_eq(t.active, 0);
	ck_assert_ptr_eq(scoreboard_take(board, 2, false), a);
	scoreboard_close(board);
}
END_TEST

START_TEST(a_child_killed_while_it_writes_does_no_harm)
{
	struct scoreboard *board = new_board();
	struct score_slot *s = scoreboard_take(board, 1, false);
	struct score_end end = { .status = 200 };
	struct score_total t;

	score_end(s, &end);
	s->seq++; /* odd, for ever */
	scoreboard_total(board, &t);
	ck_assert_uint_eq(t.n.requests, 1);
	scoreboard_retire(board, s);
	ck_assert_uint_eq(s->seq % 2, 0);
	scoreboard_total(board, &t);
	ck_assert_uint_eq(t.n.requests, 1);
	scoreboard_close(board);
}
END_TEST

/* Every request is counted in a class and in a bucket: a torn copy differs. */
START_TEST(readers_see_whole_slots)
{
	struct scoreboard *board = new_board();
	struct score_slot *s = scoreboard_take(board, 1, false);
	int64_t end_ms = clock_mono_ms() + 300;
	pid_t pid = fork();
	int n = 0, status;

	if (pid == 0) {
		struct score_end end = { .status = 200, .us = 1 };

		while (clock_mono_ms() < end_ms)
			score_end(s, &end);
		_exit(0);
	}
	while (clock_mono_ms() < end_ms) {
		struct score_slot copy;

		scoreboard_read(board, 0, &copy);
		ck_assert_uint_eq(copy.n.requests, copy.n.status[2]);
		ck_assert_uint_eq(copy.n.requests, copy.n.bucket[0]);
		ck_assert_uint_eq(copy.seq % 2, 0);
		n++;
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_gt(n, 100);
	ck_assert_uint_gt(s->n.requests, 100);
	scoreboard_close(board);
}
END_TEST

START_TEST(a_scoreboard_is_found_while_its_server_lives)
{
	struct scoreboard *board, *other;
	char path[64];
	bool named;

	snprintf(path, sizeof path, "/tmp/souk-board-%ld", (long)getpid());
	ck_assert_int_eq(scoreboard_create(path, &board, &named, &e), RC_OK);
	ck_assert(named);
	ck_assert_int_eq(scoreboard_open(path, &other, &e), RC_OK);
	scoreboard_close(other);
	/* Another server does not take its name. */
	ck_assert_int_eq(scoreboard_create(path, &other, &named, &e), RC_OK);
	ck_assert(!named);
	scoreboard_close(other);
	scoreboard_close(board);
	ck_assert_int_eq(scoreboard_open(path, &other, &e), RC_NONE);
	/* Its name is free again. */
	ck_assert_int_eq(scoreboard_create(path, &board, &named, &e), RC_OK);
	ck_assert(named);
	scoreboard_close(board);
	unlink(path);
	ck_assert_int_eq(scoreboard_open(path, &other, &e), RC_NONE);
}
END_TEST

/* ---- sockets */

static const struct {
	const char *s;
	bool ok, is_unix, loopback;
} addresses[] = {
	{ "unix:/run/souk/fcgi.sock", true, true, true },
	{ "127.0.0.1:9000", true, false, true },
	{ "127.9.9.9:1", true, false, true },
	{ "[::1]:9000", true, false, true },
	{ "0.0.0.0:9000", true, false, false },
	{ "*:9000", true, false, false },
	{ "[::]:65535", true, false, false },
	{ "192.0.2.1:80", true, false, false },
	{ "unix:relative", false, false, false },
	{ "unix:", false, false, false },
	{ "", false, false, false },
	{ "9000", false, false, false },
	{ ":9000", false, false, false },
	{ "localhost:9000", false, false, false },
	{ "::1:9000", false, false, false },
	{ "127.0.0.1:0", false, false, false },
	{ "127.0.0.1:65536", false, false, false },
	{ "127.0.0.1:9000x", false, false, false },
	{ "127.0.0.1:", false, false, false },
};

START_TEST(addresses_are_what_they_say)
{
	struct listen_addr a;
	enum rc rc = listen_parse(addresses[_i].s, &a, &e);

	ck_assert_int_eq(rc, addresses[_i].ok ? RC_OK : RC_INVALID);
	if (rc == RC_OK) {
		ck_assert_int_eq(a.is_unix, addresses[_i].is_unix);
		ck_assert_int_eq(a.loopback, addresses[_i].loopback);
	}
}
END_TEST

START_TEST(a_path_too_long_is_refused)
{
	char s[200] = "unix:/";
	struct listen_addr a;

	memset(s + 6, 'a', 120);
	ck_assert_int_eq(listen_parse(s, &a, &e), RC_INVALID);
}
END_TEST

START_TEST(a_connection_is_handed_over)
{
	int pair[2], conn[2], got;
	char c = 0;

	ck_assert_int_eq(handover_open(pair), 0);
	ck_assert_int_eq(handover_take(pair[HANDOVER_TAKE]), -1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, conn), 0);
	ck_assert_int_eq(write(conn[0], "x", 1), 1); /* unread: goes along */
	ck_assert(handover_send(pair[HANDOVER_SEND], conn[1]));
	got = handover_take(pair[HANDOVER_TAKE]);
	ck_assert_int_ge(got, 0);
	ck_assert_int_eq(read(got, &c, 1), 1);
	ck_assert_int_eq(c, 'x');
}
END_TEST

START_TEST(a_full_handover_queue_says_so)
{
	int pair[2], conn[2], n = 0;

	ck_assert_int_eq(handover_open(pair), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, conn), 0);
	for (;;) {
		int copy = dup(conn[1]);

		if (!handover_send(pair[HANDOVER_SEND], copy)) {
			ck_assert_int_eq(close(copy), 0); /* still ours */
			break;
		}
		ck_assert_int_lt(++n, 100000);
	}
	ck_assert_int_ge(n, 64); /* what one child may hold */
	close(handover_take(pair[HANDOVER_TAKE]));
	ck_assert(handover_send(pair[HANDOVER_SEND], dup(conn[1])));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fcgi");
	TCase *tc = tcase_create("server");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, request_takes_what_it_knows);
	tcase_add_test(tc, request_of_nothing_is_refused_but_safe);
	tcase_add_loop_test(tc, path_comes_from_the_best_source, 0,
	    sizeof paths / sizeof *paths);
	tcase_add_loop_test(tc, what_is_wrong_is_refused, 0,
	    sizeof refusals / sizeof *refusals);
	tcase_add_test(tc, a_slow_upload_is_not_late);
	tcase_add_test(tc, parameters_are_capped);
	tcase_add_test(tc, an_id_that_is_no_token_is_replaced);
	tcase_add_loop_test(
	    tc, a_body_is_what_was_declared, 0, sizeof bodies / sizeof *bodies);
	tcase_add_test(
	    tc, head_says_what_there_is_and_ids_private_answers_alone);
	tcase_add_test(tc, head_with_a_line_end_is_refused);
	tcase_add_test(tc, totals_outlive_the_children);
	tcase_add_test(tc, a_child_killed_while_it_writes_does_no_harm);
	tcase_add_test(tc, readers_see_whole_slots);
	tcase_add_test(tc, a_scoreboard_is_found_while_its_server_lives);
	tcase_add_loop_test(tc, addresses_are_what_they_say, 0,
	    sizeof addresses / sizeof *addresses);
	tcase_add_test(tc, a_path_too_long_is_refused);
	tcase_add_test(tc, a_connection_is_handed_over);
	tcase_add_test(tc, a_full_handover_queue_says_so);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
