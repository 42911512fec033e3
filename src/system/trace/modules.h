/* SPDX-License-Identifier: MIT
 *
 * modules - the files that another process has its code mapped from, and descriptors to read them
 * by. Their names in /proc/PID/maps do not always lead to them: an application is mapped from a
 * memfd (image.h), and a library may have been replaced on disk since it was loaded.
 */
#ifndef GCORN_SYSTEM_TRACE_MODULES_H
#define GCORN_SYSTEM_TRACE_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct image;

enum { MODULES_MAX = 1024 };

struct module {
    uint64_t start, end; /* of all its mappings */
    uint64_t first_end;  /* of the first one */
    dev_t dev;
    ino_t ino;
    char *name; /* as maps shows it */
    char *path; /* of the file itself, where it is known: else the name */
    bool has_code;
    bool is_deleted; /* its name leads to nothing, or to another file */
    int link_fd;     /* O_PATH, of what its process has mapped; -1: /proc did not show it */
    int fd;          /* -1: it cannot be read */
};

struct modules {
    struct module *list; /* by address; owned, with the descriptors */
    size_t count;
};

/* Reads the modules that hold code, by the right to trace the process; opens no file yet, and
 * nothing by a name that the process could have chosen. 0, or -1 with errno. */
int modules_read(struct modules *m, pid_t pid);

/* Opens each: as a part of the image (NULL: no image), by what modules_read found, or by its name.
 * The process chooses names and files, so the caller has its user's rights by now. */
void modules_open(struct modules *m, const struct image *image);
void modules_release(struct modules *m);

/* The one that an address lies in, or NULL. */
const struct module *modules_find(const struct modules *m, uint64_t address);

/* The last part of its path. */
const char *module_short_name(const struct module *m);

#endif
