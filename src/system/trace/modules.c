/* SPDX-License-Identifier: MIT
 *
 * See modules.h. A file is known by device and inode. By its name a module is opened unchecked when
 * the kernel does not call it deleted: some file systems give other numbers to stat than to maps.
 * That name is text that the process made up: a file "a\\012b" is not the one that maps calls so.
 */
#include "system/trace/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/util.h"
#include "system/code/image.h"

enum { LINES_MAX = 100000 }; /* more than a process may have by default */

static const char deleted[] = " (deleted)";

/* ---- maps -------------------------------------------------------------------------------- */

/* A line of maps; the name is the line's. */
struct mapping {
    uint64_t start, end;
    char permissions[5];
    unsigned major, minor;
    uint64_t ino;
    const char *name;
};

/* "7f31e000-7f31f000 r-xp 00001000 08:01 4711   /lib/libfoo.so.1", without newline. */
static bool parse_line(const char *line, struct mapping *map)
{
    int name_at = 0;

    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %x:%x %" SCNu64 " %n", &map->start, &map->end,
               map->permissions, &map->major, &map->minor, &map->ino, &name_at) != 6 ||
        name_at == 0)
        return false;
    map->name = line + name_at;
    return map->name[0] == '/' || strcmp(map->name, "[vdso]") == 0;
}

static bool ends_in(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void add_mapping(struct modules *m, const struct mapping *map)
{
    struct module *last = m->count > 0 ? &m->list[m->count - 1] : NULL;
    dev_t dev = makedev(map->major, map->minor);
    bool has_code = strchr(map->permissions, 'x') != NULL;

    if (last && last->dev == dev && last->ino == map->ino && strcmp(last->name, map->name) == 0) {
        last->end = map->end;
        last->has_code = last->has_code || has_code;
        return;
    }
    if (last && !last->has_code) { /* data: its place is free */
        free(last->name);
        m->count--;
    }
    if (m->count == MODULES_MAX)
        return;
    m->list[m->count++] = (struct module){.start = map->start,
                                          .end = map->end,
                                          .first_end = map->end,
                                          .dev = dev,
                                          .ino = (ino_t)map->ino,
                                          .name = xstrdup(map->name),
                                          .has_code = has_code,
                                          .is_deleted = ends_in(map->name, deleted),
                                          .link_fd = -1,
                                          .fd = -1};
}

static int read_maps(struct modules *m, pid_t pid)
{
    struct mapping map;
    char path[64], *line = NULL;
    size_t size = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    for (unsigned i = 0; i < LINES_MAX && getline(&line, &size, file) > 0; i++) {
        line[strcspn(line, "\n")] = '\0';
        if (parse_line(line, &map))
            add_mapping(m, &map);
    }
    free(line);
    (void)fclose(file);
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------- */

static bool is_it(const struct module *m, const struct stat *st)
{
    return st->st_dev == m->dev && st->st_ino == m->ino;
}

static bool open_part(struct module *m, const struct image *image)
{
    struct stat st;

    for (size_t i = 0; image && i < image->count; i++) {
        const struct image_part *part = &image->parts[i];

        if (part->fd < 0 || fstat(part->fd, &st) < 0 || !is_it(m, &st))
            continue;
        m->fd = fcntl(part->fd, F_DUPFD_CLOEXEC, 3);
        m->path = path_absolute(part->path);
        return true;
    }
    return false;
}

static void take_link(struct module *m, const char *path)
{
    struct stat st;

    m->link_fd = open(path, O_PATH | O_CLOEXEC);
    if (m->link_fd >= 0 && (fstat(m->link_fd, &st) < 0 || !is_it(m, &st)))
        fd_close(&m->link_fd);
}

/* The program itself, by its link; anything else by that of its mapping, which the kernel shows
 * only to the privileged. O_PATH opens no file: what a process maps may be a device. */
static void find_link(struct module *m, pid_t pid)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    take_link(m, path);
    if (m->link_fd >= 0)
        return;
    (void)snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid,
                   m->start, m->first_end);
    take_link(m, path);
}

/* Only a regular file: to open a device can do anything. */
static void open_file(struct module *m, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        m->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static void open_module(struct module *m, const struct image *image)
{
    char link[32];

    if (m->name[0] == '/' && !open_part(m, image)) {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", m->link_fd);
        if (m->link_fd >= 0)
            open_file(m, link);
        if (m->fd < 0 && !m->is_deleted)
            open_file(m, m->name);
    }
    if (!m->path)
        m->path = xstrdup(m->name);
}

int modules_read(struct modules *m, pid_t pid)
{
    *m = (struct modules){.list = xcalloc(MODULES_MAX, sizeof(*m->list))};
    if (read_maps(m, pid) < 0) {
        int saved_errno = errno;

        modules_release(m);
        errno = saved_errno;
        return -1;
    }
    for (size_t i = 0; i < m->count; i++) {
        if (m->list[i].has_code && m->list[i].name[0] == '/')
            find_link(&m->list[i], pid);
    }
    return 0;
}

void modules_open(struct modules *m, const struct image *image)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->list[i].has_code)
            open_module(&m->list[i], image);
    }
}

void modules_release(struct modules *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->list[i].name);
        free(m->list[i].path);
        fd_close(&m->list[i].link_fd);
        fd_close(&m->list[i].fd);
    }
    free(m->list);
    *m = (struct modules){0};
}

const struct module *modules_find(const struct modules *m, uint64_t address)
{
    for (size_t i = 0; i < m->count; i++) {
        if (address >= m->list[i].start && address < m->list[i].end)
            return m->list[i].has_code ? &m->list[i] : NULL;
    }
    return NULL;
}

const char *module_short_name(const struct module *m)
{
    const char *slash = strrchr(m->path, '/');

    return slash ? slash + 1 : m->path;
}
