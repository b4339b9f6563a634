/* pick.c: whose turn it is. */
#include "workers/pick.h"

#include <check.h>
#include <stdlib.h>

enum { HIGH, NORMAL, LOW, N };

static struct pick pick;

static void
given_one_of_each(void)
{
	pick_init(&pick);
	pick_add(&pick, CLASS_HIGH);
	pick_add(&pick, CLASS_NORMAL);
	pick_add(&pick, CLASS_LOW);
}

START_TEST(turns_are_shared_by_weight)
{
	const bool all[N] = { true, true, true };
	int turns[N] = { 0 };

	given_one_of_each();
	for (int i = 0; i < 100; i++)
		turns[pick_next(&pick, all)]++;
	ck_assert_int_eq(turns[HIGH], 60);
	ck_assert_int_eq(turns[NORMAL], 30);
	ck_assert_int_eq(turns[LOW], 10);
}
END_TEST

START_TEST(they_are_mixed)
{
	const bool all[N] = { true, true, true };
	int in_a_row = 0;

	given_one_of_each();
	for (int i = 0; i < 100; i++) {
		in_a_row = pick_next(&pick, all) == HIGH ? in_a_row + 1 : 0;
		ck_assert_int_le(in_a_row, 3);
	}
}
END_TEST

START_TEST(who_is_not_ready_takes_no_turn)
{
	const bool none[N] = { false }, low[N] = { [LOW] = true };

	given_one_of_each();
	ck_assert_int_eq(pick_next(&pick, none), -1);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(pick_next(&pick, low), LOW);
}
END_TEST

START_TEST(no_turns_are_saved_up)
{
	const bool all[N] = { true, true, true };
	const bool others[N] = { [HIGH] = true, [NORMAL] = true };
	int low = 0;

	given_one_of_each();
	for (int i = 0; i < 1000; i++)
		(void)pick_next(&pick, others);
	for (int i = 0; i < 10; i++)
		low += pick_next(&pick, all) == LOW;
	ck_assert_int_le(low, 2);
}
END_TEST

START_TEST(what_is_undone_was_no_turn)
{
	const bool all[N] = { true, true, true };
	int turns[N] = { 0 }, i;

	given_one_of_each();
	for (int n = 0; n < 100;) {
		i = pick_next(&pick, all);
		/* every other look of the high one's finds nothing */
		if (i == HIGH && rand() % 2 == 0) {
			pick_undo(&pick);
			continue;
		}
		turns[i]++;
		n++;
	}
	ck_assert_int_eq(turns[HIGH], 60);
	ck_assert_int_eq(turns[LOW], 10);
}
END_TEST

/* Whatever the others do, and however many they are. */
START_TEST(none_starves)
{
	bool ready[PICK_MOST];
	int waited = 0, sum = 0, n = 2 + _i;

	srand((unsigned)_i);
	pick_init(&pick);
	for (int i = 0; i < n - 1; i++) {
		pick_add(&pick, i % 3 == 2 ? CLASS_NORMAL : CLASS_HIGH);
		sum += pick.weight[i];
	}
	pick_add(&pick, CLASS_LOW);
	sum += 1;
	for (int k = 0; k < 20000; k++) {
		for (int i = 0; i < n; i++)
			ready[i] = i == n - 1 || rand() % 4 != 0;
		waited = pick_next(&pick, ready) == n - 1 ? 0 : waited + 1;
		ck_assert_int_lt(waited, 2 * sum);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pick");
	TCase *tc = tcase_create("pick");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, turns_are_shared_by_weight);
	tcase_add_test(tc, they_are_mixed);
	tcase_add_test(tc, who_is_not_ready_takes_no_turn);
	tcase_add_test(tc, no_turns_are_saved_up);
	tcase_add_test(tc, what_is_undone_was_no_turn);
	tcase_add_loop_test(tc, none_starves, 0, PICK_MOST - 2);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
