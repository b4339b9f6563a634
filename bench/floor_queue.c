/*
 * floor_queue - the least that working off N messages can be:
 *
 *	floor_queue sqs ENDPOINT QUEUE-URL N   libcurl: receive 10, delete 10
 *	floor_queue pg DATABASE QUEUE N        libpq: DELETE ... SKIP LOCKED, 10
 *
 * Prints the seconds it took. No lease is kept, nothing is counted, nothing
 * parsed but receipt handles.
 */
#include <curl/curl.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 10, MAX_ANSWER = 1 << 20 };

static void
fail(const char *what, const char *why)
{
	(void)fprintf(stderr, "floor_queue: %s: %s\n", what, why);
	exit(1);
}

static double
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- SQS */

struct sqs {
	CURL *curl;
	struct curl_slist *receive, *delete;
	char answer[MAX_ANSWER];
	size_t n;
};

static size_t
take(char *p, size_t size, size_t n, void *arg)
{
	struct sqs *s = arg;

	if (s->n + size * n >= sizeof s->answer)
		return 0;
	memcpy(s->answer + s->n, p, size * n);
	s->n += size * n;
	return size * n;
}

static struct curl_slist *
headers(const char *action)
{
	struct curl_slist *list =
	    curl_slist_append(NULL, "Content-Type: application/x-amz-json-1.0");

	return curl_slist_append(list, action);
}

static json_t *
call(struct sqs *s, struct curl_slist *list, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	json_t *tree;
	CURLcode code;

	s->n = 0;
	(void)curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, list);
	(void)curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, text);
	code = curl_easy_perform(s->curl);
	if (code != CURLE_OK)
		fail("sqs", curl_easy_strerror(code));
	free(text);
	json_decref(body);
	tree = json_loadb(s->answer, s->n, 0, NULL);
	return tree;
}

/* How many were there. */
static size_t
turn_sqs(struct sqs *s, const char *url)
{
	json_t *tree = call(s, s->receive,
	    json_pack(
		"{s:s, s:i}", "QueueUrl", url, "MaxNumberOfMessages", BATCH));
	json_t *list = json_object_get(tree, "Messages"), *one;
	json_t *entries = json_array();
	size_t i, n = json_array_size(list);
	char id[24];

	json_array_foreach(list, i, one)
	{
		(void)snprintf(id, sizeof id, "%zu", i);
		json_array_append_new(
		    entries, json_pack("{s:s, s:O}", "Id", id, "ReceiptHandle",
				 json_object_get(one, "ReceiptHandle")));
	}
	if (n > 0)
		json_decref(call(s, s->delete,
		    json_pack(
			"{s:s, s:O}", "QueueUrl", url, "Entries", entries)));
	json_decref(entries);
	json_decref(tree);
	return n;
}

static double
run_sqs(const char *endpoint, const char *url, long want)
{
	struct sqs *s = calloc(1, sizeof *s);
	double start;

	if (s == NULL || (s->curl = curl_easy_init()) == NULL)
		fail("sqs", "no memory");
	s->receive = headers("X-Amz-Target: AmazonSQS.ReceiveMessage");
	s->delete = headers("X-Amz-Target: AmazonSQS.DeleteMessageBatch");
	(void)curl_easy_setopt(s->curl, CURLOPT_URL, endpoint);
	(void)curl_easy_setopt(
	    s->curl, CURLOPT_AWS_SIGV4, "aws:amz:eu-central-1:sqs");
	(void)curl_easy_setopt(s->curl, CURLOPT_USERPWD, "test:test");
	(void)curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, take);
	(void)curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
	(void)curl_easy_setopt(s->curl, CURLOPT_TIMEOUT, 30L);
	start = now();
	while (want > 0) {
		size_t n = turn_sqs(s, url);

		if (n == 0)
			fail("sqs", "fewer messages than were sent");
		want -= (long)n;
	}
	return now() - start;
}

/* ---- PostgreSQL */

static double
run_pg(const char *database, const char *queue, long want)
{
	PGconn *pg = PQconnectdb(database);
	const char *args[] = { queue };
	PGresult *r;
	double start;

	if (PQstatus(pg) != CONNECTION_OK)
		fail("pg", PQerrorMessage(pg));
	r = PQprepare(pg, "take",
	    "DELETE FROM outbox WHERE id = ANY(ARRAY(SELECT id FROM outbox"
	    " WHERE queue = $1 AND visible_at <= now() ORDER BY visible_at, id"
	    " LIMIT 10 FOR UPDATE SKIP LOCKED)) RETURNING task_id, type, data",
	    1, NULL);
	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		fail("pg", PQerrorMessage(pg));
	PQclear(r);
	start = now();
	while (want > 0) {
		r = PQexecPrepared(pg, "take", 1, args, NULL, NULL, 0);
		if (PQresultStatus(r) != PGRES_TUPLES_OK)
			fail("pg", PQerrorMessage(pg));
		if (PQntuples(r) == 0)
			fail("pg", "fewer rows than were written");
		want -= PQntuples(r);
		PQclear(r);
	}
	PQfinish(pg);
	return now() - start;
}

int
main(int argc, char **argv)
{
	if (argc != 5)
		fail("usage", "floor_queue sqs ENDPOINT URL N | pg DATABASE "
			      "QUEUE N");
	(void)printf("%.3f\n", strcmp(argv[1], "sqs") == 0
				   ? run_sqs(argv[2], argv[3], atol(argv[4]))
				   : run_pg(argv[2], argv[3], atol(argv[4])));
	return 0;
}
