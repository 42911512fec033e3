/* SPDX-License-Identifier: MIT
 *
 * pages - the pages of programs and libraries that a process has come by. The kernel maps 16 around
 * each that is touched, so that after booting nearly all of the C library counts as this process's
 * memory.
 */
#ifndef GCORN_SYSTEM_PROCESS_PAGES_H
#define GCORN_SYSTEM_PROCESS_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* Of one page, by its 64 bits in /proc/PID/pagemap (proc(5)): is it as its file has it, or not
 * there? One that was written to is nowhere else, be it in memory or in swap. */
bool pages_is_clean(uint64_t flags);

/* Lets go of those that are only read and run, and are as their files have them: most will not be
 * seen again, and the others come back from the page cache, a fault for 16 of them. Does nothing
 * where /proc is not there. */
void pages_let_go(void);

#endif
