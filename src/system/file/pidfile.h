/* SPDX-License-Identifier: MIT
 *
 * pidfile - only one server with this pid file: a lock on the file, which the kernel drops when the
 * process ends. The number in the file is for people and scripts; gcorn does not rely on it,
 * because in a container a stale one often names a living process. system/file/ opens files that
 * workers or other servers may have touched.
 *
 * It is a POSIX lock: a child does not inherit it, so it is taken after daemon_start. The process
 * must not open and close the file otherwise, which would drop the lock.
 */
#ifndef GCORN_SYSTEM_FILE_PIDFILE_H
#define GCORN_SYSTEM_FILE_PIDFILE_H

#include <stdbool.h>
#include <sys/types.h>

struct error;
struct privileges;

struct pidfile {
    int fd;     /* close-on-exec */
    char *path; /* absolute */
    pid_t pid;  /* of the process that has locked it */
    dev_t dev;
    ino_t ino;
    bool is_new; /* pidfile_open has made the file */
};

/* Makes path if it is absent, locks it and writes the pid; workers: see safe_open. Does not block.
 * Returns 0, or -1 with err (EXIT_FAILED): another server holds the lock, or the file is not a pid
 * file and is left as it is. */
int pidfile_open(struct pidfile *pf, const char *path, const struct privileges *workers,
                 struct error *err);

/* Finds out whether pidfile_open would succeed, without making, locking or writing anything.
 * Returns 0, or -1 with the error of pidfile_open in err. When another process has the lock it
 * returns 0 with *held, the error in err and the process in *held_by (0: unknown to the kernel).
 * Not for a process that has locked path itself. */
int pidfile_probe(const char *path, const struct privileges *workers, bool *held, pid_t *held_by,
                  struct error *err);

/* Does path lead to the file of pf? Opening and closing it again would drop the lock. */
bool pidfile_is(const struct pidfile *pf, const char *path);

/* Removes the file, if it is still the one that was locked, and unlocks it. A child of the owner
 * removes nothing. Does nothing on a zeroed or closed one. */
void pidfile_close(struct pidfile *pf);

#endif
