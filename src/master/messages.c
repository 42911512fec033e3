/* SPDX-License-Identifier: MIT
 *
 * See messages.h.
 */
#include "master/messages.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "master/state.h"
#include "settings/config.h"

static int take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* Takes the bus of the old master; false: it passed no bus, or one with other rings. */
static bool adopt_bus(struct master *m, unsigned rings, size_t size)
{
    struct handover *from = &m->successor.from;

    if (from->bus_fd < 0 || from->wake_fd < 0)
        return false;
    if (message_bus_adopt(&m->bus, take(&from->bus_fd), take(&from->wake_fd), rings, size) == 0)
        return true;
    log_warnx("publish_buffer: messages do not pass between the workers of the old server and the "
              "new one, because its buffers are others (publish_buffer, workers, or the version)");
    return false;
}

static void open_bus(struct master *m, unsigned rings, size_t size)
{
    if (size == 0 || adopt_bus(m, rings, size) || message_bus_new(&m->bus, rings, size) == 0)
        return;
    log_warn("publish_buffer: cannot make buffers for %u workers; gcorn_publish and "
             "gcorn_subscribe fail",
             rings);
}

static bool adopt_memory(struct master *m, size_t size)
{
    struct handover *from = &m->successor.from;

    if (from->memory_fd < 0)
        return false;
    if (named_memory_adopt(&m->shared_memory, take(&from->memory_fd)) < 0) {
        log_warnx("shared_memory: the old server's has another layout; the new one begins with "
                  "zeroes");
        return false;
    }
    if (m->shared_memory.size < size)
        log_warnx("shared_memory: it has %zu bytes until the server is restarted: an upgrade does "
                  "not change its size",
                  m->shared_memory.size);
    return true;
}

static void open_memory(struct master *m, size_t size)
{
    if (size == 0 || adopt_memory(m, size) || named_memory_new(&m->shared_memory, size) == 0)
        return;
    log_warn("shared_memory: cannot make %zu bytes; gcorn_shared fails", size);
}

void messages_open(struct master *m, unsigned workers_max)
{
    open_bus(m, workers_max, (size_t)config_of(m)->publish_buffer);
    open_memory(m, (size_t)config_of(m)->shared_memory);
}

static bool is_gone(pid_t pid)
{
    return kill(pid, 0) < 0 && errno == ESRCH;
}

void messages_sweep(struct master *m)
{
    message_bus_sweep(&m->bus, is_gone);
}

void messages_warn(const struct config *old, const struct config *now)
{
    if (old->publish_buffer != now->publish_buffer)
        log_warnx("publish_buffer: only an upgrade or a restart can change it");
    if (old->shared_memory != now->shared_memory)
        log_warnx("shared_memory: only a restart can change it");
}

void messages_close(struct master *m)
{
    message_bus_release(&m->bus);
    named_memory_release(&m->shared_memory);
}
