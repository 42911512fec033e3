/* SPDX-License-Identifier: MIT
 *
 * See stats.h. The words of the copy are stored with release order and loaded with acquire order
 * (shared.h). So a reader that has loaded a word of an unfinished copy finds the sequence changed
 * behind it, and one that finds it unchanged has loaded no such word: the fences of a seqlock, in a
 * form that ThreadSanitizer follows.
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
    PATIENCE_TURNS = 500, /* of a reader with a writer that was interrupted */
    TURN_NS = 1000000,
};

/* What the admin process sees. */
struct copy {
    _Atomic uint64_t sequence; /* odd: it is being written */
    _Atomic uint64_t beat_ms;
    struct ledger_facts facts;
    struct ledger_proc procs[];
};
_Static_assert(sizeof(struct ledger_facts) % 8 == 0 && sizeof(struct ledger_proc) % 8 == 0 &&
                   offsetof(struct ledger_facts, metrics) % 8 == 0,
               "they are copied by words");

struct ledger {
    unsigned places;
    struct shared memory;
    uint64_t sequence;         /* the master's own, as are these: */
    struct ledger_facts facts; /* what the copy was made of, or will be */
};

static struct copy *copy_of(const struct ledger *l)
{
    return (struct copy *)(void *)l->memory.map;
}

static size_t size_of(unsigned places)
{
    return sizeof(struct copy) + places * sizeof(struct ledger_proc);
}

struct ledger *ledger_new(unsigned places, struct error *err)
{
    struct ledger *l = xcalloc(1, sizeof(*l));

    l->places = places;
    l->facts.started_at = (int64_t)time(NULL);
    if (shared_new(&l->memory, "gcorn-ledger", size_of(places)) < 0) {
        (void)error_set(err, EXIT_FAILED, "cannot make the ledger of %u processes: %s", places,
                        strerror(errno));
        free(l);
        return NULL;
    }
    ledger_beat(l, now_ms());
    return l;
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    shared_release(&l->memory);
    free(l);
}

bool ledger_is_sealed(const struct ledger *l)
{
    return l->memory.is_sealed;
}

int ledger_make_read_only(struct ledger *l)
{
    return shared_make_read_only(&l->memory);
}

/* ---- writing ----------------------------------------------------------------------------- */

struct ledger_facts *ledger_open(struct ledger *l)
{
    atomic_store_explicit(&copy_of(l)->sequence, ++l->sequence, memory_order_relaxed);
    return &l->facts;
}

void ledger_set_proc(struct ledger *l, unsigned place, const struct ledger_proc *proc)
{
    shared_store(&copy_of(l)->procs[place], proc, sizeof(*proc));
}

/* Everything, also what has not changed: so a copy that was spoiled is soon right again. */
void ledger_close(struct ledger *l)
{
    size_t metrics = l->facts.metric_count * sizeof(l->facts.metrics[0]);

    shared_store(&copy_of(l)->facts, &l->facts, offsetof(struct ledger_facts, metrics) + metrics);
    atomic_store_explicit(&copy_of(l)->sequence, ++l->sequence, memory_order_release);
}

unsigned ledger_bury(struct ledger *l, struct slot *slot)
{
    struct ledger_facts *facts = &l->facts;

    assert(l->sequence % 2 == 1);
    slot_counts_add(&facts->gone, &slot->counts);
    unsigned lost =
        metrics_sum(facts->metrics, &facts->metric_count, LEDGER_METRICS, slot, METRICS_THAT_GROW);
    slot_reset(slot);
    return lost;
}

void ledger_beat(struct ledger *l, uint64_t now_ms)
{
    atomic_store_explicit(&copy_of(l)->beat_ms, now_ms, memory_order_relaxed);
}

const struct ledger_facts *ledger_facts(const struct ledger *l)
{
    return &l->facts;
}

unsigned ledger_places(const struct ledger *l)
{
    return l->places;
}

/* ---- reading ----------------------------------------------------------------------------- */

bool ledger_begin(const struct ledger *l, uint64_t *sequence)
{
    const struct timespec turn = {.tv_nsec = TURN_NS};

    for (int i = 0; i < PATIENCE_TURNS; i++) {
        *sequence = atomic_load_explicit(&copy_of(l)->sequence, memory_order_acquire);
        if (*sequence % 2 == 0)
            return true;
        (void)nanosleep(&turn, NULL); /* woken early it only looks earlier */
    }
    return false;
}

bool ledger_is_same(const struct ledger *l, uint64_t sequence)
{
    return atomic_load_explicit(&copy_of(l)->sequence, memory_order_relaxed) == sequence;
}

uint64_t ledger_beat_ms(const struct ledger *l)
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

void ledger_copy_facts(const struct ledger *l, struct ledger_facts *facts)
{
    const struct ledger_facts *from = &copy_of(l)->facts;

    shared_load(facts, from, offsetof(struct ledger_facts, metrics));
    facts->metric_count = at_most(facts->metric_count, LEDGER_METRICS);
    facts->listener_count = at_most(facts->listener_count, LEDGER_LISTENERS);
    shared_load(facts->metrics, from->metrics, facts->metric_count * sizeof(facts->metrics[0]));
    end_text(facts->build_id, sizeof(facts->build_id));
    for (uint32_t i = 0; i < facts->listener_count; i++)
        end_text(facts->listeners[i].name, sizeof(facts->listeners[i].name));
}

void ledger_copy_proc(const struct ledger *l, unsigned place, struct ledger_proc *proc)
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
