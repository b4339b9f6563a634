/*
 * Which addresses a stranger may lead us to. The fetching itself: fetch.sh.
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "store/fetch.h"

struct row {
	const char *address;
	bool ok;
};

static const struct row rows[] = {
	{ "1.1.1.1", true },
	{ "9.255.255.255", true },
	{ "11.0.0.0", true },
	{ "100.63.255.255", true },
	{ "100.128.0.0", true },
	{ "126.255.255.255", true },
	{ "128.0.0.1", true },
	{ "169.253.255.255", true },
	{ "169.255.0.0", true },
	{ "172.15.255.255", true },
	{ "172.32.0.0", true },
	{ "192.0.1.0", true },
	{ "192.167.255.255", true },
	{ "192.169.0.0", true },
	{ "198.17.255.255", true },
	{ "198.20.0.0", true },
	{ "223.255.255.255", true },
	{ "0.0.0.0", false },
	{ "0.1.2.3", false },
	{ "10.0.0.0", false },
	{ "10.255.255.255", false },
	{ "100.64.0.0", false },
	{ "100.100.100.200", false },
	{ "100.127.255.255", false },
	{ "127.0.0.1", false },
	{ "127.255.255.255", false },
	{ "168.63.129.16", false },
	{ "169.254.169.254", false },
	{ "172.16.0.0", false },
	{ "172.31.255.255", false },
	{ "192.0.0.192", false },
	{ "192.0.2.1", false },
	{ "192.88.99.1", false },
	{ "192.168.0.1", false },
	{ "198.18.0.1", false },
	{ "198.19.255.255", false },
	{ "198.51.100.1", false },
	{ "203.0.113.1", false },
	{ "224.0.0.1", false },
	{ "240.0.0.1", false },
	{ "255.255.255.255", false },
	{ "2606:4700::1111", true },
	{ "2001:4860:4860::8888", true },
	{ "2a00::1", true },
	{ "::", false },
	{ "::1", false },
	{ "::127.0.0.1", false },
	{ "::ffff:127.0.0.1", false },
	{ "::ffff:10.0.0.1", false },
	{ "::ffff:1.1.1.1", true },
	{ "64:ff9b::10.0.0.1", false },
	{ "64:ff9b::1.1.1.1", true },
	{ "64:ff9b:1::1.1.1.1", false },
	{ "2002:0a00:0001::1", false },
	{ "2002:0101:0101::1", true },
	{ "2001::1", false },
	{ "2001:1ff::1", false },
	{ "2001:200::1", true },
	{ "2001:db8::1", false },
	{ "3fff::1", false },
	{ "100::1", false },
	{ "fc00::1", false },
	{ "fd00:ec2::254", false },
	{ "fe80::1", false },
	{ "fec0::1", false },
	{ "ff02::1", false },
	{ "5f00::1", false },
};

START_TEST(an_address_is_for_everybody_or_not)
{
	const struct row *row = &rows[_i];
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	const struct sockaddr *address =
	    (const struct sockaddr *)(const void *)&four;

	if (strchr(row->address, ':') != NULL) {
		ck_assert_int_eq(
		    inet_pton(AF_INET6, row->address, &six.sin6_addr), 1);
		address = (const struct sockaddr *)(const void *)&six;
	} else {
		ck_assert_int_eq(
		    inet_pton(AF_INET, row->address, &four.sin_addr), 1);
	}
	ck_assert_msg(fetch_address_ok(address) == row->ok, "%s", row->address);
	ck_assert(fetch_address_any(address));
}
END_TEST

START_TEST(another_family_is_never_reached)
{
	struct sockaddr local = { .sa_family = AF_UNIX };

	ck_assert(!fetch_address_ok(&local));
	ck_assert(!fetch_address_any(&local));
}
END_TEST

START_TEST(this_hosts_own_addresses_are_known)
{
	static const struct row own[] = { { "127.0.0.1", true },
		{ "1.1.1.1", false }, { "::ffff:127.0.0.1", true },
		{ "2606:4700::1111", false } };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };

	for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
		bool is_six = strchr(own[i].address, ':') != NULL;
		const void *address = is_six ? (void *)&six : (void *)&four;

		ck_assert_int_eq(
		    inet_pton(is_six ? AF_INET6 : AF_INET, own[i].address,
			is_six ? (void *)&six.sin6_addr
			       : (void *)&four.sin_addr),
		    1);
		ck_assert_msg(fetch_address_own(address) == own[i].ok, "%s",
		    own[i].address);
	}
}
END_TEST

static const struct row urls[] = {
	{ "https://cdn.example/a.jpg", true },
	{ "HTTP://cdn.example:8080?x", true },
	{ "https://cdn.example/a@b", true },
	{ "https://[2606:4700::1111]/", true },
	{ "https://bücher.example/ä.jpg", true },
	{ "", false },
	{ "/media/a.jpg", false },
	{ "ftp://cdn.example/", false },
	{ "file:///etc/passwd", false },
	{ "https://", false },
	{ "https:///a", false },
	{ "https://joe@cdn.example/", false },
	{ "https://cdn.example\\@127.0.0.1/", true }, /* host: cdn.example */
	{ "https://cdn.example/a b", false },
	{ "https://cdn.example/\r\nHost: x", false },
	{ "https://cdn.example/\x80", false },
};

START_TEST(an_url_can_be_fetched_or_not)
{
	ck_assert_msg(fetch_url_ok(urls[_i].address) == urls[_i].ok, "%s",
	    urls[_i].address);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fetch");
	TCase *tc = tcase_create("addresses");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, an_address_is_for_everybody_or_not, 0,
	    (int)(sizeof rows / sizeof *rows));
	tcase_add_test(tc, another_family_is_never_reached);
	tcase_add_test(tc, this_hosts_own_addresses_are_known);
	tcase_add_loop_test(tc, an_url_can_be_fetched_or_not, 0,
	    (int)(sizeof urls / sizeof *urls));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
