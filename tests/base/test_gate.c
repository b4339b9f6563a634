#include "base/gate.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static int file;
static struct gate *gate;
static struct err e;

static void
given_a_gate(int inside, int waiting)
{
	file = gate_file();
	ck_assert_int_ge(file, 0);
	gate = gate_new(file, inside, waiting);
	e = (struct err)ERR_INIT;
}

/* A process that says when it is in, and stays until it is killed. */
static pid_t
somebody_inside(int inside, int waiting)
{
	int told[2];
	char c;

	ck_assert_int_eq(pipe(told), 0);
	pid_t pid = fork();

	if (pid == 0) {
		struct gate *mine = gate_new(file, inside, waiting);
		enum rc rc = gate_enter(mine, 0, NULL);

		if (write(told[1], rc == RC_OK ? "y" : "n", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	ck_assert_int_eq(read(told[0], &c, 1), 1);
	close(told[0]);
	close(told[1]);
	ck_assert_int_eq(c, 'y');
	return pid;
}

static void
end(pid_t pid)
{
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static void
gate_gone(void)
{
	gate_free(gate);
	close(file);
}

START_TEST(so_many_are_let_in)
{
	given_a_gate(2, 0);
	pid_t a = somebody_inside(2, 0);

	ck_assert(gate_enter(gate, 0, &e) == RC_OK);
	gate_leave(gate);
	pid_t b = somebody_inside(2, 0);

	ck_assert(gate_enter(gate, 60000, &e) == RC_RETRY); /* at once */
	ck_assert_str_eq(e.code, "gate_full");
	end(a);
	ck_assert(gate_enter(gate, 0, &e) == RC_OK);
	end(b);
	gate_gone();
}
END_TEST

START_TEST(who_may_wait_gets_in_when_one_dies)
{
	given_a_gate(1, 1);
	pid_t a = somebody_inside(1, 1);
	pid_t killer = fork();

	if (killer == 0) {
		usleep(50000);
		kill(a, SIGKILL);
		_exit(0);
	}
	ck_assert(gate_enter(gate, 60000, &e) == RC_OK);
	ck_assert_int_eq(waitpid(killer, NULL, 0), killer);
	ck_assert_int_eq(waitpid(a, NULL, 0), a);
	gate_leave(gate);
	/* Its seat is free again. */
	a = somebody_inside(1, 1);
	ck_assert(gate_enter(gate, 20, &e) == RC_RETRY);
	ck_assert(gate_enter(gate, 20, &e) == RC_RETRY);
	end(a);
	gate_gone();
}
END_TEST

START_TEST(no_gate_is_open)
{
	ck_assert(gate_enter(NULL, 0, &e) == RC_OK);
	gate_leave(NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gate");
	TCase *t = tcase_create("gate");
	SRunner *r;
	int failed;

	tcase_add_test(t, so_many_are_let_in);
	tcase_add_test(t, who_may_wait_gets_in_when_one_dies);
	tcase_add_test(t, no_gate_is_open);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
