/* SPDX-License-Identifier: MIT
 *
 * message_bus - the rings of all workers of a server in one memfd, and one eventfd that wakes those
 * of them that sleep.
 *
 *   header   what the rings are like; the master alone writes it, and never again
 *   desk     used      rings from this index on were never claimed
 *            sleeping  a bit for each ring: its worker waits for the eventfd
 *            owners    the pid of each ring's worker; 0: it is free
 *   rings    for each the page of its control, and its data (message_ring.h); a ring that is never
 *            written takes no memory
 *
 * The master makes it and maps header and desk alone; a worker maps all of it the first time that
 * its application publishes or subscribes, and claims a ring. Everything is read-only there but the
 * desk and its own ring: a stray write ends the worker that makes it. The admin process has neither
 * mapping nor descriptor. Two masters, during an upgrade, share one bus.
 *
 * The publisher that writes to the eventfd clears all bits first, so the others need not write; it
 * is never drained, as each subscriber watches it edge-triggered. A publisher that is killed between
 * the two leaves subscribers asleep until the next message, or their loop's next heartbeat.
 */
#ifndef GCORN_SYSTEM_MESSAGES_MESSAGE_BUS_H
#define GCORN_SYSTEM_MESSAGES_MESSAGE_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "system/messages/message_ring.h"

struct message_bus {
    int fd;      /* of the memfd, close-on-exec; -1: there is no bus */
    int wake_fd; /* the eventfd */
    unsigned ring_count;
    size_t ring_size; /* a power of two */
    size_t page_size;
    char *map; /* NULL: not mapped in this process */
    size_t map_size;
};

/* ---- the master -------------------------------------------------------------------------- */

/* Makes a bus of so many rings of ring_size bytes, which is rounded up to a power of two. Returns
 * 0, or -1 with errno, and *bus holds no bus. */
int message_bus_new(struct message_bus *bus, unsigned ring_count, size_t ring_size);

/* Takes both descriptors, which another master has passed on. Returns 0; or -1 with errno EPROTO:
 * its rings are others than message_bus_new would make; then both are closed, and *bus holds no
 * bus. */
int message_bus_adopt(struct message_bus *bus, int fd, int wake_fd, unsigned ring_count,
                      size_t ring_size);

/* Frees the rings of processes that are gone. */
void message_bus_sweep(struct message_bus *bus, bool (*is_gone)(pid_t pid));

/* Unmaps and closes; a bus that is none is allowed. */
void message_bus_release(struct message_bus *bus);

/* In a process that the master has forked: it has no part in the desk before message_bus_open. */
void message_bus_unmap(struct message_bus *bus);

/* ---- a worker ---------------------------------------------------------------------------- */

/* Maps the rings, to be read. Returns 0, or -1 with errno. */
int message_bus_open(struct message_bus *bus);

/* Claims a free ring and makes it writable. Returns its index, or -1 with errno ENOSPC: none is
 * free. */
int message_bus_claim(struct message_bus *bus, pid_t pid);

/* The ring of this index, below ring_count. */
struct message_ring message_bus_ring(const struct message_bus *bus, unsigned index);

/* How many rings have ever been claimed: at most ring_count, whatever the desk says. */
unsigned message_bus_used(const struct message_bus *bus);

/* The worker of this ring is about to sleep. It looks at the rings once more after this. */
void message_bus_will_sleep(struct message_bus *bus, unsigned index);

/* After a message has been written: wakes the workers that sleep, if there are any. Never blocks. */
void message_bus_wake(struct message_bus *bus);

/* In a child that the application has forked: private memory takes the place of the rings.
 * Async-signal-safe. */
void message_bus_forget(struct message_bus *bus);

#endif
