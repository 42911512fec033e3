/* SPDX-License-Identifier: MIT
 *
 * See oom.h. A count is compared with that of some seconds before, not with that at the last tick:
 * the kernel counts when it kills, and a process with much memory takes a while to be gone.
 */
#include "system/host/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "system/host/cgroup.h"

enum {
    RECENT_MS = 10 * 1000,      /* a kill explains a death for one to two times as long */
    LOG_AGE_MS = 2 * RECENT_MS, /* of lines in the kernel's log */
    LOG_RECORDS_MAX = 16384,    /* that are read of it: a read each */
    LOG_RECORD_SIZE = 8192 + 1, /* a longer record does not exist */
    SCORE_ABOVE = 50,           /* as if it had 5 % of the memory more */
    SCORE_MAX = 1000,
};

/* The initial pid namespace (PROC_PID_INIT_INO): the kernel logs pids as they are seen there. */
#define INIT_PID_NAMESPACE "pid:[4026531836]"

/* ---- the counter ------------------------------------------------------------------------- */

/* The number in the line "oom_kill N". 0, or -1 when there is no such line. */
static int read_count(const char *path, uint64_t *count)
{
    char line[256];
    int result = -1;
    FILE *f = fopen(path, "re");

    if (!f)
        return -1;
    while (result < 0 && fgets(line, sizeof(line), f))
        result = sscanf(line, "oom_kill %" SCNu64, count) == 1 ? 0 : -1;
    (void)fclose(f); /* only read from */
    return result;
}

static bool is_initial_namespace(const char *root)
{
    char name[64] = "";
    char *path = xasprintf("%s/proc/self/ns/pid", root);
    ssize_t n = readlink(path, name, sizeof(name) - 1);

    free(path);
    return n > 0 && strcmp(name, INIT_PID_NAMESPACE) == 0;
}

/* Among all processes of a machine a count says little, but there the kernel's log may be ours to
 * read. */
static void init_machine(struct oom *o, const char *root)
{
    char *kernel_log = xasprintf("%s/dev/kmsg", root);
    int fd = open(kernel_log, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    o->counter = xasprintf("%s/proc/vmstat", root);
    o->counted = xstrdup("some process of this machine");
    if (fd >= 0 && is_initial_namespace(root))
        o->kernel_log = kernel_log;
    else
        free(kernel_log);
    fd_close(&fd);
}

void oom_init(struct oom *o, const char *root, uint64_t now_ms)
{
    char path[4096];
    uint64_t count = 0;

    *o = (struct oom){.recent_ms = now_ms};
    if (cgroup_find_oom_counter(path, sizeof(path), root) && read_count(path, &count) == 0) {
        o->counter = xstrdup(path);
        o->counted = xasprintf("cgroup %.*s", (int)(strrchr(path, '/') - path), path);
    } else {
        init_machine(o, root);
    }
    if (read_count(o->counter, &count) < 0) {
        free(o->counter);
        o->counter = NULL;
    }
    o->before = o->recent = o->explained = count;
}

void oom_release(struct oom *o)
{
    free(o->counter);
    free(o->counted);
    free(o->kernel_log);
    *o = (struct oom){0};
}

void oom_tick(struct oom *o, uint64_t now_ms)
{
    uint64_t count;

    if (!o->counter || now_ms < o->recent_ms + RECENT_MS || read_count(o->counter, &count) < 0)
        return;
    o->before = o->recent;
    o->recent = count;
    o->recent_ms = now_ms;
}

/* ---- the kernel's log -------------------------------------------------------------------- */

/* A record is "6,1234,5678901234,-;text": the third number is its time in microseconds. */
static bool names_victim(const char *record, const char *victim, uint64_t now_ms)
{
    unsigned long long us;

    return sscanf(record, "%*u,%*u,%llu", &us) == 1 && us / 1000 + LOG_AGE_MS >= now_ms &&
           strstr(record, victim);
}

/* Each read gives one record; a file, in tests, several at once. */
static bool log_has_victim(const char *path, pid_t pid, uint64_t now_ms)
{
    char bytes[LOG_RECORD_SIZE], victim[64];
    bool found = false;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    (void)snprintf(victim, sizeof(victim), "Killed process %d (", (int)pid);
    for (int i = 0; fd >= 0 && !found && i < LOG_RECORDS_MAX; i++) {
        ssize_t n = read(fd, bytes, sizeof(bytes) - 1);

        if (n < 0 && errno == EPIPE) /* records were overwritten meanwhile */
            continue;
        if (n <= 0)
            break;
        bytes[n] = '\0';
        for (char *rest = bytes, *line; !found && (line = strsep(&rest, "\n"));)
            found = names_victim(line, victim, now_ms);
    }
    fd_close(&fd);
    return found;
}

/* ---- deaths ------------------------------------------------------------------------------ */

enum oom_answer oom_explains(struct oom *o, pid_t pid, uint64_t now_ms, char *how, size_t size)
{
    uint64_t base = o->explained > o->before ? o->explained : o->before, count;

    how[0] = '\0';
    if (o->kernel_log) {
        if (!log_has_victim(o->kernel_log, pid, now_ms))
            return OOM_NO;
        (void)snprintf(how, size, "the kernel's log names it");
        return OOM_YES;
    }
    if (!o->counter || read_count(o->counter, &count) < 0)
        return OOM_UNKNOWN;
    if (count <= base)
        return OOM_NO;
    o->explained = base + 1;
    (void)snprintf(how, size, "%s: oom_kill %" PRIu64 " -> %" PRIu64, o->counted, base, count);
    return OOM_YES;
}

/* ---- whom it takes ----------------------------------------------------------------------- */

int oom_score_above(int score)
{
    return score > SCORE_MAX - SCORE_ABOVE ? SCORE_MAX : score + SCORE_ABOVE;
}

void oom_volunteer(void)
{
    char text[16];
    int score;
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%d", &score) == 1) {
        int len = snprintf(text, sizeof(text), "%d", oom_score_above(score));

        (void)write_all(fd, text, (size_t)len); /* as likely as its parent, then */
    }
    fd_close(&fd);
}
