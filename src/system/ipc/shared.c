/* SPDX-License-Identifier: MIT
 *
 * See shared.h. The seal on writing (F_SEAL_FUTURE_WRITE, Linux 5.1) does not affect existing
 * mappings and their copies in forked children. A mapping that is made after the seal can never
 * become writable.
 */
#include "system/ipc/shared.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "system/file/memfile.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static void *map(int fd, size_t size)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE,
                fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
}

int shared_new(struct shared *m, const char *name, size_t size)
{
    const int size_seals = F_SEAL_SHRINK | F_SEAL_GROW;
    int fd = memfile_sealable(name); /* -1: the memory is anonymous */

    *m = (struct shared){.size = size, .fd = fd};
    if (fd >= 0 && ftruncate(fd, (off_t)size) < 0) {
        fd_close(&m->fd);
        return -1;
    }
    m->map = map(fd, size);
    if (m->map == MAP_FAILED) {
        m->map = NULL;
        fd_close(&m->fd);
        return -1;
    }
    m->is_sealed =
        fd >= 0 && fcntl(fd, F_ADD_SEALS, size_seals | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0;
    if (fd >= 0 && !m->is_sealed && fcntl(fd, F_ADD_SEALS, size_seals | F_SEAL_SEAL) < 0) {
        shared_release(m);
        return -1;
    }
    return 0;
}

void shared_release(struct shared *m)
{
    int saved_errno = errno;

    if (m->map)
        (void)munmap(m->map, m->size); /* cannot fail: mapped so by shared_new */
    m->map = NULL;
    fd_close(&m->fd);
    errno = saved_errno;
}

int shared_make_read_only(struct shared *m)
{
    if (m->fd < 0)
        return mprotect(m->map, m->size, PROT_READ);
    if (mmap(m->map, m->size, PROT_READ, MAP_SHARED | MAP_FIXED, m->fd, 0) == MAP_FAILED)
        return -1;
    fd_close(&m->fd);
    return 0;
}

int shared_forget(const struct shared *m)
{
    void *own = mmap(m->map, m->size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

    return own == MAP_FAILED ? -1 : 0;
}

int shared_protect(const struct shared *m, size_t offset, size_t size, bool is_writable)
{
    assert(offset <= m->size && size <= m->size - offset);
    return mprotect(m->map + offset, size, is_writable ? PROT_READ | PROT_WRITE : PROT_READ);
}

/* The bytes of any type as words. */
typedef uint64_t __attribute__((may_alias)) word;

void shared_store(void *to, const void *from, size_t size)
{
    word *shared = to;
    const word *own = from;

    assert(size % sizeof(word) == 0);
    for (size_t i = 0; i < size / sizeof(word); i++)
        __atomic_store_n(&shared[i], own[i], __ATOMIC_RELEASE);
}

void shared_zero(void *to, size_t size)
{
    word *shared = to;

    assert(size % sizeof(word) == 0);
    for (size_t i = 0; i < size / sizeof(word); i++)
        __atomic_store_n(&shared[i], 0, __ATOMIC_RELEASE);
}

void shared_load(void *to, const void *from, size_t size)
{
    word *own = to;
    const word *shared = from;

    assert(size % sizeof(word) == 0);
    for (size_t i = 0; i < size / sizeof(word); i++)
        own[i] = __atomic_load_n(&shared[i], __ATOMIC_ACQUIRE);
}
