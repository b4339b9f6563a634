/*
 * smtp_send FROM TO...: send a message to each by $SMTP_URL, one after the
 * other from one process; a line for each: what came of it. "+N" in place of an
 * address waits N ms.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "store/mail.h"

int
main(int argc, char **argv)
{
	const char *timeout = getenv("SMTP_TIMEOUT_MS");
	struct err e = ERR_INIT;
	struct arena *arena = arena_new();
	struct mail *mail = NULL;
	enum rc rc = mail_open(
	    &(struct mail_opts){ .url = getenv("SMTP_URL"),
		.from = argc < 2 ? "" : argv[1],
		.host = "shop.example",
		.timeout_ms = timeout == NULL ? 10000 : atoi(timeout) },
	    &mail, &e);

	if (rc != RC_OK)
		(void)printf("open %s %s %s\n", rc_name(rc), e.code, e.msg);
	for (int i = 2; rc == RC_OK && i < argc; i++) {
		char id[20];

		if (argv[i][0] == '+') {
			clock_sleep_ms(atoi(argv[i] + 1));
			continue;
		}
		e = (struct err)ERR_INIT;
		(void)snprintf(id, sizeof id, "message%d", i - 1);
		enum rc sent = mail_send(mail,
		    &(struct mail_message){ .id = id,
			.to = argv[i],
			.subject = "Grüße",
			.text = ".\n..\n.dot\nlast line",
			.html = "<p>.\n.</p>" },
		    arena, &e);

		(void)printf("%s %s %s\n", rc_name(sent), e.code, e.msg);
		(void)fflush(stdout);
	}
	mail_close(mail);
	arena_free(arena);
	return 0;
}
