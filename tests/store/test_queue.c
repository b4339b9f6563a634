/* outbox.c, queue.c and queue_pg.c with PostgreSQL. Run by queue.sh. */
#include "config.h" /* HAVE_RABBITMQ */

#include "store/queue.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "queue_rig.h"
#include "store/outbox.h"
#include "store/pg.h"
#include "store/queue_pause.h"
#include "store/queue_pg.h"
#include "store/queue_rate.h"
#include "store/task_slot.h"

static struct pg *other_pg;

static struct queue *
new_queue(struct pg *p, int visibility_ms)
{
	return new_queue_at("pg:", p, visibility_ms, NULL);
}

static void
set_up(void)
{
	arena = arena_new();
	pg = new_pg();
	other_pg = new_pg();
	queue = new_queue(pg, 60000);
	other = new_queue(other_pg, 60000);
	sql("TRUNCATE outbox, finished_task, dead_task, task_slot, queue_pause, queue_minute");
}

static void
tear_down(void)
{
	queue_close(queue);
	queue_close(other);
	pg_free(pg);
	pg_free(other_pg);
	arena_free(arena);
}

static void
write_task(const char *type, const char *key, int64_t delay_ms)
{
	struct outbox_task task = { type, key, "{\"orderId\":\"x\"}",
		delay_ms };

	ck_assert_msg(
	    outbox_write(pg, 1, &task, arena, &e) == RC_OK, "%s", e.msg);
}

static int
receive_all(struct queue *q, struct task **out)
{
	return receive(q, QUEUE_BATCH, 0, out);
}

static struct task *
receive_one_of(struct queue *q)
{
	struct task *tasks;

	ck_assert_int_eq(receive(q, 1, 0, &tasks), 1);
	return tasks;
}

static int
count(struct queue *q)
{
	struct task *tasks;

	return receive_all(q, &tasks);
}

/* ---- outbox */

START_TEST(a_task_written_twice_is_one)
{
	write_task("send_email", "o1", 0);
	write_task("send_email", "o1", 0);
	write_task("order_confirmation", "o1", 0);
	ck_assert_str_eq(look("SELECT count(*) FROM outbox"), "2");
}
END_TEST

START_TEST(a_finished_or_dead_task_is_not_written_again)
{
	char id[TASK_ID_CHARS + 1];

	task_id("send_email", "o1", id);
	ck_assert_int_eq(task_finish(pg, id, arena, &e), RC_OK);
	ck_assert_int_eq(task_finish(pg, id, arena, &e), RC_NONE);
	write_task("send_email", "o1", 0);
	ck_assert_int_eq(count(queue), 0);
	write_task("send_email", "o2", 0);
	ck_assert_int_eq(
	    queue_bury(queue, receive_one(queue), "no", arena, &e), RC_OK);
	write_task("send_email", "o2", 0);
	ck_assert_int_eq(count(queue), 0);
}
END_TEST

START_TEST(an_id_is_of_type_and_key)
{
	char a[TASK_ID_CHARS + 1], b[TASK_ID_CHARS + 1];

	task_id("ab", "c", a);
	task_id("a", "bc", b);
	ck_assert_str_ne(a, b);
	/* SHA-256 of "send_email", NUL, "42", by sha256sum(1). */
	task_id("send_email", "42", a);
	ck_assert_str_eq(a, look("SELECT left(encode(sha256('send_email'::bytea"
				 " || '\\x00' || '42'), 'hex'), 32)"));
}
END_TEST

START_TEST(a_hidden_task_is_due_when_it_is_shown)
{
	write_task("send_email", "o1", OUTBOX_HIDDEN);
	ck_assert_int_eq(count(queue), 0);
	ck_assert_int_eq(outbox_show(pg, "send_email", "o1", arena, &e), RC_OK);
	ck_assert_int_eq(count(queue), 1);
	/* In hand: neither shown nor dropped. */
	ck_assert_int_eq(outbox_show(pg, "send_email", "o1", arena, &e), RC_OK);
	ck_assert_int_eq(outbox_drop(pg, "send_email", "o1", arena, &e), RC_OK);
	ck_assert_int_eq(count(queue), 0);
	ck_assert_str_eq(look("SELECT count(*) FROM outbox"), "1");
}
END_TEST

START_TEST(a_hidden_task_can_be_dropped)
{
	write_task("send_email", "o1", OUTBOX_HIDDEN);
	ck_assert_int_eq(outbox_drop(pg, "send_email", "o1", arena, &e), RC_OK);
	ck_assert_str_eq(look("SELECT count(*) FROM outbox"), "0");
	ck_assert_int_eq(outbox_show(pg, "send_email", "o1", arena, &e), RC_OK);
}
END_TEST

START_TEST(a_delayed_task_waits)
{
	write_task("send_email", "o1", 300);
	ck_assert_int_eq(count(queue), 0);
	clock_sleep_ms(350);
	ck_assert_int_eq(count(queue), 1);
}
END_TEST

START_TEST(a_rolled_back_cause_leaves_no_task)
{
	ck_assert_int_eq(pg_begin(pg, &e), RC_OK);
	write_task("send_email", "o1", 0);
	ck_assert_int_eq(count(other), 0);
	pg_rollback(pg);
	ck_assert_int_eq(count(other), 0);
}
END_TEST

START_TEST(old_records_go_but_for_tasks_that_may_come_again)
{
	int64_t n = -1;
	struct task *t;
	char id[TASK_ID_CHARS + 1];

	write_task("send_email", "dead", 0);
	t = receive_one(queue);
	ck_assert_int_eq(queue_bury(queue, t, "no", arena, &e), RC_OK);
	write_task("send_email", "waits", 0);
	for (int i = 0; i < 4; i++) {
		static const char *const keys[] = { "dead", "waits", "old",
			"new" };

		task_id("send_email", keys[i], id);
		ck_assert_int_eq(task_finish(pg, id, arena, &e), RC_OK);
	}
	sql(arena_printf(arena,
	    "UPDATE finished_task SET finished_at = now() - interval '15 days'"
	    " WHERE task_id <> '%s'",
	    id));
	ck_assert_int_eq(finished_task_purge(pg, 10, arena, &n, &e), RC_OK);
	ck_assert_int_eq(n, 1);
	task_id("send_email", "old", id);
	ck_assert_str_eq(look("SELECT count(*) FROM finished_task"), "3");
	ck_assert_int_eq(task_finish(pg, id, arena, &e), RC_OK);
}
END_TEST

/* ---- receiving */

START_TEST(a_task_comes_as_it_was_written)
{
	struct task *t;
	char id[TASK_ID_CHARS + 1];
	int64_t now = clock_wall_ms(), mono = clock_mono_ms();

	write_task("send_email", "o1", 0);
	t = receive_one(queue);
	task_id("send_email", "o1", id);
	ck_assert_str_eq(t->id, id);
	ck_assert_str_eq(t->type, "send_email");
	ck_assert_str_eq(t->queue, "email");
	ck_assert_str_eq(t->priority, "low");
	ck_assert_str_eq(t->data.p, "{\"orderId\": \"x\"}");
	ck_assert_int_eq(t->receives, 1);
	ck_assert_int_ge(t->created_ms, now - 1000);
	ck_assert_int_ge(t->lease_until_ms, mono + 60000 - 1);
}
END_TEST

START_TEST(two_receivers_never_get_one_task)
{
	struct task *a, *b;
	int na, nb;

	for (int i = 0; i < 15; i++)
		write_task("send_email", arena_printf(arena, "o%d", i), 0);
	na = receive_all(queue, &a);
	nb = receive_all(other, &b);
	ck_assert_int_eq(na, QUEUE_BATCH);
	ck_assert_int_eq(nb, 5);
	for (int i = 0; i < na; i++) {
		for (int j = 0; j < nb; j++)
			ck_assert_str_ne(a[i].id, b[j].id);
	}
	ck_assert_int_eq(count(queue), 0);
}
END_TEST

START_TEST(a_receiver_does_not_wait_for_another)
{
	int64_t start = clock_mono_ms();

	for (int i = 0; i < 12; i++)
		write_task("send_email", arena_printf(arena, "o%d", i), 0);
	ck_assert_int_eq(pg_begin(pg, &e), RC_OK); /* holds the row locks */
	ck_assert_int_eq(count(queue), QUEUE_BATCH);
	ck_assert_int_eq(count(other), 2);
	ck_assert_int_lt(clock_mono_ms() - start, 5000);
	pg_rollback(pg);
}
END_TEST

START_TEST(the_oldest_due_comes_first_of_its_queue)
{
	struct task *t;

	write_task("send_email", "late", 0);
	write_task("send_email", "early", 0);
	write_task("track_event", "elsewhere", 0);
	sql("UPDATE outbox SET visible_at = now() - interval '1 hour' WHERE "
	    "id = (SELECT max(id) FROM outbox WHERE queue = 'email')");
	ck_assert_int_eq(receive_all(queue, &t), 2);
	ck_assert_int_gt(strcmp(t[0].receipt, ""), 0);
	char id[TASK_ID_CHARS + 1];

	task_id("send_email", "early", id);
	ck_assert_str_eq(t[0].id, id);
}
END_TEST

/* ---- leases */

START_TEST(a_lease_that_ran_out_is_received_again)
{
	struct queue *brief = new_queue(pg, 200);
	struct task *first, *second;

	write_task("send_email", "o1", 0);
	first = receive_one(brief);
	ck_assert_int_eq(count(other), 0);
	clock_sleep_ms(250);
	second = receive_one(other);
	ck_assert_int_eq(second->receives, 2);
	/* Who lost it settles nothing. */
	ck_assert_int_eq(done_one(brief, first), RC_NONE);
	ck_assert_int_eq(
	    queue_return(brief, first, 0, "late", arena, &e), RC_NONE);
	ck_assert_int_eq(queue_bury(brief, first, "late", arena, &e), RC_NONE);
	ck_assert_int_eq(done_one(other, second), RC_OK);
	ck_assert_int_eq(done_one(other, second), RC_NONE);
	ck_assert_str_eq(look("SELECT count(*) FROM dead_task"), "0");
	queue_close(brief);
}
END_TEST

START_TEST(an_extended_lease_goes_on)
{
	struct queue *brief = new_queue(pg, 400);
	struct task *t, *both[2], gone;
	bool lost[2] = { false, false };

	write_task("send_email", "o1", 0);
	t = receive_one(brief);
	for (int i = 0; i < 4; i++) {
		clock_sleep_ms(200);
		int64_t was = t->lease_until_ms;

		ck_assert_int_eq(
		    queue_extend(brief, 1, &t, NULL, arena, &e), RC_OK);
		ck_assert_int_gt(t->lease_until_ms, was);
		ck_assert_int_eq(count(other), 0);
	}
	gone = *t;
	gone.receipt = "0123";
	both[0] = &gone;
	both[1] = t;
	ck_assert_int_eq(
	    queue_extend(brief, 2, both, lost, arena, &e), RC_NONE);
	ck_assert(lost[0] && !lost[1]);
	ck_assert_int_eq(done_one(brief, t), RC_OK);
	ck_assert_int_eq(queue_extend(brief, 1, &t, lost, arena, &e), RC_NONE);
	ck_assert(lost[0]);
	queue_close(brief);
}
END_TEST

START_TEST(what_was_not_started_does_not_count)
{
	struct task *t;

	write_task("send_email", "o1", 0);
	for (int i = 0; i < 5; i++) {
		t = receive_one(queue);
		ck_assert_int_eq(t->receives, 1);
		ck_assert_int_eq(
		    queue_return(queue, t, 0, NULL, arena, &e), RC_OK);
	}
	t = receive_one(queue);
	ck_assert_int_eq(
	    queue_return(queue, t, 300, "smtp: away", arena, &e), RC_OK);
	ck_assert_int_eq(count(queue), 0);
	clock_sleep_ms(350);
	ck_assert_int_eq(receive_one(queue)->receives, 2);
	ck_assert_str_eq(look("SELECT last_error FROM outbox"), "smtp: away");
}
END_TEST

/* ---- the dead */

START_TEST(the_first_error_is_kept)
{
	write_task("send_email", "o1", 0);
	for (int i = 0; i < 30; i++)
		ck_assert_int_eq(
		    queue_return(queue, receive_one(queue), 0,
			i == 0 ? "the first" : "another", arena, &e),
		    RC_OK);
	ck_assert_int_eq(
	    queue_bury(queue, receive_one(queue), "the last", arena, &e),
	    RC_OK);
	ck_assert_int_eq(count(queue), 0);
	ck_assert_str_eq(look("SELECT error FROM dead_task"), "the first");
	ck_assert_str_eq(
	    look("SELECT jsonb_array_length(history) || ' ' || (history -> -1"
		 " ->> 'error') || ' ' || receives FROM dead_task"),
	    "10 the last 31");
}
END_TEST

START_TEST(any_bytes_may_be_why)
{
	write_task("send_email", "o1", 0);
	ck_assert_int_eq(
	    queue_return(queue, receive_one(queue), 0, "cut \xc3", arena, &e),
	    RC_OK);
	ck_assert_int_eq(queue_bury(queue, receive_one(queue),
			     "\xff\xfe gr\xc3\xbc\xc3\x9f", arena, &e),
	    RC_OK);
	ck_assert_str_eq(look("SELECT error || (history #>> '{1,error}')"
			      " FROM dead_task"),
	    "cut ??? gr\xc3\xbc\xc3\x9f");
}
END_TEST

static int64_t
redriven(const char *type, int max)
{
	struct queue_redrive what = { .name = "email",
		.type = type,
		.max = max,
		.died_before_ms = clock_wall_ms() + 1000 };
	int64_t n = -1;

	ck_assert_msg(
	    queue_pg_redrive(pg, &what, arena, &n, &e) == RC_OK, "%s", e.msg);
	return n;
}

START_TEST(the_dead_come_back_with_their_history)
{
	struct task *t;
	int n;

	for (int i = 0; i < 4; i++)
		write_task(i == 0 ? "order_confirmation" : "send_email",
		    arena_printf(arena, "o%d", i), 0);
	n = receive_all(queue, &t);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(
		    queue_bury(queue, &t[i], "the first", arena, &e), RC_OK);
	ck_assert_int_eq(redriven("order_confirmation", 10), 1);
	ck_assert_int_eq(redriven(NULL, 2), 2);
	n = receive_all(queue, &t);
	ck_assert_int_eq(n, 3);
	ck_assert_int_eq(t[0].receives, 1);
	ck_assert_str_eq(t[0].priority, "low");
	ck_assert_int_eq(
	    queue_bury(queue, &t[0], "the second", arena, &e), RC_OK);
	ck_assert_str_eq(look("SELECT error || (history #>> '{1,error}') FROM"
			      " dead_task WHERE jsonb_array_length(history)"
			      " = 2"),
	    "the firstthe second");
	struct queue_redrive old = { .name = "email",
		.max = 10,
		.died_before_ms = clock_wall_ms() - 60000 };
	int64_t moved = -1;

	ck_assert_int_eq(queue_pg_redrive(pg, &old, arena, &moved, &e), RC_OK);
	ck_assert_int_eq(moved, 0);
}
END_TEST

static int64_t
redriven_by(struct queue_redrive what)
{
	struct queue_redrive_group *groups;
	int64_t n = -1, looked = 0;
	int k;

	what.name = "email";
	what.max = 100;
	if (what.died_before_ms == 0)
		what.died_before_ms = clock_wall_ms() + 1000;
	ck_assert_msg(queue_pg_redrive_look(
			  pg, &what, arena, &groups, &k, &e) == RC_OK,
	    "%s", e.msg);
	for (int i = 0; i < k; i++)
		looked += groups[i].n;
	ck_assert_msg(
	    queue_pg_redrive(pg, &what, arena, &n, &e) == RC_OK, "%s", e.msg);
	ck_assert_int_eq(looked, n); /* a look tells what it will do */
	return n;
}

START_TEST(the_dead_are_chosen_by_error_time_and_id)
{
	int64_t now = clock_wall_ms();
	struct task *t;
	const char *id;
	int n;

	for (int i = 0; i < 6; i++)
		write_task("send_email", arena_printf(arena, "o%d", i), 0);
	n = receive_all(queue, &t);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(queue_bury(queue, &t[i],
				     i < 3 ? "smtp_away: 421 %_" : "bad: \"x\"",
				     arena, &e),
		    RC_OK);
	id = t[5].id;
	sql("UPDATE dead_task SET died_at = now() - interval '2 h'"
	    " WHERE task_id IN (SELECT task_id FROM dead_task"
	    "  WHERE error LIKE 'smtp%' LIMIT 1)");
	sql("UPDATE dead_task SET history = history || jsonb_build_object("
	    "'at', 'x', 'error', 'a later one') WHERE task_id IN (SELECT"
	    " task_id FROM dead_task WHERE error LIKE 'smtp%'"
	    "  AND died_at > now() - interval '1 h' LIMIT 1)");
	ck_assert_int_eq(
	    redriven_by((struct queue_redrive){ .error = "no such" }), 0);
	ck_assert_int_eq(
	    redriven_by((struct queue_redrive){ .id = "0123" }), 0);
	ck_assert_int_eq(redriven_by((struct queue_redrive){ .id = id }), 1);
	ck_assert_int_eq(redriven_by((struct queue_redrive){ .error = "smtp",
			     .died_before_ms = now - 3600000 }),
	    1);
	ck_assert_int_eq(
	    redriven_by((struct queue_redrive){ .error = "a later" }), 1);
	ck_assert_int_eq(redriven_by((struct queue_redrive){ .error = "421 %_",
			     .died_since_ms = now + 3600000 }),
	    0);
	ck_assert_int_eq(redriven_by((struct queue_redrive){ .error = "421 %_",
			     .died_since_ms = now - 60000 }),
	    1);
	ck_assert_int_eq(
	    redriven_by((struct queue_redrive){ .error = "\"x\"" }), 2);
	ck_assert_str_eq(look("SELECT count(*) FROM dead_task"), "0");
}
END_TEST

START_TEST(a_paused_queue_is_told_as_such)
{
	const char *const *names;
	struct queue_stats s;

	ck_assert_int_eq(queue_pause(pg, "email", arena, &e), RC_OK);
	ck_assert_int_eq(queue_pause(other_pg, "email", arena, &e), RC_NONE);
	ck_assert_int_eq(queue_paused(other_pg, arena, &names, &e), RC_OK);
	ck_assert(queue_is_among(names, "email"));
	ck_assert(!queue_is_among(names, "payment"));
	ck_assert_int_eq(queue_stats(queue, arena, &s, &e), RC_OK);
	ck_assert(s.paused);
	ck_assert_int_eq(queue_resume(pg, "email", arena, &e), RC_OK);
	ck_assert_int_eq(queue_resume(pg, "email", arena, &e), RC_NONE);
	ck_assert_int_eq(queue_stats(queue, arena, &s, &e), RC_OK);
	ck_assert(!s.paused);
}
END_TEST

START_TEST(rates_are_of_the_last_five_minutes)
{
	int64_t minute = clock_wall_ms() / 60000;
	const struct queue_count counts[] = {
		{ "email", minute - 1, 3, 4, 5 },
		{ "email", minute - 1, 1, 1, 1 },
		{ "email", minute - 4, 10, 20, 30 },
		{ "email", minute + 1, 1000, 1000, 1000 },
		{ "email", minute - 7, 1000, 1000, 1000 },
		{ "payment", minute - 1, 1000, 1000, 1000 },
		{ "email", minute - 1500, 1000, 1000, 1000 },
	};
	struct queue_rate r;

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
		ck_assert_msg(
		    queue_rate_add(pg, &counts[i], arena, &e) == RC_OK, "%s",
		    e.msg);
	/* Some that were written then and are not done: alive, dead, older. */
	for (int i = 0; i < 4; i++)
		write_task("send_email", arena_printf(arena, "o%d", i), 0);
	ck_assert_int_eq(
	    queue_bury(queue, receive_one_of(queue), "no", arena, &e), RC_OK);
	sql("UPDATE outbox SET created_at = now() - interval '2 min';"
	    "UPDATE dead_task SET created_at = now() - interval '2 min';"
	    "UPDATE outbox SET created_at = now() - interval '9 min'"
	    " WHERE id = (SELECT max(id) FROM outbox)");
	ck_assert_int_eq(queue_rate_read(pg, "email", arena, &r, &e), RC_OK);
	ck_assert_int_eq(r.in, 14 + 3);
	ck_assert_int_eq(r.out, 25);
	ck_assert_int_eq(r.failed, 36);
	ck_assert_int_eq(queue_rate_purge(pg, arena, &e), RC_OK);
	ck_assert_str_eq(look("SELECT count(*) FROM queue_minute"), "5");
}
END_TEST

START_TEST(a_type_has_so_many_slots)
{
	struct pg *const of[] = { pg, other_pg, pg };

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(slot_take(of[i], "send_email", 2,
				     arena_printf(arena, "holder%d", i), 60000,
				     arena, &e),
		    i < 2 ? RC_OK : RC_NONE);
	ck_assert_int_eq(
	    slot_take(pg, "track_event", 1, "else", 60000, arena, &e), RC_OK);
	ck_assert_int_eq(slot_give(other_pg, "holder0", arena, &e), RC_OK);
	ck_assert_int_eq(
	    slot_take(pg, "send_email", 2, "holder2", 1, arena, &e), RC_OK);
	clock_sleep_ms(5); /* its lease ends */
	ck_assert_int_eq(
	    slot_take(pg, "send_email", 2, "holder3", 60000, arena, &e), RC_OK);
	ck_assert_int_eq(
	    slot_extend(pg, "holder2", 60000, arena, &e), RC_NONE);
	ck_assert_int_eq(slot_extend(pg, "holder3", 60000, arena, &e), RC_OK);
	ck_assert_int_eq(slot_give(pg, "holder2", arena, &e), RC_OK);
	ck_assert_int_eq(
	    slot_take(pg, "send_email", 2, "holder4", 60000, arena, &e),
	    RC_NONE);
}
END_TEST

START_TEST(a_person_retries_one)
{
	const char *name;
	struct task *t;

	write_task("send_email", "o1", 3600000);
	const char *id = look("SELECT task_id FROM outbox");

	ck_assert_int_eq(queue_pg_retry(pg, id, arena, &name, &e), RC_OK);
	ck_assert_str_eq(name, "email");
	t = receive_one(queue);
	ck_assert_int_eq(queue_pg_retry(pg, id, arena, &name, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "in_flight");
	ck_assert_int_eq(queue_bury(queue, t, "no", arena, &e), RC_OK);
	ck_assert_int_eq(queue_pg_retry(pg, id, arena, &name, &e), RC_OK);
	t = receive_one(queue);
	ck_assert_int_eq(done_one(queue, t), RC_OK);
	ck_assert_int_eq(queue_pg_retry(pg, id, arena, &name, &e), RC_NONE);
	write_task("send_email", "o2", OUTBOX_HIDDEN);
	id = look("SELECT task_id FROM outbox");
	ck_assert_int_eq(queue_pg_retry(pg, id, arena, &name, &e), RC_REFUSED);
	ck_assert_str_eq(e.code, "hidden");
}
END_TEST

START_TEST(the_figures_are_right)
{
	struct queue_stats s;
	struct task *t;
	int n;

	for (int i = 0; i < 13; i++)
		write_task("send_email", arena_printf(arena, "o%d", i), 0);
	write_task("send_email", "later", 60000);
	write_task("send_email", "hidden", OUTBOX_HIDDEN);
	write_task("track_event", "elsewhere", 0);
	n = receive_all(queue, &t);
	ck_assert_int_eq(n, 10);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(
		    queue_bury(queue, &t[i], "no", arena, &e), RC_OK);
	sql("UPDATE outbox SET visible_at = now() - interval '5 s' WHERE id ="
	    " (SELECT id FROM outbox WHERE queue = 'email' AND lease IS NULL"
	    "  AND visible_at <= now() LIMIT 1)");
	ck_assert_int_eq(queue_stats(queue, arena, &s, &e), RC_OK);
	ck_assert_int_eq(s.depth, 3);
	ck_assert_int_eq(s.in_flight, 8);
	ck_assert_int_eq(s.delayed, 1);
	ck_assert_int_eq(s.dead, 2);
	ck_assert_int_ge(s.oldest_ms, 5000);
	ck_assert_int_lt(s.oldest_ms, 60000);
	sql("TRUNCATE outbox");
	ck_assert_int_eq(queue_stats(queue, arena, &s, &e), RC_OK);
	ck_assert_int_eq(s.oldest_ms + s.depth + s.in_flight, 0);
}
END_TEST

START_TEST(an_address_that_no_driver_knows)
{
	struct queue_opts opts = {
		.url = "ftp://secret@x", .name = "email", .pg = pg
	};
	struct queue *q;

	ck_assert_int_eq(queue_open(&opts, &q, &e), RC_INVALID);
	ck_assert_ptr_null(strstr(e.msg, "secret"));
#ifndef HAVE_RABBITMQ
	opts.url = "amqp://u:secret@x";
	ck_assert_int_eq(queue_open(&opts, &q, &e), RC_INVALID);
	ck_assert_ptr_nonnull(strstr(e.msg, "--with-rabbitmq"));
	ck_assert_ptr_null(strstr(e.msg, "secret"));
#endif
}
END_TEST

/* ---- all at once */

enum { TASKS = 10000, PROCESSES = 4 };

/* Drains the queue; some leases are lost on the way, some tasks returned. */
static void
drain(unsigned seed)
{
	struct pg *mine = new_pg();
	struct queue *q = new_queue(mine, 1500);
	struct arena *a = arena_new();
	int idle = 0;

	while (idle < 25) {
		struct task *t;
		int n;

		arena_reset(a);
		if (queue_receive(q, QUEUE_BATCH, 0, a, &t, &n, &e) != RC_OK)
			_exit(1);
		idle = n > 0 ? 0 : idle + 1;
		if (n == 0)
			clock_sleep_ms(100);
		for (int i = 0; i < n; i++) {
			enum rc rc;
			int chance = rand_r(&seed) % 1000;

			if (chance == 0)
				break; /* as if killed */
			if (chance < 20) {
				(void)!queue_return(q, &t[i], 0,
				    chance < 10 ? NULL : "again", a, &e);
				continue;
			}
			effect_give(mine, &t[i], a);
			/* Killed between the effect and the deletion. */
			if (chance < 30)
				continue;
			rc = queue_done(
			    q, 1, &(const struct task *){ &t[i] }, NULL, a, &e);
			if (rc != RC_OK && rc != RC_NONE)
				_exit(4);
		}
	}
	_exit(0);
}

START_TEST(ten_thousand_tasks_have_each_effect_once)
{
	pid_t pid[PROCESSES];

	effects_begin();
	sql("INSERT INTO outbox (task_id, queue, type, data)"
	    " SELECT md5(n::text), 'email', 'send_email', '{}'"
	    " FROM generate_series(1, 10000) n; ANALYZE outbox");
	for (int i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			drain((unsigned)i + 1);
	}
	for (int i = 0; i < PROCESSES; i++)
		child_ends_well(pid[i]);
	effects_are_once(TASKS);
	ck_assert_str_eq(look("SELECT count(*) FROM outbox"), "0");
}
END_TEST

/* ---- with a million rows no statement reads the table */

START_TEST(a_million_rows)
{
	sql("SET synchronous_commit = off; SET statement_timeout = 0");
	sql("INSERT INTO outbox (task_id, queue, type, data, visible_at)"
	    " SELECT md5(n::text), (ARRAY['email','analytics','payment'])"
	    "  [n % 3 + 1], 'send_email', '{}', CASE WHEN n % 10 = 0 THEN"
	    "  'infinity' ELSE now() + n % 1000 * interval '1 s' END"
	    " FROM generate_series(1, 1000000) n;"
	    "INSERT INTO finished_task SELECT md5(n::text) FROM"
	    " generate_series(1, 200000) n; ANALYZE outbox, finished_task");
	sql("SET plan_cache_mode = force_generic_plan");
	const struct pg_stmt *const *tables[] = { queue_statements,
		outbox_statements };

	for (int t = 0; t < 2; t++) {
		for (int i = 0; tables[t][i] != NULL; i++) {
			const struct pg_stmt *st = tables[t][i];
			char *text =
			    arena_printf(arena, "PREPARE p AS %s", st->sql);
			struct pg_stmt ask = { "ask", NULL, 0 };
			struct pg_rows rows;
			struct pg *once = new_pg();

			ck_assert_msg(
			    pg_run(once, text, 10000, &e) == RC_OK &&
				pg_run(once,
				    "SET plan_cache_mode = force_generic_plan",
				    1000, &e) == RC_OK,
			    "%s", e.msg);
			text = arena_printf(arena, "EXPLAIN EXECUTE p");
			for (int k = 0; k < st->params; k++)
				text = arena_concat(arena, text,
				    k == 0 ? "(NULL" : ", NULL", NULL);
			ask.sql = arena_concat(
			    arena, text, st->params > 0 ? ")" : "", NULL);
			ck_assert_msg(pg_exec(once, PG_PRIMARY, &ask, NULL,
					  arena, &rows, &e) == RC_OK,
			    "%s: %s", st->name, e.msg);
			for (int r = 0; r < rows.n; r++)
				ck_assert_msg(strstr(pg_str(&rows, r, 0),
						  "Seq Scan") == NULL,
				    "%s: %s", st->name, pg_str(&rows, r, 0));
			pg_free(once);
		}
	}
	int64_t start = clock_mono_ms();

	ck_assert_int_eq(count(queue), QUEUE_BATCH);
	ck_assert_int_lt(clock_mono_ms() - start, 1000);
	sql("TRUNCATE outbox, finished_task");
}
END_TEST

int
main(void)
{
	const TTest *const tests[] = { a_task_written_twice_is_one,
		a_finished_or_dead_task_is_not_written_again,
		an_id_is_of_type_and_key, a_hidden_task_is_due_when_it_is_shown,
		a_hidden_task_can_be_dropped, a_delayed_task_waits,
		a_rolled_back_cause_leaves_no_task,
		old_records_go_but_for_tasks_that_may_come_again,
		a_task_comes_as_it_was_written,
		two_receivers_never_get_one_task,
		a_receiver_does_not_wait_for_another,
		the_oldest_due_comes_first_of_its_queue,
		a_lease_that_ran_out_is_received_again,
		an_extended_lease_goes_on, what_was_not_started_does_not_count,
		the_first_error_is_kept, any_bytes_may_be_why,
		the_dead_come_back_with_their_history, a_person_retries_one,
		the_dead_are_chosen_by_error_time_and_id,
		a_paused_queue_is_told_as_such, a_type_has_so_many_slots,
		rates_are_of_the_last_five_minutes,
		the_figures_are_right, an_address_that_no_driver_knows,
		ten_thousand_tasks_have_each_effect_once, a_million_rows };

	if (!migrated())
		return 1;
	return run_tests(
	    "queue", sizeof tests / sizeof *tests, tests, set_up, tear_down);
}
