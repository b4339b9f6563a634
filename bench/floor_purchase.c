/*
 * floor_purchase - the least that a purchase can cost: libfcgi, one EVALSHA,
 *one prepared INSERT, nothing else. It writes the rows that a purchase of the
 *shop writes (order, line, unit, three tasks) without asking whether it may: no
 * session, no check, no epoch, no idempotency, no deadline.
 *
 *	floor_purchase -l SOCKET -r REDIS-SOCKET -d DATABASE -i ITEM
 *	    [-c CHILDREN] [-s SLOTS]
 *
 * ITEM: a sale item of its own; its rows say product, variant and price.
 */
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "bench/floor_loop.h"

struct purchase {
	const char *redis_path, *database, *item;
	redisContext *redis;
	PGconn *pg;
	char sha[41];
};

/* Takes a number, files the hold, tells the stock. */
static const char script[] =
    "local n = redis.call('INCR', KEYS[1])\n"
    "redis.call('HSET', KEYS[2], ARGV[1], n)\n"
    "redis.call('PUBLISH', 'floor:update', '{\"stock\":' .. n .. '}')\n"
    "return n\n";

static const char statement[] =
    "WITH item AS (SELECT i.*, p.title FROM sale_item i"
    "  JOIN product p ON p.id = i.product_id WHERE i.id = $3::int8),"
    " unit AS (INSERT INTO sale_unit (item_id, unit, order_id, buyer, slot)"
    "  VALUES ($3::int8, $2::int, $1, $1, 1)),"
    " ord AS (INSERT INTO orders (id, customer_id, sale_item_id, status,"
    "  currency, total, email, answer, expires_at)"
    "  SELECT $1, 1, id, 'reserved', 'USD', price, 'floor@example.com',"
    "  jsonb_build_object('orderId', $1::text), now() + interval '1 day'"
    "  FROM item),"
    " line AS (INSERT INTO order_line (order_id, line, product_id, variant_id,"
    "  title, quantity, price)"
    "  SELECT $1, 1, product_id, variant_id, title, 1, price FROM item)"
    " INSERT INTO outbox (task_id, queue, type, data)"
    " SELECT md5(t || $1::text), q, t, jsonb_build_object('orderId', $1::text)"
    " FROM (VALUES ('payment', 'process_payment'),"
    " ('email', 'order_confirmation'), ('analytics', 'order_placed')) v (q, t)";

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "floor_purchase: %s: %s\n", what, why);
	exit(1);
}

static void *
start(void *arg)
{
	struct purchase *p = arg;
	redisReply *r;
	PGresult *res;

	p->redis = redisConnectUnix(p->redis_path);
	if (p->redis == NULL || p->redis->err != 0)
		fail("redis", p->redis == NULL ? "memory" : p->redis->errstr);
	r = redisCommand(p->redis, "SCRIPT LOAD %s", script);
	if (r == NULL || r->type != REDIS_REPLY_STRING || r->len != 40)
		fail("redis", "SCRIPT LOAD");
	memcpy(p->sha, r->str, sizeof p->sha);
	freeReplyObject(r);
	p->pg = PQconnectdb(p->database);
	if (PQstatus(p->pg) != CONNECTION_OK)
		fail("postgres", PQerrorMessage(p->pg));
	res = PQprepare(p->pg, "p", statement, 3, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		fail("postgres", PQerrorMessage(p->pg));
	PQclear(res);
	return p;
}

static void
answer(void *state, FCGX_Request *rq)
{
	struct purchase *p = state;
	unsigned char bytes[16];
	char id[33], unit[24], body[1024];
	const char *values[3] = { id, unit, p->item };
	redisReply *r;
	PGresult *res;

	while (FCGX_GetStr(body, sizeof body, rq->in) > 0)
		;
	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		fail("getrandom", "short");
	for (int i = 0; i < 16; i++)
		(void)snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	r = redisCommand(p->redis,
	    "EVALSHA %s 2 floor:{%s} floor:{%s}:holds %s", p->sha, p->item,
	    p->item, id);
	if (r == NULL || r->type != REDIS_REPLY_INTEGER)
		fail("redis", r == NULL ? p->redis->errstr : r->str);
	(void)snprintf(unit, sizeof unit, "%lld", r->integer);
	freeReplyObject(r);
	res = PQexecPrepared(p->pg, "p", 3, values, NULL, NULL, 0);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		fail("postgres", PQerrorMessage(p->pg));
	PQclear(res);
	FCGX_FPrintF(rq->out,
	    "Status: 200 OK\r\nContent-Type: application/json\r\n"
	    "Content-Length: %d\r\n\r\n{\"orderId\":\"%s\",\"stock\":%6s}\n",
	    (int)sizeof "{\"orderId\":\"\",\"stock\":}" + 32 + 6, id, unit);
}

int
main(int argc, char **argv)
{
	struct purchase p = { .item = "1" };
	struct floor_opts opts = { .children = 8,
		.slots = 64,
		.start = start,
		.answer = answer,
		.arg = &p };
	int c;

	while ((c = getopt(argc, argv, "l:r:d:i:c:s:")) != -1) {
		switch (c) {
		case 'l':
			opts.path = optarg;
			break;
		case 'r':
			p.redis_path = optarg;
			break;
		case 'd':
			p.database = optarg;
			break;
		case 'i':
			p.item = optarg;
			break;
		case 'c':
			opts.children = floor_number(optarg);
			break;
		case 's':
			opts.slots = floor_number(optarg);
			break;
		default:
			return 2;
		}
	}
	if (opts.path == NULL || p.redis_path == NULL || p.database == NULL) {
		fprintf(stderr, "floor_purchase: -l, -r and -d are needed\n");
		return 2;
	}
	floor_run(&opts);
}
