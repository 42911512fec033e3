/* SPDX-License-Identifier: MIT
 *
 * pidfile - one server a site: a lock on a file, which ends with the process however it ends. The
 * number in the file is for people and scripts and decides nothing: in a container a stale one
 * often names a living process.
 *
 * It is a POSIX lock: a fork does not pass it on, so take it after becoming a daemon, and the
 * process must not open and close the file by other means, which would drop it.
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
    pid_t pid;  /* who holds it */
    dev_t dev;
    ino_t ino;
    bool is_new; /* pidfile_open has made the file */
};

/* Locks path, made if need be, and writes the pid; workers: see safe_open. 0, or -1 with err filled
 * (EXIT_FAILED: somebody runs already, or what is there is no pid file and stays untouched). Never
 * blocks. */
int pidfile_open(struct pidfile *pf, const char *path, const struct privileges *workers,
                 struct error *err);

/* What pidfile_open would meet, without making, locking or writing anything. 0, or -1 with what it
 * would say in err. When somebody else has the lock it is 0, *held, what pidfile_open would say in
 * err, and the holder in *held_by (0: the kernel cannot say). Not for a process that holds path
 * itself. */
int pidfile_probe(const char *path, const struct privileges *workers, bool *held, pid_t *held_by,
                  struct error *err);

/* Does path lead to the file that pf holds? Opening it once more, and closing that, would end the
 * lock. */
bool pidfile_is(const struct pidfile *pf, const char *path);

/* Removes the file if it is still ours, and unlocks. In a child of the owner nothing is removed.
 * Harmless on a zeroed or closed one. */
void pidfile_close(struct pidfile *pf);

#endif
