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

#include "base/buffer_pool.h"
#include "base/owned.h"
#include "base/util.h"

enum {
    SPOOL_FIRST_SIZE = 1024,
    SPOOL_GATHER_SIZE = 16 * 1024, /* larger pieces are written at once */
    SPOOL_ROOM_MIN = 4 * 1024,     /* less is not worth a read of its own */
    SPOOL_ROOM_STEP = 64 * 1024,
    SPOOL_GROWTH = 4, /* how many times the bytes that came a buffer is for */
};

void spool_init(struct spool *s, const struct spool_place *place, struct spool_budget *budget)
{
    *s = (struct spool){.place = place, .budget = budget, .fd = -1};
}

/* ---- the budget -------------------------------------------------------------------------- */

int spool_budget_take(struct spool_budget *b, uint64_t len)
{
    if (!b || b->max == 0)
        return 0;
    if (atomic_fetch_add(&b->used, len) + len <= b->max)
        return 0;
    atomic_fetch_sub(&b->used, len);
    errno = ENOBUFS;
    return -1;
}

void spool_budget_give_back(struct spool_budget *b, uint64_t len)
{
    if (!b || b->max == 0)
        return;
    uint64_t before = atomic_fetch_sub(&b->used, len);
    assert(before >= len);
}

static void free_memory(struct spool *s)
{
    if (s->buffer)
        buffer_give(s->place->pool, s->buffer);
    else
        free(s->mem);
    s->buffer = NULL;
    s->mem = NULL;
    s->mem_cap = 0;
}

/* Not inlined: a request without a body has nothing to release. */
static void __attribute__((noinline)) release_kept(struct spool *s)
{
    free_memory(s);
    if (s->map)
        (void)munmap(s->map, s->map_len); /* fails only for an address that was never mapped */
    if (s->fd >= 0)
        spool_budget_give_back(s->budget, s->len);
    owned_close(&s->fd);
    spool_init(s, s->place, s->budget);
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

int spool_open_file(const char *dir)
{
    owned_lock();
    int fd = owned_take(open_unlinked(dir));
    owned_unlock();
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

/* The budget counts bytes from here on. */
static int move_to_file(struct spool *s)
{
    if (spool_budget_take(s->budget, s->len) < 0)
        return -1;
    int fd = spool_open_file(s->place->dir);
    if (fd < 0 || write_at(fd, s->mem, (size_t)s->len, 0) < 0) {
        spool_budget_give_back(s->budget, s->len);
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

/* ---- memory ------------------------------------------------------------------------------ */

static void set_memory(struct spool *s, char *mem, size_t cap, struct buffer *buffer)
{
    s->mem = mem;
    s->mem_cap = cap;
    s->buffer = buffer;
}

/* The same bytes, in memory of another kind. */
static void move_memory(struct spool *s, char *mem, size_t cap, struct buffer *buffer)
{
    if (s->len > 0)
        memcpy(mem, s->mem, (size_t)s->len + 1);
    free_memory(s);
    set_memory(s, mem, cap, buffer);
}

/* A buffer of `size` bytes; false: the pool is used up, and nothing has changed. */
static bool use_buffer(struct spool *s, size_t size)
{
    struct buffer_pool *pool = s->place->pool;

    if (s->buffer) {
        if (buffer_resize(pool, s->buffer, size) < 0)
            return false;
        set_memory(s, s->buffer->data, size + 1, s->buffer);
        return true;
    }
    struct buffer *b = buffer_take(pool, size);
    if (b)
        move_memory(s, b->data, size + 1, b);
    return b != NULL;
}

/* For `len` bytes in all, and for more while the pool has enough. */
static bool grow_buffer(struct spool *s, uint64_t len)
{
    uint64_t most = s->expected ? s->expected : SPOOL_BUFFER_MAX, size;

    if (!s->place->pool || len <= SPOOL_BUFFER_MIN || len > SPOOL_BUFFER_MAX ||
        most > SPOOL_BUFFER_MAX)
        return false;
    size = len * SPOOL_GROWTH < most ? len * SPOOL_GROWTH : most;
    return (size > len && use_buffer(s, (size_t)size)) || use_buffer(s, (size_t)len);
}

static bool grow_own(struct spool *s, uint64_t len)
{
    size_t cap = s->mem_cap && !s->buffer ? s->mem_cap : SPOOL_FIRST_SIZE;

    if (len > s->place->mem_max)
        return false;
    while (cap < len + 1)
        cap *= 2;
    if (s->buffer)
        move_memory(s, xmalloc(cap), cap, NULL);
    else
        set_memory(s, xrealloc(s->mem, cap), cap, NULL);
    return true;
}

/* Room for `len` bytes in all and a NUL; false: they are too many for the memory there is. */
static bool has_memory(struct spool *s, uint64_t len)
{
    bool fits = len < s->mem_cap && (s->buffer || len <= s->place->mem_max);

    return fits || grow_buffer(s, len) || grow_own(s, len);
}

char *spool_room(struct spool *s, uint64_t want, size_t *size)
{
    uint64_t step = want < SPOOL_ROOM_STEP ? want : SPOOL_ROOM_STEP;

    if (!s->buffer || want < SPOOL_ROOM_MIN)
        return NULL;
    if (s->mem_cap - s->len <= SPOOL_ROOM_MIN && !grow_buffer(s, s->len + step))
        return NULL;
    uint64_t room = s->mem_cap - s->len - 1;
    *size = (size_t)(want < room ? want : room);
    return s->mem + s->len;
}

/* ---- both -------------------------------------------------------------------------------- */

static void append_to_memory(struct spool *s, const char *data, size_t len)
{
    if (data != s->mem + s->len) /* else they were written to spool_room */
        memcpy(s->mem + s->len, data, len);
    s->mem[s->len + len] = '\0';
}

int spool_append(struct spool *s, const void *data, size_t len)
{
    assert(!s->map);
    if (len == 0)
        return 0;
    if (s->fd < 0 && has_memory(s, s->len + len)) {
        append_to_memory(s, data, len);
    } else {
        if (s->fd < 0 && move_to_file(s) < 0)
            return -1;
        if (spool_budget_take(s->budget, len) < 0)
            return -1;
        if (append_to_file(s, data, len) < 0) {
            spool_budget_give_back(s->budget, len);
            return -1;
        }
    }
    s->len += len;
    return 0;
}

int spool_finish(struct spool *s)
{
    if (s->buffer)
        (void)use_buffer(s, (size_t)s->len); /* the rest is of use to others */
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
