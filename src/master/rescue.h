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

/* Answers 504 to the client that the slot says is waiting for its answer's first byte. pid must be
 * a child that is not reaped, and about to be killed: it is stopped here. Does not block. 0, or -1
 * with errno: ENOTCONN when no client waits so, EPERM when the system does not allow it. */
int rescue_client(pid_t pid, const struct slot *s);

#endif
