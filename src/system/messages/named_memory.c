/* SPDX-License-Identifier: MIT
 *
 * See named_memory.h.
 */
#include "system/messages/named_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "system/messages/message_file.h"

enum { LAYOUT = 1, ALIGNMENT = 64 };

static const char magic[8] = "gcornmem";

struct piece {
    char name[MEMORY_NAME_MAX + 8]; /* ends with a NUL */
    uint64_t offset, size;
};

struct table {
    char magic[8];
    uint32_t layout;
    _Atomic uint32_t count; /* stored last */
    uint64_t used;          /* bytes of the data */
    struct piece pieces[MEMORY_PIECES_MAX];
};

static const struct named_memory none = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

static size_t table_size(void)
{
    return whole_pages(sizeof(struct table));
}

/* NULL with errno; to be unmapped. */
static struct table *map_table(const struct named_memory *m)
{
    void *map = mmap(NULL, table_size(), PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);

    return map == MAP_FAILED ? NULL : map;
}

static void unmap_table(struct table *t)
{
    int saved_errno = errno;

    (void)munmap(t, table_size()); /* cannot fail: mapped so by map_table */
    errno = saved_errno;
}

/* ---- the master -------------------------------------------------------------------------- */

int named_memory_new(struct named_memory *m, size_t size)
{
    *m = none;
    m->size = whole_pages(size);
    m->fd = message_file_new("gcorn-shared", table_size() + m->size);
    struct table *t = m->fd < 0 ? NULL : map_table(m);
    if (!t) {
        named_memory_release(m);
        return -1;
    }
    memcpy(t->magic, magic, sizeof(magic));
    t->layout = LAYOUT;
    unmap_table(t);
    return 0;
}

/* The size of its data; 0: it is no such memory. */
static size_t data_size(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size <= table_size())
        return 0;
    return (size_t)st.st_size - table_size();
}

int named_memory_adopt(struct named_memory *m, int fd)
{
    *m = none;
    m->fd = fd;
    m->size = data_size(fd);
    struct table *t = m->size > 0 ? map_table(m) : NULL;
    bool is_right = t && memcmp(t->magic, magic, sizeof(magic)) == 0 && t->layout == LAYOUT;
    if (t)
        unmap_table(t);
    if (is_right)
        return 0;
    named_memory_release(m);
    errno = EPROTO;
    return -1;
}

void named_memory_release(struct named_memory *m)
{
    int saved_errno = errno;

    if (m->data)
        (void)munmap(m->data, m->size);
    fd_close(&m->fd);
    *m = none;
    errno = saved_errno;
}

/* ---- a worker ---------------------------------------------------------------------------- */

/* Waits for the lock, or gives it back. Returns 0, or -1 with errno. */
static int lock_table(const struct named_memory *m, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
    int result;

    do {
        result = fcntl(m->fd, F_SETLKW, &lock);
    } while (result < 0 && errno == EINTR);
    return result;
}

static struct piece *find(struct table *t, const char *name)
{
    uint32_t count = atomic_load_explicit(&t->count, memory_order_acquire);

    for (uint32_t i = 0; i < count && i < MEMORY_PIECES_MAX; i++) {
        if (strncmp(t->pieces[i].name, name, sizeof(t->pieces[i].name)) == 0)
            return &t->pieces[i];
    }
    return NULL;
}

/* NULL with errno ENOSPC. */
static struct piece *add(const struct named_memory *m, struct table *t, const char *name,
                         size_t size)
{
    uint64_t offset = (t->used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint32_t count = atomic_load(&t->count);

    if (count >= MEMORY_PIECES_MAX || offset > m->size || size > m->size - offset) {
        errno = ENOSPC;
        return NULL;
    }
    struct piece *p = &t->pieces[count];
    *p = (struct piece){.offset = offset, .size = size};
    memcpy(p->name, name, strlen(name) + 1);
    t->used = offset + size;
    atomic_store_explicit(&t->count, count + 1, memory_order_release);
    return p;
}

static void *address_of(const struct named_memory *m, const struct piece *p, size_t size)
{
    uint64_t offset = p->offset, has = p->size;

    if (has > m->size || offset > m->size - has || offset % ALIGNMENT != 0) {
        errno = EPROTO;
        return NULL;
    }
    if (has != size) {
        errno = EINVAL;
        return NULL;
    }
    return m->data + offset;
}

static void *find_or_add(const struct named_memory *m, const char *name, size_t size, bool *fresh)
{
    struct table *t = map_table(m);

    if (!t)
        return NULL;
    struct piece *p = find(t, name);
    *fresh = !p;
    if (!p)
        p = add(m, t, name, size);
    void *address = p ? address_of(m, p, size) : NULL;
    unmap_table(t);
    return address;
}

/* Maps the data, once. */
static int map_data(struct named_memory *m)
{
    void *map = m->data ? m->data
                        : mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd,
                               (off_t)table_size());

    if (map == MAP_FAILED)
        return -1;
    m->data = map;
    return 0;
}

static void *get_locked(struct named_memory *m, const char *name, size_t size, bool *fresh)
{
    if (map_data(m) < 0 || lock_table(m, F_WRLCK) < 0)
        return NULL;
    void *address = find_or_add(m, name, size, fresh);
    int saved_errno = errno;
    (void)lock_table(m, F_UNLCK);
    errno = saved_errno;
    return address;
}

void *named_memory_get(struct named_memory *m, const char *name, size_t size, bool *fresh)
{
    size_t len = name ? strnlen(name, MEMORY_NAME_MAX + 1) : 0;

    if (len == 0 || len > MEMORY_NAME_MAX || size == 0) {
        errno = EINVAL;
        return NULL;
    }
    (void)pthread_mutex_lock(&m->lock); /* the lock on the file is the whole process's */
    void *address = get_locked(m, name, size, fresh);
    (void)pthread_mutex_unlock(&m->lock);
    return address;
}
