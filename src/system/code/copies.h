/* SPDX-License-Identifier: MIT
 *
 * copies - the directory of app_copy_dir in which a generation's copies of its application lie as
 * files: DIR/PID-GENERATION/app.so. Profilers and valgrind read the file that a mapping names, so
 * it exists as long as the generation does. The master that made it holds a lock (flock) on it: a
 * directory without a lock is left from a server that was killed, and the next server that starts
 * there removes it.
 */
#ifndef GCORN_SYSTEM_CODE_COPIES_H
#define GCORN_SYSTEM_CODE_COPIES_H

#include <sys/types.h>

struct error;

/* Where copies are to lie. */
struct copies_home {
    const char *dir;
    pid_t owner; /* the server's process, for the name */
    unsigned generation;
};

struct copies {
    char *path; /* absolute; NULL: there is no such directory */
    int fd;     /* of it, which has the lock */
    pid_t maker;
};

/* Removes what servers that were killed have left in home->dir, and makes a directory there. 0, or
 * -1 with err (EXIT_FAILED) and nothing made. */
int copies_open(struct copies *c, const struct copies_home *home, struct error *err);

/* Makes a file for the copy of `name`, to be written and then given to copies_finish. Its
 * descriptor and, in *path, its absolute name, the caller's to free; or -1 with errno. */
int copies_make(struct copies *c, const char *name, char **path);

/* The file is whole: closes *fd, and opens it for reading only (mode 0444). 0, or -1 with errno. */
int copies_finish(const char *path, int *fd);

/* Closes it, and in the process that has made it removes it with all files. Harmless on a zeroed or
 * closed one. */
void copies_close(struct copies *c);

#endif
