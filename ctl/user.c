/* soukctl user, loadtest: people, and many of them for measuring. */
#include "ctl/ctl.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/arena.h"
#include "shop/account.h"

enum { LIST_BATCH = 500 };

/* ---- passwords */

/* One line of stdin, without its end. */
static enum rc
line_read(char *out, size_t size, struct err *e)
{
	size_t n;

	if (fgets(out, (int)size, stdin) == NULL)
		return err_set(
		    e, RC_INVALID, "no_password", "no password on stdin");
	n = strlen(out);
	if (n > 0 && out[n - 1] == '\n')
		n--;
	else if (n + 1 == size)
		return err_set(e, RC_INVALID, "invalid_field",
		    "password: at most %d bytes", PASSWORD_MAX);
	if (n > 0 && out[n - 1] == '\r')
		n--;
	out[n] = '\0';
	return RC_OK;
}

/* From a terminal without showing it, twice. */
static enum rc
password_ask(char *out, size_t size, struct err *e)
{
	char again[PASSWORD_MAX + 3];
	struct termios was, quiet;
	enum rc rc;

	if (tcgetattr(STDIN_FILENO, &was) != 0)
		return err_set(e, RC_FAIL, "no_terminal",
		    "the terminal does not say how it is set");
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	(void)fputs("Password: ", stderr);
	rc = line_read(out, size, e);
	if (rc == RC_OK) {
		(void)fputs("\nAgain: ", stderr);
		rc = line_read(again, sizeof again, e);
	}
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
	(void)fputc('\n', stderr);
	if (rc == RC_OK && strcmp(out, again) != 0)
		rc = err_set(e, RC_REFUSED, "not_the_same",
		    "the two passwords are not the same");
	sodium_memzero(again, sizeof again);
	return rc;
}

static enum rc
password_read(char *out, size_t size, struct err *e)
{
	return isatty(STDIN_FILENO) ? password_ask(out, size, e)
				    : line_read(out, size, e);
}

/* ---- commands */

static enum rc
create_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *email = ctl_value(args, "email");
	const char *role = ctl_value(args, "role");
	const char *name = ctl_value(args, "name");
	char password[PASSWORD_MAX + 3];
	struct shop *shop;
	int64_t id = 0;
	enum rc rc;

	if (email == NULL)
		return ctl_usage(e, "--email E is missing");
	if (role != NULL && strcmp(role, "admin") != 0 &&
	    strcmp(role, "buyer") != 0)
		return ctl_usage(e, "--role: admin or buyer");
	if ((rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = password_read(password, sizeof password, e)) != RC_OK)
		return rc;
	rc = account_create(shop, email, password, name == NULL ? "" : name,
	    role == NULL ? "buyer" : role, ctl->arena, &id, e);
	sodium_memzero(password, sizeof password);
	if (rc != RC_OK)
		return rc;
	if (ctl->json)
		ctl_print_json(json_pack("{s:I}", "id", (json_int_t)id));
	else
		(void)printf("%lld\n", (long long)id);
	return RC_OK;
}

static enum rc
password_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const char *email = ctl_value(args, "email");
	char password[PASSWORD_MAX + 3];
	struct shop *shop;
	enum rc rc;

	if (email == NULL)
		return ctl_usage(e, "--email E is missing");
	if ((rc = ctl_shop(ctl, &shop, e)) != RC_OK ||
	    (rc = password_read(password, sizeof password, e)) != RC_OK)
		return rc;
	rc = account_set_password(shop, email, password, ctl->arena, e);
	sodium_memzero(password, sizeof password);
	if (rc == RC_OK)
		ctl_say(ctl, "the password is set; all sessions have ended");
	return rc;
}

static void
user_print(const struct ctl *ctl, const struct account_row *u)
{
	if (ctl->json)
		ctl_print_json(json_pack("{s:I, s:s, s:s, s:s, s:s}", "id",
		    (json_int_t)u->id, "email", u->email, "role", u->role,
		    "name", u->name, "createdAt", u->created_at));
	else
		(void)printf("%lld\t%s\t%s\t%s\t%s\n", (long long)u->id,
		    u->role, u->created_at, u->email, u->name);
}

static enum rc
list_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	const struct account_row *list;
	struct arena *arena = arena_new();
	struct shop *shop;
	int64_t after = 0;
	int n = LIST_BATCH;
	enum rc rc = ctl_shop(ctl, &shop, e);

	while (rc == RC_OK && n == LIST_BATCH) {
		rc = account_list(shop, after, LIST_BATCH,
		    ctl_value(args, "role"), arena, &list, &n, e);
		for (int i = 0; rc == RC_OK && i < n; i++) {
			user_print(ctl, &list[i]);
			after = list[i].id;
		}
		arena_reset(arena);
	}
	arena_free(arena);
	return rc;
}

/* Ended sessions and customers stay in the shop: it is for one that is thrown
 * away. */
static enum rc
buyers_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	static char tokens[BUYERS_MAX][SECRET_CHARS + 1];
	struct arena *arena = arena_new();
	struct shop *shop;
	int64_t left = 0;
	enum rc rc;

	if ((rc = ctl_operand_int(args, 0, "N", &left, e)) != RC_OK ||
	    (rc = ctl_shop(ctl, &shop, e)) != RC_OK)
		goto out;
	while (left > 0 && rc == RC_OK) {
		int n = left < BUYERS_MAX ? (int)left : BUYERS_MAX;

		rc = account_make_buyers(shop, n, tokens, arena, e);
		for (int i = 0; rc == RC_OK && i < n; i++)
			(void)puts(tokens[i]);
		left -= n;
		arena_reset(arena);
	}
out:
	arena_free(arena);
	return rc;
}

static const struct ctl_opt create_opts[] = {
	{ "email", "E", "the address to log in with" },
	{ "role", "ROLE", "admin or buyer (buyer)" },
	{ "name", "NAME", "how the shop addresses them" },
	{ 0 },
};

static const struct ctl_opt password_opts[] = {
	{ "email", "E", "whose" },
	{ 0 },
};

static const struct ctl_opt list_opts[] = {
	{ "role", "ROLE", "only those: admin or buyer" },
	{ 0 },
};

const struct ctl_cmd user_cmds[] = {
	{ .name = "user create",
	    .operands = "",
	    .help = "make an account and print its id; the password is read "
		    "from stdin, or asked for",
	    .opts = create_opts,
	    .run = create_run },
	{ .name = "user list",
	    .operands = "",
	    .help = "the accounts there are: id, role, since, address, name",
	    .opts = list_opts,
	    .run = list_run },
	{ .name = "user password",
	    .operands = "",
	    .help = "set a password, from stdin or asked for; ends all "
		    "sessions of the account",
	    .opts = password_opts,
	    .run = password_run },
	{ .name = "loadtest buyers",
	    .operands = "N",
	    .min = 1,
	    .max = 1,
	    .help = "N customers, each with a session; prints their cookies",
	    .run = buyers_run },
	{ 0 },
};
