/*
 * fuzz - what every fuzz target defines, by the name libFuzzer wants.
 *
 * A target X is tests/fuzz/fuzz_X.c with a handful of small inputs, each in a
 * file of its own, in tests/fuzz/corpus/X/ (and, if it helps, words of the
 * format in tests/fuzz/X.dict). Four lines in Makefile.am make it
 *  - with --enable-fuzzers (clang), a libFuzzer program that `make fuzz-check`
 *    runs for FUZZ_SECONDS;
 *  - else a test of `make check` that replays the corpus (replay.c).
 * What fuzzing found goes into the corpus with the fix.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Borrows data, which ends without a NUL. Always 0; a finding aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#endif
