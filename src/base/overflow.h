/* SPDX-License-Identifier: MIT
 *
 * overflow - bytes that wait in an unlinked file, in order, for a reader that is slower than their
 * writer. The file is used as a ring, so it never grows beyond its limit.
 *
 * One thread may write while another reads; what makes and releases it is alone. File operations may
 * block on the disk.
 */
#ifndef GCORN_BASE_OVERFLOW_H
#define GCORN_BASE_OVERFLOW_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spool_budget;

struct overflow {
    int fd;       /* -1: no file was needed yet */
    uint64_t max; /* bytes of the file */
    const char *dir;
    struct spool_budget *budget;
    _Atomic uint64_t written, taken; /* since it was made */
};

/* Allocates nothing. dir and budget (NULL: unlimited) are borrowed and must outlive it. */
void overflow_init(struct overflow *o, uint64_t max, const char *dir, struct spool_budget *budget);
void overflow_release(struct overflow *o);

/* How many bytes wait. Any thread. */
static inline uint64_t overflow_len(const struct overflow *o)
{
    uint64_t taken = atomic_load(&o->taken); /* first: the other only grows */

    return atomic_load(&o->written) - taken;
}

/* Appends all len bytes. 0, or -1 with errno, and nothing is appended: ENOBUFS when there is no
 * room for them or the budget is used up, ENOSPC and others of the file. */
int overflow_append(struct overflow *o, const void *data, size_t len);

/* Takes up to size bytes, the oldest. Returns how many, 0 when none waits, or -1 with errno. */
ssize_t overflow_take(struct overflow *o, void *buf, size_t size);

#endif
