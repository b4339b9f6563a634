/*
 * The shared files of AWS's tools
 * (https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html): INI, a
 * section for each profile, "[profile x]" in the configuration ("[default]" has
 * no word before it) and "[x]" in the credentials, whose values win.
 *
 * Keys are all we take from them. A profile that says how to come by some (a
 * role of another profile, a program, single sign-on) is refused by name: what
 * runs as a service has an identity of its own.
 */
#include "store/aws_cred_int.h"

#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/xmalloc.h"

enum { MAX_FILE = 1 << 20 };

/* What one file says of the profile; values within its text. */
struct profile {
	bool found;
	const char *id, *secret, *token, *region; /* "" none */
	const char *role, *process; /* the names of settings that would lead
				       elsewhere; "" none */
};

struct files {
	const char *name; /* of the profile */
	bool named;       /* by AWS_PROFILE */
	struct file {
		const char *why; /* it was not read; "" it was */
		char *text;      /* NULL: none */
		size_t n;
		struct profile profile;
	} credentials, config;
};

/* ---- INI */

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static char *
trim(char *s)
{
	size_t n;

	while (is_space(*s))
		s++;
	n = strlen(s);
	while (n > 0 && is_space(s[n - 1]))
		s[--n] = '\0';
	return s;
}

/* A comment begins the line, or stands behind a space. */
static void
cut_comment(char *line)
{
	for (char *p = line; *p != '\0'; p++) {
		if ((*p == '#' || *p == ';') &&
		    (p == line || is_space(p[-1]))) {
			*p = '\0';
			return;
		}
	}
}

/* "[profile x]", "[x]", "[profile "x y"]": is it ours? */
static bool
section_is(char *line, const char *name, bool config)
{
	char *end = strchr(line, ']');
	bool bare = true;

	if (end == NULL)
		return false;
	*end = '\0';
	line = trim(line + 1);
	if (config && strncmp(line, "profile", 7) == 0 && is_space(line[7])) {
		line = trim(line + 7);
		bare = false;
	}
	size_t n = strlen(line);

	if (n >= 2 && (*line == '"' || *line == '\'') && line[n - 1] == *line) {
		line[n - 1] = '\0';
		line++;
	}
	return strcmp(line, name) == 0 &&
	       (!config || !bare || strcmp(name, "default") == 0);
}

static void
setting_take(struct profile *profile, const char *name, const char *value)
{
	static const char *const roles[] = { "role_arn", "source_profile",
		"credential_source", "web_identity_token_file", "sso_session",
		"sso_start_url" };
	const struct {
		const char *name;
		const char **to;
	} taken[] = { { "aws_access_key_id", &profile->id },
		{ "aws_secret_access_key", &profile->secret },
		{ "aws_session_token", &profile->token },
		{ "region", &profile->region } };

	for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
		if (strcasecmp(name, taken[i].name) == 0)
			*taken[i].to = value;
	}
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
		if (strcasecmp(name, roles[i]) == 0)
			profile->role = roles[i];
	}
	if (strcasecmp(name, "credential_process") == 0)
		profile->process = "credential_process";
}

/* Writes NULs into the text, which the profile then borrows. */
static void
profile_read(char *text, const char *name, bool config, struct profile *profile)
{
	bool ours = false, nested = false;
	char *next;

	if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	for (char *line = text; line != NULL; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		bool indented = is_space(*line);

		cut_comment(line);
		line = trim(line);
		if (*line == '[') {
			ours = section_is(line, name, config);
			profile->found = profile->found || ours;
			nested = false;
			continue;
		}
		char *equals = strchr(line, '=');

		/* Below "s3 =" lie settings of its own. */
		if (!ours || equals == NULL || (nested && indented))
			continue;
		*equals = '\0';
		char *value = trim(equals + 1);

		nested = *value == '\0';
		setting_take(profile, trim(line), value);
	}
}

/* ---- the two files */

/*
 * One that is not there is no error, as for AWS's tools; nor is one that may
 * not be read where nobody named it: HOME may be left over from another user.
 */
static enum rc
file_open(const struct aws_cred *cred, struct arena *arena,
    const struct files *files, struct file *file, const char *variable,
    const char *usual, struct err *e)
{
	static const struct profile empty = { false, "", "", "", "", "", "" };
	const char *home = cred_env(cred, "HOME");
	const char *path = cred_env(cred, variable);
	const bool named = *path != '\0';
	struct err why = ERR_INIT;
	enum rc rc;

	file->profile = empty;
	if (!named && *home != '\0')
		path = arena_concat(arena, home, usual, NULL);
	else if (strncmp(path, "~/", 2) == 0)
		path = arena_concat(arena, home, path + 1, NULL);
	if (*path == '\0') {
		file->why = "HOME: not set";
		return RC_OK;
	}
	rc = cred_file_read(path, MAX_FILE, &file->text, &file->n, &why);
	file->why = arena_strdup(arena, why.msg);
	if (rc == RC_OK)
		profile_read(file->text, files->name, file == &files->config,
		    &file->profile);
	else if (rc != RC_NONE && named)
		return err_set(e, rc, why.code, "%s", why.msg);
	return RC_OK;
}

static void
files_close(struct files *files)
{
	cred_wipe(files->credentials.text, files->credentials.n);
	cred_wipe(files->config.text, files->config.n);
}

static enum rc
files_open(const struct aws_cred *cred, struct arena *arena,
    struct files *files, struct err *e)
{
	const char *name = cred_env(cred, "AWS_PROFILE");
	enum rc rc;

	*files = (struct files){ .name = *name == '\0' ? "default" : name,
		.named = *name != '\0' };
	rc = file_open(cred, arena, files, &files->credentials,
	    "AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials", e);
	if (rc == RC_OK)
		rc = file_open(cred, arena, files, &files->config,
		    "AWS_CONFIG_FILE", "/.aws/config", e);
	if (rc != RC_OK)
		files_close(files);
	return rc;
}

/* RC_OK: *out has keys, or half of them. */
static enum rc
keys_find(const struct files *files, const struct profile **out, struct err *e)
{
	const struct profile *mine = &files->credentials.profile;
	const struct profile *other = &files->config.profile;
	const char *refused;

	if (!mine->found && !other->found)
		return err_set(e, files->named ? RC_FAIL : RC_NONE,
		    "aws_no_credentials",
		    "profile \"%.60s\": not there (%s; %s)", files->name,
		    *files->credentials.why == '\0' ? "not in the credentials"
						    : files->credentials.why,
		    *files->config.why == '\0' ? "not in the configuration"
					       : files->config.why);
	refused = *mine->role != '\0' ? mine->role : other->role;
	*out = *mine->id != '\0' || *mine->secret != '\0' ? mine : other;
	if (*refused == '\0' && *(*out)->id == '\0' && *(*out)->secret == '\0')
		refused =
		    *mine->process != '\0' ? mine->process : other->process;
	if (*refused != '\0')
		return err_set(e, RC_FAIL, "aws_no_credentials",
		    "profile \"%.60s\": %s is not supported, give it keys",
		    files->name, refused);
	if (*(*out)->id == '\0' && *(*out)->secret == '\0')
		return err_set(e, RC_NONE, "aws_no_credentials",
		    "profile \"%.60s\": no keys in it", files->name);
	return RC_OK;
}

enum rc
cred_from_profile(struct aws_cred *cred, struct cred_held *held, struct err *e)
{
	const struct profile *profile = NULL;
	struct arena *arena = arena_new();
	struct files files;
	enum rc rc = files_open(cred, arena, &files, e);

	if (rc == RC_OK) {
		rc = keys_find(&files, &profile, e);
		if (rc == RC_OK)
			rc = cred_held_set(held,
			    arena_printf(
				arena, "profile \"%.60s\"", files.name),
			    profile->id, profile->secret, profile->token, 0, e);
		files_close(&files);
	}
	arena_free(arena);
	return rc;
}

const char *
cred_profile_region(struct aws_cred *cred, struct arena *arena)
{
	const char *region = "";
	struct files files;

	if (files_open(cred, arena, &files, NULL) != RC_OK)
		return region;
	region = files.credentials.profile.region;
	if (*region == '\0')
		region = files.config.profile.region;
	region = arena_strdup(arena, region);
	files_close(&files);
	return region;
}
