/* SPDX-License-Identifier: MIT
 *
 * See scoreboard.h. Layout: one page of header, then the slots, each some pages, so that two
 * workers never write the same cache line or page; a page takes memory when it is first written.
 * What the master relies on (the count, the mapping's size) is kept in its own memory: workers can
 * write the header too.
 */
#include "system/scoreboard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"

enum { HEADER_SIZE = 4096, SCOREBOARD_VERSION = 3 };

static const char magic[8] = "gcornsb";

struct header {
    char magic[8];
    uint32_t version;
    uint32_t slot_size;
    uint32_t slot_count;
};

enum { COMMONS_OFFSET = 512 }; /* in the header's page, apart from what is only read */

struct scoreboard {
    int fd;
    unsigned count;
    char *map;
};

static size_t map_size(unsigned count)
{
    return HEADER_SIZE + (size_t)count * SLOT_SIZE;
}

/* Maps fd, which it takes in every case. NULL with errno. */
static struct scoreboard *map_fd(int fd, unsigned count)
{
    void *map = mmap(NULL, map_size(count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED) {
        fd_close(&fd);
        return NULL;
    }
    struct scoreboard *sb = xcalloc(1, sizeof(*sb));
    *sb = (struct scoreboard){.fd = fd, .count = count, .map = map};
    return sb;
}

struct scoreboard *scoreboard_new(unsigned count, struct error *err)
{
    struct scoreboard *sb = NULL;

    assert(count >= 1 && count <= SCOREBOARD_MAX_SLOTS);
    int fd = memfd_create("gcorn-scoreboard", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)map_size(count)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        fd_close(&fd);
    else
        sb = map_fd(fd, count);
    if (!sb) {
        (void)error_set(err, EXIT_FAILED, "cannot make the scoreboard of %u slots: %s", count,
                        strerror(errno));
        return NULL;
    }
    struct header h = {.version = SCOREBOARD_VERSION, .slot_size = SLOT_SIZE, .slot_count = count};
    memcpy(h.magic, magic, sizeof(magic));
    memcpy(sb->map, &h, sizeof(h));
    return sb;
}

struct commons *scoreboard_commons(struct scoreboard *sb)
{
    return (struct commons *)(void *)(sb->map + COMMONS_OFFSET);
}

void scoreboard_free(struct scoreboard *sb)
{
    if (!sb)
        return;
    (void)munmap(sb->map, map_size(sb->count)); /* cannot fail: mapped so by map_fd */
    fd_close(&sb->fd);
    free(sb);
}

int scoreboard_protect(struct scoreboard *sb)
{
    return mprotect(sb->map, map_size(sb->count), PROT_READ);
}

struct slot *scoreboard_slot(struct scoreboard *sb, unsigned i)
{
    assert(i < sb->count);
    return (struct slot *)(void *)(sb->map + HEADER_SIZE + (size_t)i * SLOT_SIZE);
}

unsigned scoreboard_count(const struct scoreboard *sb)
{
    return sb->count;
}

unsigned scoreboard_used(struct scoreboard *sb)
{
    unsigned used = atomic_load_explicit(&scoreboard_commons(sb)->slots_used, memory_order_relaxed);

    return used < sb->count ? used : sb->count;
}

struct slot *scoreboard_claim(struct scoreboard *sb, unsigned i)
{
    struct slot *slot = scoreboard_slot(sb, i);

    slot_reset(slot);
    if (i >= scoreboard_used(sb))
        atomic_store(&scoreboard_commons(sb)->slots_used, i + 1);
    return slot;
}

int scoreboard_fd(const struct scoreboard *sb)
{
    return sb->fd;
}

/* Only what was written: an untouched page of the memfd takes no memory. */
void slot_reset(struct slot *s)
{
    uint32_t metrics = atomic_load(&s->metric_count);

    if (metrics > SLOT_METRICS)
        metrics = SLOT_METRICS;
    memset(s->metrics, 0, metrics * sizeof(s->metrics[0]));
    if (metrics > 0)
        atomic_store(&s->metric_count, 0);
    if (atomic_load(&s->crash.stage) != CRASH_NONE)
        memset(&s->crash, 0, sizeof(s->crash));
    memset(s->calls, 0, slot_call_count(s) * sizeof(s->calls[0]));
    s->call_count = 0;
    memset(s, 0, offsetof(struct slot, log));
}

void slot_set_text(char *field, size_t field_size, const char *text, size_t len)
{
    size_t n = len < field_size ? len : field_size - 1;

    memcpy(field, text, n);
    field[n] = '\0';
}

size_t slot_get_text(const char *field, size_t field_size, char *out, size_t size)
{
    const volatile char *in = field; /* each byte once: its writer may be at work right now */
    size_t n = 0;

    assert(size > 0);
    while (n < field_size && n < size - 1) {
        out[n] = in[n];
        if (out[n] == '\0')
            break;
        n++;
    }
    out[n] = '\0';
    return n;
}

enum slot_state slot_get_state(const struct slot *s)
{
    uint32_t state = *(const volatile uint32_t *)&s->state;

    return state <= SLOT_DRAINING ? (enum slot_state)state : SLOT_EMPTY;
}

const char *slot_state_name(enum slot_state state)
{
    static const char *const names[] = {"empty", "booting", "idle", "calling", "draining"};

    return names[state];
}

/* A worker escapes what it logs; its format may have tabs, and text in any language. */
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
    uint32_t count = *(const volatile uint32_t *)&s->call_count;

    return count == 0 ? 1 : count < SLOT_CALLS ? count : SLOT_CALLS;
}

const struct slot_call *slot_oldest_call(const struct slot *s)
{
    const struct slot_call *oldest = &s->calls[0];
    uint64_t oldest_ms = 0;

    for (unsigned i = 0; i < slot_call_count(s); i++) {
        uint64_t started_ms = atomic_load(&s->calls[i].started_ms);

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
        uint64_t started_ms = atomic_load(&s->calls[i].started_ms);

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
    static const char digits[] = "0123456789abcdef";
    uint64_t id = *(const volatile uint64_t *)&call->request_id;
    uint32_t pid = (uint32_t) * (const volatile int32_t *)&s->pid;
    char *p = name + 10;

    memset(name, '0', 10);
    for (int i = 9; i >= 0; i--, pid /= 10)
        name[i] = digits[pid % 10];
    *p++ = '-';
    for (int shift = 60; shift >= 0; shift -= 4)
        *p++ = digits[id >> shift & 15];
    memcpy(p, ".http", sizeof(".http"));
}

static void slot_times_add_all(struct slot_times *to, const volatile struct slot_times *from)
{
    for (size_t i = 0; i < SLOT_TIME_BUCKETS; i++)
        to->count[i] += from->count[i];
    to->sum_us += from->sum_us;
}

void slot_counts_add(struct slot_counts *to, const struct slot_counts *from)
{
    const volatile struct slot_counts *f = from; /* each number once: its writer may be at work */

    to->requests += f->requests;
    to->connections += f->connections;
    to->bytes_in += f->bytes_in;
    to->bytes_out += f->bytes_out;
    to->fair_closes += f->fair_closes;
    to->shed += f->shed;
    to->gone += f->gone;
    to->log_lines_lost += f->log_lines_lost;
    slot_times_add_all(&to->durations, &f->durations);
    slot_times_add_all(&to->queued, &f->queued);
    for (size_t i = 0; i < ARRAY_LEN(to->by_status); i++)
        to->by_status[i] += f->by_status[i];
}
