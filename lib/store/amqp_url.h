/*
 * amqp_url - the address of a queue on RabbitMQ:
 *
 *	amqp[s]://[user[:password]@]host[:port][/vhost][?queue=name]
 *
 * User, password, vhost and queue are percent-decoded. Without a path the vhost
 * is "/", as is usual; "/" alone would be a vhost without a name, and is taken
 * for "/", too. An IPv6 address stands in brackets.
 */
#ifndef STORE_AMQP_URL_H
#define STORE_AMQP_URL_H

#include <stdbool.h>

#include "base/err.h"

struct amqp_url {
	bool tls;
	char *host;
	int port;              /* 5672, with TLS 5671 */
	char *user, *password; /* "guest" both where none is given */
	char *vhost;
	char *queue; /* "souk.<name>" where none is given */
};

/* Gives what is in *out (amqp_url_release). name: the queue's in the shop.
 * RC_INVALID: the message never shows the address, which has a password. */
enum rc amqp_url_parse(
    const char *url, const char *name, struct amqp_url *out, struct err *e);
void amqp_url_release(struct amqp_url *url); /* of a zeroed one, too */

#endif
