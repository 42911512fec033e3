/* SPDX-License-Identifier: MIT
 *
 * pages - the pages of programs and libraries that a process has mapped. The kernel maps 16 pages
 * around each one that is touched, so that after a boot nearly all of the C library counts as this
 * process's memory.
 */
#ifndef GCORN_SYSTEM_CODE_PAGES_H
#define GCORN_SYSTEM_CODE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* Is a page, given its 64 bits in /proc/PID/pagemap (proc(5)), absent or the same as in its file? A
 * page that was written to exists nowhere else, whether in memory or in swap. */
bool pages_is_clean(uint64_t flags);

/* Unmaps the clean pages of this process's read-only and executable segments: most are not needed
 * again, and the others come back from the page cache, 16 with each fault. Does nothing without
 * /proc. */
void pages_drop_clean(void);

#endif
