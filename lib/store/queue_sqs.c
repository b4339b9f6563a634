/*
 * https: - Amazon SQS by its JSON protocol
 * (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/).
 *
 * A receipt handle is a message's lease: it changes with every receive. What
 * SQS cannot keep (a task's errors, how often it was really started) lies with
 * its row in the outbox (queue_record.h).
 *
 * Delays are whole seconds: a visibility is rounded up, so that a lease lasts
 * at least as long as its holder believes.
 */
#include "store/queue_sqs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/jread.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/xmalloc.h"
#include "store/aws.h"
#include "store/queue_int.h"
#include "store/queue_record.h"
#include "store/task_envelope.h"

enum {
	MAX_BYTES = 262144, /* of a message and of a batch of them */
	ATTR_BYTES = 512,   /* what attributes and names take of it, at most */
	MAX_VISIBILITY_S = 43200,
	MAX_WAIT_S = 20,
	IDLE_LOOK_MS = 60000, /* asking costs */
	/* of ten messages of a queue that somebody made for 1 MiB, as JSON */
	MAX_ANSWER = 32 << 20,
	NAME_MAX_BYTES = 128
};

/* A receive that is under way. */
struct ask {
	struct aws *aws; /* its own connection */
	struct arena *arena;
	bool begun;
	int wait_s;
	int64_t at_ms; /* mono */
};

struct sqs {
	struct aws *aws;
	const char *name; /* the address's last part */
	bool fifo;
	struct ask ask;
	int64_t idle_until_ms; /* mono; nobody needs to look before */
};

/* ---- opening */

/* "https://sqs.eu-central-1.amazonaws.com/..." says its region. */
static char *
region_of(const char *url)
{
	static const char front[] = "https://sqs.";
	const char *dot;

	if (strncmp(url, front, sizeof front - 1) != 0)
		return NULL;
	url += sizeof front - 1;
	dot = strchr(url, '.');
	if (dot == NULL || strncmp(dot, ".amazonaws.com", 14) != 0)
		return NULL;
	return xstrndup(url, (size_t)(dot - url));
}

static enum rc
sqs_open(struct queue *queue, struct err *e)
{
	const struct queue_remote *r = &queue->opts.remote;
	const char *host = strstr(queue->url, "://") + 3;
	size_t n = strcspn(host, "/");
	char *origin = xstrndup(queue->url, (size_t)(host - queue->url) + n);
	char *region = region_of(queue->url);
	struct sqs *s = xcalloc(1, sizeof *s);
	const char *slash = strrchr(host, '/');
	struct aws_opts opts = { .service = "sqs",
		.region = r->region != NULL && *r->region != '\0' ? r->region
			  : region != NULL                        ? region
								  : "",
		.endpoint = r->endpoint != NULL && *r->endpoint != '\0'
				? r->endpoint
				: origin,
		.cred = r->cred,
		.connect_ms = r->connect_ms,
		.timeout_ms = r->timeout_ms,
		.max_answer = MAX_ANSWER };
	enum rc rc = RC_OK;

	queue->state = s;
	s->name = slash == NULL ? "" : slash + 1;
	n = strlen(s->name);
	s->fifo = n > 5 && strcmp(s->name + n - 5, ".fifo") == 0;
	if (n == 0 || n > NAME_MAX_BYTES || strpbrk(s->name, "?#") != NULL)
		rc = err_set(e, RC_INVALID, "bad_queue_url",
		    "queue %s: write its address as "
		    "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
		    queue->name);
	else if (r->cred == NULL)
		rc = err_set(e, RC_INVALID, "bad_queue_url",
		    "queue %s: SQS needs credentials", queue->name);
	if (rc == RC_OK)
		rc = aws_new(&opts, &s->aws, e);
	if (rc == RC_OK)
		rc = aws_new(&opts, &s->ask.aws, e);
	s->ask.arena = arena_new();
	free(origin);
	free(region);
	return rc;
}

static void
sqs_close(struct queue *queue)
{
	struct sqs *s = queue->state;

	if (s == NULL)
		return;
	aws_free(s->aws);
	aws_free(s->ask.aws);
	arena_free(s->ask.arena);
	free(s);
}

/* ---- one action */

struct call {
	const char *action; /* "ReceiveMessage" */
	json_t *body;       /* taken */
	int timeout_ms;     /* 0: the usual */
	bool stoppable;
};

static const struct sigv4_pair *
headers_of(const char *action, struct arena *arena)
{
	struct sigv4_pair *h = arena_calloc(arena, 2, sizeof *h);

	h[0] =
	    (struct sigv4_pair){ "Content-Type", "application/x-amz-json-1.0" };
	h[1] = (struct sigv4_pair){ "X-Amz-Target",
		arena_concat(arena, "AmazonSQS.", action, NULL) };
	return h;
}

/* The request, all of it in the arena. */
static struct aws_request
request_of(const struct call *c, int stop_fd, struct arena *arena)
{
	char *text = json_dumps(c->body, JSON_COMPACT);
	struct aws_request rq = { .method = "POST",
		.path = "/",
		.headers = headers_of(c->action, arena),
		.n_headers = 2,
		.timeout_ms = c->timeout_ms,
		.stop_fd = c->stoppable ? stop_fd : 0,
		.stop_ms = MAX_WAIT_S * 1000 };

	json_decref(c->body);
	if (text == NULL)
		xmalloc_failed();
	rq.body = span_of(arena_strdup(arena, text));
	free(text);
	return rq;
}

/* *tree: what it answers, to be freed; an object. */
static enum rc
answer_read(struct aws *aws, const char *action, const struct aws_answer *a,
    json_t **tree, struct err *e)
{
	if (a->status != 200)
		return aws_judge(aws, a, e);
	*tree = a->body.n == 0 ? json_object()
			       : json_loadb(a->body.p, a->body.n, 0, NULL);
	if (json_is_object(*tree))
		return RC_OK;
	json_decref(*tree);
	*tree = NULL;
	return err_set(e, RC_RETRY, "aws_no_answer",
	    "sqs: %s: an answer that is no JSON", action);
}

static enum rc
call(struct aws *aws, const struct call *c, int stop_fd, struct arena *arena,
    json_t **tree, struct err *e)
{
	struct aws_request rq = request_of(c, stop_fd, arena);
	struct aws_answer a;
	enum rc rc = aws_call(aws, &rq, arena, &a, e);

	*tree = NULL;
	return rc == RC_OK ? answer_read(aws, c->action, &a, tree, e) : rc;
}

static enum rc
queue_call(struct queue *queue, struct call c, struct arena *arena,
    json_t **tree, struct err *e)
{
	struct sqs *s = queue->state;

	json_object_set_new(c.body, "QueueUrl", json_string(queue->url));
	return call(s->aws, &c, queue->opts.remote.stop_fd, arena, tree, e);
}

static json_int_t
whole_seconds(int64_t ms)
{
	int64_t s = (ms + 999) / 1000;

	return s > MAX_VISIBILITY_S ? MAX_VISIBILITY_S : s;
}

static const char *
str_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s == NULL ? "" : s;
}

/* An attribute that is a number in a string. */
static int64_t
count_of(const json_t *attributes, const char *name)
{
	int64_t n = 0;

	(void)!text_int(span_of(str_of(attributes, name)), 0, INT64_MAX, &n);
	return n;
}

/* ---- receiving */

struct message {
	const char *body, *receipt, *group;
	int64_t receives, sent_ms;
};

/* {"ApproximateReceiveCount": "1", ...}; 0 and NULL for what is not there. */
static void
read_attributes(struct jread *j, struct arena *arena, struct message *m)
{
	struct span name;

	(void)jread_object(j);
	while (jread_member(j, &name)) {
		const char *s = jread_string(j, arena);
		struct span value = span_of(s);

		if (span_is(name, "ApproximateReceiveCount"))
			(void)!text_int(value, 0, INT32_MAX, &m->receives);
		else if (span_is(name, "SentTimestamp"))
			(void)!text_int(value, 0, INT64_MAX, &m->sent_ms);
		else if (span_is(name, "MessageGroupId"))
			m->group = s;
	}
}

static void
read_message(struct jread *j, struct arena *arena, struct message *m)
{
	struct span name;

	*m = (struct message){ 0 };
	(void)jread_object(j);
	while (jread_member(j, &name)) {
		if (span_is(name, "Body"))
			m->body = jread_string(j, arena);
		else if (span_is(name, "ReceiptHandle"))
			m->receipt = jread_string(j, arena);
		else if (span_is(name, "Attributes"))
			read_attributes(j, arena, m);
		else
			(void)jread_value(j);
	}
}

/* -1: it cannot be read. */
static int
read_messages(
    struct span answer, int max, struct arena *arena, struct message out[])
{
	struct jread j = jread_new(answer);
	struct span name;
	int n = 0;

	(void)jread_object(&j);
	while (jread_member(&j, &name)) {
		if (!span_is(name, "Messages") || !jread_is(&j, '[')) {
			(void)jread_value(&j);
			continue;
		}
		(void)jread_array(&j);
		while (jread_item(&j)) {
			if (n < max)
				read_message(&j, arena, &out[n++]);
			else
				(void)jread_value(&j);
		}
	}
	return jread_end(&j) ? n : -1;
}

static const char *
or_empty(const char *s)
{
	return s == NULL ? "" : s;
}

/*
 * What is no task of ours is one all the same, of a type that no worker knows:
 * so it ends where somebody can look at it.
 */
static void
task_of(struct queue *queue, const struct message *m, struct arena *arena,
    struct task *out)
{
	struct span body = span_of(or_empty(m->body));
	struct err e = ERR_INIT;

	*out = (struct task){ 0 };
	if (task_envelope_read(body, arena, out, &e) != RC_OK)
		task_envelope_unreadable(body, arena, out);
	out->queue = arena_strdup(arena, queue->name);
	out->receipt = or_empty(m->receipt);
	out->aggregate = or_empty(m->group);
	out->receives = (int)m->receives;
	if (out->created_ms == 0)
		out->created_ms = m->sent_ms;
}

/*
 * SQS also counts what was given back unstarted. So what comes again is counted
 * by the outbox, which knows nothing of the first time: that spares a statement
 * for nearly all of them, and counts a first one that was given back. What
 * others sent gets a row then.
 */
static enum rc
count_receives(struct queue *queue, int n, struct task tasks[],
    struct arena *arena, struct err *e)
{
	struct task again[QUEUE_BATCH];
	int of[QUEUE_BATCH], m = 0;
	enum rc rc;

	for (int i = 0; i < n; i++) {
		if (tasks[i].receives <= 1)
			continue;
		again[m] = tasks[i];
		again[m].receives = 0;
		of[m++] = i;
	}
	if (m == 0)
		return RC_OK;
	rc = record_received(queue->opts.pg, m, again, arena, e);
	for (int k = 0; k < m && rc == RC_OK; k++) {
		if (again[k].receives == 0) { /* it has no row */
			again[k].receives = 1;
			rc = record_adopt(queue->opts.pg, &again[k],
			    queue->opts.remote.resend_ms, arena, e);
		}
		tasks[of[k]].receives = again[k].receives + 1;
	}
	return rc;
}

#define RECEIVE "ReceiveMessage"

static enum rc
ask_begin(struct queue *queue, int max, int wait_ms, struct err *e)
{
	struct ask *ask = &((struct sqs *)queue->state)->ask;
	struct call c = { .action = RECEIVE, .stoppable = true };
	struct aws_request rq;
	enum rc rc;

	arena_reset(ask->arena);
	ask->wait_s = wait_ms / 1000 < MAX_WAIT_S ? wait_ms / 1000 : MAX_WAIT_S;
	ask->at_ms = clock_mono_ms();
	c.timeout_ms = ask->wait_s * 1000 + queue->opts.remote.timeout_ms;
	c.body = json_pack("{s:s, s:i, s:i, s:I, s:[sss], s:[sss]}", "QueueUrl",
	    queue->url, "MaxNumberOfMessages", max, "WaitTimeSeconds",
	    ask->wait_s, "VisibilityTimeout",
	    whole_seconds(queue->opts.visibility_ms),
	    "MessageSystemAttributeNames", "ApproximateReceiveCount",
	    "SentTimestamp", "MessageGroupId",
	    /* as it was called until 2024 */
	    "AttributeNames", "ApproximateReceiveCount", "SentTimestamp",
	    "MessageGroupId");
	rq = request_of(&c, queue->opts.remote.stop_fd, ask->arena);
	rc = aws_begin(ask->aws, &rq, ask->arena, e);
	ask->begun = rc == RC_OK;
	return rc;
}

/* Not of a FIFO queue: it hands out nothing of a group of which something is
 * still to be deleted. */
static void
sqs_ask(struct queue *queue, int max, int wait_ms)
{
	const struct sqs *s = queue->state;
	struct err later;

	if (!s->fifo)
		(void)!ask_begin(queue, max, wait_ms, &later);
}

/*
 * From when on the leases of what has come are believed to run. It may have
 * come at the end of a long wait, and the answer may have been on its way for
 * a while, which half of the lease is kept for, or have waited for us.
 */
static int64_t
leased_from(const struct queue *queue, const struct ask *ask, int64_t taken_ms)
{
	int64_t from = clock_mono_ms() - queue->opts.visibility_ms / 2 -
		       (taken_ms - ask->at_ms);

	return ask->wait_s > 0 && from > ask->at_ms ? from : ask->at_ms;
}

static enum rc
sqs_receive(struct queue *queue, int max, int wait_ms, struct arena *arena,
    struct task **out, int *n, struct err *e)
{
	struct ask *ask = &((struct sqs *)queue->state)->ask;
	struct task *tasks = arena_calloc(arena, QUEUE_BATCH, sizeof *tasks);
	struct message messages[QUEUE_BATCH];
	int64_t start = clock_mono_ms(), lease_ms;
	struct aws_answer a;
	enum rc rc = RC_OK;
	int got;

	*n = 0;
	*out = tasks;
	if (!ask->begun)
		rc = ask_begin(queue, max, wait_ms, e);
	ask->begun = false;
	if (rc == RC_OK)
		rc = aws_end(ask->aws, &a, e);
	if (rc == RC_OK && a.status != 200)
		rc = aws_judge(ask->aws, &a, e);
	if (rc != RC_OK)
		return rc;
	got = read_messages(a.body, max, arena, messages);
	if (got < 0)
		return err_set(e, RC_RETRY, "aws_no_answer",
		    "sqs: %s: an answer that is no JSON", RECEIVE);
	lease_ms = leased_from(queue, ask, start) +
		   whole_seconds(queue->opts.visibility_ms) * 1000;
	for (int i = 0; i < got; i++) {
		task_of(queue, &messages[i], arena, &tasks[i]);
		tasks[i].lease_until_ms = lease_ms;
	}
	*n = got;
	return count_receives(queue, got, tasks, arena, e);
}

/* ---- settling */

/* {"Id": "0", "ReceiptHandle": "..."}, ... */
static json_t *
entries_of(int n, const struct task *const tasks[])
{
	json_t *list = json_array();
	char id[TEXT_NUM];

	for (int i = 0; i < n; i++)
		json_array_append_new(
		    list, json_pack("{s:s, s:s}", "Id", text_num(i, id),
			      "ReceiptHandle", tasks[i]->receipt));
	return list;
}

static bool
is_lost_lease(const char *code)
{
	static const char *const codes[] = { "ReceiptHandleIsInvalid",
		"MessageNotInflight", "InvalidParameterValue", NULL };
	const char *hash = strrchr(code, '#');

	if (hash != NULL)
		code = hash + 1;
	/* "AWS.SimpleQueueService.MessageNotInflight" too */
	for (int i = 0; codes[i] != NULL; i++) {
		size_t a = strlen(code), b = strlen(codes[i]);

		if (a >= b && strcmp(code + a - b, codes[i]) == 0)
			return true;
	}
	return false;
}

/* Of a batch's answer: lost[i]; RC_NONE where one is, RC_RETRY where one failed
 * for another reason. */
static enum rc
judge_batch(const json_t *tree, int n, bool lost[], struct err *e)
{
	const json_t *failed = json_object_get(tree, "Failed"), *one;
	enum rc rc = RC_OK;
	size_t k;

	for (int i = 0; lost != NULL && i < n; i++)
		lost[i] = false;
	json_array_foreach(failed, k, one)
	{
		const char *code = str_of(one, "Code");
		int64_t i;

		if (!text_int(span_of(str_of(one, "Id")), 0, n - 1, &i))
			continue;
		if (is_lost_lease(code)) {
			if (lost != NULL)
				lost[i] = true;
			if (rc == RC_OK)
				rc = err_set(e, RC_NONE, "lease_lost",
				    "the lease is lost: %s", code);
		} else {
			rc = err_set(e, RC_RETRY, "aws_partly",
			    "sqs: one of a batch failed: %s: %s", code,
			    str_of(one, "Message"));
		}
	}
	return rc;
}

static enum rc
batch(struct queue *queue, const char *action, json_t *entries, int n,
    bool lost[], struct arena *arena, struct err *e)
{
	struct call c = { .action = action,
		.body = json_pack("{s:o}", "Entries", entries) };
	json_t *tree;
	enum rc rc = queue_call(queue, c, arena, &tree, e);

	if (rc != RC_OK)
		return rc;
	rc = judge_batch(tree, n, lost, e);
	json_decref(tree);
	return rc;
}

static enum rc
change_visibility(struct queue *queue, int n, const struct task *const tasks[],
    int64_t ms, bool lost[], struct arena *arena, struct err *e)
{
	json_t *entries = entries_of(n, tasks), *one;
	size_t k;

	json_array_foreach(entries, k, one)
	{
		json_object_set_new(
		    one, "VisibilityTimeout", json_integer(whole_seconds(ms)));
	}
	return batch(
	    queue, "ChangeMessageVisibilityBatch", entries, n, lost, arena, e);
}

static enum rc
sqs_extend(struct queue *queue, int n, struct task *tasks[], bool lost[],
    struct arena *arena, struct err *e)
{
	int64_t start = clock_mono_ms();
	bool gone[QUEUE_BATCH] = { false };
	enum rc rc =
	    change_visibility(queue, n, (const struct task *const *)tasks,
		queue->opts.visibility_ms, gone, arena, e);

	if (rc != RC_OK && rc != RC_NONE)
		return rc;
	for (int i = 0; i < n; i++) {
		if (lost != NULL)
			lost[i] = gone[i];
		if (!gone[i])
			tasks[i]->lease_until_ms =
			    start +
			    whole_seconds(queue->opts.visibility_ms) * 1000;
	}
	return rc;
}

static enum rc delete (struct queue *queue, int n,
    const struct task *const tasks[], bool lost[], struct arena *arena,
    struct err *e) {
	return batch(queue, "DeleteMessageBatch", entries_of(n, tasks), n, lost,
	    arena, e);
}

static enum rc
sqs_done(struct queue *queue, int n, const struct task *const tasks[],
    bool lost[], struct arena *arena, struct err *e)
{
	enum rc rc = record_done(queue->opts.pg, n, tasks, arena, e);

	/* The row first: a message that stays comes again and finds its effect
	 * done; a row that stays would be sent again. */
	return rc == RC_OK ? delete (queue, n, tasks, lost, arena, e) : rc;
}

static enum rc
sqs_return(struct queue *queue, const struct task *task, int64_t delay_ms,
    const char *why, struct arena *arena, struct err *e)
{
	struct err later;

	/* First, since it may be received the moment it is visible. What is not
	 * written is no reason to hold on to it. */
	if (why != NULL) {
		delay_ms = delay_ms < 1 ? 1 : delay_ms; /* so: a second */
		(void)!record_failed(queue->opts.pg, task,
		    delay_ms + queue->opts.remote.resend_ms, why, arena,
		    &later);
	} else {
		(void)!record_unstarted(queue->opts.pg, task, arena, &later);
	}
	return change_visibility(queue, 1, &task, delay_ms, NULL, arena, e);
}

static enum rc
sqs_bury(struct queue *queue, const struct task *task, const char *why,
    struct arena *arena, struct err *e)
{
	enum rc rc = record_bury(queue->opts.pg, task, why, arena, e);

	return rc == RC_OK ? delete (queue, 1, &task, NULL, arena, e) : rc;
}

/* ---- sending */

static json_t *
attribute(const char *value)
{
	return json_pack(
	    "{s:s, s:s}", "DataType", "String", "StringValue", value);
}

static json_t *
entry_of(const struct sqs *s, int i, const struct task *task, const char *body)
{
	char id[TEXT_NUM];
	json_t *entry =
	    json_pack("{s:s, s:s, s:{s:o, s:o}}", "Id", text_num(i, id),
		"MessageBody", body, "MessageAttributes", "TaskType",
		attribute(task->type), "Priority", attribute(task->priority));

	if (s->fifo) {
		/* One about nothing in particular keeps order with itself. */
		json_object_set_new(entry, "MessageGroupId",
		    json_string(
			*task->aggregate != '\0' ? task->aggregate : task->id));
		json_object_set_new(entry, "MessageDeduplicationId",
		    json_string(
			task->sending != NULL ? task->sending : task->id));
	}
	return entry;
}

/* Which of them the answer names as taken. */
static enum rc
judge_sent(const json_t *tree, bool sent[], struct err *e)
{
	const json_t *one;
	size_t k;

	json_array_foreach(json_object_get(tree, "Successful"), k, one)
	{
		int64_t i;

		if (text_int(
			span_of(str_of(one, "Id")), 0, QUEUE_BATCH - 1, &i))
			sent[i] = true;
	}
	one = json_array_get(json_object_get(tree, "Failed"), 0);
	if (one == NULL)
		return RC_OK;
	/* Also one that is "the sender's fault" may be a queue that is being
	 * looked after: tried again until somebody reads the log. */
	return err_set(e, RC_RETRY, "aws_partly",
	    "sqs: a message was refused: %s: %s", str_of(one, "Code"),
	    str_of(one, "Message"));
}

static enum rc
send_entries(struct queue *queue, json_t *entries, bool sent[],
    struct arena *arena, struct err *e)
{
	struct call c = { .action = "SendMessageBatch",
		.body = json_pack("{s:o}", "Entries", entries) };
	json_t *tree;
	enum rc rc = queue_call(queue, c, arena, &tree, e);

	/* What the service refuses as a whole (a key that is switched off, a
	 * right that is missing) is no task's fault. */
	if (rc == RC_INVALID || rc == RC_NONE)
		rc = e->rc = RC_FAIL;
	if (rc != RC_OK)
		return rc;
	rc = judge_sent(tree, sent, e);
	json_decref(tree);
	return rc;
}

/* As many calls as their bytes ask for. */
static enum rc
sqs_send(struct queue *queue, int n, const struct task tasks[], bool sent[],
    struct arena *arena, struct err *e)
{
	const struct sqs *s = queue->state;
	json_t *entries = json_array();
	struct strbuf body;
	enum rc rc = RC_OK;
	size_t bytes = 0;
	int too_large = -1;

	strbuf_init(&body, 1024);
	for (int i = 0; i < n; i++)
		sent[i] = false;
	for (int i = 0; i < n && rc == RC_OK; i++) {
		strbuf_reset(&body);
		task_envelope_write(&tasks[i], &body);
		if (body.len + ATTR_BYTES > MAX_BYTES) {
			too_large = i;
			continue;
		}
		if (bytes + body.len + ATTR_BYTES > MAX_BYTES) {
			rc = send_entries(queue, entries, sent, arena, e);
			entries = json_array();
			bytes = 0;
		}
		bytes += body.len + ATTR_BYTES;
		json_array_append_new(
		    entries, entry_of(s, i, &tasks[i], body.s));
	}
	strbuf_release(&body);
	if (rc == RC_OK && json_array_size(entries) > 0)
		rc = send_entries(queue, entries, sent, arena, e);
	else
		json_decref(entries);
	if (rc == RC_OK && too_large >= 0)
		rc = err_set(e, RC_INVALID, "task_too_large",
		    "task %s is larger than the 256 KiB that SQS takes",
		    tasks[too_large].id);
	return rc;
}

/* ---- figures */

static enum rc
depth_look(struct queue *queue, struct arena *arena, struct queue_stats *out,
    struct err *e)
{
	struct call c = { .action = "GetQueueAttributes",
		.body = json_pack("{s:[sss]}", "AttributeNames",
		    "ApproximateNumberOfMessages",
		    "ApproximateNumberOfMessagesNotVisible",
		    "ApproximateNumberOfMessagesDelayed") };
	const json_t *a;
	json_t *tree;
	enum rc rc = queue_call(queue, c, arena, &tree, e);

	if (rc != RC_OK)
		return rc;
	a = json_object_get(tree, "Attributes");
	out->depth = count_of(a, "ApproximateNumberOfMessages");
	out->in_flight = count_of(a, "ApproximateNumberOfMessagesNotVisible");
	out->delayed = count_of(a, "ApproximateNumberOfMessagesDelayed");
	json_decref(tree);
	return RC_OK;
}

/* Of a queue that was empty, and for which the outbox has nothing that was not
 * done, the outbox is believed for a while: only others can have sent to it. */
static enum rc
sqs_stats(struct queue *queue, struct arena *arena, struct queue_stats *out,
    struct err *e)
{
	struct sqs *s = queue->state;
	int64_t now = clock_mono_ms();
	enum rc rc;
	bool idle;

	*out = (struct queue_stats){ 0 };
	rc = record_stats(queue->opts.pg, queue->name, arena, out, e);
	idle = out->unsent == 0 && out->oldest_ms == 0;
	if (rc != RC_OK || (idle && now < s->idle_until_ms))
		return rc;
	rc = depth_look(queue, arena, out, e);
	idle = idle && out->depth + out->in_flight + out->delayed == 0;
	s->idle_until_ms = rc == RC_OK && idle ? now + IDLE_LOOK_MS : 0;
	return rc;
}

/* ---- making one */

/* An attribute of the queue at that address; in the arena; "". */
static enum rc
attribute_get(struct aws *aws, const char *url, const char *name,
    struct arena *arena, const char **out, struct err *e)
{
	struct call c = { .action = "GetQueueAttributes",
		.body = json_pack(
		    "{s:s, s:[s]}", "QueueUrl", url, "AttributeNames", name) };
	json_t *tree;
	enum rc rc = call(aws, &c, 0, arena, &tree, e);

	if (rc != RC_OK)
		return rc;
	*out = arena_strdup(
	    arena, str_of(json_object_get(tree, "Attributes"), name));
	json_decref(tree);
	return RC_OK;
}

static enum rc
create(struct aws *aws, const char *name, json_t *attributes,
    struct arena *arena, const char **url, struct err *e)
{
	struct call c = { .action = "CreateQueue",
		.body = json_pack("{s:s, s:o}", "QueueName", name, "Attributes",
		    attributes) };
	json_t *tree;
	enum rc rc = call(aws, &c, 0, arena, &tree, e);

	if (rc != RC_OK)
		return rc;
	*url = arena_strdup(arena, str_of(tree, "QueueUrl"));
	json_decref(tree);
	return RC_OK;
}

static json_t *
attributes_of(
    const struct queue_sqs_new *q, struct arena *arena, const char *dead_arn)
{
	json_t *a = json_pack("{s:s}", "MessageRetentionPeriod",
	    "1209600" /* 14 days, the most */);
	char n[TEXT_NUM];

	if (q->fifo)
		json_object_set_new(a, "FifoQueue", json_string("true"));
	if (dead_arn == NULL)
		return a;
	json_object_set_new(
	    a, "MaximumMessageSize", json_string(text_num(MAX_BYTES, n)));
	json_object_set_new(a, "VisibilityTimeout",
	    json_string(text_num(whole_seconds(q->visibility_ms), n)));
	json_object_set_new(
	    a, "ReceiveMessageWaitTimeSeconds", json_string("20"));
	json_object_set_new(a, "RedrivePolicy",
	    json_string(arena_concat(arena, "{\"deadLetterTargetArn\":\"",
		dead_arn, "\",\"maxReceiveCount\":",
		text_num(q->max_receives, n), "}", NULL)));
	return a;
}

enum rc
queue_sqs_create(const struct aws_opts *opts, const struct queue_sqs_new *q,
    struct arena *arena, const char **url, struct err *e)
{
	const char *end = q->fifo ? ".fifo" : "", *dead_url, *arn;
	struct aws *aws;
	enum rc rc = aws_new(opts, &aws, e);

	if (rc != RC_OK)
		return rc;
	rc = create(aws, arena_concat(arena, q->name, "-dead", end, NULL),
	    attributes_of(q, arena, NULL), arena, &dead_url, e);
	if (rc == RC_OK)
		rc = attribute_get(aws, dead_url, "QueueArn", arena, &arn, e);
	if (rc == RC_OK)
		rc = create(aws, arena_concat(arena, q->name, end, NULL),
		    attributes_of(q, arena, arn), arena, url, e);
	aws_free(aws);
	return rc;
}

const struct queue_driver queue_sqs_driver = {
	.scheme = "http", /* and https */
	.open = sqs_open,
	.close = sqs_close,
	.ask = sqs_ask,
	.receive = sqs_receive,
	.extend = sqs_extend,
	.done = sqs_done,
	.give_back = sqs_return,
	.bury = sqs_bury,
	.send = sqs_send,
	.stats = sqs_stats,
};
