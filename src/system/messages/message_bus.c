/* SPDX-License-Identifier: MIT
 *
 * See message_bus.h. The memfd is sealed against another size, so that no worker can take pages from
 * under the others; it is not sealed against writing, since workers of another master map it, too.
 */
#include "system/messages/message_bus.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "system/messages/message_file.h"

enum { LAYOUT = 1, WORD_BITS = 64 };

static const char magic[8] = "gcornmsg";

struct header {
    char magic[8];
    uint32_t layout; /* of this file, and of the rings */
    uint32_t ring_count;
    uint64_t ring_size;
    uint64_t page_size;
};

struct desk {
    _Atomic uint32_t used;
    uint32_t unused;
    _Atomic uint64_t sleeping[]; /* as many words as the rings need; then the owners */
};

static const struct message_bus none = {.fd = -1, .wake_fd = -1};

/* ---- where things are -------------------------------------------------------------------- */

static size_t whole_pages(const struct message_bus *bus, size_t size)
{
    return (size + bus->page_size - 1) / bus->page_size * bus->page_size;
}

static size_t word_count(const struct message_bus *bus)
{
    return (bus->ring_count + WORD_BITS - 1) / WORD_BITS;
}

static size_t desk_size(const struct message_bus *bus)
{
    return whole_pages(bus, sizeof(struct desk) + word_count(bus) * sizeof(uint64_t) +
                                bus->ring_count * sizeof(int32_t));
}

/* Header and desk. */
static size_t front_size(const struct message_bus *bus)
{
    return bus->page_size + desk_size(bus);
}

static size_t stride(const struct message_bus *bus)
{
    return bus->page_size + bus->ring_size;
}

static size_t whole_size(const struct message_bus *bus)
{
    return front_size(bus) + bus->ring_count * stride(bus);
}

static struct desk *desk_of(const struct message_bus *bus)
{
    return (struct desk *)(void *)(bus->map + bus->page_size);
}

static _Atomic int32_t *owner_of(const struct message_bus *bus, unsigned index)
{
    return (_Atomic int32_t *)(void *)&desk_of(bus)->sleeping[word_count(bus)] + index;
}

static char *ring_at(const struct message_bus *bus, unsigned index)
{
    assert(index < bus->ring_count);
    return bus->map + front_size(bus) + index * stride(bus);
}

struct message_ring message_bus_ring(const struct message_bus *bus, unsigned index)
{
    char *at = ring_at(bus, index);

    return (struct message_ring){.control = (struct ring_control *)(void *)at,
                                 .data = at + bus->page_size,
                                 .size = bus->ring_size};
}

unsigned message_bus_used(const struct message_bus *bus)
{
    unsigned used = atomic_load_explicit(&desk_of(bus)->used, memory_order_acquire);

    return used < bus->ring_count ? used : bus->ring_count;
}

/* ---- the master -------------------------------------------------------------------------- */

static void set_shape(struct message_bus *bus, unsigned ring_count, size_t ring_size)
{
    *bus = none;
    bus->page_size = (size_t)sysconf(_SC_PAGESIZE);
    bus->ring_count = ring_count;
    bus->ring_size = bus->page_size > RING_SIZE_MIN ? bus->page_size : RING_SIZE_MIN;
    while (bus->ring_size < ring_size)
        bus->ring_size *= 2;
}

static struct header make_header(const struct message_bus *bus)
{
    struct header h = {.layout = LAYOUT,
                       .ring_count = bus->ring_count,
                       .ring_size = bus->ring_size,
                       .page_size = bus->page_size};

    memcpy(h.magic, magic, sizeof(h.magic));
    return h;
}

/* Maps header and desk. */
static int map_front(struct message_bus *bus)
{
    void *map = mmap(NULL, front_size(bus), PROT_READ | PROT_WRITE, MAP_SHARED, bus->fd, 0);

    if (map == MAP_FAILED)
        return -1;
    bus->map = map;
    bus->map_size = front_size(bus);
    return 0;
}

int message_bus_new(struct message_bus *bus, unsigned ring_count, size_t ring_size)
{
    set_shape(bus, ring_count, ring_size);
    const struct header header = make_header(bus);
    bus->fd = message_file_new("gcorn-messages", whole_size(bus));
    bus->wake_fd = bus->fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bus->wake_fd < 0 || map_front(bus) < 0) {
        message_bus_release(bus);
        return -1;
    }
    memcpy(bus->map, &header, sizeof(header));
    return 0;
}

int message_bus_adopt(struct message_bus *bus, int fd, int wake_fd, unsigned ring_count,
                      size_t ring_size)
{
    set_shape(bus, ring_count, ring_size);
    const struct header header = make_header(bus);
    bus->fd = fd;
    bus->wake_fd = wake_fd;
    if (message_file_check(fd, whole_size(bus)) == 0 && map_front(bus) == 0 &&
        memcmp(bus->map, &header, sizeof(header)) == 0)
        return 0;
    message_bus_release(bus);
    errno = EPROTO;
    return -1;
}

void message_bus_sweep(struct message_bus *bus, bool (*is_gone)(pid_t pid))
{
    if (!bus->map)
        return;
    for (unsigned i = 0; i < message_bus_used(bus); i++) {
        int32_t owner = atomic_load(owner_of(bus, i));

        /* kill(2) takes a negative number, which only a broken worker leaves, for a group */
        if (owner < 0 || (owner > 0 && is_gone(owner)))
            (void)atomic_compare_exchange_strong(owner_of(bus, i), &owner, 0);
    }
}

void message_bus_unmap(struct message_bus *bus)
{
    if (bus->map)
        (void)munmap(bus->map, bus->map_size); /* cannot fail: mapped so */
    bus->map = NULL;
}

void message_bus_release(struct message_bus *bus)
{
    int saved_errno = errno;

    message_bus_unmap(bus);
    fd_close(&bus->fd);
    fd_close(&bus->wake_fd);
    *bus = none;
    errno = saved_errno;
}

/* ---- a worker ---------------------------------------------------------------------------- */

/* A core dump would read every page of the rings, and so make them take memory. */
int message_bus_open(struct message_bus *bus)
{
    size_t size = whole_size(bus);
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, bus->fd, 0);

    if (map == MAP_FAILED)
        return -1;
    (void)madvise(map, size, MADV_DONTDUMP);
    if (mprotect((char *)map + bus->page_size, desk_size(bus), PROT_READ | PROT_WRITE) < 0) {
        int saved_errno = errno;
        (void)munmap(map, size);
        errno = saved_errno;
        return -1;
    }
    bus->map = map;
    bus->map_size = size;
    return 0;
}

/* used only grows: a reader looks at the rings below it. */
static void note_used(struct message_bus *bus, unsigned index)
{
    uint32_t used = atomic_load(&desk_of(bus)->used);

    while (used <= index && !atomic_compare_exchange_weak(&desk_of(bus)->used, &used, index + 1))
        continue;
}

int message_bus_claim(struct message_bus *bus, pid_t pid)
{
    for (unsigned i = 0; i < bus->ring_count; i++) {
        int32_t owner = 0;

        if (!atomic_compare_exchange_strong(owner_of(bus, i), &owner, (int32_t)pid))
            continue;
        if (mprotect(ring_at(bus, i), stride(bus), PROT_READ | PROT_WRITE) < 0) {
            atomic_store(owner_of(bus, i), 0);
            return -1;
        }
        note_used(bus, i);
        return (int)i;
    }
    errno = ENOSPC;
    return -1;
}

void message_bus_will_sleep(struct message_bus *bus, unsigned index)
{
    _Atomic uint64_t *bits = &desk_of(bus)->sleeping[index / WORD_BITS];
    uint64_t bit = UINT64_C(1) << index % WORD_BITS;

    if (!(atomic_load(bits) & bit))
        atomic_fetch_or(bits, bit);
}

/* Does any worker sleep? Not any more: they are about to be woken. */
static bool take_sleepers(struct message_bus *bus)
{
    size_t words = (message_bus_used(bus) + WORD_BITS - 1) / WORD_BITS;
    bool any = false;

    for (size_t i = 0; i < words; i++) {
        _Atomic uint64_t *bits = &desk_of(bus)->sleeping[i];

        any = (atomic_load(bits) != 0 && atomic_exchange(bits, 0) != 0) || any;
    }
    return any;
}

/* The counter is full after 2^64 messages, or when a broken worker has filled it: then it is
 * emptied, since only a write that adds to it wakes. */
void message_bus_wake(struct message_bus *bus)
{
    int saved_errno = errno;
    uint64_t count;

    if (!take_sleepers(bus))
        return;
    if (eventfd_write(bus->wake_fd, 1) < 0 && errno == EAGAIN) {
        (void)eventfd_read(bus->wake_fd, &count);
        (void)eventfd_write(bus->wake_fd, 1);
    }
    errno = saved_errno;
}

void message_bus_forget(struct message_bus *bus)
{
    if (bus->map)
        (void)mmap(bus->map, bus->map_size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}
