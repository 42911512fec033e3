/* SPDX-License-Identifier: MIT
 *
 * See stats.h. The words of the copy are stored with release order and loaded with acquire order
 * (shared.h). So a reader that has loaded a word of an unfinished copy finds the sequence changed
 * afterwards, and a reader that finds it unchanged has loaded no such word: the fences of a
 * seqlock, in a form that ThreadSanitizer understands.
 */
#include "master/telemetry/stats.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/util.h"
#include "system/ipc/metric_slots.h"
#include "system/ipc/shared.h"

enum {
    PATIENCE_TURNS = 500, /* for how long a reader waits for a writer */
    TURN_NS = 1000000,
};

/* The shared copy, which the admin process reads. */
struct copy {
    _Atomic uint64_t sequence; /* odd: the master is writing */
    _Atomic uint64_t beat_ms;
    struct stats_facts facts;
    struct stats_proc procs[];
};
_Static_assert(sizeof(struct stats_facts) % 8 == 0 && sizeof(struct stats_proc) % 8 == 0 &&
                   offsetof(struct stats_facts, metrics) % 8 == 0,
               "they are copied by words");

struct stats {
    unsigned places;
    struct shared memory;
    uint64_t sequence;        /* private to the master, like the facts */
    struct stats_facts facts; /* the source of the copy */
};

static struct copy *copy_of(const struct stats *l)
{
    return (struct copy *)(void *)l->memory.map;
}

static size_t size_of(unsigned places)
{
    return sizeof(struct copy) + places * sizeof(struct stats_proc);
}

struct stats *stats_new(unsigned places, struct error *err)
{
    struct stats *l = xcalloc(1, sizeof(*l));

    l->places = places;
    l->facts.started_at = (int64_t)time(NULL);
    if (shared_new(&l->memory, "gcorn-stats", size_of(places)) < 0) {
        (void)error_set(err, EXIT_FAILED, "cannot make the stats of %u processes: %s", places,
                        strerror(errno));
        free(l);
        return NULL;
    }
    stats_beat(l, now_ms());
    return l;
}

void stats_free(struct stats *l)
{
    if (!l)
        return;
    shared_release(&l->memory);
    free(l);
}

bool stats_is_sealed(const struct stats *l)
{
    return l->memory.is_sealed;
}

int stats_make_read_only(struct stats *l)
{
    return shared_make_read_only(&l->memory);
}

/* ---- writing ----------------------------------------------------------------------------- */

struct stats_facts *stats_open(struct stats *l)
{
    atomic_store_explicit(&copy_of(l)->sequence, ++l->sequence, memory_order_relaxed);
    return &l->facts;
}

void stats_set_proc(struct stats *l, unsigned place, const struct stats_proc *proc)
{
    shared_store(&copy_of(l)->procs[place], proc, sizeof(*proc));
}

/* Writes everything, also what has not changed: so a damaged copy is soon correct again. */
void stats_close(struct stats *l)
{
    size_t metrics = l->facts.metric_count * sizeof(l->facts.metrics[0]);

    shared_store(&copy_of(l)->facts, &l->facts, offsetof(struct stats_facts, metrics) + metrics);
    atomic_store_explicit(&copy_of(l)->sequence, ++l->sequence, memory_order_release);
}

unsigned stats_add_exited(struct stats *l, struct slot *slot)
{
    struct stats_facts *facts = &l->facts;

    assert(l->sequence % 2 == 1);
    slot_counts_add(&facts->gone, &slot->counts);
    unsigned lost =
        metrics_sum(facts->metrics, &facts->metric_count, STATS_METRICS, slot, METRICS_THAT_STAY);
    slot_reset(slot);
    return lost;
}

void stats_beat(struct stats *l, uint64_t now_ms)
{
    atomic_store_explicit(&copy_of(l)->beat_ms, now_ms, memory_order_relaxed);
}

const struct stats_facts *stats_facts(const struct stats *l)
{
    return &l->facts;
}

unsigned stats_places(const struct stats *l)
{
    return l->places;
}

/* ---- reading ----------------------------------------------------------------------------- */

bool stats_begin(const struct stats *l, uint64_t *sequence)
{
    const struct timespec turn = {.tv_nsec = TURN_NS};

    for (int i = 0; i < PATIENCE_TURNS; i++) {
        *sequence = atomic_load_explicit(&copy_of(l)->sequence, memory_order_acquire);
        if (*sequence % 2 == 0)
            return true;
        (void)nanosleep(&turn, NULL); /* EINTR: it only looks earlier */
    }
    return false;
}

bool stats_is_same(const struct stats *l, uint64_t sequence)
{
    return atomic_load_explicit(&copy_of(l)->sequence, memory_order_relaxed) == sequence;
}

uint64_t stats_beat_ms(const struct stats *l)
{
    return atomic_load_explicit(&copy_of(l)->beat_ms, memory_order_relaxed);
}

static void end_text(char *text, size_t size)
{
    text[size - 1] = '\0';
}

static uint32_t at_most(uint32_t count, uint32_t most)
{
    return count < most ? count : most;
}

void stats_copy_facts(const struct stats *l, struct stats_facts *facts)
{
    const struct stats_facts *from = &copy_of(l)->facts;

    shared_load(facts, from, offsetof(struct stats_facts, metrics));
    facts->metric_count = at_most(facts->metric_count, STATS_METRICS);
    facts->listener_count = at_most(facts->listener_count, STATS_LISTENERS);
    shared_load(facts->metrics, from->metrics, facts->metric_count * sizeof(facts->metrics[0]));
    end_text(facts->build_id, sizeof(facts->build_id));
    for (uint32_t i = 0; i < facts->listener_count; i++)
        end_text(facts->listeners[i].name, sizeof(facts->listeners[i].name));
}

void stats_copy_proc(const struct stats *l, unsigned place, struct stats_proc *proc)
{
    shared_load(proc, &copy_of(l)->procs[place], sizeof(*proc));
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
        [END_UNASKED] = "unasked",
        [END_WITH_SERVER] = "stop",
        [END_NOT_WANTED] = "not_wanted",
        [END_BOOT] = "boot",
        [END_CRASH] = "crash",
        [END_EXIT] = "exit",
        [END_KILLED] = "killed",
        [END_OOM] = "oom",
        [END_TIMEOUT] = "timeout",
        [END_SILENT] = "silent",
        [END_MAX_REQUESTS] = "max_requests",
        [END_MAX_MEMORY] = "max_memory",
        [END_SIGTERM] = "sigterm",
        [END_RELOAD] = "reload",
    };

    return names[end];
}
