/* SPDX-License-Identifier: MIT
 *
 * owned - which descriptors of this process belong to the server rather than to the application.
 *
 * A child that the application forks inherits them all, and a connection is closed only when its
 * last copy is closed. So a worker marks the descriptors that it opens, and such a child closes the
 * marked ones (worker/call/forked.h). No fork may happen between opening and marking, or the child
 * would keep an accepted connection open; nor between closing and unmarking, or the child would
 * close a descriptor of the application that has the same number. Hence a lock, which forks take,
 * too.
 *
 * Logs belong to the server, too, but a child keeps them. If an application closes a log, or one of
 * 0 to 2, the kernel gives the number to the next connection, and log lines are sent to a client.
 * So a worker passes every descriptor that it opens to owned_take.
 *
 * Any thread may call these functions; they keep errno. Marks have no effect in processes that do
 * not watch the application's forks (master, admin process, tests).
 */
#ifndef GCORN_BASE_OWNED_H
#define GCORN_BASE_OWNED_H

/* No fork happens between lock and unlock. Not recursive. Code between them must not block, call
 * the application or fork. */
void owned_lock(void);
void owned_unlock(void);

/* Marks a descriptor; unmarks it. Negative ones are ignored, and so are 2^20 and more, which no
 * process reaches by default. Async-signal-safe. */
void owned_add(int fd);
void owned_remove(int fd);

/* Reserves a number for owned_take; 0 to 2 always are. -1 is ignored. */
void owned_keep(int fd);

/* Marks a descriptor that was just opened and returns it; fd -1 is returned unchanged. If its
 * number is reserved, it is moved to another one, close-on-exec, and /dev/null takes the reserved
 * number. If no other number is free (EMFILE), it is closed, and the result is -1 with errno. */
int owned_take(int fd);

/* Unmarks and closes *fd if it is open (>= 0), and sets it to -1. Takes the lock. */
void owned_close(int *fd);

/* In a child that was forked under the lock: closes every marked descriptor but `except` (-1: all).
 * Async-signal-safe. */
void owned_close_all(int except);

/* Opens /dev/null for each of 0 to 2 that is closed. */
void owned_fill_standard(void);

#endif
