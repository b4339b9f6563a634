/*
 * master - starts children, watches them, replaces them; serves nothing itself.
 */
#ifndef FCGI_APP_MASTER_H
#define FCGI_APP_MASTER_H

struct master_opts {
	const char *conf_path; /* -c, or NULL */
	int argc;
	char **argv; /* as started: a reload starts the same again */
	const char *version;
};

/*
 * Run until told to stop; returns the exit status. SIGTERM, SIGQUIT, SIGINT:
 * finish what is under way (at most [fcgi] drain), then end; a second one: end
 * at once. SIGHUP: check configuration and program by running it with -t; where
 * that fails log its words and go on as before, else become the new program
 * (same process, same socket), start a full set of children, and when all are
 * ready drain the old ones, which hand their connections over.
 */
int master_run(const struct master_opts *opts);

/* Not a user's business: true where this process is a reload's new program,
 * so that it must go on whatever its configuration says. */
int master_is_successor(void);

#endif
