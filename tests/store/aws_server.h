/*
 * aws_server - a small HTTP server in a thread of the test, one connection at a
 * time, that says what it was told to and remembers what it was asked.
 */
#ifndef TESTS_STORE_AWS_SERVER_H
#define TESTS_STORE_AWS_SERVER_H

struct aws_server;

enum aws_way {
	SAYS,    /* status and body */
	HANGS,   /* nothing, until the client goes */
	CUTS,    /* less than it promised */
	FLOODS,  /* a body without end */
	BABBLES, /* no HTTP */
};

struct aws_server *aws_server_new(void);
void aws_server_free(struct aws_server *server);
int aws_server_port(const struct aws_server *server);

/* What a request that begins so ("GET /x") is answered, from now on; any other
 * one gets a 404. */
void aws_server_says(struct aws_server *server, const char *start,
    enum aws_way way, int status, const char *body);

/* All requests so far, heads and bodies as they came; good until the next call
 * here. */
const char *aws_server_heard(struct aws_server *server);
int aws_server_requests(struct aws_server *server);

#endif
