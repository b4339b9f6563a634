/*
 * fault - the calls by which the shop reaches the outside, counted, and one of
 * them made to fail (the linker's --wrap; libraries' own calls are untouched).
 *
 * Three kinds. Before: nothing was done. After: it was done, and nobody is
 * told: what was sent to a server has been carried out, and the answer is lost;
 * a file is there, and the call says that it is not. Vanished (what is sent
 * alone): it is said to be sent, but never arrives.
 *
 * Time is the test's own: a wait that is made to miss its deadline costs
 * nothing but moves the clock on, and so does every sleep.
 */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum fault_kind { FAULT_BEFORE, FAULT_AFTER, FAULT_VANISH, FAULT_KINDS };

/* Counts from 1; the nth call fails, 0: none does. */
void fault_arm(int nth, enum fault_kind kind);
/* How many calls there were. */
int fault_disarm(void);
/* The one that failed; NULL: there were not so many. */
const char *fault_what(void);
bool fault_is_file(void); /* of the file system */

void fault_clock_jump(int64_t ms);
void fault_clock_reset(void);
void fault_sleep_virtual(bool on); /* nobody sleeps */

/*
 * Memory: the nth allocation gives NULL. In a build with AddressSanitizer our
 * own and jansson's alone, else those of every library.
 */
void fault_memory_arm(int nth);
int fault_memory_disarm(void);
bool fault_memory_hit(void);

#endif
