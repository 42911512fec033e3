/* SPDX-License-Identifier: MIT
 *
 * named_memory - memory that the workers of a server share, in pieces that the application names.
 * It outlives workers, generations and masters; pieces are never freed.
 *
 *   table   the names, sizes and offsets, mapped only while one is looked up: a stray write of the
 *           application cannot reach it
 *   data    the pieces, each at a multiple of 64 bytes
 *
 * Adding a piece takes a lock on the memfd (fcntl(2)), which the kernel releases when a process
 * dies. The count of the table is stored last, so a piece that was half added does not exist.
 */
#ifndef GCORN_SYSTEM_MESSAGES_NAMED_MEMORY_H
#define GCORN_SYSTEM_MESSAGES_NAMED_MEMORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { MEMORY_NAME_MAX = 64, MEMORY_PIECES_MAX = 256 };

struct named_memory {
    int fd; /* of the memfd, close-on-exec; -1: there is none */
    size_t size;
    char *data; /* NULL: not mapped in this process */
    pthread_mutex_t lock;
};

/* Master: makes memory of this size, rounded up to whole pages. Returns 0, or -1 with errno, and
 * *m is none. */
int named_memory_new(struct named_memory *m, size_t size);

/* Master: takes the descriptor of another master's; its size stays. Returns 0, or -1 with errno
 * EPROTO: it is of another layout; then it is closed, and *m is none. */
int named_memory_adopt(struct named_memory *m, int fd);

/* Unmaps and closes; memory that is none is allowed. */
void named_memory_release(struct named_memory *m);

/* Worker: the piece of this name, zeroed when it is new: then *fresh is true. May wait for another
 * process that adds one. Any thread. NULL with errno: EINVAL, the name is not 1 to
 * MEMORY_NAME_MAX bytes, size is 0, or the piece has another size; ENOSPC, there is no room; EPROTO,
 * the table is damaged. */
void *named_memory_get(struct named_memory *m, const char *name, size_t size, bool *fresh);

#endif
