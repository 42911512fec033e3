/* SPDX-License-Identifier: MIT
 *
 * See oom.h. A count is compared with that of some seconds before, not with that at the last tick:
 * the kernel counts when it kills, and a process with much memory takes a while to end.
 */
#include "system/host/oom.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/small_file.h"
#include "base/util.h"
#include "system/host/cgroup.h"

enum {
    RECENT_MS = 10 * 1000, /* a kill explains a death for one to two times as long */
    SCORE_ABOVE = 50,      /* as if the process had 5 % of the memory more */
    SCORE_MAX = 1000,
};

/* The number in the line "oom_kill N". 0, or -1 where there is no such line: before Linux 4.13. */
static int read_count(const char *path, uint64_t *count)
{
    static const char key[] = "oom_kill ";
    char text[512];

    if (small_file_start(path, text, sizeof(text)) < 0)
        return -1;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        if (strncmp(line, key, sizeof(key) - 1) == 0)
            return sscanf(line + sizeof(key) - 1, "%" SCNu64, count) == 1 ? 0 : -1;
    }
    return -1;
}

void oom_init(struct oom *o, const char *root, uint64_t now_ms)
{
    char path[4096];
    uint64_t count = 0;

    *o = (struct oom){.recent_ms = now_ms};
    if (cgroup_find_memory_events(path, sizeof(path), root) && read_count(path, &count) == 0)
        o->events = xstrdup(path);
    o->before = o->recent = o->explained = count;
}

void oom_release(struct oom *o)
{
    free(o->events);
    *o = (struct oom){0};
}

void oom_tick(struct oom *o, uint64_t now_ms)
{
    uint64_t count;

    if (!o->events || now_ms < o->recent_ms + RECENT_MS || read_count(o->events, &count) < 0)
        return;
    o->before = o->recent;
    o->recent = count;
    o->recent_ms = now_ms;
}

enum oom_answer oom_explains(struct oom *o, char *how, size_t size)
{
    uint64_t base = o->explained > o->before ? o->explained : o->before, count;

    how[0] = '\0';
    if (!o->events || read_count(o->events, &count) < 0)
        return OOM_UNKNOWN;
    if (count <= base)
        return OOM_NO;
    o->explained = base + 1;
    int dir_len = (int)(strrchr(o->events, '/') - o->events);
    (void)snprintf(how, size, "cgroup %.*s: oom_kill %" PRIu64 " -> %" PRIu64, dir_len, o->events,
                   base, count);
    return OOM_YES;
}

/* ---- which process the kernel chooses ---------------------------------------------------- */

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

        (void)write_all(fd, text, (size_t)len); /* failed: as likely as its parent */
    }
    fd_close(&fd);
}
