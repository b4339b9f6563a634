/* soukctl token: the keys of programs that use the API. */
#include "ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>

#include "shop/token.h"

static enum rc
create_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *role = ctl_value(args, "role");
	char token[TOKEN_CHARS + 1];
	int64_t id = 0;
	enum rc rc;

	if (role == NULL)
		return ctl_usage(e, "--role ROLE is missing");
	rc = token_create(ctl_pg(ctl), role, ctl_value(args, "name"),
	    ctl->arena, token, &id, e);
	if (rc != RC_OK)
		return rc;
	if (ctl->json)
		ctl_print_json(json_pack("{s:I, s:s, s:s}", "id",
		    (json_int_t)id, "role", role, "token", token));
	else
		(void)puts(token);
	ctl_say(ctl, "token %lld; it is not stored and cannot be shown again",
	    (long long)id);
	return RC_OK;
}

static enum rc
list_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const struct token_row *list;
	json_t *all = json_array();
	int n;
	enum rc rc = token_list(ctl_pg(ctl), ctl->arena, &list, &n, e);

	(void)args;
	for (int i = 0; rc == RC_OK && i < n; i++) {
		const struct token_row *t = &list[i];

		if (ctl->json)
			(void)json_array_append_new(
			    all, json_pack("{s:I, s:s, s:s, s:s, s:s?}", "id",
				     (json_int_t)t->id, "role", t->role, "name",
				     t->name, "createdAt", t->created_at,
				     "revokedAt", t->revoked_at));
		else
			(void)printf("%lld\t%s\t%s\t%s\t%s\n", (long long)t->id,
			    t->role, t->revoked_at == NULL ? "good" : "revoked",
			    t->created_at, t->name);
	}
	if (ctl->json && rc == RC_OK)
		ctl_print_json(json_incref(all));
	json_decref(all);
	return rc;
}

static enum rc
revoke_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	int64_t id;
	enum rc rc = ctl_operand_int(args, 0, "ID", &id, e);

	return rc == RC_OK ? token_revoke(ctl_pg(ctl), id, ctl->arena, e) : rc;
}

static const struct ctl_opt create_opts[] = {
	{ "role", "ROLE", "admin: may change the catalogue" },
	{ "name", "NAME", "what it is for" },
	{ 0 },
};

const struct ctl_cmd token_cmds[] = {
	{ .name = "token create",
	    .operands = "",
	    .help = "make an API token and print it",
	    .opts = create_opts,
	    .run = create_run },
	{ .name = "token list",
	    .operands = "",
	    .help = "the tokens there are, without their secrets",
	    .run = list_run },
	{ .name = "token revoke",
	    .operands = "ID",
	    .min = 1,
	    .max = 1,
	    .help = "refuse a token from now on",
	    .run = revoke_run },
	{ 0 },
};
