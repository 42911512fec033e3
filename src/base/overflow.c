/* SPDX-License-Identifier: MIT
 *
 * See overflow.h.
 */
#include "base/overflow.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/spool.h"

void overflow_init(struct overflow *o, uint64_t max, const char *dir, struct spool_budget *budget)
{
    *o = (struct overflow){.fd = -1, .max = max, .dir = dir, .budget = budget};
}

void overflow_release(struct overflow *o)
{
    if (o->fd < 0)
        return;
    spool_budget_give_back(o->budget, overflow_len(o));
    owned_close(&o->fd);
    o->fd = -1;
}

/* How many bytes of len lie at `at` before the file's end is reached. */
static size_t until_end(const struct overflow *o, uint64_t at, size_t len)
{
    uint64_t left = o->max - at % o->max;

    return len < left ? len : (size_t)left;
}

static int write_all(const struct overflow *o, const char *data, size_t len)
{
    uint64_t at = atomic_load(&o->written);

    while (len > 0) {
        ssize_t n = pwrite(o->fd, data, until_end(o, at, len), (off_t)(at % o->max));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int overflow_append(struct overflow *o, const void *data, size_t len)
{
    errno = ENOBUFS;
    if (overflow_len(o) + len > o->max || spool_budget_take(o->budget, len) < 0)
        return -1;
    if (o->fd < 0)
        o->fd = spool_open_file(o->dir);
    if (o->fd < 0 || write_all(o, data, len) < 0) {
        spool_budget_give_back(o->budget, len);
        return -1;
    }
    atomic_fetch_add(&o->written, len);
    return 0;
}

ssize_t overflow_take(struct overflow *o, void *buf, size_t size)
{
    uint64_t taken = atomic_load(&o->taken), len = overflow_len(o);
    ssize_t n;

    if (len == 0)
        return 0;
    size = until_end(o, taken, size < len ? size : (size_t)len);
    do {
        n = pread(o->fd, buf, size, (off_t)(taken % o->max));
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        errno = EIO; /* another process has cut the file */
    if (n <= 0)
        return -1;
    spool_budget_give_back(o->budget, (uint64_t)n);
    atomic_store(&o->taken, taken + (uint64_t)n);
    return n;
}
