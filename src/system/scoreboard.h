/* SPDX-License-Identifier: MIT
 *
 * scoreboard - one slot of shared memory a worker, where the worker says what it does. It survives
 * the worker's death, so it names the request that killed it.
 *
 * A worker writes its own slot, unprivileged and perhaps broken: for the master a slot is untrusted
 * input. It reads numbers once, into variables of its own, and texts with slot_get_text, slot_state
 * and slot_get_log, never through a pointer into the slot. All times are now_ms().
 *
 * The memory is a memfd whose size is sealed, so that nobody makes the master fault by shrinking
 * it. It starts with magic and version: a later master, given the descriptor over exec, attaches to
 * it or knows that it cannot.
 */
#ifndef GCORN_SYSTEM_SCOREBOARD_H
#define GCORN_SYSTEM_SCOREBOARD_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct scoreboard;

enum {
    SLOT_SIZE = 8192,
    SLOT_LATENCY_BUCKETS = 32,
    SLOT_LOG_SIZE = SLOT_SIZE - 936, /* what the fields before it leave; asserted below */
    SCOREBOARD_MAX_SLOTS = 16384,
};

enum slot_state {
    SLOT_EMPTY,    /* no worker */
    SLOT_BOOTING,  /* loads the application */
    SLOT_IDLE,     /* serves; no application code runs */
    SLOT_CALLING,  /* in application code since call_started_ms */
    SLOT_DRAINING, /* finishes what it has, accepts nothing new */
};

struct slot {
    int32_t pid;
    uint32_t generation;
    uint32_t number; /* of the worker, 0 to workers - 1: gcorn_slot() */
    uint32_t state;  /* enum slot_state */

    _Atomic uint64_t call_started_ms; /* 0: no call runs */
    _Atomic uint64_t loop_ms;         /* last sign of life between calls */

    /* The current request, or the last one. Texts end with a NUL, cut to fit. */
    uint64_t request_id;
    char method[16];
    char target[512];
    char peer[64];
    uint32_t target_len; /* before it was cut */

    _Atomic uint32_t log_len; /* stored last, with release order: a crash finds whole lines */

    uint64_t requests;
    uint64_t connections_accepted;
    uint64_t connections_open;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t latency[SLOT_LATENCY_BUCKETS]; /* requests by slot_latency_bucket */

    char log[SLOT_LOG_SIZE]; /* access-log bytes not yet written */
};
_Static_assert(sizeof(struct slot) == SLOT_SIZE, "slots are shared between versions of gcorn");

/* What the workers tell each other, in the header's page. Times are now_ms(); a broken worker can
 * spoil them, which costs connections their keep-alive and nothing else. */
struct commons {
    _Atomic uint64_t shared_until_ms; /* connections share a worker somewhere */
    _Atomic uint64_t slow_until_ms;   /* and its calls are slow: see fair.h */
};

/* count zeroed slots, 1 to SCOREBOARD_MAX_SLOTS. NULL with err filled. */
struct scoreboard *scoreboard_new(unsigned count, struct error *err);

/* Maps the scoreboard that a descriptor from a former gcorn holds; takes fd, also on failure. NULL
 * with err filled when it is none, or of another version. */
struct scoreboard *scoreboard_attach(int fd, struct error *err);

/* Unmaps and closes; NULL is allowed. */
void scoreboard_free(struct scoreboard *sb);

/* i must be below the count. */
struct slot *scoreboard_slot(struct scoreboard *sb, unsigned i);
struct commons *scoreboard_commons(struct scoreboard *sb);
unsigned scoreboard_count(const struct scoreboard *sb);
int scoreboard_fd(const struct scoreboard *sb); /* close-on-exec; remains the scoreboard's */

/* All zero: SLOT_EMPTY. Only while no worker has it. */
void slot_reset(struct slot *s);

/* Worker: fills in a text field of its slot, as slot_set_text(s->method, sizeof(s->method), ...).
 * Cuts, and ends with a NUL. */
void slot_set_text(char *field, size_t field_size, const char *text, size_t len);

/* Master: a text field, whatever it holds, as a string of at most size - 1 bytes; its length. Bytes
 * are as the worker left them: the log escapes. */
size_t slot_get_text(const char *field, size_t field_size, char *out, size_t size);

/* Master: the state; SLOT_EMPTY when the slot holds no valid one. */
enum slot_state slot_get_state(const struct slot *s);
const char *slot_state_name(enum slot_state state);

/* Master: copies the pending log bytes, at most size of them; how many. */
size_t slot_get_log(const struct slot *s, void *out, size_t size);

/* The latency bucket of a duration: bucket 0 is under 1 us, bucket i from 2^(i-1) to under 2^i us,
 * the last one all that is longer. */
static inline unsigned slot_latency_bucket(uint64_t us)
{
    unsigned bits = us ? 64u - (unsigned)__builtin_clzll(us) : 0;

    return bits < SLOT_LATENCY_BUCKETS ? bits : SLOT_LATENCY_BUCKETS - 1u;
}

#endif
