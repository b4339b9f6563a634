/*
 * The driver for RabbitMQ with a real one. Run by queue_amqp.sh, which also
 * kills the broker: "fill" and "drain" are its two halves.
 */
#include "store/queue_amqp.h"

#include <amqp_framing.h>
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/text.h"
#include "queue_rig.h"
#include "store/outbox.h"
#include "store/pg.h"

enum { WAIT_MS = 10000, SOON_MS = 400 };

static char name[64]; /* of the queue at the broker; one for each test */

static struct queue *
open_url(const char *at, struct pg *p, int stop_fd)
{
	return new_queue_at(at, p, 60000,
	    &(struct queue_remote){ .connect_ms = 3000,
		.timeout_ms = 3000,
		.resend_ms = 3600000,
		.stop_fd = stop_fd });
}

static const char *
url(void)
{
	return arena_concat(arena, getenv("AMQP_URL"), "?queue=", name, NULL);
}

static struct queue *
new_queue(void)
{
	return open_url(url(), pg, 0);
}

static void
set_up(void)
{
	char id[33];

	arena = arena_new();
	text_random_id(id);
	(void)snprintf(name, sizeof name, "souk.t.%s", id);
	pg = new_pg();
	queue = new_queue();
	other = new_queue();
	sql("TRUNCATE outbox, finished_task, dead_task");
}

static void
tear_down(void)
{
	queue_close(queue);
	queue_close(other);
	pg_free(pg);
	arena_free(arena);
}

static struct task
task_for(const char *key)
{
	char id[TASK_ID_CHARS + 1];

	task_id("send_email", key, id);
	return (struct task){ .id = arena_strdup(arena, id),
		.type = "send_email",
		.queue = "email",
		.priority = "low",
		.aggregate = "",
		.created_ms = INT64_C(1763802000250),
		.data = span_of("{\"orderId\":\"x\"}") };
}

/* As a shipper does it: what the broker has not taken is sent again. */
static void
send_all(int n, struct task tasks[])
{
	for (int tries = 0; n > 0; tries++) {
		bool sent[QUEUE_BATCH] = { false };
		enum rc rc = queue_send(queue, n, tasks, sent, arena, &e);
		int left = 0;

		for (int i = 0; i < n; i++) {
			if (!sent[i])
				tasks[left++] = tasks[i];
		}
		ck_assert_int_eq(rc == RC_OK, left == 0);
		ck_assert_msg(
		    left == 0 || (rc == RC_RETRY && tries < 50), "%s", e.msg);
		if (left > 0)
			clock_sleep_ms(50);
		n = left;
	}
}

static void
send_one(const char *key)
{
	struct task task = task_for(key);

	send_all(1, &task);
}

static void
send_many(int n)
{
	for (int i = 0; i < n; i += QUEUE_BATCH) {
		struct task tasks[QUEUE_BATCH];
		int k = 0;

		for (; k < QUEUE_BATCH && i + k < n; k++)
			tasks[k] = task_for(arena_printf(arena, "o%d", i + k));
		send_all(k, tasks);
	}
}

static void
is_empty(struct queue *q)
{
	struct task *tasks;

	ck_assert_int_eq(receive(q, QUEUE_BATCH, SOON_MS, &tasks), 0);
}

/* As if the net or the process had gone. */
static void
cut(struct queue *q)
{
	struct amq *s = amq_of(q);

	ck_assert_ptr_nonnull(s->in.conn);
	(void)shutdown(amqp_get_sockfd(s->in.conn), SHUT_RDWR);
}

/* ---- the broker without the driver */

static struct amqp_url raw_url;
static struct amqp_link raw;

static void
raw_open(void)
{
	bool fresh;

	ck_assert_int_eq(amqp_url_parse(url(), "email", &raw_url, &e), RC_OK);
	raw = (struct amqp_link){ .url = &raw_url,
		.name = "raw",
		.connect_ms = 3000,
		.timeout_ms = 3000 };
	ck_assert_msg(alink_up(&raw, &fresh, &e) == RC_OK, "%s", e.msg);
}

static void
raw_close(void)
{
	alink_close(&raw);
	amqp_url_release(&raw_url);
}

static void
raw_publish(const void *p, size_t n)
{
	union {
		const void *in;
		void *out;
	} bytes = { .in = p };

	raw_open();
	ck_assert_int_eq(
	    amqp_basic_publish(raw.conn, ALINK_WORK, amqp_empty_bytes,
		bytes_of(name), 0, 0, NULL, (amqp_bytes_t){ n, bytes.out }),
	    AMQP_STATUS_OK);
	raw_close();
}

static void
raw_declare_classic(void)
{
	raw_open();
	(void)amqp_queue_declare(
	    raw.conn, ALINK_WORK, bytes_of(name), 0, 1, 0, 0, amqp_empty_table);
	ck_assert_msg(alink_reply(&raw, ALINK_WORK, &e) == RC_OK, "%s", e.msg);
	raw_close();
}

static void
raw_delete(void)
{
	raw_open();
	(void)amqp_queue_delete(raw.conn, ALINK_WORK, bytes_of(name), 0, 0);
	ck_assert_msg(alink_reply(&raw, ALINK_WORK, &e) == RC_OK, "%s", e.msg);
	raw_close();
}

/* ---- sending and receiving */

START_TEST(a_task_comes_as_it_was_sent)
{
	int64_t mono = clock_mono_ms();
	struct task sent = task_for("o1"), *t;

	send_one("o1");
	t = receive_one(queue);
	ck_assert_str_eq(t->id, sent.id);
	ck_assert_str_eq(t->type, "send_email");
	ck_assert_str_eq(t->queue, "email");
	ck_assert_str_eq(t->priority, "low");
	ck_assert_str_eq(t->data.p, "{\"orderId\":\"x\"}");
	ck_assert_int_eq(t->receives, 1);
	ck_assert_int_eq(t->created_ms, sent.created_ms);
	ck_assert_int_ge(t->lease_until_ms, mono + 60000);
}
END_TEST

/* Settles all of a batch, the last one first, the others together. */
static void
done_all(struct queue *q, int n, const struct task tasks[])
{
	const struct task *list[QUEUE_BATCH];

	ck_assert_int_eq(done_one(q, &tasks[n - 1]), RC_OK);
	for (int i = 0; i < n - 1; i++)
		list[i] = &tasks[i];
	if (n > 1)
		ck_assert_int_eq(
		    queue_done(q, n - 1, list, NULL, arena, &e), RC_OK);
}

START_TEST(what_is_done_is_gone)
{
	struct task *t;

	send_many(25);
	sql(arena_printf(arena,
	    "INSERT INTO outbox (task_id, queue, type, data) VALUES"
	    " ('%s', 'email', 'send_email', '{}')",
	    task_for("o3").id));
	for (int n = 0; n < 25;) {
		int k = receive(queue, QUEUE_BATCH, WAIT_MS, &t);

		ck_assert_int_gt(k, 0);
		done_all(queue, k, t);
		n += k;
	}
	cut(queue);
	is_empty(other);
	ck_assert_str_eq(look("SELECT count(*) FROM outbox"), "0");
}
END_TEST

START_TEST(what_was_not_acknowledged_is_not)
{
	struct task *t;
	int n = 0;

	send_many(4);
	while (n != 4) { /* a push may come in parts; let go, they come again */
		n = receive(queue, QUEUE_BATCH, WAIT_MS, &t);
		clock_sleep_ms(50);
	}
	/* All but the second: no "and all before it". */
	ck_assert_int_eq(done_one(queue, &t[3]), RC_OK);
	ck_assert_int_eq(done_one(queue, &t[0]), RC_OK);
	ck_assert_int_eq(done_one(queue, &t[2]), RC_OK);
	cut(queue);
	ck_assert_str_eq(receive_one(other)->id, t[1].id);
}
END_TEST

START_TEST(two_receivers_never_get_one_task)
{
	struct task *a, *b;
	int na, nb;

	send_many(20);
	na = receive(queue, QUEUE_BATCH, WAIT_MS, &a);
	nb = receive(other, QUEUE_BATCH, WAIT_MS, &b);
	ck_assert_int_gt(na, 0);
	ck_assert_int_gt(nb, 0);
	for (int i = 0; i < na; i++) {
		for (int j = 0; j < nb; j++)
			ck_assert_str_ne(a[i].id, b[j].id);
	}
}
END_TEST

START_TEST(the_first_task_ends_the_wait)
{
	struct task *t;
	pid_t child;

	is_empty(queue);
	child = fork();
	if (child == 0) {
		struct task task = task_for("o1");
		struct pg *mine = new_pg();
		struct queue *q = open_url(url(), mine, 0);
		bool sent;

		clock_sleep_ms(200);
		_exit(
		    queue_send(q, 1, &task, &sent, arena, &e) == RC_OK ? 0 : 1);
	}
	/* Longer than the test may take. */
	ck_assert_int_eq(receive(queue, QUEUE_BATCH, 600000, &t), 1);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

START_TEST(a_word_ends_the_wait)
{
	struct task *t;
	int fds[2];
	struct queue *q;

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	q = open_url(url(), pg, fds[0]);
	ck_assert_int_eq(receive(q, QUEUE_BATCH, 600000, &t), 0);
	/* What is there is taken all the same. */
	send_one("o1");
	for (int n = 0; n == 0; clock_sleep_ms(20))
		n = receive(q, QUEUE_BATCH, 600000, &t);
	queue_close(q);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* ---- leases */

START_TEST(a_connection_that_dies_counts_and_loses_its_leases)
{
	struct task *first, *second;

	send_one("o1");
	first = receive_one(queue);
	is_empty(other);
	cut(queue);
	second = receive_one(other);
	ck_assert_str_eq(second->id, first->id);
	ck_assert_int_eq(second->receives, 2);
	is_empty(queue); /* has connected again */
	ck_assert_int_eq(
	    queue_return(queue, first, 0, "late", arena, &e), RC_NONE);
	ck_assert_int_eq(queue_bury(queue, first, "late", arena, &e), RC_NONE);
	ck_assert_int_eq(done_one(queue, first), RC_NONE);
	ck_assert_int_eq(done_one(other, second), RC_OK);
	ck_assert_int_eq(done_one(other, second), RC_NONE);
	ck_assert_str_eq(look("SELECT count(*) FROM dead_task"), "0");
	is_empty(queue);
}
END_TEST

START_TEST(a_lease_is_extended_while_the_connection_lives)
{
	struct task *t, copy, *both[2];
	bool lost[2] = { true, true };

	send_one("o1");
	t = receive_one(queue);
	copy = *t;
	both[0] = both[1] = &copy;
	clock_sleep_ms(20);
	ck_assert_int_eq(queue_extend(queue, 1, &t, NULL, arena, &e), RC_OK);
	ck_assert_int_gt(t->lease_until_ms, copy.lease_until_ms);
	/* As the heartbeat does it: elsewhere. */
	ck_assert_int_eq(queue_extend(other, 2, both, lost, arena, &e), RC_OK);
	ck_assert(!lost[0] && !lost[1]);
	ck_assert_int_ge(copy.lease_until_ms, t->lease_until_ms);
	cut(queue);
	for (int i = 0; i < 100 && !lost[1]; i++) { /* the broker hears of it */
		(void)!queue_extend(other, 2, both, lost, arena, &e);
		clock_sleep_ms(20);
	}
	ck_assert(lost[0] && lost[1]);
	ck_assert_int_eq(
	    queue_extend(other, 1, both, lost, arena, &e), RC_NONE);
	ck_assert_int_eq(queue_extend(queue, 1, &t, lost, arena, &e), RC_NONE);
	ck_assert(lost[0]);
}
END_TEST

START_TEST(a_settled_task_is_not_extended)
{
	struct task *t;

	send_one("o1");
	t = receive_one(queue);
	ck_assert_int_eq(done_one(queue, t), RC_OK);
	ck_assert_int_eq(queue_extend(queue, 1, &t, NULL, arena, &e), RC_NONE);
}
END_TEST

START_TEST(what_was_let_go_comes_again)
{
	send_one("o1");
	ck_assert_int_eq(receive_one(queue)->receives, 1);
	ck_assert_int_eq(receive_one(queue)->receives, 2);
	ck_assert_int_eq(receive_one(queue)->receives, 3);
}
END_TEST

/* ---- giving back */

START_TEST(what_was_not_started_does_not_count)
{
	struct task *t;

	send_one("o1");
	for (int i = 0; i < 5; i++) {
		t = receive_one(queue);
		ck_assert_int_eq(t->receives, 1);
		ck_assert_int_eq(
		    queue_return(queue, t, 0, NULL, arena, &e), RC_OK);
	}
	t = receive_one(queue);
	ck_assert_int_eq(t->receives, 1);
	ck_assert_int_eq(done_one(queue, t), RC_OK);
	cut(queue);
	is_empty(other);
}
END_TEST

START_TEST(a_failed_task_waits_and_counts)
{
	struct task *t;
	int64_t start;

	send_one("o1");
	t = receive_one(queue);
	start = clock_mono_ms();
	ck_assert_int_eq(
	    queue_return(queue, t, 1500, "smtp: away", arena, &e), RC_OK);
	t = receive_one(queue);
	ck_assert_int_ge(clock_mono_ms() - start, 1500);
	ck_assert_int_eq(t->receives, 2);
	cut(queue); /* counted by the broker, on top of ours */
	t = receive_one(queue);
	ck_assert_int_eq(t->receives, 3);
	ck_assert_int_eq(queue_return(queue, t, 0, "again", arena, &e), RC_OK);
	ck_assert_int_eq(receive_one(queue)->receives, 4);
}
END_TEST

START_TEST(delays_share_few_queues_and_keep_their_own_time)
{
	struct task *t;
	int64_t start;

	send_many(2);
	for (int i = 0; i < 2; i++) {
		int n = receive(queue, 1, WAIT_MS, &t);

		ck_assert_int_eq(n, 1);
		/* Both in the queue of 2048 ms. */
		ck_assert_int_eq(queue_return(queue, t, i == 0 ? 1100 : 1800,
				     "again", arena, &e),
		    RC_OK);
	}
	start = clock_mono_ms();
	ck_assert_int_eq(receive(queue, 1, WAIT_MS, &t), 1);
	ck_assert_str_eq(t->id, task_for("o0").id);
	ck_assert_int_lt(clock_mono_ms() - start, 1800);
	done_all(queue, 1, t);
	ck_assert_int_eq(receive(queue, 1, WAIT_MS, &t), 1);
	ck_assert_str_eq(t->id, task_for("o1").id);
}
END_TEST

START_TEST(what_was_pushed_ahead_is_given_up_uncounted)
{
	struct queue *q = new_queue();
	struct task *t;
	int n = 0;

	is_empty(q);
	send_many(QUEUE_BATCH);
	clock_sleep_ms(300); /* all of them are pushed to q */
	ck_assert_int_eq(receive(q, 1, WAIT_MS, &t), 1);
	queue_close(q);
	for (int k; n < QUEUE_BATCH; n += k) {
		k = receive(other, QUEUE_BATCH, WAIT_MS, &t);
		ck_assert_int_gt(k, 0);
		for (int i = 0; i < k; i++) {
			bool held = strcmp(t[i].id, task_for("o0").id) == 0;

			ck_assert_int_eq(t[i].receives, held ? 2 : 1);
		}
		done_all(other, k, t);
	}
	is_empty(other);
}
END_TEST

START_TEST(a_small_batch_leaves_the_rest_to_others)
{
	struct task *t;

	send_many(QUEUE_BATCH);
	ck_assert_int_eq(receive(queue, 1, WAIT_MS, &t), 1);
	for (int n = 0, k; n < QUEUE_BATCH - 1; n += k) {
		k = receive(other, QUEUE_BATCH, WAIT_MS, &t);
		ck_assert_int_gt(k, 0);
		done_all(other, k, t);
	}
}
END_TEST

START_TEST(a_classic_queue_counts_as_well)
{
	struct task *t;

	raw_declare_classic();
	send_one("o1");
	for (int i = 1; i < 6; i++) {
		t = receive_one(queue);
		ck_assert_int_eq(t->receives, i);
		cut(queue);
	}
	t = receive_one(other);
	ck_assert_int_eq(t->receives, 6);
	ck_assert_int_eq(done_one(other, t), RC_OK);
	is_empty(queue);
}
END_TEST

/* ---- the dead, and what is no task */

START_TEST(what_is_buried_lies_in_postgresql)
{
	struct task *t;

	send_one("o1");
	t = receive_one(queue);
	ck_assert_int_eq(
	    queue_bury(queue, t, "smtp: no \xff", arena, &e), RC_OK);
	ck_assert_str_eq(look("SELECT error FROM dead_task"), "smtp: no ?");
	cut(queue);
	is_empty(other);
}
END_TEST

START_TEST(what_cannot_be_buried_comes_again)
{
	struct pg *hurried =
	    pg_new(&(struct pg_opts){ .url = getenv("DATABASE_URL"),
		.connect_ms = 5000,
		.query_ms = 500 });
	struct queue *q = open_url(url(), hurried, 0);
	struct task *t;

	send_one("o1");
	t = receive_one(q);
	ck_assert_int_eq(pg_begin(pg, &e), RC_OK);
	sql("LOCK TABLE dead_task");
	ck_assert_int_eq(queue_bury(q, t, "no", arena, &e), RC_RETRY);
	pg_rollback(pg);
	is_empty(q); /* not at once */
	queue_close(q);
	ck_assert_int_eq(receive_one(other)->receives, 1);
	pg_free(hurried);
}
END_TEST

START_TEST(nothing_is_handed_out_without_the_record)
{
	struct pg *none = pg_new(
	    &(struct pg_opts){ .url = "postgresql:///souk?host=/nonexistent",
		.connect_ms = 500,
		.query_ms = 500 });
	struct queue *q = open_url(url(), none, 0);
	struct task *t;
	int n;

	send_one("o1");
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(
		    queue_receive(q, 1, 1000, arena, &t, &n, &e), RC_RETRY);
		ck_assert_int_eq(n, 0);
	}
	queue_close(q);
	ck_assert_int_eq(receive_one(other)->receives, 1);
	pg_free(none);
}
END_TEST

START_TEST(the_outbox_counts_what_it_knows)
{
	struct task *t;

	sql(arena_printf(arena,
	    "INSERT INTO outbox (task_id, queue, type, data, receives) VALUES"
	    " ('%s', 'email', 'send_email', '{}', 6)",
	    task_for("o1").id));
	send_one("o1");
	t = receive_one(queue);
	ck_assert_int_eq(t->receives, 7);
	ck_assert_int_eq(queue_return(queue, t, 0, NULL, arena, &e), RC_OK);
	t = receive_one(queue);
	ck_assert_int_eq(t->receives, 7);
	ck_assert_int_eq(
	    queue_return(queue, t, 300, "smtp: away", arena, &e), RC_OK);
	ck_assert_str_eq(look("SELECT last_error FROM outbox"), "smtp: away");
	ck_assert_int_eq(receive_one(queue)->receives, 8);
}
END_TEST

START_TEST(what_is_no_task_is_buried)
{
	static const char body[] = "\0\xff nonsense";
	char *huge = arena_alloc(arena, 3 << 20);

	memset(huge, 'x', 3 << 20);
	is_empty(queue);
	raw_publish(body, sizeof body - 1);
	raw_publish("", 0);
	raw_publish("{\"id\":\"1\",\"type\":\"x\",\"data\":{}}", 32);
	raw_publish(huge, 3 << 20);
	send_one("o1");
	ck_assert_str_eq(receive_one(queue)->id, task_for("o1").id);
	ck_assert_str_eq(
	    look("SELECT count(*) || ' ' || min(type) || ' ' || max(queue)"
		 " FROM dead_task"),
	    "4 unreadable email");
	ck_assert_str_eq(look("SELECT count(*) FROM dead_task WHERE error ="
			      " 'bad_task: no task: too large'"),
	    "1");
	ck_assert_str_eq(look("SELECT count(*) FROM dead_task WHERE data ->>"
			      " 'body' = '?? nonsense'"),
	    "1");
}
END_TEST

START_TEST(other_software_may_send)
{
	static const char body[] =
	    "{\"type\":\"send_email\",\"data\":{\"to\":\"a@b\"},\"x\":1}";
	struct task *t;
	const char *id;

	is_empty(queue);
	raw_publish(body, sizeof body - 1);
	t = receive_one(queue);
	ck_assert_str_eq(t->type, "send_email");
	id = t->id;
	ck_assert_int_eq(queue_return(queue, t, 0, "again", arena, &e), RC_OK);
	t = receive_one(queue);
	ck_assert_str_eq(t->id, id);
	ck_assert_int_eq(t->receives, 2);
	ck_assert_str_eq(t->data.p, "{\"to\":\"a@b\"}");
	/* One of ours now: it is seen, counted and not lost. */
	ck_assert_str_eq(look("SELECT last_error || ' ' || receives || ' '"
			      " || (shipped_at IS NOT NULL) FROM outbox"),
	    "again 2 true");
	ck_assert_int_eq(done_one(queue, t), RC_OK);
	ck_assert_str_eq(look("SELECT count(*) FROM outbox"), "0");
	cut(queue);
	is_empty(other);
}
END_TEST

/* ---- what goes wrong */

START_TEST(one_too_large_keeps_back_no_other)
{
	struct task tasks[3] = { task_for("o1"), task_for("o2"),
		task_for("o3") };
	bool sent[3];
	char *data = arena_alloc(arena, AMQP_BODY_MAX + 3), *p = data;
	struct task *t;

	memset(p, 'x', AMQP_BODY_MAX + 2);
	memcpy(p, "{\"a\":\"", 6);
	memcpy(p + AMQP_BODY_MAX, "\"}", 3);
	tasks[1].data = span_of(data);
	ck_assert_int_eq(
	    queue_send(queue, 3, tasks, sent, arena, &e), RC_INVALID);
	ck_assert_str_eq(e.code, "task_too_large");
	ck_assert(sent[0] && !sent[1] && sent[2]);
	for (int n = 0, k; n < 2; n += k) {
		k = receive(queue, QUEUE_BATCH, WAIT_MS, &t);
		ck_assert_int_gt(k, 0);
		done_all(queue, k, t);
	}
	/* Just small enough. */
	data[AMQP_BODY_MAX - 300] = '"';
	data[AMQP_BODY_MAX - 299] = '}';
	tasks[1].data.n = AMQP_BODY_MAX - 298;
	ck_assert_msg(queue_send(queue, 1, &tasks[1], sent, arena, &e) == RC_OK,
	    "%s", e.msg);
	t = receive_one(queue);
	ck_assert_uint_eq(t->data.n, tasks[1].data.n);
	ck_assert_int_eq(memcmp(t->data.p, data, t->data.n), 0);
}
END_TEST

START_TEST(a_deleted_queue_is_made_anew)
{
	struct task task = task_for("o1"), *got;
	bool sent = true;
	int n = 0;

	send_one("o0");
	ck_assert_int_eq(done_one(queue, receive_one(queue)), RC_OK);
	raw_delete();
	/* Returned: it is not taken for sent. */
	ck_assert_int_eq(
	    queue_send(queue, 1, &task, &sent, arena, &e), RC_RETRY);
	ck_assert(!sent);
	send_one("o1");
	/* Half a minute passes; and again, where a frame that was still under
	 * way made it look as if somebody were there. */
	for (int i = 0; n == 0 && i < 3; i++) {
		amq_of(queue)->heard_ms -= 60000;
		n = receive(queue, QUEUE_BATCH, WAIT_MS, &got);
	}
	ck_assert_int_eq(n, 1);
	ck_assert_str_eq(got->id, task.id);
}
END_TEST

START_TEST(a_consumer_outlives_its_queue)
{
	is_empty(queue);
	raw_delete();
	is_empty(queue);
	send_one("o1");
	(void)receive_one(queue);
}
END_TEST

START_TEST(a_forgotten_consumer_is_found)
{
	is_empty(queue);
	/* Behind its back; and half a minute passes. */
	(void)amqp_basic_cancel(
	    amq_of(queue)->in.conn, ALINK_WORK, bytes_of("souk-1"));
	send_one("o1");
	is_empty(queue);
	amq_of(queue)->heard_ms -= 60000;
	(void)receive_one(queue);
}
END_TEST

START_TEST(a_wrong_password_is_ours_to_mend)
{
	const char *bad = arena_printf(arena,
	    "amqp://souk:wrong-secret@127.0.0.1:%s", getenv("AMQP_PORT"));
	struct queue *q = open_url(bad, pg, 0);
	struct task *t;
	int n;

	ck_assert_int_eq(
	    queue_receive(q, 1, 600000, arena, &t, &n, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "queue_login");
	ck_assert_ptr_null(strstr(e.msg, "secret"));
	/* Not asked again at once, and the same is said. */
	e = (struct err)ERR_INIT;
	ck_assert_int_eq(queue_receive(q, 1, 0, arena, &t, &n, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "queue_login");
	queue_close(q);
}
END_TEST

START_TEST(a_wrong_vhost_is_ours_to_mend)
{
	const char *bad =
	    arena_concat(arena, getenv("AMQP_URL"), "/nowhere", NULL);
	struct queue *q = open_url(bad, pg, 0);
	struct queue_stats stats;

	ck_assert_int_eq(queue_stats(q, arena, &stats, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "queue_refused");
	ck_assert_ptr_null(strstr(e.msg, "p@ss"));
	queue_close(q);
}
END_TEST

START_TEST(nobody_there_is_tried_again)
{
	struct queue *q = open_url("amqp://u:secret@127.0.0.1:1", pg, 0);
	struct task task = task_for("o1"), *t;
	bool sent;
	int n;

	ck_assert_int_eq(
	    queue_receive(q, 1, 1000, arena, &t, &n, &e), RC_RETRY);
	ck_assert_str_eq(e.code, "queue_away");
	ck_assert_ptr_null(strstr(e.msg, "secret"));
	/* More often than once, less often than it could. */
	ck_assert_int_ge(amq_of(q)->in.fails, 2);
	ck_assert_int_le(amq_of(q)->in.fails, 8);
	ck_assert_int_eq(queue_send(q, 1, &task, &sent, arena, &e), RC_RETRY);
	queue_close(q);
}
END_TEST

START_TEST(a_broker_that_does_not_answer_is_not_waited_for)
{
	pid_t broker = (pid_t)atoi(getenv("RABBIT_PID"));
	struct task task = task_for("o2"), *t;
	struct queue_stats stats;
	bool sent = true;
	enum rc sending, looking, receiving, extending;
	int n;

	send_one("o1");
	t = receive_one(queue);
	ck_assert_int_eq(kill(broker, SIGSTOP), 0);
	sending = queue_send(queue, 1, &task, &sent, arena, &e);
	looking = queue_stats(queue, arena, &stats, &e);
	extending = queue_extend(other, 1, &t, NULL, arena, &e);
	{
		struct queue *q = new_queue();

		receiving = queue_receive(q, 1, 100, arena, &t, &n, &e);
		queue_close(q);
	}
	ck_assert_int_eq(kill(broker, SIGCONT), 0);
	ck_assert_int_eq(sending, RC_RETRY);
	ck_assert(!sent);
	ck_assert_int_eq(looking, RC_RETRY);
	ck_assert_int_eq(extending, RC_RETRY);
	ck_assert_int_eq(receiving, RC_RETRY);
	for (int i = 0; i < 200; i++) { /* till it has come to itself */
		if (queue_stats(queue, arena, &stats, &e) == RC_OK)
			break;
		clock_sleep_ms(50);
	}
	send_one("o3");
}
END_TEST

/* Its socket's buffers are full: a write would wait for ever. */
START_TEST(a_broker_that_does_not_read_is_not_waited_for)
{
	pid_t broker = (pid_t)atoi(getenv("RABBIT_PID"));
	struct task tasks[QUEUE_BATCH];
	bool sent[QUEUE_BATCH];
	size_t n = 1000000;
	char *data = arena_alloc(arena, n + 1);
	struct queue_stats stats;
	enum rc sending;

	memset(data, 'x', n);
	data[n] = '\0';
	memcpy(data, "{\"a\":\"", 6);
	memcpy(data + n - 2, "\"}", 2);
	for (int i = 0; i < QUEUE_BATCH; i++) {
		tasks[i] = task_for(arena_printf(arena, "o%d", i));
		tasks[i].data = span_of(data);
	}
	send_one("o");
	ck_assert_int_eq(kill(broker, SIGSTOP), 0);
	sending = queue_send(queue, QUEUE_BATCH, tasks, sent, arena, &e);
	ck_assert_int_eq(kill(broker, SIGCONT), 0);
	ck_assert_int_eq(sending, RC_RETRY);
	for (int i = 0; i < QUEUE_BATCH; i++)
		ck_assert(!sent[i]);
	for (int i = 0; i < 200; i++) {
		if (queue_stats(queue, arena, &stats, &e) == RC_OK)
			break;
		clock_sleep_ms(50);
	}
}
END_TEST

/* A command of the broker's own tool. */
static void
rabbitmqctl(const char *words)
{
	ck_assert_int_eq(system(arena_concat(arena, getenv("RABBITMQCTL"), " ",
			     words, " >/dev/null", NULL)),
	    0);
}

START_TEST(a_broker_short_of_memory_is_told_what_is_done)
{
	struct task task = task_for("o2"), *t;
	bool sent = true;
	enum rc sending, done;

	send_one("o1");
	t = receive_one(queue);
	rabbitmqctl("set_vm_memory_high_watermark 0");
	sending = queue_send(queue, 1, &task, &sent, arena, &e);
	done = done_one(queue, t);
	cut(queue);
	is_empty(other);
	rabbitmqctl("set_vm_memory_high_watermark 0.4");
	ck_assert_int_eq(sending, RC_RETRY);
	ck_assert(!sent);
	ck_assert_int_eq(done, RC_OK);
	/* What was in its socket's buffer may come all the same. */
	while (queue_send(queue, 1, &task, &sent, arena, &e) != RC_OK)
		clock_sleep_ms(50);
	ck_assert_int_gt(receive(other, QUEUE_BATCH, WAIT_MS, &t), 0);
	ck_assert_str_eq(t->id, task.id);
}
END_TEST

START_TEST(what_waits_where_it_may_be_lost_is_sent_again_soon)
{
	struct task *t;

	sql(arena_printf(arena,
	    "INSERT INTO outbox (task_id, queue, type, data, shipped_at,"
	    " visible_at) VALUES ('%s', 'email', 'send_email', '{}', now(),"
	    " now() + interval '1 hour')",
	    task_for("o1").id));
	send_one("o1");
	t = receive_one(queue);
	ck_assert_int_eq(
	    queue_return(queue, t, 300, "again", arena, &e), RC_OK);
	ck_assert_str_eq(look("SELECT visible_at BETWEEN now() + interval '5 s'"
			      " AND now() + interval '1 min' FROM outbox"),
	    "t");
	t = receive_one(queue);
	amq_of(queue)->retry_made[1] -= 5000; /* some seconds pass */
	ck_assert_int_eq(
	    queue_return(queue, t, 300, "again", arena, &e), RC_OK);
	ck_assert_str_eq(look("SELECT visible_at > now() + interval '59 min'"
			      " FROM outbox"),
	    "t");
}
END_TEST

/* As if it had been made just before RabbitMQ was killed. */
START_TEST(a_retry_queue_without_a_leader_is_passed_over)
{
	struct task *t;
	int64_t start;

	send_one("o1");
	t = receive_one(queue);
	ck_assert_int_eq(
	    queue_return(queue, t, 300, "again", arena, &e), RC_OK);
	t = receive_one(queue);
	rabbitmqctl(arena_printf(arena,
	    "eval \"ra:stop_server(quorum_queues, {'%%2F_%s.retry.512', "
	    "node()}).\"",
	    name));
	ck_assert_msg(queue_return(queue, t, 300, "again", arena, &e) == RC_OK,
	    "%s", e.msg);
	t = receive_one(queue);
	ck_assert_int_eq(t->receives, 3);
	start = clock_mono_ms();
	ck_assert_int_eq(
	    queue_return(queue, t, 300, "again", arena, &e), RC_OK);
	ck_assert_int_lt(clock_mono_ms() - start, 2000); /* known by now */
	ck_assert_int_eq(receive_one(queue)->receives, 4);
}
END_TEST

#define HOLD_FOR(consumer, tick)                                               \
	"eval 'application:set_env(rabbit, consumer_timeout, " consumer        \
	"), application:set_env(rabbit, channel_tick_interval, " tick ").'"

START_TEST(who_holds_a_task_too_long_is_told_why)
{
	struct pollfd p = { .events = POLLIN };
	struct task *t;
	enum rc rc;
	int n, closed;

	rabbitmqctl(HOLD_FOR("500", "200"));
	send_one("o1");
	(void)receive_one(queue);
	p.fd = amqp_get_sockfd(amq_of(queue)->in.conn);
	closed = poll(&p, 1, 30000);
	rc = queue_receive(queue, 1, WAIT_MS, arena, &t, &n, &e);
	rabbitmqctl(HOLD_FOR("1800000", "60000"));
	ck_assert_int_eq(closed, 1);
	ck_assert_int_eq(rc, RC_RETRY);
	ck_assert_str_eq(e.code, "queue_timeout");
	ck_assert_ptr_nonnull(strstr(e.msg, "max_lease"));
	ck_assert_int_eq(receive_one(queue)->receives, 2);
}
END_TEST

START_TEST(the_figures_are_those_of_the_broker)
{
	struct queue_stats s;

	ck_assert_int_eq(queue_stats(queue, arena, &s, &e), RC_OK);
	ck_assert_int_eq(s.depth, 0);
	send_many(13);
	sql("INSERT INTO dead_task (task_id, queue, type, data, created_at,"
	    " receives, error) VALUES (md5('1'), 'email', 'x', '{}', now(), 1,"
	    " 'no')");
	for (int i = 0; i < 100 && s.depth != 13; i++) {
		ck_assert_int_eq(queue_stats(queue, arena, &s, &e), RC_OK);
		clock_sleep_ms(50);
	}
	ck_assert_int_eq(s.depth, 13);
	ck_assert_int_eq(s.dead, 1);
	raw_delete();
	ck_assert_int_eq(queue_stats(queue, arena, &s, &e), RC_OK);
	ck_assert_int_eq(s.depth, 0);
}
END_TEST

/* ---- TLS */

START_TEST(a_certificate_is_verified)
{
	struct queue_stats s;
	struct queue *q;

	unsetenv("SSL_CERT_FILE");
	q = open_url(getenv("AMQPS_URL"), pg, 0);
	ck_assert_int_eq(queue_stats(q, arena, &s, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "queue_tls");
	queue_close(q);
	setenv("SSL_CERT_FILE", getenv("AMQPS_CA"), 1);
	q = open_url(getenv("AMQPS_URL"), pg, 0);
	ck_assert_msg(queue_stats(q, arena, &s, &e) == RC_OK, "%s", e.msg);
	queue_close(q);
	/* Of another name. */
	q = open_url(getenv("AMQPS_OTHER_URL"), pg, 0);
	ck_assert_int_eq(queue_stats(q, arena, &s, &e), RC_FAIL);
	ck_assert_str_eq(e.code, "queue_tls");
	queue_close(q);
}
END_TEST

START_TEST(tasks_go_by_tls)
{
	const char *tls;
	struct task *t;
	int n;

	setenv("SSL_CERT_FILE", getenv("AMQPS_CA"), 1);
	tls = arena_concat(arena, getenv("AMQPS_URL"), "?queue=", name, NULL);
	queue_close(queue);
	queue = open_url(tls, pg, 0);
	send_many(50);
	for (n = 0; n < 50;) {
		int k = receive(queue, QUEUE_BATCH, WAIT_MS, &t);

		ck_assert_int_gt(k, 0);
		done_all(queue, k, t);
		n += k;
	}
	is_empty(queue);
}
END_TEST

/* ---- all at once */

enum { TASKS = 10000, PROCESSES = 4, KILLS = 10 };
/* A half before the kills, the other during them. */
enum { EACH = TASKS / 2 / KILLS, ALL = TASKS / 2 + EACH * KILLS };

/* Drains the queue; some tasks are let go, some returned, some cut off. */
static void
drain(unsigned seed)
{
	struct pg *mine = new_pg();
	struct queue *q = open_url(url(), mine, 0);
	struct arena *a = arena_new();

	for (int idle = 0; idle < 5;) {
		const struct task *done[QUEUE_BATCH];
		struct task *t;
		int n, k = 0;

		arena_reset(a);
		if (queue_receive(q, QUEUE_BATCH, 1000, a, &t, &n, &e) != RC_OK)
			_exit(1);
		idle = n > 0 ? 0 : idle + 1;
		for (int i = 0; i < n; i++) {
			int chance = rand_r(&seed) % 1000;

			if (chance == 0) {
				cut(q);
				break;
			}
			if (chance < 20) {
				(void)!queue_return(q, &t[i],
				    chance < 5 ? 100 : 0,
				    chance < 10 ? NULL : "again", a, &e);
				continue;
			}
			effect_give(mine, &t[i], a);
			if (chance >= 30) /* else as if killed in between */
				done[k++] = &t[i];
		}
		if (k > 0)
			(void)!queue_done(q, k, done, NULL, a, &e);
	}
	queue_close(q);
	_exit(0);
}

static pid_t
drainer(unsigned seed)
{
	pid_t pid = fork();

	if (pid == 0)
		drain(seed);
	return pid;
}

START_TEST(ten_thousand_tasks_have_each_effect_once)
{
	pid_t pid[PROCESSES];
	unsigned seed = 1;

	effects_begin();
	for (int i = 0; i < PROCESSES; i++)
		pid[i] = drainer(seed++);
	send_many(TASKS / 2);
	for (int i = 0; i < KILLS; i++) {
		int which = rand_r(&seed) % PROCESSES;

		clock_sleep_ms(100 + rand_r(&seed) % 200);
		(void)kill(pid[which], SIGKILL);
		(void)waitpid(pid[which], NULL, 0);
		pid[which] = drainer(seed++);
		for (int k = 0; k < EACH; k++)
			send_one(arena_printf(arena, "p%d", i * EACH + k));
	}
	for (int i = 0; i < PROCESSES; i++)
		child_ends_well(pid[i]);
	effects_are_once(ALL);
	is_empty(other);
}
END_TEST

/* ---- with a broker that is killed: run by the script */

/* No test runs: nothing may be asserted. */
static struct queue *
open_alone(void)
{
	struct queue_opts opts = { .name = "email",
		.visibility_ms = 60000,
		.remote = { .connect_ms = 3000, .timeout_ms = 3000 } };
	struct queue *q;

	arena = arena_new();
	opts.pg = pg = new_pg();
	(void)snprintf(name, sizeof name, "souk.t.killed");
	opts.url = url();
	if (queue_open(&opts, &q, &e) != RC_OK)
		_exit(1);
	return q;
}

/* Sends until told to end; a line for each task that was confirmed. */
static int
fill(void)
{
	struct queue *q = open_alone();

	for (int i = 0; getppid() != 1; i++) {
		struct arena *a = arena_new();
		struct task tasks[QUEUE_BATCH];
		bool sent[QUEUE_BATCH];

		for (int k = 0; k < QUEUE_BATCH; k++)
			tasks[k] = task_for(
			    arena_printf(a, "k%d", i * QUEUE_BATCH + k));
		if (queue_send(q, QUEUE_BATCH, tasks, sent, a, &e) != RC_OK)
			clock_sleep_ms(20);
		for (int k = 0; k < QUEUE_BATCH; k++) {
			if (sent[k])
				(void)printf("%s\n", tasks[k].id);
		}
		(void)fflush(stdout);
		arena_free(a);
	}
	return 0;
}

/* A line for each task that is there. */
static int
empty(void)
{
	struct queue *q = open_alone();

	for (int idle = 0; idle < 5;) {
		const struct task *list[QUEUE_BATCH];
		struct arena *a = arena_new();
		struct task *t;
		int n = 0;

		if (queue_receive(q, QUEUE_BATCH, 1000, a, &t, &n, &e) != RC_OK)
			(void)fprintf(stderr, "%s\n", e.msg);
		idle = n > 0 ? 0 : idle + 1;
		for (int i = 0; i < n; i++) {
			(void)printf("%s\n", t[i].id);
			list[i] = &t[i];
		}
		(void)fflush(stdout);
		if (n > 0)
			(void)!queue_done(q, n, list, NULL, a, &e);
		arena_free(a);
	}
	queue_close(q);
	return 0;
}

int
main(int argc, char **argv)
{
	const TTest *const tests[] = { a_task_comes_as_it_was_sent,
		what_is_done_is_gone, what_was_not_acknowledged_is_not,
		two_receivers_never_get_one_task, the_first_task_ends_the_wait,
		a_word_ends_the_wait,
		a_connection_that_dies_counts_and_loses_its_leases,
		a_lease_is_extended_while_the_connection_lives,
		a_settled_task_is_not_extended, what_was_let_go_comes_again,
		what_was_not_started_does_not_count,
		a_failed_task_waits_and_counts,
		delays_share_few_queues_and_keep_their_own_time,
		what_was_pushed_ahead_is_given_up_uncounted,
		a_small_batch_leaves_the_rest_to_others,
		a_classic_queue_counts_as_well,
		what_is_buried_lies_in_postgresql,
		what_cannot_be_buried_comes_again,
		nothing_is_handed_out_without_the_record,
		the_outbox_counts_what_it_knows, what_is_no_task_is_buried,
		other_software_may_send, one_too_large_keeps_back_no_other,
		a_deleted_queue_is_made_anew, a_consumer_outlives_its_queue,
		a_forgotten_consumer_is_found, a_wrong_password_is_ours_to_mend,
		a_wrong_vhost_is_ours_to_mend, nobody_there_is_tried_again,
		a_broker_that_does_not_answer_is_not_waited_for,
		a_broker_that_does_not_read_is_not_waited_for,
		a_broker_short_of_memory_is_told_what_is_done,
		what_waits_where_it_may_be_lost_is_sent_again_soon,
		a_retry_queue_without_a_leader_is_passed_over,
		who_holds_a_task_too_long_is_told_why,
		the_figures_are_those_of_the_broker, a_certificate_is_verified,
		tasks_go_by_tls, ten_thousand_tasks_have_each_effect_once };

	(void)signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		return strcmp(argv[1], "fill") == 0 ? fill() : empty();
	if (!migrated())
		return 1;
	return run_tests("queue_amqp", sizeof tests / sizeof *tests, tests,
	    set_up, tear_down);
}
