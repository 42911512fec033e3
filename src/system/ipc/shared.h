/* SPDX-License-Identifier: MIT
 *
 * shared - memory that the master shares with the processes that it forks: a sealed memfd. The
 * mapping that shared_new makes is inherited over fork; after it the file is sealed, so no process
 * can map it writable again, change its size or write to it by its descriptor (memfd_create(2)).
 *
 * What one process writes while another reads is copied word by word, each word once:
 * shared_store and shared_load. Sizes and addresses are multiples of 8.
 */
#ifndef GCORN_SYSTEM_IPC_SHARED_H
#define GCORN_SYSTEM_IPC_SHARED_H

#include <stdbool.h>
#include <stddef.h>

struct shared {
    char *map;
    size_t size;
    int fd;         /* of the memfd, close-on-exec; -1: none, or closed */
    bool is_sealed; /* no process can make another writable mapping of it */
};

/* Zeroed memory, mapped writable; name is for /proc/PID/maps. Where memfd_create is forbidden it is
 * anonymous memory, and before Linux 5.1 the memfd lacks the seal on writing: is_sealed is false.
 * Returns 0, or -1 with errno. */
int shared_new(struct shared *m, const char *name, size_t size);

/* Unmaps the memory and closes the memfd. */
void shared_release(struct shared *m);

/* In a process that only reads: replaces the inherited mapping, at the same address, by a read-only
 * one, and closes the memfd. On a sealed memfd mprotect(2) cannot make that mapping writable again.
 * Returns 0, or -1 with errno. */
int shared_make_read_only(struct shared *m);

/* In a forked child that has no part in it: puts private memory in its place, all zero, writable,
 * at the same address, so that pointers into it stay valid and reach no other process. Does not
 * close the memfd. Async-signal-safe. Returns 0, or -1 with errno: it is shared as before. */
int shared_forget(const struct shared *m);

/* Makes a part of the mapping, whole pages, read-only or writable again, for this process: a guard
 * against stray writes, not against code that calls mprotect(2) itself. Returns 0, or -1 with
 * errno.
 */
int shared_protect(const struct shared *m, size_t offset, size_t size, bool is_writable);

/* Copies into and out of memory that other processes read or write meanwhile. Each word is stored
 * with release order and loaded with acquire order, so a sequence number written before and after
 * the words tells a reader whether its copy is whole. */
void shared_store(void *to, const void *from, size_t size);
void shared_zero(void *to, size_t size);
void shared_load(void *to, const void *from, size_t size);

#endif
