/* SPDX-License-Identifier: MIT
 *
 * rescue - an answer for a client whose worker cannot give one: it hangs, and does not even take
 * signals. The master borrows the client's socket out of the worker (pidfd_getfd(2)), says 504 on
 * it, and gives it back.
 */
#ifndef GCORN_MASTER_RESCUE_H
#define GCORN_MASTER_RESCUE_H

#include <sys/types.h>

struct slot;

/* Answers 504 to the clients that the slot says are waiting for the first byte of the answers that
 * its calls make. pid must be a child that is not reaped, and about to be killed: it is stopped
 * here. Does not block. 0: all are answered. -1: one is not, or there is none. */
int rescue_clients(pid_t pid, const struct slot *s);

#endif
