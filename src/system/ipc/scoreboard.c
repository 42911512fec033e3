/* SPDX-License-Identifier: MIT
 *
 * See scoreboard.h. Slots are whole pages, so no two workers write the same page; a page takes
 * memory when it is first touched.
 *
 * What the master relies on (the count, the indices) is in its own memory: a broken worker may have
 * written to the shared pages.
 */
#include "system/ipc/scoreboard.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/util.h"
#include "system/ipc/shared.h"

/* The master's own page. */
struct header {
    _Atomic uint32_t slots_used;
    _Atomic int32_t zone_offset_s;
};

struct scoreboard {
    struct shared memory;
    unsigned count;
    unsigned used; /* in the master: what the header says to the others */
    size_t page_size, slot_size;
};

enum { HINTS_PAGE, HEADER_PAGE, FIRST_SLOT_PAGE };

static size_t slot_offset(const struct scoreboard *sb, unsigned index)
{
    return FIRST_SLOT_PAGE * sb->page_size + index * sb->slot_size;
}

struct scoreboard *scoreboard_new(unsigned count, struct error *err)
{
    struct scoreboard *sb = xcalloc(1, sizeof(*sb));

    assert(count >= 1 && count <= SCOREBOARD_MAX_SLOTS);
    sb->count = count;
    sb->page_size = (size_t)sysconf(_SC_PAGESIZE);
    sb->slot_size = (sizeof(struct slot) + sb->page_size - 1) / sb->page_size * sb->page_size;
    if (shared_new(&sb->memory, "gcorn-scoreboard", slot_offset(sb, count)) == 0)
        return sb;
    (void)error_set(err, EXIT_FAILED, "cannot make the scoreboard of %u slots: %s", count,
                    strerror(errno));
    free(sb);
    return NULL;
}

void scoreboard_free(struct scoreboard *sb)
{
    if (!sb)
        return;
    shared_release(&sb->memory);
    free(sb);
}

bool scoreboard_is_sealed(const struct scoreboard *sb)
{
    return sb->memory.is_sealed;
}

int scoreboard_make_read_only(struct scoreboard *sb)
{
    return shared_make_read_only(&sb->memory);
}

int scoreboard_guard(struct scoreboard *sb, const struct slot *own)
{
    fd_close(&sb->memory.fd);
    if (shared_protect(&sb->memory, 0, sb->memory.size, false) < 0)
        return -1;
    if (!own)
        return 0;
    size_t offset = (size_t)((const char *)own - sb->memory.map);
    assert(offset >= slot_offset(sb, 0) && offset < slot_offset(sb, sb->count));
    if (shared_protect(&sb->memory, offset, sb->slot_size, true) < 0)
        return -1;
    return shared_protect(&sb->memory, HINTS_PAGE * sb->page_size, sb->page_size, true);
}

static struct header *header_of(struct scoreboard *sb)
{
    return (struct header *)(void *)(sb->memory.map + HEADER_PAGE * sb->page_size);
}

struct shared_hints *scoreboard_hints(struct scoreboard *sb)
{
    return (struct shared_hints *)(void *)(sb->memory.map + HINTS_PAGE * sb->page_size);
}

int scoreboard_forget(struct scoreboard *sb)
{
    return shared_forget(&sb->memory);
}

struct slot *scoreboard_slot(struct scoreboard *sb, unsigned index)
{
    assert(index < sb->count);
    return (struct slot *)(void *)(sb->memory.map + slot_offset(sb, index));
}

unsigned scoreboard_count(const struct scoreboard *sb)
{
    return sb->count;
}

unsigned scoreboard_used(struct scoreboard *sb)
{
    unsigned used = atomic_load_explicit(&header_of(sb)->slots_used, memory_order_relaxed);

    return used < sb->count ? used : sb->count;
}

void scoreboard_set_zone(struct scoreboard *sb, int32_t offset_s)
{
    atomic_store(&header_of(sb)->zone_offset_s, offset_s);
}

int32_t scoreboard_zone(struct scoreboard *sb)
{
    return atomic_load(&header_of(sb)->zone_offset_s);
}

struct slot *scoreboard_claim(struct scoreboard *sb, unsigned index)
{
    struct slot *slot = scoreboard_slot(sb, index);

    slot_reset(slot);
    if (index >= sb->used)
        sb->used = index + 1;
    atomic_store(&header_of(sb)->slots_used, sb->used);
    return slot;
}

_Static_assert(offsetof(struct slot, log) % 8 == 0 && sizeof(struct slot_call) % 8 == 0 &&
                   sizeof(struct slot_metric) % 8 == 0 && sizeof(struct slot_crash) % 8 == 0,
               "shared_zero takes whole words");

/* Zeroes only what was written: an untouched page of the memfd takes no memory. */
void slot_reset(struct slot *s)
{
    uint32_t metrics = atomic_load(&s->metric_count);

    if (metrics > SLOT_METRICS)
        metrics = SLOT_METRICS;
    shared_zero(s->metrics, metrics * sizeof(s->metrics[0]));
    if (metrics > 0)
        atomic_store(&s->metric_count, 0);
    if (atomic_load(&s->crash.stage) != CRASH_NONE)
        shared_zero(&s->crash, sizeof(s->crash));
    shared_zero(s->calls, slot_entry_count(s) * sizeof(s->calls[0]));
    __atomic_store_n(&s->call_count, 0, __ATOMIC_RELAXED);
    if (atomic_load(&s->full_since_ms) != 0)
        atomic_store(&s->full_since_ms, 0);
    shared_zero(s, offsetof(struct slot, log));
}

void slot_set_text(char *field, size_t field_size, const char *text, size_t len)
{
    size_t n = len < field_size ? len : field_size - 1;

    memcpy(field, text, n);
    field[n] = '\0';
}

size_t slot_get_text(const char *field, size_t field_size, char *out, size_t size)
{
    size_t n = 0;

    assert(size > 0);
    while (n < field_size && n < size - 1) { /* each byte once: its writer may be at work */
        out[n] = __atomic_load_n(&field[n], __ATOMIC_RELAXED);
        if (out[n] == '\0')
            break;
        n++;
    }
    out[n] = '\0';
    return n;
}

enum slot_state slot_get_state(const struct slot *s)
{
    uint32_t state = __atomic_load_n(&s->state, __ATOMIC_RELAXED);

    return state <= SLOT_DRAINING ? (enum slot_state)state : SLOT_EMPTY;
}

const char *slot_state_name(enum slot_state state)
{
    static const char *const names[] = {"empty", "booting", "idle", "calling", "draining"};

    return names[state];
}

/* A healthy worker escapes what it logs, but a format may hold tabs and text in any language. */
static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
}

size_t slot_get_log(const struct slot *s, char *out, size_t size)
{
    size_t len = atomic_load_explicit(&s->log_len, memory_order_acquire);

    if (len > sizeof(s->log))
        len = sizeof(s->log);
    if (len > size)
        len = size;
    memcpy(out, s->log, len);
    while (len > 0 && out[len - 1] != '\n')
        len--;
    for (size_t i = 0; i < len; i++) {
        if (is_control(out[i]))
            out[i] = '?';
    }
    return len;
}

unsigned slot_call_count(const struct slot *s)
{
    uint32_t count = __atomic_load_n(&s->call_count, __ATOMIC_RELAXED);

    return count == 0 ? 1 : count < SLOT_CALLS ? count : SLOT_CALLS;
}

unsigned slot_entry_count(const struct slot *s)
{
    return slot_call_count(s) + 1;
}

unsigned slot_running_calls(const struct slot *s)
{
    unsigned running = 0;

    for (unsigned i = 0; i < slot_call_count(s); i++)
        running += slot_call_runs(&s->calls[i]);
    return running;
}

const struct slot_call *slot_oldest_call(const struct slot *s)
{
    const struct slot_call *oldest = &s->calls[0];
    uint64_t oldest_ms = 0;

    for (unsigned i = 0; i < slot_entry_count(s); i++) {
        uint64_t started_ms = slot_call_started_ms(&s->calls[i]);

        if (started_ms != 0 && (oldest_ms == 0 || started_ms < oldest_ms)) {
            oldest = &s->calls[i];
            oldest_ms = started_ms;
        }
    }
    return oldest;
}

uint64_t slot_busy_since_ms(const struct slot *s)
{
    uint64_t latest_ms = 0;

    for (unsigned i = 0; i < slot_call_count(s); i++) {
        uint64_t started_ms = slot_call_started_ms(&s->calls[i]);

        if (started_ms == 0)
            return 0;
        latest_ms = started_ms > latest_ms ? started_ms : latest_ms;
    }
    return latest_ms;
}

size_t slot_get_request_id(const struct slot_call *call, char *out, size_t size)
{
    size_t len = slot_get_text(call->given_id, sizeof(call->given_id), out, size);

    if (len > 0)
        return len;
    (void)snprintf(out, size, "%016llx",
                   (unsigned long long)*(const volatile uint64_t *)&call->request_id);
    return strlen(out);
}

void slot_file_name(const struct slot *s, const struct slot_call *call,
                    char name[SLOT_FILE_NAME_SIZE])
{
    uint64_t id = *(const volatile uint64_t *)&call->request_id;
    uint32_t pid = (uint32_t) * (const volatile int32_t *)&s->pid;
    char *p = name + 10;

    ascii_put_digits(name, pid, 10);
    *p++ = '-';
    for (int shift = 60; shift >= 0; shift -= 4)
        *p++ = ascii_hex_digits[id >> shift & 15];
    memcpy(p, ".http", sizeof(".http"));
}

/* Reads a number once, while its worker may change it. 0 for 2^53 and more, which only a broken
 * worker reaches: sums must not overflow. */
static uint64_t get_count(const uint64_t *field)
{
    uint64_t count = slot_get_number(field);

    return count < (uint64_t)1 << 53 ? count : 0;
}

static void slot_times_add_all(struct slot_times *to, const struct slot_times *from)
{
    for (size_t i = 0; i < SLOT_TIME_BUCKETS; i++)
        to->count[i] += get_count(&from->count[i]);
    to->sum_us += get_count(&from->sum_us);
}

static void add_end(struct slot_counts *to, const struct slot_end *from)
{
    uint64_t count = get_count(&from->count);
    uint32_t status = __atomic_load_n(&from->status, __ATOMIC_RELAXED);
    uint32_t ended = __atomic_load_n(&from->ended, __ATOMIC_RELAXED);

    if (count > 0 && status <= SLOT_STATUS_MAX && ended < SLOT_ENDED_KINDS)
        slot_counts_end(to, (int)status, (enum slot_ended)ended, count);
}

void slot_counts_add(struct slot_counts *to, const struct slot_counts *from)
{
    to->begun += get_count(&from->begun);
    to->connections += get_count(&from->connections);
    to->bytes_in += get_count(&from->bytes_in);
    to->bytes_out += get_count(&from->bytes_out);
    to->fair_closes += get_count(&from->fair_closes);
    to->shed += get_count(&from->shed);
    to->gone += get_count(&from->gone);
    to->log_lines_lost += get_count(&from->log_lines_lost);
    to->published += get_count(&from->published);
    to->delivered += get_count(&from->delivered);
    to->messages_lost += get_count(&from->messages_lost);
    slot_times_add_all(&to->durations, &from->durations);
    slot_times_add_all(&to->queued, &from->queued);
    for (size_t i = 0; i < ARRAY_LEN(to->by_status); i++)
        to->by_status[i] += get_count(&from->by_status[i]);
    for (size_t i = 0; i < SLOT_ENDS; i++)
        add_end(to, &from->ends[i]);
}

/* ---- how requests ended ------------------------------------------------------------------ */

static const char *const ended_names[SLOT_ENDED_KINDS] = {
    [ENDED_WHOLE] = "",
    [ENDED_CLIENT_GONE] = "client gone",
    [ENDED_WRITE_TIMEOUT] = "write_timeout",
    [ENDED_APPLICATION] = "application",
    [ENDED_STOPPED] = "stopped",
    [ENDED_TIMEOUT] = "timeout",
    [ENDED_CRASH] = "crash",
    [ENDED_KILLED] = "killed",
    [ENDED_OTHER] = "other",
};

const char *slot_ended_name(enum slot_ended ended)
{
    return ended_names[ended];
}

enum slot_ended slot_ended_of(const char *name)
{
    for (int i = 0; name && i < SLOT_ENDED_KINDS; i++) {
        if (strcmp(name, ended_names[i]) == 0)
            return (enum slot_ended)i;
    }
    return name ? ENDED_OTHER : ENDED_WHOLE;
}

/* The entry of this kind and status, made if need be; the entry without status when the table is
 * full. */
static struct slot_end *find_end(struct slot_counts *c, uint32_t status, enum slot_ended ended)
{
    for (size_t i = SLOT_ENDED_KINDS; status != 0 && i < SLOT_ENDS; i++) {
        struct slot_end *end = &c->ends[i];

        if (end->count == 0) {
            end->status = status;
            end->ended = ended;
        }
        if (end->status == status && end->ended == ended)
            return end;
    }
    c->ends[ended].ended = ended;
    return &c->ends[ended];
}

void slot_counts_end(struct slot_counts *c, int status, enum slot_ended ended, uint64_t count)
{
    bool is_known = status >= SLOT_STATUS_MIN && status <= SLOT_STATUS_MAX;
    uint64_t *sum;

    if (ended == ENDED_WHOLE && is_known)
        sum = &c->by_status[status - SLOT_STATUS_MIN];
    else
        sum = &find_end(c, is_known ? (uint32_t)status : 0, ended)->count;
    __atomic_store_n(sum, *sum + count, __ATOMIC_RELEASE);
}

uint64_t slot_requests(const struct slot_counts *c)
{
    uint64_t ended = 0;

    for (size_t i = 0; i < ARRAY_LEN(c->by_status); i++)
        ended += get_count(&c->by_status[i]);
    for (size_t i = 0; i < SLOT_ENDS; i++)
        ended += get_count(&c->ends[i].count);
    return ended;
}

uint64_t slot_in_flight(const struct slot_counts *c)
{
    const uint64_t most = 1000000;     /* worker_connections is no larger */
    uint64_t ended = slot_requests(c); /* read first, it does not pass the other */
    uint64_t begun = get_count(&c->begun);

    return begun > ended && begun - ended <= most ? begun - ended : 0;
}
