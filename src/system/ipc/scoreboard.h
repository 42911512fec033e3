/* SPDX-License-Identifier: MIT
 *
 * scoreboard - shared memory with one slot for each worker process, in which the worker publishes
 * what it runs and counts what it has done. system/ipc/ is what processes of a server tell each
 * other. A slot survives its worker, so it names the request that killed it.
 *
 * A slot has an index in the table. It is used again when its worker has gone. A worker number (0 to
 * workers - 1) is another thing: a new worker takes the number of the one it replaces, in another
 * slot.
 *
 * The writer of a slot is unprivileged and may be broken: for every other process a slot is
 * untrusted input. Readers read each number once, into variables of their own, and texts with
 * slot_get_text, slot_get_state and slot_get_log, never through a pointer into the slot. All times
 * are now_ms().
 *
 * There are three kinds of pages: the header, which the master alone writes; the shared hints, which
 * every worker writes; the slots. In a worker everything but the hints and its own slot is
 * read-only, so a stray write ends the worker that makes it and not a sibling. Code that wants to
 * harm siblings still can, so the master kills no worker for what stands here alone (plan_check_health).
 */
#ifndef GCORN_SYSTEM_IPC_SCOREBOARD_H
#define GCORN_SYSTEM_IPC_SCOREBOARD_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct scoreboard;

enum {
    SLOT_CALLS = 64, /* threads of one worker, at most */
    SLOT_TIME_BUCKETS = 32,
    SLOT_ENDS = 64,
    SLOT_STATUS_MIN = 100,
    SLOT_STATUS_MAX = 599,
    SLOT_GIVEN_ID_SIZE = 132,
    SLOT_LOG_SIZE = 4096, /* PIPE_BUF: what a pipe takes whole */
    SLOT_METRICS = 1024,  /* a page takes memory when it is first used */
    SLOT_METRIC_BOUNDS = 16,
    SCOREBOARD_MAX_SLOTS = 16384,
};

/* Tells a worker's thread that its call is late (gcorn_on_call_late). Not a constant: glibc keeps the
 * first real-time signals for itself. */
#define SLOT_LATE_SIGNAL (SIGRTMIN + 5)

#define SLOT_LOOP_OVER UINT64_MAX /* the worker leaves: gcorn_on_worker_exit and the like */

enum slot_state {
    SLOT_EMPTY,    /* no worker */
    SLOT_BOOTING,  /* loads the application */
    SLOT_IDLE,     /* serves; no application code runs */
    SLOT_CALLING,  /* application code runs: see calls */
    SLOT_DRAINING, /* finishes what it has, accepts nothing new */
};

/* How long something took, over many times. */
struct slot_times {
    uint64_t count[SLOT_TIME_BUCKETS]; /* by slot_time_bucket */
    uint64_t sum_us;
};

/* How a request ended. */
enum slot_ended {
    ENDED_WHOLE, /* answered, to the last byte */
    ENDED_CLIENT_GONE,
    ENDED_WRITE_TIMEOUT,
    ENDED_APPLICATION, /* the application failed in the middle of the answer */
    ENDED_STOPPED,     /* the server stopped */
    ENDED_TIMEOUT,     /* the worker was killed for a call that took too long */
    ENDED_CRASH,       /* the worker ended by a fault or an exit() of the application */
    ENDED_KILLED,      /* the worker was killed for another reason */
    ENDED_OTHER,
    SLOT_ENDED_KINDS,
};

/* Requests that were not answered whole, of one kind and one status. */
struct slot_end {
    uint32_t status; /* 0: none was sent, or the table is full */
    uint32_t ended;  /* enum slot_ended */
    uint64_t count;
};

/* Numbers that only grow. When a worker has exited, the master adds its counts to those of all exited
 * workers: a sum over the workers never falls. */
struct slot_counts {
    uint64_t begun; /* requests that are complete, or were refused, or cut */
    uint64_t connections;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t fair_closes;        /* connections closed by fair_close */
    uint64_t shed;               /* requests answered 503 for queue_timeout */
    uint64_t gone;               /* requests not run because the client had left */
    uint64_t log_lines_lost;     /* of the access log: its reader was too slow */
    uint64_t published;          /* messages, by gcorn_publish */
    uint64_t delivered;          /* calls of functions that have subscribed */
    uint64_t messages_lost;      /* overwritten before this worker could read them */
    struct slot_times durations; /* of answered requests, from the arrival of the head */
    struct slot_times queued;    /* from a request's last byte to its call */
    /* The last number to grow when a request ends: begun less all of these is in flight. */
    uint64_t by_status[SLOT_STATUS_MAX - SLOT_STATUS_MIN + 1]; /* ENDED_WHOLE */
    struct slot_end ends[SLOT_ENDS]; /* the first: of each kind, without status */
};

enum slot_metric_type {
    SLOT_COUNTER,
    SLOT_GAUGE, /* the sum of the workers' */
    SLOT_HISTOGRAM,
    SLOT_GAUGE_MAX,  /* the greatest of the workers' */
    SLOT_GAUGE_LAST, /* the one that was set last */
    SLOT_METRIC_TYPES,
};

/* A metric of the application (gcorn_counter and others). Several threads may add to it. */
struct slot_metric {
    char name[128]; /* with its labels, as Prometheus writes them */
    char help[120];
    uint32_t type;
    uint32_t bound_count;
    _Atomic double value; /* a histogram's sum */
    double bounds[SLOT_METRIC_BOUNDS];
    _Atomic uint64_t buckets[SLOT_METRIC_BOUNDS + 1]; /* not cumulative; the last is for the rest */
    _Atomic uint64_t set_ns; /* of SLOT_GAUGE_MAX and _LAST: when it was set (now_ns()); 0: never */
};

enum slot_crash_stage {
    CRASH_NONE,
    CRASH_BEGUN,    /* the facts are stored; clients are being answered */
    CRASH_ANSWERED, /* clients are answered: the client_* and others_* fields are stored, too */
    CRASH_RETURNED, /* the handler has returned: a handler of the application runs, or the kernel
                       ends the process, perhaps with a core */
};

/* The part of the application that runs while a worker boots. */
enum slot_boot_step {
    BOOT_OTHER,   /* nothing */
    BOOT_LOAD,    /* its constructors */
    BOOT_INIT,    /* gcorn_on_worker_init */
    BOOT_CHECK,   /* the request of reload_check_path */
    BOOT_ON_LOAD, /* gcorn_on_load */
    BOOT_FORK,    /* gcorn_on_fork, in a worker of a template */
    BOOT_THREADS, /* gcorn_on_thread_start */
};

/* What the client of the request that crashed was sent. */
enum slot_crash_client {
    CRASH_CLIENT_NONE,     /* no request ran */
    CRASH_CLIENT_ANSWERED, /* with client_status: no byte of its answer had left */
    CRASH_CLIENT_CUT,      /* its answer ends early, and its framing shows that */
    CRASH_CLIENT_RESET,    /* its answer would have looked whole, so the connection was reset */
    CRASH_CLIENT_LOST,     /* nothing: the client did not read in time */
};

/* What the signal handler of a crashing worker stores for the master, which logs it. */
/* How much of a crashed request is kept. */
enum slot_saved {
    SAVED_NOTHING,
    SAVED_WHOLE,
    SAVED_HEAD, /* its body was read as it came, or had not come */
};

struct slot_crash {
    _Atomic uint32_t stage; /* stored last, with release order */
    int32_t signal;         /* 0: exit() was called */
    int32_t code;           /* si_code; of exit() its status */
    int32_t sender;         /* pid that sent the signal, if one did */
    int32_t tid;            /* the thread's */
    char thread[16];        /* its name; empty: unknown */
    int32_t call;           /* which of the slot's calls it ran; -1: none of them */
    uint32_t client;        /* enum slot_crash_client */
    uint32_t client_status;
    uint32_t others_answered; /* connections that were told 503 */
    uint32_t others_cut;      /* connections whose answer could not be finished */
    uint32_t saved;           /* enum slot_saved: what of it is in crash_dir (slot_file_name) */
    uint32_t stack_len;
    uint64_t address; /* of the fault */
    uint64_t ip, sp, fp;
    uint64_t at_ms;
    uint64_t answered;         /* requests of this worker before */
    unsigned char stack[1536]; /* from sp on, for systems where ptrace(2) is forbidden */
};

/* What one thread of a worker runs, or ran last. Texts end with a NUL, cut to fit. */
struct slot_call {
    _Atomic uint64_t started_ms; /* 0: no call runs */
    _Atomic uint64_t check;      /* the complement of started_ms, which a stray write breaks */
    _Atomic uint64_t until_ms;   /* it may last until then, whatever its timeout; 0: not extended */
    _Atomic int32_t tid;         /* of its thread, when that is not the worker's first; else 0 */

    uint64_t
        request_id;  /* as made; in hex for people; 0: it is a callback, and serves no request */
    char method[40]; /* the longest is METHOD_MAX of http/request/request.h; TIMER and others */
    char target[512];
    char peer[64];
    char given_id[SLOT_GIVEN_ID_SIZE]; /* X-Request-ID of a trusted proxy, instead; "": none */
    uint32_t target_len;               /* before it was cut */
    uint32_t answers;                  /* the call is for an answer that is not over */
};

struct slot {
    int32_t pid;
    uint32_t generation;
    uint32_t worker_number;     /* 0 to workers - 1: gcorn_worker_number() */
    uint32_t state;             /* enum slot_state */
    _Atomic uint32_t boot_step; /* enum slot_boot_step */

    _Atomic uint64_t loop_ms; /* the last heartbeat between calls, or SLOT_LOOP_OVER */

    _Atomic uint32_t log_len; /* stored last, with release order: a crash finds whole lines */
    uint64_t connections_open;
    uint64_t waiting; /* requests in flight that wait for the application to resume them */
    struct slot_counts counts;

    char log[SLOT_LOG_SIZE]; /* access-log lines that are not yet written */

    uint32_t call_count; /* how many calls can run at once: 1, or the pool's threads */
    struct slot_call calls[SLOT_CALLS + 1]; /* of a pool the one after its threads' is the loop's */

    _Atomic uint32_t metric_count; /* stored last, when the metric is whole */
    struct slot_metric metrics[SLOT_METRICS];

    struct slot_crash crash;

    /* At its end, so that it is 0 in the slots of a worker that knows nothing of it. */
    _Atomic uint64_t full_since_ms; /* since when no connection can be accepted; 0: one can */
};

/* What the workers tell each other. Times are now_ms(). A broken worker can spoil them; some
 * keep-alive connections are then closed early, and nothing else happens. */
struct shared_hints {
    _Atomic uint64_t shared_until_ms; /* connections share a worker somewhere */
    _Atomic uint64_t slow_until_ms;   /* and its calls are slow: see fair_close.h */
};

/* Makes a scoreboard of count zeroed slots, 1 to SCOREBOARD_MAX_SLOTS. NULL with err. */
struct scoreboard *scoreboard_new(unsigned count, struct error *err);

/* Unmaps and closes; NULL is allowed. */
void scoreboard_free(struct scoreboard *sb);

/* Can no process map it writable again? False on old kernels: see shared_new. */
bool scoreboard_is_sealed(const struct scoreboard *sb);

/* In a process that only reads: nothing in it can be written any more. Returns 0, or -1 with errno.
 */
int scoreboard_make_read_only(struct scoreboard *sb);

/* In a worker: makes all but the hints and its own slot read-only; own NULL: all. May be called
 * again, for another slot. Returns 0, or -1 with errno. */
int scoreboard_guard(struct scoreboard *sb, const struct slot *own);

/* In a child that the application has forked: see shared_forget. */
int scoreboard_forget(struct scoreboard *sb);

/* The slot of this index, which is below the count. */
struct slot *scoreboard_slot(struct scoreboard *sb, unsigned index);
struct shared_hints *scoreboard_hints(struct scoreboard *sb);
unsigned scoreboard_count(const struct scoreboard *sb);

/* Slots from this index on have never been claimed. Even reading one costs its memory. */
unsigned scoreboard_used(struct scoreboard *sb);

/* The log's offset from UTC in seconds, as the master has set it (base/ascii.h, zone_set). */
void scoreboard_set_zone(struct scoreboard *sb, int32_t offset_s);
int32_t scoreboard_zone(struct scoreboard *sb);

/* Master: zeroes the slot for a worker that is about to start, and returns it. */
struct slot *scoreboard_claim(struct scoreboard *sb, unsigned index);

/* Zeroes the slot, so that it is SLOT_EMPTY. To be called only while no worker has it. */
void slot_reset(struct slot *s);

/* Worker: stores a text in a field of its slot, cut to fit and ended with a NUL. */
void slot_set_text(char *field, size_t field_size, const char *text, size_t len);

/* Master: copies a text field, whatever it holds, as a string of at most size - 1 bytes, and returns
 * its length. The bytes are the worker's: the log escapes them. */
size_t slot_get_text(const char *field, size_t field_size, char *out, size_t size);

/* Master: the state; SLOT_EMPTY when the slot holds no valid one. */
enum slot_state slot_get_state(const struct slot *s);
const char *slot_state_name(enum slot_state state);

/* Master: copies the pending access-log lines, at most size bytes, and returns how many. Whatever the
 * slot holds, the copy is whole lines without control characters but tabs. */
size_t slot_get_log(const struct slot *s, char *out, size_t size);

/* Worker: marks a call, whose texts are stored, as running; as over. */
static inline void slot_call_begin(struct slot_call *call, uint64_t started_ms)
{
    atomic_store_explicit(&call->check, ~started_ms, memory_order_relaxed);
    atomic_store_explicit(&call->started_ms, started_ms, memory_order_release);
}

static inline void slot_call_end(struct slot_call *call)
{
    atomic_store_explicit(&call->started_ms, 0, memory_order_release);
}

/* When the running call began; 0: none runs, or a stray write has broken the entry. For any
 * process. */
static inline uint64_t slot_call_started_ms(const struct slot_call *call)
{
    uint64_t started_ms = atomic_load(&call->started_ms);

    return atomic_load(&call->check) == ~started_ms ? started_ms : 0;
}

/* Does a call run? For any process. */
static inline bool slot_call_runs(const struct slot_call *call)
{
    return slot_call_started_ms(call) != 0;
}

/* Master: how many calls of requests can run at once, 1 to SLOT_CALLS, whatever the worker says. */
unsigned slot_call_count(const struct slot *s);

/* Master: how many entries of calls may be in use: the same, and the entry of a pool's loop. */
unsigned slot_entry_count(const struct slot *s);

/* Master: how many calls of requests run. */
unsigned slot_running_calls(const struct slot *s);

/* Master: the entry that has run for longest; the first one when none runs. */
const struct slot_call *slot_oldest_call(const struct slot *s);

/* Master: since when every thread has been in its present call; 0: a thread is free. */
uint64_t slot_busy_since_ms(const struct slot *s);

/* Master: writes the id of the call's request as text and returns its length. size is at least
 * SLOT_GIVEN_ID_SIZE. */
size_t slot_get_request_id(const struct slot_call *call, char *out, size_t size);

/* Writes the name of the file in crash_dir for the call's request: "PID-REQUEST.http", by the id
 * that gcorn made. Async-signal-safe. */
enum { SLOT_FILE_NAME_SIZE = 40 };
void slot_file_name(const struct slot *s, const struct slot_call *call,
                    char name[SLOT_FILE_NAME_SIZE]);

/* Master: reads a number once, while its worker may change it. */
static inline uint64_t slot_get_number(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_ACQUIRE);
}

/* Counts requests that ended in the same way; status 0: none was sent. Async-signal-safe. */
void slot_counts_end(struct slot_counts *c, int status, enum slot_ended ended, uint64_t count);

/* The word of the access log, "client gone"; "" for ENDED_WHOLE. The other way round ENDED_WHOLE for
 * NULL, and ENDED_OTHER for an unknown word. */
const char *slot_ended_name(enum slot_ended ended);
enum slot_ended slot_ended_of(const char *name);

/* How many requests have ended, in whatever way. Async-signal-safe. */
uint64_t slot_requests(const struct slot_counts *c);

/* How many requests are in flight: begun and not ended; 0 when the counts contradict each other. */
uint64_t slot_in_flight(const struct slot_counts *c);

/* Adds one set of counts to another. A worker may have written anything into the first. */
void slot_counts_add(struct slot_counts *to, const struct slot_counts *from);

/* The bucket of a duration: 0 is under 1 us, i is from 2^(i-1) to under 2^i us, and the last one has
 * no upper bound. */
static inline unsigned slot_time_bucket(uint64_t us)
{
    unsigned bits = us ? 64u - (unsigned)__builtin_clzll(us) : 0;

    return bits < SLOT_TIME_BUCKETS ? bits : SLOT_TIME_BUCKETS - 1u;
}

/* Worker: plain stores into its own cache lines. */
static inline void slot_times_add(struct slot_times *t, uint64_t us)
{
    t->count[slot_time_bucket(us)]++;
    t->sum_us += us;
}

#endif
