/* SPDX-License-Identifier: MIT
 *
 * See access_log_writer.h. slot->log_len is stored last, with release order, so the master finds
 * whole lines whenever the worker is killed. When a worker is killed between a write and the store
 * after it, the master writes those lines a second time: better than losing them.
 */
#include "worker/access_log_writer.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/ascii.h"
#include "base/log.h"
#include "base/util.h"
#include "http/access_log.h"
#include "http/environ.h"
#include "system/ipc/scoreboard.h"

enum {
    SAY_EVERY_MS = 10000,
    MEMORY_SIZE = 4 * 1024 * 1024, /* of a line's values, each at most a request's head */
};
_Static_assert((size_t)SLOT_LOG_SIZE >= (size_t)ACCESS_LOG_LINE_MAX, "every line fits");

int access_log_writer_init(struct access_log_writer *a, struct slot *slot, const char *format,
                           int fd, struct error *err)
{
    *a = (struct access_log_writer){
        .slot = slot, .fd = fd, .pid = (int)getpid(), .worker = slot->worker_number};
    if (fd < 0)
        return 0;
    a->is_file = log_is_file(fd);
    a->memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->memory == MAP_FAILED)
        return error_set(err, EXIT_FAILED, "cannot map memory for the access log: %s",
                         ascii_error(errno));
    a->format = access_log_new(format, err);
    return a->format ? 0 : -1;
}

void access_log_writer_reopened(struct access_log_writer *a)
{
    a->is_file = log_is_file(a->fd);
}

static void set_len(struct access_log_writer *a, size_t len)
{
    a->len = len;
    atomic_store_explicit(&a->slot->log_len, (uint32_t)len, memory_order_release);
}

/* Goes to the error log: readers of the access log expect nothing but its lines. */
static void say_lost(struct access_log_writer *a)
{
    log_warnx("access log: dropped %llu lines: %s (logged at most every %d s)",
              (unsigned long long)a->lost,
              a->lost_errno == EAGAIN ? "pipe full, reader too slow" : ascii_error(a->lost_errno),
              SAY_EVERY_MS / 1000);
    a->lost = 0;
    a->say_at_ms = now_ms() + SAY_EVERY_MS;
}

/* Returns how many bytes of whole lines were written; when fewer than all, with errno. */
static size_t put_lines(const struct access_log_writer *a)
{
    if (a->is_file)
        return log_append(a->fd, a->slot->log, a->len);
    return log_write(a->fd, a->slot->log, a->len) == 0 ? a->len : 0;
}

void access_log_writer_write(struct access_log_writer *a)
{
    assert(a->early_len == 0);
    if (a->len == 0)
        return;
    size_t taken = put_lines(a);
    if (taken < a->len) {
        a->lost_errno = errno;
        size_t lines = log_count_lines(a->slot->log + taken, a->len - taken);

        a->slot->counts.log_lines_lost += lines;
        a->lost += lines;
    }
    set_len(a, 0);
    if (a->lost > 0 && now_ms() >= a->say_at_ms && !a->is_last)
        say_lost(a);
}

void access_log_writer_end(struct access_log_writer *a)
{
    access_log_writer_write(a);
    if (a->lost > 0)
        say_lost(a);
}

/* The values of the line use the writer's mapping: the heap may be broken, or locked. */
static size_t make_last(const struct access_log_writer *a, struct gcorn_environ *env,
                        const struct access_facts *facts, char *line)
{
    struct arena own = env->arena;

    arena_init_fixed(&env->arena, a->memory, MEMORY_SIZE);
    size_t len = access_log_line(a->format, env, facts, line);
    env->arena = own;
    return len;
}

/* Returns the length of the line that was added. */
static size_t add_line(struct access_log_writer *a, struct gcorn_environ *env, uint64_t duration_ns)
{
    const struct access_facts facts = {.wall_ms = wall_ms(),
                                       .duration_us = duration_ns / 1000,
                                       .pid = a->pid,
                                       .worker = a->worker};
    char line[ACCESS_LOG_LINE_MAX];
    size_t len = a->is_last ? make_last(a, env, &facts, line)
                            : access_log_line(a->format, env, &facts, line);

    if (a->len + len > SLOT_LOG_SIZE)
        access_log_writer_write(a);
    assert(a->len + len <= SLOT_LOG_SIZE);
    memcpy(a->slot->log + a->len, line, len);
    set_len(a, a->len + len);
    return len;
}

void access_log_writer_add(struct access_log_writer *a, struct gcorn_environ *env,
                           uint64_t duration_ns)
{
    if (a->format && a->early_len == 0)
        (void)add_line(a, env, duration_ns);
    a->early_len = 0;
}

void access_log_writer_add_early(struct access_log_writer *a, struct gcorn_environ *env,
                                 uint64_t duration_ns)
{
    if (a->format && a->early_len == 0)
        a->early_len = add_line(a, env, duration_ns);
}

void access_log_writer_last(struct access_log_writer *a)
{
    a->is_last = true;
}

void access_log_writer_take_back(struct access_log_writer *a)
{
    assert(a->early_len <= a->len);
    if (a->early_len > 0)
        set_len(a, a->len - a->early_len);
    a->early_len = 0;
}
