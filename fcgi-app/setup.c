#include "fcgi-app/setup.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"

struct request_limits
setup_limits(const struct conf *conf)
{
	return (struct request_limits){
		.max_body = (size_t)conf_int(conf, "fcgi", "max_body"),
		.request_deadline_ms =
		    conf_int(conf, "fcgi", "request_deadline"),
		.client_deadline_ms = conf_int(conf, "fcgi", "client_deadline")
	};
}

struct listen_opts
setup_listen(const struct conf *conf)
{
	return (
	    struct listen_opts){ .address = conf_str(conf, "fcgi", "listen"),
		.mode = conf_str(conf, "fcgi", "socket_mode"),
		.group = conf_str(conf, "fcgi", "socket_group"),
		.owner = conf_str(conf, "fcgi", "user"),
		.backlog = (int)conf_int(conf, "fcgi", "backlog") };
}

static enum rc
invalid(
    const struct conf *conf, const char *key, const char *what, struct err *e)
{
	return err_set(e, RC_INVALID, "bad_value", "%s: [fcgi] %s = %s: %s",
	    conf_source(conf, "fcgi", key), key, conf_str(conf, "fcgi", key),
	    what);
}

enum rc
setup_check(const struct conf *conf, struct err *e)
{
	const char *user = conf_str(conf, "fcgi", "user");
	const char *group = conf_str(conf, "fcgi", "group");
	const char *socket_group = conf_str(conf, "fcgi", "socket_group");
	const char *mode = conf_str(conf, "fcgi", "socket_mode");
	struct listen_addr addr;
	struct err why = ERR_INIT;
	char *end;
	long bits = strtol(mode, &end, 8);

	if (listen_parse(conf_str(conf, "fcgi", "listen"), &addr, &why) !=
	    RC_OK)
		return invalid(conf, "listen", why.msg, e);
	if (*mode == '\0' || *end != '\0' || bits < 0 || bits > 0777)
		return invalid(
		    conf, "socket_mode", "not an octal mode such as 0660", e);
	if (user[0] != '\0' && getpwnam(user) == NULL)
		return invalid(conf, "user", "there is no such user", e);
	if (group[0] != '\0' && getgrnam(group) == NULL)
		return invalid(conf, "group", "there is no such group", e);
	if (socket_group[0] != '\0' && getgrnam(socket_group) == NULL)
		return invalid(
		    conf, "socket_group", "there is no such group", e);
	return RC_OK;
}

enum rc
setup_user(const struct conf *conf, struct err *e)
{
	const char *user = conf_str(conf, "fcgi", "user");
	const char *group = conf_str(conf, "fcgi", "group");
	const struct passwd *pw;
	gid_t gid;

	if (geteuid() != 0 || user[0] == '\0')
		return RC_OK;
	pw = getpwnam(user);
	if (pw == NULL)
		return invalid(conf, "user", "there is no such user", e);
	gid = pw->pw_gid;
	if (group[0] != '\0') {
		const struct group *gr = getgrnam(group);

		if (gr == NULL)
			return invalid(
			    conf, "group", "there is no such group", e);
		gid = gr->gr_gid;
	}
	if (initgroups(user, gid) != 0 || setgid(gid) != 0 ||
	    setuid(pw->pw_uid) != 0)
		return err_set(e, RC_FAIL, "user", "cannot become %s: %s", user,
		    strerror(errno));
	if (pw->pw_uid != 0 && setuid(0) == 0)
		return err_set(
		    e, RC_FAIL, "user", "%s can become root again", user);
	return RC_OK;
}
