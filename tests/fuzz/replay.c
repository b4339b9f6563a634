/*
 * The main of a fuzz target where there is no libFuzzer: runs it over its
 * corpus, so that every compiler's `make check` meets what fuzzing once found.
 * Each input is also run cut short in up to 64 places, as parsers like to read
 * past an end. Inputs lie in blocks of their exact size for the sanitizers.
 *
 *	fuzz_X [FILE...]	without one: all of $srcdir/tests/fuzz/corpus/X
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

enum { CUTS = 64 };

static void
run(const char *data, size_t n)
{
	uint8_t *copy = malloc(n == 0 ? 1 : n);

	if (copy == NULL)
		abort();
	if (n > 0)
		memcpy(copy, data, n);
	(void)LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static bool
replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (f == NULL || fstat(fileno(f), &st) != 0) {
		perror(path);
		if (f != NULL)
			(void)fclose(f);
		return false;
	}
	size_t size = (size_t)st.st_size;
	char *data = malloc(size + 1);

	if (data == NULL)
		abort();
	size_t n = fread(data, 1, size, f);

	(void)fclose(f);
	/* The last line of a crash's output must tell the input. */
	printf("%s\n", path);
	(void)fflush(stdout);
	run(data, n);
	for (size_t i = 1; i <= CUTS && n > 1; i++)
		run(data, n > CUTS ? n * i / (CUTS + 1) : i % n);
	free(data);
	return true;
}

static bool
replay_corpus(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char dir[1024], path[2048];
	int files = 0;
	bool ok = true;

	(void)snprintf(dir, sizeof dir, "%s/tests/fuzz/corpus/%s",
	    srcdir == NULL ? "." : srcdir, name);
	DIR *d = opendir(dir);

	if (d == NULL) {
		perror(dir);
		return false;
	}
	for (struct dirent *de; (de = readdir(d)) != NULL;) {
		if (de->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof path, "%s/%s", dir, de->d_name);
		ok = replay_file(path) && ok;
		files++;
	}
	(void)closedir(d);
	printf("%s: %d inputs\n", name, files);
	return ok && files > 0;
}

int
main(int argc, char *argv[])
{
	const char *name = strrchr(argv[0], '/');
	bool ok = true;

	name = name == NULL ? argv[0] : name + 1;
	name = strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name;
	run("", 0);
	for (int i = 1; i < argc; i++)
		ok = replay_file(argv[i]) && ok;
	if (argc == 1)
		ok = replay_corpus(name);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
