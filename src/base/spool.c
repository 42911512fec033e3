/* SPDX-License-Identifier: MIT
 *
 * See spool.h. The file never has a name where the file system supports that (O_TMPFILE), else it
 * is unlinked at once. A mapping must end in a NUL, so one is written after the body before it is
 * mapped: a hole would do, but when the disk is full reading it raises SIGBUS (tmpfs).
 */
#include "base/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/util.h"

enum {
    SPOOL_FIRST_SIZE = 1024,
    SPOOL_GATHER_SIZE = 16 * 1024, /* larger pieces are written at once */
};

void spool_init(struct spool *s, size_t mem_max, const char *dir, struct spool_budget *budget)
{
    *s = (struct spool){.mem_max = (uint32_t)mem_max, .dir = dir, .budget = budget, .fd = -1};
}

/* ---- the budget -------------------------------------------------------------------------- */

static int take(struct spool_budget *b, uint64_t len)
{
    if (!b || b->max == 0)
        return 0;
    if (atomic_fetch_add(&b->used, len) + len <= b->max)
        return 0;
    atomic_fetch_sub(&b->used, len);
    errno = ENOBUFS;
    return -1;
}

static void give_back(struct spool_budget *b, uint64_t len)
{
    if (!b || b->max == 0)
        return;
    uint64_t before = atomic_fetch_sub(&b->used, len);
    assert(before >= len);
}

/* Not inlined: a request without a body has nothing to release. */
static void __attribute__((noinline)) release_kept(struct spool *s)
{
    free(s->mem);
    if (s->map)
        (void)munmap(s->map, s->map_len); /* fails only for an address that was never mapped */
    if (s->fd >= 0)
        give_back(s->budget, s->len);
    owned_close(&s->fd);
    spool_init(s, s->mem_max, s->dir, s->budget);
}

void spool_release(struct spool *s)
{
    if (s->mem || s->fd >= 0)
        release_kept(s);
}

/* ---- the file ---------------------------------------------------------------------------- */

static int open_unlinked(const char *dir)
{
    char path[4096];

    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    if ((size_t)snprintf(path, sizeof(path), "%s/gcorn-XXXXXX", dir) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path); /* failed: a name stays in the directory */
    return fd;
}

/* By offset, so that the next write replaces what a failed one has left. */
static int write_at(int fd, const char *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static void free_memory(struct spool *s)
{
    free(s->mem);
    s->mem = NULL;
    s->mem_cap = 0;
}

/* The budget counts bytes from here on. */
static int move_to_file(struct spool *s)
{
    if (take(s->budget, s->len) < 0)
        return -1;
    owned_lock();
    int fd = owned_take(open_unlinked(s->dir));
    owned_unlock();
    if (fd < 0 || write_at(fd, s->mem, (size_t)s->len, 0) < 0) {
        give_back(s->budget, s->len);
        owned_close(&fd);
        return -1;
    }
    free_memory(s);
    s->fd = fd;
    return 0;
}

static int write_gathered(struct spool *s)
{
    if (write_at(s->fd, s->mem, s->gathered, s->len - s->gathered) < 0)
        return -1;
    s->gathered = 0;
    return 0;
}

static int append_to_file(struct spool *s, const void *data, size_t len)
{
    assert(s->gathered <= s->len);
    if (s->gathered + len > SPOOL_GATHER_SIZE && write_gathered(s) < 0)
        return -1;
    if (len >= SPOOL_GATHER_SIZE)
        return write_at(s->fd, data, len, s->len);
    if (!s->mem) {
        s->mem = xmalloc(SPOOL_GATHER_SIZE);
        s->mem_cap = SPOOL_GATHER_SIZE;
    }
    memcpy(s->mem + s->gathered, data, len);
    s->gathered += (uint32_t)len;
    return 0;
}

/* ---- both -------------------------------------------------------------------------------- */

static void append_to_memory(struct spool *s, const void *data, size_t len)
{
    size_t need = (size_t)s->len + len + 1;

    if (need > s->mem_cap) {
        size_t cap = s->mem_cap ? s->mem_cap : SPOOL_FIRST_SIZE;

        while (cap < need)
            cap *= 2;
        s->mem = xrealloc(s->mem, cap);
        s->mem_cap = (uint32_t)cap;
    }
    memcpy(s->mem + s->len, data, len);
    s->mem[need - 1] = '\0';
}

int spool_append(struct spool *s, const void *data, size_t len)
{
    assert(!s->map);
    if (len == 0)
        return 0;
    if (s->fd < 0 && s->len + len <= s->mem_max) {
        append_to_memory(s, data, len);
    } else {
        if (s->fd < 0 && move_to_file(s) < 0)
            return -1;
        if (take(s->budget, len) < 0)
            return -1;
        if (append_to_file(s, data, len) < 0) {
            give_back(s->budget, len);
            return -1;
        }
    }
    s->len += len;
    return 0;
}

int spool_finish(struct spool *s)
{
    if (s->fd < 0)
        return 0;
    if (s->gathered > 0 && write_gathered(s) < 0)
        return -1;
    free_memory(s);
    return 0;
}

ssize_t spool_read(const struct spool *s, uint64_t offset, void *buf, size_t size)
{
    if (offset >= s->len)
        return 0;
    uint64_t in_file = s->fd >= 0 ? s->len - s->gathered : 0;
    uint64_t end = offset < in_file ? in_file : s->len;
    if (size > end - offset)
        size = (size_t)(end - offset);
    if (offset < in_file)
        return pread(s->fd, buf, size, (off_t)offset);
    memcpy(buf, s->mem + (offset - in_file), size);
    return (ssize_t)size;
}

const char *spool_map(struct spool *s)
{
    if (s->fd < 0)
        return s->mem ? s->mem : "";
    if (s->map)
        return s->map;
    if (spool_finish(s) < 0)
        return NULL;
    if (pwrite(s->fd, "", 1, (off_t)s->len) != 1)
        return NULL;
    s->map_len = (size_t)s->len + 1;
    void *map = mmap(NULL, s->map_len, PROT_READ, MAP_PRIVATE, s->fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    s->map = map;
    return s->map;
}
