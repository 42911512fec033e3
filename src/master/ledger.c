/* SPDX-License-Identifier: MIT
 *
 * See ledger.h. Anonymous shared memory: who needs it is forked from the master, and inherits it.
 */
#include "master/ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/error.h"
#include "base/util.h"
#include "system/metric.h"

enum {
    PATIENCE_TURNS = 500, /* of a reader with a writer that was interrupted */
    TURN_NS = 1000000,
};

struct shared {
    _Atomic uint64_t sequence; /* odd: it is being written */
    struct ledger_facts facts;
    struct ledger_proc procs[];
};

struct ledger {
    unsigned places;
    struct shared *shared;
};

static size_t size_of(unsigned places)
{
    return sizeof(struct shared) + places * sizeof(struct ledger_proc);
}

struct ledger *ledger_new(unsigned places, struct error *err)
{
    void *map =
        mmap(NULL, size_of(places), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED) {
        (void)error_set(err, EXIT_FAILED, "cannot make the ledger of %u processes: %s", places,
                        strerror(errno));
        return NULL;
    }
    struct ledger *l = xcalloc(1, sizeof(*l));
    *l = (struct ledger){.places = places, .shared = map};
    l->shared->facts.started_at = (int64_t)time(NULL);
    return l;
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    (void)munmap(l->shared, size_of(l->places)); /* cannot fail: mapped so by ledger_new */
    free(l);
}

int ledger_protect(struct ledger *l)
{
    return mprotect(l->shared, size_of(l->places), PROT_READ);
}

/* ---- writing ----------------------------------------------------------------------------- */

struct ledger_facts *ledger_open(struct ledger *l)
{
    uint64_t before = atomic_fetch_add(&l->shared->sequence, 1);

    assert(before % 2 == 0);
    (void)before;
    return &l->shared->facts;
}

void ledger_close(struct ledger *l)
{
    (void)atomic_fetch_add(&l->shared->sequence, 1);
}

unsigned ledger_bury(struct ledger *l, struct slot *slot)
{
    struct ledger_facts *facts = ledger_open(l);

    slot_counts_add(&facts->gone, &slot->counts);
    unsigned lost =
        metrics_sum(facts->metrics, &facts->metric_count, LEDGER_METRICS, slot, METRICS_THAT_GROW);
    slot_reset(slot);
    ledger_close(l);
    return lost;
}

/* ---- reading ----------------------------------------------------------------------------- */

bool ledger_begin(const struct ledger *l, uint64_t *sequence)
{
    const struct timespec turn = {.tv_nsec = TURN_NS};

    for (int i = 0; i < PATIENCE_TURNS; i++) {
        *sequence = atomic_load_explicit(&l->shared->sequence, memory_order_acquire);
        if (*sequence % 2 == 0)
            return true;
        (void)nanosleep(&turn, NULL); /* woken early it only looks earlier */
    }
    return false;
}

bool ledger_is_same(const struct ledger *l, uint64_t sequence)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&l->shared->sequence, memory_order_relaxed) == sequence;
}

const struct ledger_facts *ledger_facts(const struct ledger *l)
{
    return &l->shared->facts;
}

struct ledger_proc *ledger_procs(const struct ledger *l)
{
    return l->shared->procs;
}

unsigned ledger_places(const struct ledger *l)
{
    return l->places;
}

/* ---- names ------------------------------------------------------------------------------- */

const char *server_state_name(enum server_state state)
{
    static const char *const names[SERVER_STATES] = {"starting", "serving", "reloading", "draining",
                                                     "stopping"};

    return state < SERVER_STATES ? names[state] : "unknown";
}

const char *worker_end_name(enum worker_end end)
{
    static const char *const names[WORKER_ENDS] = {
        [END_UNASKED] = "unasked",       [END_WITH_SERVER] = "stop",
        [END_NOT_WANTED] = "not_wanted", [END_BOOT] = "boot",
        [END_CRASH] = "crash",           [END_EXIT] = "exit",
        [END_KILLED] = "killed",         [END_TIMEOUT] = "timeout",
        [END_SILENT] = "silent",         [END_MAX_REQUESTS] = "max_requests",
        [END_MAX_MEMORY] = "max_memory", [END_SIGTERM] = "sigterm",
        [END_RELOAD] = "reload",
    };

    return names[end];
}
