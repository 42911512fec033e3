/* SPDX-License-Identifier: MIT
 *
 * See owned.h. One bit for each descriptor: a child cannot walk the table of connections instead,
 * because another thread may have been changing it during the fork.
 *
 * A fork holds the lock as long as the kernel copies the process. Where the loop goes on meanwhile,
 * it waits in the kernel instead (mmap_lock, at its first write to a copied page), and its requests
 * take as long or longer. tests/bench/forks.py shows what a fork costs.
 */
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

enum { OWNED_MAX = 1 << 20, WORD_BITS = 64 };

/* The table of descriptors belongs to the process. Untouched pages of it take no memory. */
static struct {
    _Atomic uint64_t marks[OWNED_MAX / WORD_BITS], reserved[OWNED_MAX / WORD_BITS];
    _Atomic int highest; /* no mark was ever above this */
    pthread_mutex_t lock;
} owned = {.lock = PTHREAD_MUTEX_INITIALIZER};

void owned_lock(void)
{
    (void)pthread_mutex_lock(&owned.lock); /* cannot fail: initialised, and not recursive */
}

void owned_unlock(void)
{
    (void)pthread_mutex_unlock(&owned.lock);
}

static uint64_t bit_of(int fd)
{
    return UINT64_C(1) << fd % WORD_BITS;
}

void owned_add(int fd)
{
    if (fd < 0 || fd >= OWNED_MAX)
        return;
    int before = atomic_load(&owned.highest);
    while (fd > before && !atomic_compare_exchange_weak(&owned.highest, &before, fd))
        continue;
    atomic_fetch_or(&owned.marks[fd / WORD_BITS], bit_of(fd));
}

void owned_remove(int fd)
{
    if (fd >= 0 && fd < OWNED_MAX)
        atomic_fetch_and(&owned.marks[fd / WORD_BITS], ~bit_of(fd));
}

void owned_close(int *fd)
{
    if (*fd < 0)
        return;
    owned_lock();
    owned_remove(*fd);
    fd_close(fd);
    owned_unlock();
}

static bool has_bit(const _Atomic uint64_t *bits, int fd)
{
    return atomic_load_explicit(&bits[fd / WORD_BITS], memory_order_relaxed) & bit_of(fd);
}

/* ---- reserved numbers -------------------------------------------------------------- */

void owned_keep(int fd)
{
    if (fd >= 0 && fd < OWNED_MAX)
        atomic_fetch_or(&owned.reserved[fd / WORD_BITS], bit_of(fd));
}

static bool is_reserved(int fd)
{
    return fd <= STDERR_FILENO || (fd < OWNED_MAX && has_bit(owned.reserved, fd));
}

/* Replaces fd by /dev/null; if that cannot be opened, only closes fd. */
static void put_null(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        (void)close(fd);
    else
        (void)dup3(null, fd, fd > STDERR_FILENO ? O_CLOEXEC : 0); /* programs inherit 0 to 2 */
    fd_close(&null);
}

/* The free number that is found may be reserved, too: then it is moved again before fd is closed.
 */
static int move_away(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (moved >= 0 && is_reserved(moved))
        moved = move_away(moved);
    int saved_errno = errno;
    put_null(fd);
    errno = saved_errno;
    return moved;
}

int owned_take(int fd)
{
    if (fd >= 0 && is_reserved(fd))
        fd = move_away(fd);
    owned_add(fd);
    return fd;
}

void owned_fill_standard(void)
{
    int saved_errno = errno, fd;

    do {
        fd = open("/dev/null", O_RDWR); /* the lowest free number */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    fd_close(&fd);
    errno = saved_errno;
}

/* ---- closing ----------------------------------------------------------------------------- */

/* Descriptors to close are mostly neighbours. */
static void close_run(int first, int last)
{
#ifdef SYS_close_range
    if (first < last && syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0)
        return; /* Linux 5.9 */
#endif
    for (int fd = first; fd <= last; fd++)
        (void)close(fd);
}

void owned_close_all(int except)
{
    int saved_errno = errno, end = atomic_load(&owned.highest) + 1;

    for (int fd = 0; fd < end; fd++) {
        int first = fd;

        while (fd < end && has_bit(owned.marks, fd) && fd != except)
            owned_remove(fd++);
        if (first < fd)
            close_run(first, fd - 1);
    }
    errno = saved_errno;
}
