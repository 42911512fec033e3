/* SPDX-License-Identifier: MIT
 *
 * owned - the process's descriptors that are the server's own, as opposed to the application's.
 *
 * A child that the application forks has copies of all of them, and a connection is closed only
 * when its last copy is. So a worker marks what it opens, and such a child closes what is marked
 * (worker/call/forked.h). Between a mark and its descriptor no fork may come: a connection that was
 * accepted and not marked yet would stay open in the child, and a number that is closed and still
 * marked may by then be a descriptor of the application. Hence a lock, which forks take too.
 *
 * Logs are the server's, too, but a child keeps them. An application that closes one of them, or
 * one of 0 to 2, would have the kernel give its number to the next connection, and lines of a log
 * would be sent to a client. So what the server opens in a worker goes through owned_take.
 *
 * All functions may be called by any thread and keep errno. Where the application's forks are not
 * watched (master, admin process, tests) the marks mean nothing.
 */
#ifndef GCORN_BASE_OWNED_H
#define GCORN_BASE_OWNED_H

/* No fork happens from the one to the other. Not recursive; what is done in between must not block,
 * call the application, or fork. */
void owned_lock(void);
void owned_unlock(void);

/* Marks a descriptor; takes its mark away. A negative one is ignored, and so is one of a number
 * that no process reaches by default (2^20 and more). Async-signal-safe. */
void owned_add(int fd);
void owned_remove(int fd);

/* Reserves a descriptor's number, besides 0 to 2, which always are: see owned_take. -1: none. */
void owned_keep(int fd);

/* Marks a descriptor that was just opened, and returns it. Where its number is a reserved one it is
 * moved to another, close-on-exec, and /dev/null is put in its place. -1 is returned as it is; so
 * is -1, with errno, and the descriptor closed, when there is no other number (EMFILE). */
int owned_take(int fd);

/* Closes *fd if it is open (>= 0), mark and all, and sets it to -1. Takes the lock. */
void owned_close(int *fd);

/* In a child that was forked while the lock was held: closes every marked descriptor but `except`
 * (-1: none). Async-signal-safe. */
void owned_close_all(int except);

/* Opens /dev/null at those of 0 to 2 that are closed. */
void owned_fill_standard(void);

#endif
