/* SPDX-License-Identifier: MIT
 *
 * signals - the signal mask and the dispositions of a process across fork and exec.
 *
 * Around a fork: signals_block, fork, then signals_restore in the parent and signals_reset in the
 * child. A signal that reaches the child in between stays pending until the child has its own
 * dispositions: it runs no handler of the parent, and is not lost. All functions are
 * async-signal-safe.
 */
#ifndef GCORN_SYSTEM_PROCESS_SIGNALS_H
#define GCORN_SYSTEM_PROCESS_SIGNALS_H

#include <signal.h>

/* Blocks all signals in this thread; *old is the mask before. */
void signals_block(sigset_t *old);

/* Sets the mask that signals_block has returned. */
void signals_restore(const sigset_t *old);

/* Sets every disposition to its default. The mask stays. */
void signals_default(void);

/* Sets every disposition to its default, then unblocks all signals: for a child, also before exec. */
void signals_reset(void);

#endif
