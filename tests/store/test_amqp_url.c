#include "store/amqp_url.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* "tls|host|port|user|password|vhost|queue", "" for what is none. */
static const struct {
	const char *url, *want;
} urls[] = {
	{ "amqp://h", "0|h|5672|guest|guest|/|souk.email" },
	{ "amqps://h", "1|h|5671|guest|guest|/|souk.email" },
	{ "amqp://h/", "0|h|5672|guest|guest|/|souk.email" },
	{ "amqp://h/%2F", "0|h|5672|guest|guest|/|souk.email" },
	{ "amqp://h/%2fa%20b", "0|h|5672|guest|guest|/a b|souk.email" },
	{ "amqp://h/v", "0|h|5672|guest|guest|v|souk.email" },
	{ "amqp://u:p@h:1/v?queue=q", "0|h|1|u|p|v|q" },
	{ "amqps://u:p@h:1?queue=q%2Fq", "1|h|1|u|p|/|q/q" },
	{ "amqp://u%40x:p%3A%2F%3f@h", "0|h|5672|u@x|p:/?|/|souk.email" },
	{ "amqp://u:p@q@h", "0|h|5672|u|p@q|/|souk.email" },
	{ "amqp://u:@h", "0|h|5672|u||/|souk.email" },
	{ "amqp://u:a:b@h", "0|h|5672|u|a:b|/|souk.email" },
	{ "amqp://[::1]", "0|::1|5672|guest|guest|/|souk.email" },
	{ "amqp://u:p@[::1]:7/v", "0|::1|7|u|p|v|souk.email" },
	{ "amqp://h?queue=\xc3\xbc", "0|h|5672|guest|guest|/|\xc3\xbc" },
	{ "amqp:", "" },
	{ "amqp:/h", "" },
	{ "amqpx://h", "" },
	{ "AMQP://h", "" },
	{ "amqp://", "" },
	{ "amqp:///v", "" },
	{ "amqp://secret@h", "" },
	{ "amqp://:secret@h", "" },
	{ "amqp://u:secret@", "" },
	{ "amqp://u:secret%@h", "" },
	{ "amqp://u:secret%4@h", "" },
	{ "amqp://u:secret%zz@h", "" },
	{ "amqp://u:secret%00@h", "" },
	{ "amqp://u:secret%0a@h", "" },
	{ "amqp://u:secret%ff@h", "" },
	{ "amqp://u:sec/ret@h", "" },
	{ "amqp://u:secret@h:", "" },
	{ "amqp://u:secret@h:0", "" },
	{ "amqp://u:secret@h:65536", "" },
	{ "amqp://u:secret@h:1x", "" },
	{ "amqp://u:secret@[::1", "" },
	{ "amqp://u:secret@[::1]x", "" },
	{ "amqp://u:secret@[::1]:", "" },
	{ "amqp://u:secret@a b", "" },
	{ "amqp://u:secret@h#f", "" },
	{ "amqp://u:secret@h?x=1", "" },
	{ "amqp://u:secret@h?queue=", "" },
	{ "amqp://u:secret@h?queue=a&x=1", "" },
	{ "amqp://u:secret@h?queue=amq.x", "" },
	{ "amqp://u:secret@h/v%", "" },
};

START_TEST(an_address_is_taken_apart)
{
	struct arena *arena = arena_new();
	struct amqp_url u = { 0 };
	struct err e = ERR_INIT;
	enum rc rc = amqp_url_parse(urls[_i].url, "email", &u, &e);

	if (*urls[_i].want == '\0') {
		ck_assert_int_eq(rc, RC_INVALID);
		ck_assert_str_eq(e.code, "bad_queue_url");
		ck_assert_ptr_null(strstr(e.msg, "sec"));
		ck_assert_ptr_null(u.password);
	} else {
		ck_assert_msg(rc == RC_OK, "%s: %s", urls[_i].url, e.msg);
		ck_assert_str_eq(
		    arena_printf(arena, "%d|%s|%d|%s|%s|%s|%s", u.tls, u.host,
			u.port, u.user, u.password, u.vhost, u.queue),
		    urls[_i].want);
	}
	amqp_url_release(&u);
	arena_free(arena);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("amqp_url");
	TCase *tc = tcase_create("amqp_url");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(
	    tc, an_address_is_taken_apart, 0, sizeof urls / sizeof *urls);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
