#include "shop/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "shop/image.h"
#include "shop/image_int.h"
#include "shop/queues.h"
#include "shop/total.h"
#include "store/imager.h"
#include "store/mail.h"
#include "store/object.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif
#ifndef PKGDATADIR
#define PKGDATADIR "/usr/share/souk"
#endif
#ifndef LIBEXECDIR
#define LIBEXECDIR "/usr/libexec"
#endif
#ifndef LOCALSTATEDIR
#define LOCALSTATEDIR "/var"
#endif

extern char **environ;

#define MIN_MS 60000
#define DAY_S 86400

const struct conf_row settings_rows[] = {
	{ "shop", "name", CONF_STR, "Souk", 0, 0, NULL, NULL, false,
	    "The shop's name, in the header and in page titles." },
	{ "shop", "base_url", CONF_STR, "http://127.0.0.1:8080", 0, 0, NULL,
	    "SOUK_URL", false,
	    "The address people use, without a slash at the end. Canonical "
	    "links, Open Graph and the sitemap are made from it, never from "
	    "what a client sends." },
	{ "shop", "currency", CONF_STR, "USD", 0, 0, NULL, NULL, false,
	    "ISO 4217 code of all prices. Changing it converts nothing; then "
	    "soukctl cache purge --all." },
	{ "shop", "language", CONF_STR, "en", 0, 0, NULL, NULL, false,
	    "Which texts the pages use: templates/text.LANGUAGE.json." },

	{ "log", "level", CONF_ENUM, "info", 0, 0, "debug|info|warn|error",
	    NULL, false, "The least level that is written." },
	{ "log", "format", CONF_ENUM, "logfmt", 0, 0, "logfmt|json", NULL,
	    false, "How a line looks." },
	{ "log", "target", CONF_ENUM, "stderr", 0, 0, "stderr|syslog", NULL,
	    false, "Where lines go." },

	{ "fcgi", "listen", CONF_STR,
	    "unix:" LOCALSTATEDIR "/run/souk/fcgi.sock", 0, 0, NULL, NULL,
	    false,
	    "unix:PATH or ADDRESS:PORT. Not used where the socket is handed "
	    "over (systemd, spawn-fcgi, mod_fcgid)." },
	{ "fcgi", "socket_mode", CONF_STR, "0660", 0, 0, NULL, NULL, false,
	    "Mode of the unix socket, octal." },
	{ "fcgi", "socket_group", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Group of the unix socket (the web server's); only root can set "
	    "one it is not in." },
	{ "fcgi", "user", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "User that the children run as when started by root." },
	{ "fcgi", "group", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Group likewise; empty: the user's own." },
	{ "fcgi", "children", CONF_INT, "8", 1, 1024, NULL, NULL, false,
	    "Processes that serve. Each handles one request at a time: size "
	    "it by how long requests wait, not by cores." },
	{ "fcgi", "slots", CONF_INT, "64", 1, 1024, NULL, NULL, false,
	    "Kept FastCGI connections one child may hold. Children times "
	    "slots must be well over what the web servers keep." },
	{ "fcgi", "backlog", CONF_INT, "1024", 16, 65535, NULL, NULL, false,
	    "Length of the listen queue; net.core.somaxconn caps it." },
	{ "fcgi", "max_requests", CONF_INT, "1000000", 0, 1000000000, NULL,
	    NULL, false,
	    "A child is replaced after that many requests; 0: never." },
	{ "fcgi", "request_deadline", CONF_MS, "30s", 100, 10 * MIN_MS, NULL,
	    NULL, false,
	    "A request that takes longer is logged with what the child was "
	    "doing, and the child is killed by the master." },
	{ "fcgi", "client_deadline", CONF_MS, "10s", 0, 10 * MIN_MS, NULL, NULL,
	    false,
	    "A request that waited longer than this before a child took it "
	    "is answered 503 unread: its client has given up. 0: never. The "
	    "web server's clock is compared with this host's: where they are "
	    "two, keep both by NTP." },
	{ "fcgi", "drain", CONF_MS, "30s", 0, 10 * MIN_MS, NULL, NULL, false,
	    "How long a stop or reload waits for requests under way." },
	{ "fcgi", "max_body", CONF_SIZE, "1m", 1024, 64 << 20, NULL, NULL,
	    false, "Largest request body; more is answered 413." },
	{ "fcgi", "status_file", CONF_STR,
	    LOCALSTATEDIR "/run/souk/fcgi.status", 0, 0, NULL, NULL, false,
	    "The scoreboard, read by souk-fcgi --status." },
	{ "fcgi", "pid_file", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Where the master writes its process id; empty: nowhere." },
	{ "fcgi", "templates", CONF_STR, PKGDATADIR "/templates", 0, 0, NULL,
	    NULL, false, "Folder of the page templates and texts." },
	{ "fcgi", "static", CONF_STR, PKGDATADIR "/static", 0, 0, NULL, NULL,
	    false, "Folder of the hashed static files." },
	{ "fcgi", "media", CONF_STR, LOCALSTATEDIR "/lib/souk/media", 0, 0,
	    NULL, NULL, false,
	    "Folder of the shop's own pictures, served as /media/." },

	{ "redis", "url", CONF_STR, "redis://127.0.0.1:6379/0", 0, 0, NULL,
	    "REDIS_URL", true,
	    "redis://[user:password@]host[:port][/db] or unix:///path." },
	{ "redis", "connect", CONF_MS, "500ms", 10, MIN_MS, NULL, NULL, false,
	    "Deadline to connect." },
	{ "redis", "command", CONF_MS, "500ms", 10, MIN_MS, NULL, NULL, false,
	    "Deadline of a command." },

	{ "postgres", "url", CONF_STR, "postgresql:///souk", 0, 0, NULL,
	    "DATABASE_URL", true, "The primary (libpq URI)." },
	{ "postgres", "replica_url", CONF_STR, "", 0, 0, NULL,
	    "DATABASE_REPLICA_URL", true,
	    "A read replica; empty: all is read from the primary." },
	{ "postgres", "connect", CONF_MS, "2s", 10, MIN_MS, NULL, NULL, false,
	    "Deadline to connect." },
	{ "postgres", "query", CONF_MS, "3s", 10, 10 * MIN_MS, NULL, NULL,
	    false, "Deadline of a statement." },
	{ "postgres", "pooler", CONF_ENUM, "none", 0, 0, "none|transaction",
	    NULL, false,
	    "transaction: PgBouncer in transaction mode stands between; no "
	    "prepared statements and no session settings are used." },
	{ "postgres", "migrations", CONF_STR, PKGDATADIR "/sql", 0, 0, NULL,
	    NULL, false,
	    "Folder of the numbered SQL files that soukctl migrate applies." },

	{ "cache", "enabled", CONF_BOOL, "yes", 0, 0, NULL, NULL, false,
	    "no: everything is read from the database (for looking for "
	    "faults)." },
	{ "cache", "pages", CONF_BOOL, "yes", 0, 0, NULL, NULL, false,
	    "no: a page is rendered at every request from cached records." },
	{ "cache", "local_size", CONF_SIZE, "16m", 0, INT64_C(1) << 34, NULL,
	    NULL, false, "Bound of the tier in each process; 0: none." },
	{ "cache", "local_ttl", CONF_S, "60s", 1, DAY_S, NULL, NULL, false,
	    "Longest life of a local copy." },
	{ "cache", "lease", CONF_MS, "1800ms", 50, MIN_MS, NULL, NULL, false,
	    "After that another one may fill as well: the first may have "
	    "died. Shorter than wait, or those who wait for a filler that "
	    "died are answered 503; more than half of what the slowest fill "
	    "takes, or it is thrown away." },
	{ "cache", "wait", CONF_MS, "2s", 0, MIN_MS, NULL, NULL, false,
	    "How long a request waits for somebody else's fill." },
	{ "cache", "marker", CONF_S, "1h", 1, 7 * DAY_S, NULL, NULL, false,
	    "How long the least version of a changed key is kept: longer "
	    "than any replica lags." },
	{ "cache", "product_ttl", CONF_S, "1h", 1, 30 * DAY_S, NULL, NULL,
	    false, "Life of a product's record and page." },
	{ "cache", "list_ttl", CONF_S, "5m", 1, 30 * DAY_S, NULL, NULL, false,
	    "Life of home, lists, search results and the sitemap." },
	{ "cache", "sale_ttl", CONF_S, "10s", 1, DAY_S, NULL, NULL, false,
	    "Life of a sale's record and page." },
	{ "cache", "stale", CONF_S, "1d", 0, 30 * DAY_S, NULL, NULL, false,
	    "How long a record or page may be served stale while it is made "
	    "anew; also stale-while-revalidate for product pages." },
	{ "cache", "negative_ttl", CONF_S, "10s", 1, DAY_S, NULL, NULL, false,
	    "How long \"no such thing\" is remembered." },

	{ "edge", "tag_header", CONF_STR, "Cache-Tag", 0, 0, NULL, NULL, false,
	    "The header by which an outer cache is told what a page shows, so "
	    "that it can purge by that: Cache-Tag (CloudFront, Cloudflare), "
	    "Surrogate-Key (Fastly), xkey (Varnish); empty: none. Every page "
	    "carries it, a hit at the edge too." },
	{ "edge", "nginx_cache", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Folder of nginx's page cache on this host (it holds item/ and "
	    "list/): changed pages are purged there at once. Empty: none." },

	{ "shop", "shipping", CONF_INT, "0", 0, 100000000000, NULL, NULL, false,
	    "Flat price of shipping an order, in minor units. A flash-sale "
	    "order ships free." },
	{ "shop", "tax", CONF_STR, "0", 0, 0, NULL, NULL, false,
	    "Tax added to an order's lines and shipping, in percent with at "
	    "most three decimals (8.25); 0: prices include it." },

	{ "redis.sale", "url", CONF_STR, "", 0, 0, NULL, NULL, true,
	    "A Redis of their own for the counters of flash sales; empty: "
	    "that of [redis]. It must not evict: noeviction, or "
	    "volatile-lru." },
	{ "sale", "deadline", CONF_MS, "2s", 100, 30000, NULL, NULL, false,
	    "How long a purchase may take. A hold without an order is given "
	    "back after three times that." },

	{ "session", "idle", CONF_S, "14d", 60, 365 * DAY_S, NULL, NULL, false,
	    "A session that is not used for that long has ended." },
	{ "session", "absolute", CONF_S, "90d", 60, 3650 * DAY_S, NULL, NULL,
	    false, "And any session after that." },

	{ "account", "tries", CONF_INT, "10", 1, 1000, NULL, NULL, false,
	    "How often a wrong password may be tried for one account from one "
	    "network (an IPv4 address, an IPv6 /64) within the window." },
	{ "account", "network_tries", CONF_INT, "100", 1, 1000000, NULL, NULL,
	    false,
	    "And from one network for all accounts; registering and forgotten "
	    "passwords are counted likewise, each for itself." },
	{ "account", "hashing", CONF_INT, "0", 0, 1024, NULL, NULL, false,
	    "How many children may hash a password (log in, register, set one) "
	    "at the same moment; a quarter of the children may wait for that, "
	    "others are answered 503. 0: half of the cores, at most a quarter "
	    "of the children." },
	{ "account", "window", CONF_S, "15m", 1, DAY_S, NULL, NULL, false,
	    "Tries come back one after another, all of them within that." },

	{ "order", "expires", CONF_S, "15m", 5, 30 * DAY_S, NULL, NULL, false,
	    "An order that is not paid by then is cancelled and its units go "
	    "back. Each attempt to pay prolongs it by up to that, at most "
	    "three times in all." },

	{ "order", "per_customer", CONF_INT, "60", 0, 1000000, NULL, NULL,
	    false,
	    "Orders that one customer may place in 15 minutes, or guests with "
	    "one e-mail address from one network (an IPv4 address, an IPv6 "
	    "/64); more are answered 429. 0: any number. A flash sale has a "
	    "limit of its own." },
	{ "order", "per_network", CONF_INT, "600", 0, 1000000, NULL, NULL,
	    false,
	    "Orders of guests from one network in 15 minutes, and new carts of "
	    "guests likewise, each counted for itself. 0: any number." },

	{ "payment", "provider", CONF_STR, "sandbox:", 0, 0, NULL, NULL, false,
	    "sandbox: (for trying out; takes no money) or stripe:." },
	{ "payment", "stripe_key", CONF_STR, "", 0, 0, NULL,
	    "STRIPE_SECRET_KEY", true, "Stripe's secret key." },
	{ "payment", "stripe_webhook_secret", CONF_STR, "", 0, 0, NULL,
	    "STRIPE_WEBHOOK_SECRET", true,
	    "What Stripe signs its webhooks with." },
	{ "payment", "stripe_api", CONF_STR, "https://api.stripe.com", 0, 0,
	    NULL, NULL, false, "Address of Stripe's API." },
	{ "payment", "timeout", CONF_MS, "10s", 100, 2 * MIN_MS, NULL, NULL,
	    false, "Deadline of a call to the provider." },

	{ "mail", "url", CONF_STR, "maildir:" LOCALSTATEDIR "/lib/souk/mail", 0,
	    0, NULL, NULL, true,
	    "maildir:PATH, smtp://[user:password@]host[:port] or smtps://." },
	{ "mail", "from", CONF_STR, "Souk <shop@localhost>", 0, 0, NULL, NULL,
	    false, "Sender of the shop's e-mails." },
	{ "mail", "timeout", CONF_MS, "20s", 100, 10 * MIN_MS, NULL, NULL,
	    false, "Deadline of sending one." },

	{ "analytics", "events", CONF_INT, "600", 0, 1000000, NULL, NULL, false,
	    "Events (POST /api/events) taken from one network in a minute; "
	    "more are answered 429. 0: any number." },

	{ "queue.inventory", "url", CONF_STR, "pg:", 0, 0, NULL,
	    "INVENTORY_QUEUE_URL", true,
	    "Queue of tasks about stock: pg: (in the shop's PostgreSQL), a "
	    "queue at Amazon SQS: https://sqs.REGION.amazonaws.com/ACCOUNT/"
	    "NAME, or RabbitMQ: amqps://USER:PASSWORD@HOST/VHOST." },
	{ "queue.payment", "url", CONF_STR, "pg:", 0, 0, NULL,
	    "PAYMENT_QUEUE_URL", true, "Of payments, likewise." },
	{ "queue.email", "url", CONF_STR, "pg:", 0, 0, NULL, "EMAIL_QUEUE_URL",
	    true, "Of e-mails." },
	{ "queue.image", "url", CONF_STR, "pg:", 0, 0, NULL, "IMAGE_QUEUE_URL",
	    true, "Of pictures." },
	{ "queue.analytics", "url", CONF_STR, "pg:", 0, 0, NULL,
	    "ANALYTICS_QUEUE_URL", true, "Of analytics events." },
	{ "queue.housekeeping", "url", CONF_STR, "pg:", 0, 0, NULL,
	    "HOUSEKEEPING_QUEUE_URL", true, "Of housekeeping." },

	{ "aws", "region", CONF_STR, "", 0, 0, NULL, "AWS_REGION", false,
	    "Where a queue's address does not say it." },
	{ "aws", "endpoint", CONF_STR, "", 0, 0, NULL, "AWS_ENDPOINT_URL",
	    false,
	    "Instead of Amazon's own: https://HOST, or http://127.0.0.1:PORT "
	    "of an emulator." },
	{ "aws", "connect", CONF_MS, "3s", 100, 60000, NULL, NULL, false,
	    "Deadline of reaching it." },
	{ "aws", "timeout", CONF_MS, "10s", 100, 10 * MIN_MS, NULL, NULL, false,
	    "Deadline of a call." },

	{ "media", "store", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Where the pictures lie that everybody may see: file:/FOLDER (then "
	    "[fcgi] media is that folder) or s3://BUCKET[/PREFIX]. Empty: the "
	    "folder of [fcgi] media." },
	{ "media", "originals", CONF_STR,
	    "file:" LOCALSTATEDIR "/lib/souk/originals", 0, 0, NULL, NULL,
	    false,
	    "Where originals lie, likewise; never where everybody may read: "
	    "they hold what cameras write into them, places too." },
	{ "media", "base_url", CONF_STR, "/media/", 0, 0, NULL, NULL, false,
	    "What comes before a picture's name in its address: /media/, or "
	    "that of a CDN or bucket, https://cdn.example/. After a change: "
	    "soukctl cache purge --all." },
	{ "media", "region", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Of the buckets; empty: that of [aws]." },
	{ "media", "endpoint", CONF_STR, "", 0, 0, NULL, "AWS_ENDPOINT_URL_S3",
	    false, "Of the buckets; empty: that of [aws]." },
	{ "image", "widths", CONF_STR, "320,640,1280,1920", 0, 0, NULL, NULL,
	    false,
	    "How wide variants are, ascending, at most 8. After a change: "
	    "soukctl image retry --ready." },
	{ "image", "max_bytes", CONF_SIZE, "32m", 1024, INT64_C(1) << 30, NULL,
	    NULL, false, "Of an original; more is refused." },
	{ "image", "max_pixels", CONF_INT, "64000000", 1, INT64_C(1) << 30,
	    NULL, NULL, false, "Of an original, width times height." },
	{ "image", "memory", CONF_SIZE, "1g", INT64_C(64) << 20,
	    INT64_C(1) << 40, NULL, NULL, false,
	    "Address space of souk-imager, which opens one picture at a "
	    "time." },
	{ "image", "cpu", CONF_S, "30s", 1, 3600, NULL, NULL, false,
	    "Time of computing that one picture may take." },
	{ "image", "timeout", CONF_MS, "60s", 1000, 10 * MIN_MS, NULL, NULL,
	    false, "Time by the clock, likewise." },
	{ "image", "strict", CONF_BOOL, "no", 0, 0, NULL, NULL, false,
	    "yes: no picture is opened where the kernel lacks seccomp or "
	    "landlock (souk-imager --self-test says what it has)." },
	{ "image", "program", CONF_STR, LIBEXECDIR "/souk-imager", 0, 0, NULL,
	    NULL, false, "Where souk-imager is." },
	{ "image", "fetch_private", CONF_BOOL, "no", 0, 0, NULL, NULL, false,
	    "yes: pictures are fetched from private addresses and any port, "
	    "too. Whoever can "
	    "name a picture's address can then reach what this host can." },
	{ "image", "fetch_timeout", CONF_MS, "30s", 100, 10 * MIN_MS, NULL,
	    NULL, false, "Deadline of fetching one." },

	{ "workers", "visibility", CONF_MS, "30s", 500, 60 * MIN_MS, NULL, NULL,
	    false,
	    "How long a task that a worker received is hidden from the others "
	    "unless the worker says that it goes on." },
	{ "workers", "max_lease", CONF_MS, "10m", 1000, 600 * MIN_MS, NULL,
	    NULL, false, "A task may be held on to for at most that long." },
	{ "workers", "max_receives", CONF_INT, "16", 1, 1000, NULL, NULL, false,
	    "A task that failed so often goes to the dead letters. With the "
	    "defaults that takes the better part of an hour, so that a mail "
	    "server may be away for that long." },
	{ "workers", "resend", CONF_MS, "1h", 1000, 14 * 24 * 60 * MIN_MS, NULL,
	    NULL, false,
	    "A task that was sent to a queue elsewhere and has not ended by "
	    "then is sent again." },
	{ "workers", "long_poll", CONF_MS, "20s", 0, 20000, NULL, NULL, false,
	    "How long a receive waits at a queue elsewhere. A stop waits for "
	    "it, so keep drain above it." },
	{ "workers", "backoff", CONF_MS, "1s", 10, 10 * MIN_MS, NULL, NULL,
	    false,
	    "A failed task waits up to this, doubled at every failure; a "
	    "random part of it (full jitter)." },
	{ "workers", "max_backoff", CONF_MS, "15m", 10, 24 * 60 * MIN_MS, NULL,
	    NULL, false, "But at most that." },
	{ "workers", "drain", CONF_MS, "30s", 0, 60 * MIN_MS, NULL, NULL, false,
	    "How long a stop waits for tasks under way." },
	{ "workers", "max_tasks", CONF_INT, "100000", 0, 1000000000, NULL, NULL,
	    false, "A worker is replaced after that many tasks; 0: never." },
	{ "workers", "max_memory", CONF_SIZE, "0", 0, 0, NULL, NULL, false,
	    "A worker that has more than that in memory (resident) ends after "
	    "its batch and is replaced at once; 0: whatever it has." },
	{ "workers", "pid_file", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Where souk-workers writes its process id; empty: nowhere." },
	{ "workers", "status_file", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Where souk-workers writes how its workers stand; empty: "
	    "nowhere." },
	{ "workers", "inventory", CONF_INT, "2", 0, 64, NULL, NULL, false,
	    "Processes for stock." },
	{ "workers", "inventory_max", CONF_INT, "0", 0, 64, NULL, NULL, false,
	    "At most that many where its queue is long; 0: no more than "
	    "inventory." },
	{ "workers", "payment", CONF_INT, "2", 0, 64, NULL, NULL, false,
	    "Processes for payments." },
	{ "workers", "payment_max", CONF_INT, "0", 0, 64, NULL, NULL, false,
	    "At most that many where its queue is long; 0: no more than "
	    "payment." },
	{ "workers", "email", CONF_INT, "1", 0, 64, NULL, NULL, false,
	    "Processes for e-mails." },
	{ "workers", "email_max", CONF_INT, "0", 0, 64, NULL, NULL, false,
	    "At most that many where its queue is long; 0: no more than "
	    "email." },
	{ "workers", "image", CONF_INT, "1", 0, 64, NULL, NULL, false,
	    "Processes for pictures, of which each keeps a core busy; none is "
	    "started where souk was built without." },
	{ "workers", "image_max", CONF_INT, "0", 0, 64, NULL, NULL, false,
	    "At most that many where its queue is long; 0: no more than "
	    "image." },
	{ "workers", "analytics", CONF_INT, "1", 0, 64, NULL, NULL, false,
	    "Processes for analytics." },
	{ "workers", "analytics_max", CONF_INT, "0", 0, 64, NULL, NULL, false,
	    "At most that many where its queue is long; 0: no more than "
	    "analytics." },
	{ "workers", "housekeeping", CONF_INT, "1", 0, 8, NULL, NULL, false,
	    "Processes for the outbox and what runs by the clock." },
	{ "workers", "housekeeping_max", CONF_INT, "0", 0, 8, NULL, NULL, false,
	    "At most that many where its queue is long; 0: no more than "
	    "housekeeping." },
	{ "workers", "outbox", CONF_INT, "1", 0, 8, NULL, NULL, false,
	    "Processes that send tasks to queues elsewhere; none is started "
	    "where there is no such queue." },
	{ "workers", "reconcile", CONF_INT, "1", 0, 8, NULL, NULL, false,
	    "Processes that look after the sales' counters." },
	{ "workers", "together", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Workers, parted by commas, that one process does the work of, in "
	    "turns by their class: for a small host. Their numbers of "
	    "processes do not count then." },
	{ "workers", "task_timeout", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Task types and how long one may be worked on, such as "
	    "\"process_payment: 1m, send_email: 2m\". One that takes longer "
	    "ends its process and is returned, as after an error. At most "
	    "max_lease, which binds the others." },
	{ "workers", "task_concurrency", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Task types and how many may be worked on at a time, on all hosts "
	    "together, such as \"process_payment: 4\"." },
	{ "workers", "task_receives", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Task types with a max_receives of their own, such as "
	    "\"track_event: 3\"." },
	{ "workers", "total_max", CONF_INT, "0", 0, 1024, NULL, NULL, false,
	    "At most that many processes together. Where all ask for more, "
	    "each has its minimum, and the rest goes to stock and payments "
	    "first, to e-mails and analytics last. 0: no limit." },
	{ "workers", "scale_backlog", CONF_INT, "100", 1, 1000000000, NULL,
	    NULL, false,
	    "Tasks, waiting or in hand, that are all right for a process; "
	    "with more there are more processes, up to NAME_max." },
	{ "workers", "scale_age", CONF_MS, "10s", 0, 1440 * MIN_MS, NULL, NULL,
	    false,
	    "Where a task has waited for longer than that the processes are "
	    "doubled; 0: never." },
	{ "workers", "scale_quiet", CONF_MS, "15s", 0, 1440 * MIN_MS, NULL,
	    NULL, false,
	    "For so long one process less must have been enough, with half to "
	    "spare, before one is taken away." },
	{ "workers", "scale_rules", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "Rules such as \"payment > 1000: 5, email > 5000: 8\": where more "
	    "tasks wait than that, at least so many processes." },
	{ "workers", "scale_every", CONF_MS, "1s", 200, 5000, NULL, NULL, false,
	    "How often the queues are looked at; those that cost money for "
	    "each question not more often than every 5s." },
	{ "workers", "watch", CONF_BOOL, "no", 0, 0, NULL, NULL, false,
	    "Look at the queues for the status file also where no NAME_max "
	    "asks for it." },
	{ "workers", "on_scale", CONF_STR, "", 0, 0, NULL, NULL, false,
	    "A program to be run when a number of processes changes, with "
	    "SCALE_WORKER, SCALE_FROM, SCALE_TO, SCALE_DEPTH and SCALE_AGE_MS "
	    "in its environment; ended after 10s." },

	{ 0 }
};

/* ---- what a row of the table cannot say */

static bool
url_is_web(const char *s)
{
	const char *host = NULL;

	if (strncmp(s, "http://", 7) == 0)
		host = s + 7;
	else if (strncmp(s, "https://", 8) == 0)
		host = s + 8;
	return host != NULL && strcspn(host, "/?# ") > 0 &&
	       strpbrk(host, "?# \"<>") == NULL;
}

static bool
code_is_currency(const char *s)
{
	return strlen(s) == 3 && strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}

static bool
tax_is_percent(const char *s)
{
	int64_t rate;

	return tax_rate_parse(s, &rate);
}

/* What is neither a URI nor "key=value" libpq takes for a database's name: it
 * would look for it in the wrong place, and errors would show the password. */
static bool
url_is_postgres(const char *s)
{
	return strncmp(s, "postgresql://", 13) == 0 ||
	       strncmp(s, "postgres://", 11) == 0 ||
	       (strchr(s, '=') != NULL && strstr(s, "://") == NULL);
}

static bool
url_is_postgres_or_none(const char *s)
{
	return *s == '\0' || url_is_postgres(s);
}

static bool
url_is_provider(const char *s)
{
	return strcmp(s, "sandbox:") == 0 || strcmp(s, "stripe:") == 0;
}

/* The same place, or one below it. */
static bool
is_within(const char *place, const char *outer)
{
	size_t n = strlen(outer);

	while (n > 0 && outer[n - 1] == '/')
		n--;
	return n > 0 && strncmp(place, outer, n) == 0 &&
	       (place[n] == '\0' || place[n] == '/');
}

static bool
url_is_store(const char *s)
{
	return object_url_ok(s);
}

static bool
url_is_store_or_none(const char *s)
{
	return *s == '\0' || object_url_ok(s);
}

/* What stands before a name: a path of this shop's, or a whole address. */
static bool
url_is_base(const char *s)
{
	if (strpbrk(s, "?# \"<>\\") != NULL || !text_plain(s))
		return false;
	return (s[0] == '/' && s[1] != '/') || url_is_web(s);
}

static bool
text_is_widths(const char *s)
{
	int widths[IMAGER_WIDTHS];

	return image_widths(s, widths) > 0;
}

/* It goes into a header line. */
static bool
text_is_key(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s < '!' || *s > '~')
			return false;
	}
	return true;
}

static const struct {
	const char *section, *key;
	bool (*right)(const char *value);
	const char *want;
} shapes[] = {
	{ "shop", "base_url", url_is_web, "write it as https://shop.example" },
	{ "shop", "currency", code_is_currency,
	    "an ISO 4217 code in capitals is wanted, such as USD" },
	{ "shop", "tax", tax_is_percent,
	    "percent with at most three decimals is wanted, such as 8.25" },
	{ "mail", "url", mail_url_ok,
	    "write it as maildir:/PATH, smtp://user:password@host:587 or "
	    "smtps://" },
	{ "mail", "from", mail_from_ok, "write it as Shop <shop@example.com>" },
	{ "postgres", "url", url_is_postgres,
	    "write it as postgresql://user@host/database" },
	{ "postgres", "replica_url", url_is_postgres_or_none,
	    "write it as postgresql://user@host/database" },
	{ "payment", "provider", url_is_provider, "write sandbox: or stripe:" },
	{ "payment", "stripe_api", text_is_secure_url,
	    "write it as https://api.stripe.com" },
	{ "media", "store", url_is_store_or_none,
	    "write it as file:/FOLDER or s3://BUCKET/PREFIX" },
	{ "media", "originals", url_is_store,
	    "write it as file:/FOLDER or s3://BUCKET/PREFIX" },
	{ "media", "base_url", url_is_base,
	    "write it as /media/ or https://cdn.example/" },
	{ "image", "widths", text_is_widths,
	    "up to 8 ascending numbers from 16 to 16383 are wanted, such as "
	    "320,640,1280" },
	{ "payment", "stripe_key", text_is_key, "a key has no spaces in it" },
};

/* Values are not shown: an address may hold a password. The first one goes to
 * e, all of them to the list. */
struct complaints {
	const struct conf *conf;
	struct strbuf *problems; /* NULL: nobody reads them */
	struct err *e;
	enum rc rc;
};

static void
complain(struct complaints *c, const char *section, const char *key,
    const char *want)
{
	const char *source = conf_source(c->conf, section, key);

	if (c->rc == RC_OK)
		c->rc = err_set(c->e, RC_INVALID, "bad_value",
		    "%s: [%s] %s: %s", source, section, key, want);
	if (c->problems != NULL)
		strbuf_addf(c->problems, "%s: [%s] %s: %s\n", source, section,
		    key, want);
}

/* stripe: takes money only with both of its secrets. */
static void
check_stripe(struct complaints *c)
{
	if (strcmp(conf_str(c->conf, "payment", "provider"), "stripe:") != 0)
		return;
	if (*conf_str(c->conf, "payment", "stripe_key") == '\0')
		complain(c, "payment", "stripe_key",
		    "stripe: needs the secret key (sk_...)");
	if (*conf_str(c->conf, "payment", "stripe_webhook_secret") == '\0')
		complain(c, "payment", "stripe_webhook_secret",
		    "stripe: needs the webhook's signing secret (whsec_...)");
}

/* What is in there must not be served. */
static void
check_originals(struct complaints *c)
{
	const char *store = conf_str(c->conf, "media", "store");
	const char *originals = conf_str(c->conf, "media", "originals");
	const char *folder = conf_str(c->conf, "fcgi", "media");

	if (is_within(originals, store) ||
	    (strncmp(originals, "file:", 5) == 0 &&
		is_within(originals + 5, folder)) ||
	    image_originals_public(c->conf))
		complain(c, "media", "originals",
		    "it must not lie where everybody's pictures lie");
}

/* Workers whose processes are counted by a key of their name. */
static const struct {
	const char *min, *max; /* NULL: has no queue to follow */
} workers[] = { { "inventory", "inventory_max" }, { "payment", "payment_max" },
	{ "email", "email_max" }, { "image", "image_max" },
	{ "analytics", "analytics_max" },
	{ "housekeeping", "housekeeping_max" }, { "outbox", NULL },
	{ "reconcile", NULL } };

/* Is it one of [workers] together? Names that are none are told elsewhere. */
static bool
is_together(const struct conf *conf, const char *name)
{
	const char *list = conf_str(conf, "workers", "together");
	size_t len = strlen(name);

	while (*list != '\0') {
		size_t n = strcspn(list, ", \t");

		if (n == len && strncmp(list, name, n) == 0)
			return true;
		list += n + (list[n] != '\0');
	}
	return false;
}

static void
check_workers(struct complaints *c)
{
	bool one = *conf_str(c->conf, "workers", "together") != '\0';
	int64_t least = one ? 1 : 0;
	int64_t total = conf_int(c->conf, "workers", "total_max");
	char want[120];

	for (size_t i = 0; i < sizeof workers / sizeof workers[0]; i++) {
		const char *key = workers[i].max;
		int64_t min = conf_int(c->conf, "workers", workers[i].min);
		int64_t max =
		    key == NULL ? 0 : conf_int(c->conf, "workers", key);

		if ((strcmp(workers[i].min, "outbox") == 0 &&
			!queues_any_remote(c->conf)) ||
		    (strcmp(workers[i].min, "image") == 0 &&
			!image_wanted(c->conf)))
			continue; /* none is started */
		if (is_together(c->conf, workers[i].min))
			continue; /* one for all of them */
		least += min;
		if (max == 0 || max >= min)
			continue;
		(void)snprintf(want, sizeof want,
		    "%lld is less than %s = %lld, which is the least; write at "
		    "least that, or 0",
		    (long long)max, workers[i].min, (long long)min);
		complain(c, "workers", key, want);
	}
	if (total == 0 || total >= least)
		return;
	(void)snprintf(want, sizeof want,
	    "%lld is less than the workers' minimums, %lld together",
	    (long long)total, (long long)least);
	complain(c, "workers", "total_max", want);
}

static enum rc
settings_check(const struct conf *conf, struct strbuf *problems, struct err *e)
{
	struct complaints c = {
		.conf = conf, .problems = problems, .e = e, .rc = RC_OK
	};

	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		const char *section = shapes[i].section, *key = shapes[i].key;

		if (!shapes[i].right(conf_str(conf, section, key)))
			complain(&c, section, key, shapes[i].want);
	}
	check_stripe(&c);
	check_originals(&c);
	check_workers(&c);
	return c.rc;
}

enum rc
settings_load(
    const char *path, struct conf **out, struct strbuf *problems, struct err *e)
{
	static const char standard[] = SYSCONFDIR "/souk/souk.ini";
	struct conf *conf = NULL;

	if (path == NULL)
		path = getenv("SOUK_CONF");
	if (path != NULL && *path == '\0')
		path = NULL;
	/* One that is there but out of reach is an error, not the defaults:
	 * they would lead to another database. */
	if (path == NULL && (access(standard, F_OK) == 0 || errno == EACCES))
		path = standard;

	enum rc rc =
	    conf_load(settings_rows, path, environ, &conf, problems, e);

	if (rc != RC_OK)
		return rc;
	rc = settings_check(conf, problems, e);
	if (rc == RC_OK)
		*out = conf;
	else
		conf_free(conf);
	return rc;
}

void
settings_log(const struct conf *conf)
{
	static const char *const levels[] = { "debug", "info", "warn",
		"error" };
	const char *level = conf_str(conf, "log", "level");
	enum log_level min = LL_INFO;

	for (int i = 0; i < 4; i++) {
		if (strcmp(level, levels[i]) == 0)
			min = (enum log_level)i;
	}
	log_setup(min,
	    strcmp(conf_str(conf, "log", "format"), "json") == 0 ? LF_JSON
								 : LF_LOGFMT,
	    strcmp(conf_str(conf, "log", "target"), "syslog") == 0 ? LT_SYSLOG
								   : LT_STDERR);
}
