/*
 * handover - kept FastCGI connections passed from a child that drains to one
 * that stays.
 *
 * One pair of sockets is made by the first master and inherited by every child
 * of every generation: who drains sends into [HANDOVER_SEND], the others take
 * from [HANDOVER_TAKE]. Between two requests a connection carries no state, so
 * the descriptor is all there is to send; a request that already waits on it
 * unread goes along.
 */
#ifndef FCGI_APP_HANDOVER_H
#define FCGI_APP_HANDOVER_H

#include <stdbool.h>

enum { HANDOVER_SEND, HANDOVER_TAKE };

/* Both ends non-blocking and close-on-exec. 0, or -1 with errno. */
int handover_open(int pair[2]);

/* True: it is on its way, and closed here. False: the queue is full (or the
 * kernel has no room for more descriptors under way): it is still the
 * caller's, who tries again later. */
bool handover_send(int sock, int conn);

/* A connection (close-on-exec), now the caller's; -1: there is none. */
int handover_take(int sock);

#endif
