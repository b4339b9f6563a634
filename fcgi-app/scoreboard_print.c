/*
 * The scoreboard for people and machines. The names of --status are php-fpm's
 * where it has one for the thing, so that what reads its status page can read
 * ours.
 */
#include "fcgi-app/scoreboard.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/strbuf.h"

static int64_t
age_ms(int64_t since_wall_ms)
{
	int64_t now = clock_wall_ms();

	return since_wall_ms > 0 && now > since_wall_ms ? now - since_wall_ms
							: 0;
}

/* How long the request has run, or the last one ran. */
static int64_t
slot_duration_us(const struct score_slot *s)
{
	if (s->start_ms == 0)
		return s->last_us;
	return (clock_mono_ms() - s->start_ms) * 1000;
}

static void
metric(struct strbuf *out, const char *name, const char *type, const char *help,
    double value)
{
	strbuf_addf(out,
	    "# HELP souk_fcgi_%s %s\n# TYPE souk_fcgi_%s %s\nsouk_fcgi_%s "
	    "%.15g\n",
	    name, help, name, type, name, value);
}

static void
metrics_requests(const struct score_counts *n, struct strbuf *out)
{
	uint64_t sum = 0;

	strbuf_adds(out,
	    "# HELP souk_fcgi_responses_total Answers by class of status.\n"
	    "# TYPE souk_fcgi_responses_total counter\n");
	for (int i = 1; i <= 5; i++)
		strbuf_addf(out,
		    "souk_fcgi_responses_total{class=\"%dxx\"} %" PRIu64 "\n",
		    i, n->status[i]);
	strbuf_adds(out,
	    "# HELP souk_fcgi_request_duration_seconds From the first byte "
	    "read to the last one written.\n"
	    "# TYPE souk_fcgi_request_duration_seconds histogram\n");
	for (int i = 0; i < SCORE_BUCKETS; i++) {
		const int64_t *bound = score_bucket_us(i);
		char le[32] = "+Inf";

		if (bound != NULL)
			snprintf(le, sizeof le, "%g", (double)*bound / 1e6);
		sum += n->bucket[i];
		strbuf_addf(out,
		    "souk_fcgi_request_duration_seconds_bucket{le=\"%s\"} "
		    "%" PRIu64 "\n",
		    le, sum);
	}
	strbuf_addf(out,
	    "souk_fcgi_request_duration_seconds_sum %.6f\n"
	    "souk_fcgi_request_duration_seconds_count %" PRIu64 "\n",
	    (double)n->busy_us / 1e6, sum);
}

static void
metrics_children(const struct score_total *t, const struct score_master *m,
    struct strbuf *out)
{
	strbuf_addf(out,
	    "# HELP souk_fcgi_processes Serving children by state.\n"
	    "# TYPE souk_fcgi_processes gauge\n"
	    "souk_fcgi_processes{state=\"idle\"} %d\n"
	    "souk_fcgi_processes{state=\"active\"} %d\n"
	    "souk_fcgi_processes{state=\"starting\"} %d\n",
	    t->idle, t->active, t->starting);
	metric(out, "processes_draining", "gauge",
	    "Children that finish what they have and end.", t->draining);
	metric(out, "max_active_processes", "gauge",
	    "Most children active at once since the start.", m->max_active);
	metric(out, "connections", "gauge", "Open FastCGI connections.",
	    (double)t->conns);
	if (m->listen_queue >= 0) {
		metric(out, "listen_queue", "gauge",
		    "Connections that wait to be accepted.", m->listen_queue);
		metric(out, "max_listen_queue", "gauge",
		    "Most of them since the start.", m->max_listen_queue);
		metric(out, "listen_queue_size", "gauge", "Room for them.",
		    m->listen_queue_size);
	}
}

static void
metrics_master(const struct score_master *m, struct strbuf *out)
{
	metric(out, "start_time_seconds", "gauge",
	    "When the server was started, in Unix time.",
	    (double)m->started_wall_ms / 1e3);
	metric(out, "load_time_seconds", "gauge",
	    "When its configuration was loaded, in Unix time.",
	    (double)m->loaded_wall_ms / 1e3);
	metric(out, "reloads_total", "counter", "Reloads carried out.",
	    (double)m->reloads);
	metric(out, "reloads_refused_total", "counter",
	    "Reloads refused for a bad configuration.",
	    (double)m->reloads_refused);
	metric(out, "children_started_total", "counter", "Children started.",
	    (double)m->spawned);
	metric(out, "children_died_total", "counter",
	    "Children that died without being told to.", (double)m->died);
	metric(out, "slow_requests_total", "counter",
	    "Requests over request_deadline, whose child was killed.",
	    (double)m->killed_deadline);
	strbuf_addf(out,
	    "# HELP souk_fcgi_info What runs here.\n"
	    "# TYPE souk_fcgi_info gauge\n"
	    "souk_fcgi_info{version=\"%s\",children=\"%d\",slots=\"%d\","
	    "generation=\"%" PRIu32 "\"} 1\n",
	    m->version, m->children, m->slots, m->generation);
}

void
scoreboard_metrics(const struct scoreboard *board, struct strbuf *out)
{
	const struct score_master *m = scoreboard_master_const(board);
	struct score_total t;

	scoreboard_total(board, &t);
	metric(out, "requests_total", "counter", "Requests answered.",
	    (double)t.n.requests);
	metrics_requests(&t.n, out);
	metric(out, "accepted_connections_total", "counter",
	    "Connections accepted.", (double)t.n.accepted);
	metric(out, "connections_handed_over_total", "counter",
	    "Kept connections that one child gave to another.",
	    (double)t.n.handed);
	metric(out, "connections_received_total", "counter",
	    "Kept connections taken over from another child.",
	    (double)t.n.received);
	metric(out, "aborted_requests_total", "counter",
	    "Requests whose web server had gone before the answer.",
	    (double)t.n.aborted);
	metric(out, "late_requests_total", "counter",
	    "Requests refused unread because their client has given up.",
	    (double)t.n.late);
	metric(out, "broken_requests_total", "counter",
	    "Requests cut short, or not FastCGI.", (double)t.n.broken);
	metric(out, "request_body_bytes_total", "counter",
	    "Bytes of request bodies.", (double)t.n.bytes_in);
	metric(out, "response_bytes_total", "counter", "Bytes of answers.",
	    (double)t.n.bytes_out);
	metrics_children(&t, m, out);
	metrics_master(m, out);
}

static void
text_line(struct strbuf *out, const char *name, int64_t value)
{
	strbuf_addf(out, "%-22s%" PRId64 "\n", name, value);
}

static void
text_slot(const struct score_slot *s, struct strbuf *out)
{
	int64_t us = slot_duration_us(s);

	strbuf_addf(out,
	    "%7d %4" PRIu32 " %-9s %9" PRIu64 " %5d %9" PRId64 ".%03d  ",
	    s->pid, s->generation,
	    s->housekeeper && s->state == CS_IDLE
		? "housekeep"
		: child_state_name(s->state, s->draining),
	    s->n.requests, s->conns, us / 1000, (int)(us % 1000));
	if (s->method[0] != '\0')
		strbuf_addf(out, "%s %s", s->method, s->path);
	if (s->start_ms != 0 && s->doing.what[0] != '\0')
		strbuf_addf(out, "  (%s)", s->doing.what);
	strbuf_addc(out, '\n');
}

void
scoreboard_text(const struct scoreboard *board, struct strbuf *out)
{
	const struct score_master *m = scoreboard_master_const(board);
	struct arena *arena = arena_new();
	struct score_total t;

	scoreboard_total(board, &t);
	strbuf_addf(out, "%-22s%s\n%-22s%s\n%-22s%s\n%-22s%s\n",
	    "pool:", "souk-fcgi", "version:", m->version,
	    "process manager:", "static", "listen:", m->listen);
	strbuf_addf(out, "%-22s%s\n",
	    "start time:", time_rfc3339(arena, m->started_wall_ms));
	text_line(out, "start since:", age_ms(m->started_wall_ms) / 1000);
	strbuf_addf(out, "%-22s%s\n",
	    "loaded:", time_rfc3339(arena, m->loaded_wall_ms));
	text_line(out, "master:", m->pid);
	text_line(out, "generation:", m->generation);
	text_line(out, "requests:", (int64_t)t.n.requests);
	text_line(out, "accepted conn:", (int64_t)t.n.accepted);
	text_line(out, "handed over:", (int64_t)t.n.handed);
	text_line(out, "open conn:", t.conns);
	if (m->listen_queue >= 0) {
		text_line(out, "listen queue:", m->listen_queue);
		text_line(out, "max listen queue:", m->max_listen_queue);
		text_line(out, "listen queue len:", m->listen_queue_size);
	}
	text_line(out, "idle processes:", t.idle);
	text_line(out, "active processes:", t.active);
	text_line(out, "total processes:", t.idle + t.active + t.starting);
	text_line(out, "draining processes:", t.draining);
	text_line(out, "max active processes:", m->max_active);
	text_line(out, "slow requests:", (int64_t)m->killed_deadline);
	text_line(out, "late requests:", (int64_t)t.n.late);
	text_line(out, "aborted requests:", (int64_t)t.n.aborted);
	text_line(out, "5xx:", (int64_t)t.n.status[5]);
	text_line(out, "reloads:", (int64_t)m->reloads);
	text_line(out, "reloads refused:", (int64_t)m->reloads_refused);
	text_line(out, "children died:", (int64_t)m->died);
	strbuf_adds(out,
	    "\n    pid  gen state      requests conns   duration ms  "
	    "request\n");
	for (int i = 0; i < scoreboard_used(board); i++) {
		struct score_slot s;

		scoreboard_read(board, i, &s);
		if (s.state != CS_DEAD)
			text_slot(&s, out);
	}
	arena_free(arena);
}

static void
json_string(struct strbuf *out, const char *name, const char *value)
{
	strbuf_addf(out, "\"%s\":\"", name);
	strbuf_add_json(out, value, strlen(value));
	strbuf_adds(out, "\",");
}

static void
json_number(struct strbuf *out, const char *name, int64_t value)
{
	strbuf_addf(out, "\"%s\":%" PRId64 ",", name, value);
}

static void
json_slot(const struct score_slot *s, struct strbuf *out)
{
	strbuf_addc(out, '{');
	json_number(out, "pid", s->pid);
	json_number(out, "generation", s->generation);
	json_string(out, "state", child_state_name(s->state, s->draining));
	json_string(out, "role", s->housekeeper ? "housekeeper" : "serving");
	json_number(out, "start since", (clock_mono_ms() - s->born_ms) / 1000);
	json_number(out, "requests", (int64_t)s->n.requests);
	json_number(out, "connections", s->conns);
	json_number(out, "request duration", slot_duration_us(s));
	json_string(out, "request method", s->method);
	json_string(out, "request uri", s->path);
	json_string(out, "doing", s->start_ms != 0 ? s->doing.what : "");
	json_number(out, "last status", s->last_status);
	json_number(out, "response bytes", (int64_t)s->n.bytes_out);
	strbuf_trunc(out, out->len - 1);
	strbuf_addc(out, '}');
}

void
scoreboard_json(const struct scoreboard *board, struct strbuf *out)
{
	const struct score_master *m = scoreboard_master_const(board);
	struct score_total t;
	bool first = true;

	scoreboard_total(board, &t);
	strbuf_addc(out, '{');
	json_string(out, "pool", "souk-fcgi");
	json_string(out, "version", m->version);
	json_string(out, "process manager", "static");
	json_string(out, "listen", m->listen);
	json_number(out, "start time", m->started_wall_ms / 1000);
	json_number(out, "start since", age_ms(m->started_wall_ms) / 1000);
	json_number(out, "load time", m->loaded_wall_ms / 1000);
	json_number(out, "master", m->pid);
	json_number(out, "generation", m->generation);
	json_number(out, "children", m->children);
	json_number(out, "slots", m->slots);
	json_number(out, "requests", (int64_t)t.n.requests);
	json_number(out, "accepted conn", (int64_t)t.n.accepted);
	json_number(out, "handed over", (int64_t)t.n.handed);
	json_number(out, "received", (int64_t)t.n.received);
	json_number(out, "open conn", t.conns);
	if (m->listen_queue >= 0) {
		json_number(out, "listen queue", m->listen_queue);
		json_number(out, "max listen queue", m->max_listen_queue);
		json_number(out, "listen queue len", m->listen_queue_size);
	}
	json_number(out, "idle processes", t.idle);
	json_number(out, "active processes", t.active);
	json_number(out, "starting processes", t.starting);
	json_number(out, "total processes", t.idle + t.active + t.starting);
	json_number(out, "draining processes", t.draining);
	json_number(out, "max active processes", m->max_active);
	json_number(out, "slow requests", (int64_t)m->killed_deadline);
	json_number(out, "late requests", (int64_t)t.n.late);
	json_number(out, "aborted requests", (int64_t)t.n.aborted);
	json_number(out, "broken requests", (int64_t)t.n.broken);
	json_number(out, "reloads", (int64_t)m->reloads);
	json_number(out, "reloads refused", (int64_t)m->reloads_refused);
	json_number(out, "children died", (int64_t)m->died);
	for (int i = 1; i <= 5; i++)
		strbuf_addf(out, "\"%dxx\":%" PRIu64 ",", i, t.n.status[i]);
	strbuf_adds(out, "\"processes\":[");
	for (int i = 0; i < scoreboard_used(board); i++) {
		struct score_slot s;

		scoreboard_read(board, i, &s);
		if (s.state == CS_DEAD)
			continue;
		if (!first)
			strbuf_addc(out, ',');
		first = false;
		json_slot(&s, out);
	}
	strbuf_adds(out, "]}\n");
}
