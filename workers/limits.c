#include "workers/limits.h"

#include <string.h>
#include <sys/random.h>

#include "base/conf.h"
#include "base/span.h"
#include "base/text.h"
#include "store/outbox.h"
#include "workers/worker.h"

static struct span
trim(struct span s)
{
	while (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
		s = (struct span){ s.p + 1, s.n - 1 };
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static bool
limit_parse(struct span s, enum limit_kind kind, int64_t min, int64_t max,
    struct limit *out)
{
	const char *colon = s.n == 0 ? NULL : memchr(s.p, ':', s.n);
	struct span type, value;
	char text[24];

	if (colon == NULL)
		return false;
	type = trim((struct span){ s.p, (size_t)(colon - s.p) });
	value =
	    trim((struct span){ colon + 1, s.n - (size_t)(colon + 1 - s.p) });
	if (type.n == 0 || type.n >= sizeof out->type || value.n == 0 ||
	    value.n >= sizeof text)
		return false;
	memcpy(out->type, type.p, type.n);
	out->type[type.n] = '\0';
	memcpy(text, value.p, value.n);
	text[value.n] = '\0';
	if (kind == LIMIT_NUMBER)
		return text_int(value, min, max, &out->value);
	return conf_time_ms(text, &out->value) && out->value >= min &&
	       out->value <= max;
}

static const struct limit *
limit_of(const struct limit_list *l, const char *type)
{
	for (int i = 0; i < l->n; i++) {
		if (strcmp(l->limit[i].type, type) == 0)
			return &l->limit[i];
	}
	return NULL;
}

enum rc
limit_list_parse(const char *text, enum limit_kind kind, int64_t min,
    int64_t max, struct limit_list *out, struct err *e)
{
	struct span rest = trim(span_of(text));

	*out = (struct limit_list){ 0 };
	while (rest.n > 0) {
		const char *comma = memchr(rest.p, ',', rest.n);
		size_t n = comma == NULL ? rest.n : (size_t)(comma - rest.p);
		struct span one = trim((struct span){ rest.p, n });
		struct limit l;

		if (out->n == LIMITS_MOST)
			return err_set(e, RC_INVALID, "bad_limit",
			    "more than %d types", LIMITS_MOST);
		if (!limit_parse(one, kind, min, max, &l))
			return err_set(e, RC_INVALID, "bad_limit",
			    "\"%.*s\" is no limit; write %s",
			    (int)(one.n < 60 ? one.n : 60), one.p,
			    kind == LIMIT_TIME ? "process_image: 2m"
					       : "process_image: 2");
		if (limit_of(out, l.type) != NULL)
			return err_set(e, RC_INVALID, "bad_limit",
			    "%s is there twice", l.type);
		out->limit[out->n++] = l;
		if (comma == NULL)
			break;
		rest = trim((struct span){ comma + 1, rest.n - n - 1 });
		if (rest.n == 0)
			return err_set(e, RC_INVALID, "bad_limit",
			    "there is nothing behind the last comma");
	}
	return RC_OK;
}

/* Who works it off in batches has many in hand at a time. */
static bool
in_batches(const char *type)
{
	const struct task_type *t = task_type(type);
	const struct worker_def *def = t == NULL ? NULL : worker_def(t->queue);

	return def != NULL && def->batch != NULL;
}

static enum rc
list_load(const struct conf *conf, const char *key, enum limit_kind kind,
    int64_t min, int64_t max, struct limit_list *out, struct err *e)
{
	enum rc rc = limit_list_parse(
	    conf_str(conf, "workers", key), kind, min, max, out, e);

	for (int i = 0; i < out->n && rc == RC_OK; i++) {
		if (task_type(out->limit[i].type) == NULL)
			rc = err_set(e, RC_INVALID, "bad_limit",
			    "there is no task type %s", out->limit[i].type);
	}
	if (rc != RC_OK)
		err_prefix(e,
		    "%s: [workers] %s: ", conf_source(conf, "workers", key),
		    key);
	return rc;
}

enum rc
limits_load(const struct conf *conf, struct limits *out, struct err *e)
{
	int64_t lease = conf_int(conf, "workers", "max_lease");
	enum rc rc;

	*out = (struct limits){
		.backoff_ms = conf_int(conf, "workers", "backoff"),
		.max_backoff_ms = conf_int(conf, "workers", "max_backoff"),
		.max_receives = (int)conf_int(conf, "workers", "max_receives"),
	};
	if ((rc = list_load(conf, "task_timeout", LIMIT_TIME, 100, lease,
		 &out->timeout, e)) != RC_OK ||
	    (rc = list_load(conf, "task_receives", LIMIT_NUMBER, 1, 1000,
		 &out->receives, e)) != RC_OK ||
	    (rc = list_load(conf, "task_concurrency", LIMIT_NUMBER, 1, 1000,
		 &out->concurrency, e)) != RC_OK)
		return rc;
	for (int i = 0; i < out->concurrency.n; i++) {
		const char *type = out->concurrency.limit[i].type;

		if (in_batches(type))
			return err_set(e, RC_INVALID, "bad_limit",
			    "%s: [workers] task_concurrency: %s is worked off "
			    "in batches; what there is of it follows the "
			    "number of processes",
			    conf_source(conf, "workers", "task_concurrency"),
			    type);
	}
	return RC_OK;
}

static int64_t
value_of(const struct limit_list *l, const char *type, int64_t dflt)
{
	const struct limit *limit = limit_of(l, type);

	return limit == NULL ? dflt : limit->value;
}

int64_t
limits_timeout_ms(const struct limits *l, const char *type)
{
	return value_of(&l->timeout, type, 0);
}

int
limits_concurrency(const struct limits *l, const char *type)
{
	return (int)value_of(&l->concurrency, type, 0);
}

int
limits_receives(const struct limits *l, const char *type)
{
	return (int)value_of(&l->receives, type, l->max_receives);
}

int64_t
limits_backoff_ms(const struct limits *l, int receives)
{
	int64_t most = l->backoff_ms;
	uint32_t r = 0;

	for (int i = 1; i < receives && most < l->max_backoff_ms; i++)
		most *= 2;
	if (most > l->max_backoff_ms)
		most = l->max_backoff_ms;
	(void)!getrandom(&r, sizeof r, GRND_NONBLOCK);
	return (int64_t)r % (most + 1);
}
