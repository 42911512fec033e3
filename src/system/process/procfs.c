/* SPDX-License-Identifier: MIT
 *
 * See procfs.h.
 */
#include "system/process/procfs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/small_file.h"
#include "base/strbuf.h"

/* The groups of a user may make /proc/PID/status this long: NGROUPS_MAX numbers of ten digits. */
enum { STATUS_MAX = 1024 * 1024 };

/* ---- memory ------------------------------------------------------------------------------ */

int procfs_pages(pid_t pid, struct procfs_pages *pages)
{
    char path[40], text[128];

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    if (small_file_start(path, text, sizeof(text)) < 0)
        return -1;
    if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &pages->mapped, &pages->resident,
               &pages->shared) == 3 &&
        pages->shared <= pages->resident)
        return 0;
    errno = EINVAL;
    return -1;
}

int procfs_private_memory(pid_t pid, uint64_t *size)
{
    struct procfs_pages pages;

    if (procfs_pages(pid, &pages) < 0)
        return -1;
    *size = (pages.resident - pages.shared) * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

int procfs_resident_memory(pid_t pid, uint64_t *size)
{
    struct procfs_pages pages;

    if (procfs_pages(pid, &pages) < 0)
        return -1;
    *size = pages.resident * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

/* ---- status ------------------------------------------------------------------------------ */

int procfs_find_number(const char *text, const char *key)
{
    size_t len = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0 && line[len] == ':')
            return atoi(line + len + 1);
    }
    return 0;
}

static int status_number(pid_t pid, const char *key)
{
    struct strbuf text = {0};
    char path[40];
    int number = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (small_file_read(path, STATUS_MAX, &text) == 0 && text.len > 0)
        number = procfs_find_number(text.data, key);
    strbuf_release(&text);
    return number;
}

pid_t procfs_tracer(pid_t pid)
{
    return (pid_t)status_number(pid, "TracerPid");
}

bool procfs_dumps_core(pid_t pid)
{
    return status_number(pid, "CoreDumping") != 0;
}
