/*
 * The file holds a head, the retired counts, then the slots; most of it is
 *never touched and so takes no space. All of it is plain memory: the fences
 *around `seq` are what makes a copy whole.
 *
 *	head | master | retired | slot 0 | slot 1 | ...
 */
#include "config.h" /* _GNU_SOURCE */

#include "fcgi-app/scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/xmalloc.h"

static const char magic[8] = "soukscr";
enum { LAYOUT = 1 };

struct board_file {
	char magic[8];
	uint32_t layout;
	uint32_t size; /* of the file: catches what LAYOUT forgot */
	uint32_t seq;  /* odd while a slot is being retired */
	uint32_t used; /* slots that were ever taken */
	struct score_master master;
	struct score_counts retired;
	struct score_slot slot[SCORE_SLOTS];
};

struct scoreboard {
	struct board_file *file;
	int fd;
};

static void
seq_begin(uint32_t *seq)
{
	__atomic_store_n(seq, *seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void
seq_end(uint32_t *seq)
{
	__atomic_store_n(seq, *seq + 1, __ATOMIC_RELEASE);
}

/* ---- making and finding it */

static enum rc
board_map(int fd, int prot, struct scoreboard **out, struct err *e)
{
	void *p =
	    mmap(NULL, sizeof(struct board_file), prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return err_set(e, RC_FAIL, "scoreboard",
		    "Cannot map the scoreboard: %s", strerror(errno));
	*out = xmalloc(sizeof **out);
	**out = (struct scoreboard){ p, fd };
	return RC_OK;
}

/* Locked, or -1: by somebody else. */
static int
board_lock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB);
}

/* A running server's file must not be pulled from under it. */
static bool
taken_by_other(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool taken;

	if (fd < 0)
		return false;
	taken = flock(fd, LOCK_SH | LOCK_NB) != 0;
	close(fd);
	return taken;
}

static int
named_file(const char *path, char *tmp, size_t size)
{
	if (path == NULL || path[0] == '\0' || taken_by_other(path))
		return -1;
	if (snprintf(tmp, size, "%s.%ld", path, (long)getpid()) >= (int)size)
		return -1;
	unlink(tmp);
	return open(
	    tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
}

enum rc
scoreboard_create(
    const char *path, struct scoreboard **out, bool *named, struct err *e)
{
	char tmp[512];
	int fd = named_file(path, tmp, sizeof tmp);
	enum rc rc;

	*named = fd >= 0;
	if (fd < 0)
		fd = memfd_create("souk-scoreboard", MFD_CLOEXEC);
	if (fd < 0 || board_lock(fd) != 0 ||
	    ftruncate(fd, sizeof(struct board_file)) != 0) {
		rc = err_set(e, RC_FAIL, "scoreboard",
		    "Cannot make the scoreboard: %s", strerror(errno));
		goto fail;
	}
	rc = board_map(fd, PROT_READ | PROT_WRITE, out, e);
	if (rc != RC_OK)
		goto fail;
	memcpy((*out)->file->magic, magic, sizeof magic);
	(*out)->file->layout = LAYOUT;
	(*out)->file->size = sizeof(struct board_file);
	(*out)->file->master.listen_queue = -1;
	if (*named && rename(tmp, path) != 0) {
		*named = false; /* serves all the same, without a name */
		unlink(tmp);
	}
	return RC_OK;
fail:
	if (*named)
		unlink(tmp);
	if (fd >= 0)
		close(fd);
	return rc;
}

static bool
board_known(int fd)
{
	struct board_file *f;
	struct stat st;
	bool known;

	if (fstat(fd, &st) != 0 ||
	    st.st_size != (off_t)sizeof(struct board_file))
		return false;
	f = mmap(NULL, sizeof *f, PROT_READ, MAP_SHARED, fd, 0);
	if (f == MAP_FAILED)
		return false;
	known = memcmp(f->magic, magic, sizeof magic) == 0 &&
		f->layout == LAYOUT && f->size == sizeof *f;
	munmap(f, sizeof *f);
	return known;
}

enum rc
scoreboard_adopt(int fd, struct scoreboard **out, struct err *e)
{
	if (!board_known(fd))
		return err_set(e, RC_NONE, "scoreboard_layout",
		    "The scoreboard is another version's");
	return board_map(fd, PROT_READ | PROT_WRITE, out, e);
}

enum rc
scoreboard_open(const char *path, struct scoreboard **out, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum rc rc;

	if (fd < 0)
		return err_set(e, errno == ENOENT ? RC_NONE : RC_FAIL,
		    "not_running", "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
		close(fd);
		return err_set(e, RC_NONE, "not_running",
		    "%s: no souk-fcgi is running there", path);
	}
	if (!board_known(fd)) {
		close(fd);
		return err_set(e, RC_FAIL, "scoreboard_layout",
		    "%s: not a scoreboard of this version of souk-fcgi", path);
	}
	rc = board_map(fd, PROT_READ, out, e);
	if (rc != RC_OK)
		close(fd);
	return rc;
}

void
scoreboard_close(struct scoreboard *board)
{
	if (board == NULL)
		return;
	munmap(board->file, sizeof *board->file);
	if (board->fd >= 0)
		close(board->fd);
	free(board);
}

int
scoreboard_fd(const struct scoreboard *board)
{
	return board->fd;
}

bool
scoreboard_is_at(const struct scoreboard *board, const char *path)
{
	struct stat ours, there;

	return fstat(board->fd, &ours) == 0 && stat(path, &there) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

void
scoreboard_child(struct scoreboard *board)
{
	if (board->fd >= 0)
		close(board->fd);
	board->fd = -1;
}

/* ---- master */

struct score_master *
scoreboard_master(struct scoreboard *board)
{
	return &board->file->master;
}

struct score_slot *
scoreboard_take(struct scoreboard *board, uint32_t generation, bool housekeeper)
{
	struct board_file *f = board->file;

	for (uint32_t i = 0; i < SCORE_SLOTS; i++) {
		struct score_slot *s = &f->slot[i];

		if (s->state != CS_DEAD)
			continue;
		seq_begin(&s->seq);
		s->generation = generation;
		s->housekeeper = housekeeper;
		s->state = CS_STARTING;
		s->born_ms = clock_mono_ms();
		seq_end(&s->seq);
		if (i >= f->used)
			__atomic_store_n(&f->used, i + 1, __ATOMIC_RELEASE);
		return s;
	}
	return NULL;
}

static void
counts_add(struct score_counts *to, const struct score_counts *from)
{
	/* All members are uint64_t. */
	uint64_t *t = (uint64_t *)to;
	const uint64_t *f = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof *to / sizeof *t; i++)
		t[i] += f[i];
}

void
scoreboard_retire(struct scoreboard *board, struct score_slot *slot)
{
	struct board_file *f = board->file;
	uint32_t seq;

	seq_begin(&f->seq);
	counts_add(&f->retired, &slot->n);
	/* It may have died while it was writing: an even number again. */
	seq = (slot->seq + 1) | 1;
	__atomic_store_n(&slot->seq, seq, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memset((char *)slot + sizeof slot->seq, 0,
	    sizeof *slot - sizeof slot->seq);
	seq_end(&slot->seq);
	seq_end(&f->seq);
}

int
scoreboard_used(const struct scoreboard *board)
{
	return (int)__atomic_load_n(&board->file->used, __ATOMIC_ACQUIRE);
}

struct score_slot *
scoreboard_slot(struct scoreboard *board, int i)
{
	return &board->file->slot[i];
}

/* ---- a child about itself */

void
score_state(struct score_slot *slot, enum child_state state)
{
	seq_begin(&slot->seq);
	slot->state = state;
	seq_end(&slot->seq);
}

void
score_idle(struct score_slot *slot)
{
	seq_begin(&slot->seq);
	slot->state = CS_IDLE;
	slot->start_ms = 0;
	seq_end(&slot->seq);
}

void
score_draining(struct score_slot *slot)
{
	seq_begin(&slot->seq);
	slot->draining = 1;
	seq_end(&slot->seq);
}

void
score_conns(struct score_slot *slot, int conns)
{
	seq_begin(&slot->seq);
	slot->conns = conns;
	seq_end(&slot->seq);
}

void
score_begin(struct score_slot *slot, int64_t now_us)
{
	seq_begin(&slot->seq);
	slot->state = CS_READING;
	slot->start_ms = now_us / 1000;
	slot->method[0] = '\0';
	slot->path[0] = '\0';
	seq_end(&slot->seq);
}

static void
copy_cut(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

void
score_request(struct score_slot *slot, const char *method, const char *path)
{
	seq_begin(&slot->seq);
	copy_cut(slot->method, sizeof slot->method, method);
	copy_cut(slot->path, sizeof slot->path, path);
	seq_end(&slot->seq);
}

static const int64_t bucket_us[SCORE_BUCKETS - 1] = { 500, 1000, 2500, 5000,
	10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,
	10000000 };

void
score_end(struct score_slot *slot, const struct score_end *end)
{
	int class = end->status / 100, b = 0;

	while (b < SCORE_BUCKETS - 1 && end->us > bucket_us[b])
		b++;
	seq_begin(&slot->seq);
	slot->last_us = end->us;
	slot->last_status = end->status;
	slot->n.requests++;
	slot->n.status[class >= 1 && class <= 5 ? class : 0]++;
	slot->n.bucket[b]++;
	slot->n.busy_us += (uint64_t)(end->us > 0 ? end->us : 0);
	slot->n.bytes_in += end->bytes_in;
	slot->n.bytes_out += end->bytes_out;
	slot->n.late += end->late;
	slot->n.aborted += end->aborted;
	seq_end(&slot->seq);
}

void
score_add(struct score_slot *slot, uint64_t *counter, uint64_t n)
{
	seq_begin(&slot->seq);
	*counter += n;
	seq_end(&slot->seq);
}

/* ---- readers */

/* A writer that was killed half-way leaves its number odd until the master has
 * seen that: so the tries are bounded, and what is then copied may be torn. */
enum { TRIES = 20000, TRIES_A_NAP = 50, NAP_US = 100 };

void
scoreboard_read(const struct scoreboard *board, int i, struct score_slot *out)
{
	const struct score_slot *s = &board->file->slot[i];

	for (int t = 1; t < TRIES; t++) {
		uint32_t seq = __atomic_load_n(&s->seq, __ATOMIC_ACQUIRE);

		memcpy(out, s, sizeof *out);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (seq % 2 == 0 &&
		    seq == __atomic_load_n(&s->seq, __ATOMIC_RELAXED))
			break;
		if (t % TRIES_A_NAP == 0)
			usleep(NAP_US); /* the writer was preempted */
	}
	out->method[sizeof out->method - 1] = '\0';
	out->path[sizeof out->path - 1] = '\0';
	out->doing.what[sizeof out->doing.what - 1] = '\0';
}

static void
total_once(const struct scoreboard *board, struct score_total *out)
{
	*out = (struct score_total){ .n = board->file->retired };
	for (int i = 0; i < scoreboard_used(board); i++) {
		struct score_slot s;

		scoreboard_read(board, i, &s);
		if (s.state == CS_DEAD)
			continue;
		counts_add(&out->n, &s.n);
		if (s.housekeeper)
			continue;
		out->conns += s.conns;
		if (s.draining)
			out->draining++;
		if (s.state == CS_STARTING)
			out->starting++;
		else if (s.state == CS_IDLE)
			out->idle++;
		else
			out->active++;
	}
}

void
scoreboard_total(const struct scoreboard *board, struct score_total *out)
{
	for (int t = 0; t < TRIES; t++) {
		uint32_t seq =
		    __atomic_load_n(&board->file->seq, __ATOMIC_ACQUIRE);

		total_once(board, out);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (seq % 2 == 0 &&
		    seq == __atomic_load_n(&board->file->seq, __ATOMIC_RELAXED))
			return;
	}
}

const char *
child_state_name(enum child_state state, bool draining)
{
	static const char *const names[] = { "dead", "starting", "idle",
		"reading", "running", "writing" };

	if (draining && state == CS_IDLE)
		return "draining";
	return names[state <= CS_WRITING ? state : CS_DEAD];
}

/* Bounds of the histogram, for scoreboard_print.c; NULL beyond the last. */
const int64_t *
score_bucket_us(int i)
{
	return i < SCORE_BUCKETS - 1 ? &bucket_us[i] : NULL;
}

const struct score_master *
scoreboard_master_const(const struct scoreboard *board)
{
	return &board->file->master;
}
