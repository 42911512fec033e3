/* SPDX-License-Identifier: MIT
 *
 * See pidfile.h.
 */
#include "system/file/pidfile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "system/file/safe_open.h"
#include "system/file/writable.h"

enum { LOCK_TRIES = 100 }; /* each fails only while another server starts or ends */

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* The process that holds the lock; 0: one of another pid namespace. */
static pid_t holder(int fd)
{
    struct flock lock = whole_file();

    if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK || lock.l_pid < 0)
        return 0;
    return lock.l_pid;
}

/* Is the file empty, or a number and white space? A server overwrites nothing else: the setting
 * names another file by mistake (--pid app.conf). Returns 1, 0, or -1 with errno. */
static int looks_like_pid(int fd)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof(text), 0);

    if (n < 0 || n == (ssize_t)sizeof(text))
        return n < 0 ? -1 : 0;
    for (ssize_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)text[i]) && !isspace((unsigned char)text[i]))
            return 0;
    }
    return 1;
}

/* Removes a file that was made here: no other server owns it, unless that has locked it. */
static int refuse(struct pidfile *pf, struct error *err, const char *why)
{
    struct stat st;

    (void)error_set(err, EXIT_FAILED, "pid file %s: %s", pf->path, why);
    if (pf->is_new && !(lstat(pf->path, &st) == 0 && S_ISLNK(st.st_mode)))
        (void)unlink(pf->path); /* failed: it is unlocked, so a later start takes it */
    pidfile_close(pf);
    return -1;
}

static int already_running(struct pidfile *pf, struct error *err)
{
    pid_t pid = holder(pf->fd);

    if (pid > 0)
        (void)error_set(err, EXIT_FAILED, "already running with pid %d (pid file %s)", (int)pid,
                        pf->path);
    else
        (void)error_set(err, EXIT_FAILED, "already running (pid file %s)", pf->path);
    pidfile_close(pf);
    return -1;
}

/* Does the name still lead to the file that was locked? Its last owner may have removed it between
 * open and lock; the next process would then lock another file. Returns 1, 0, or -1 with errno. */
static int has_name(const struct pidfile *pf)
{
    struct stat st;

    if (stat(pf->path, &st) < 0)
        return errno == ENOENT ? 0 : -1;
    return st.st_dev == pf->dev && st.st_ino == pf->ino;
}

static int write_pid(const struct pidfile *pf)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%d\n", (int)pf->pid);

    /* Overwrites the old number before it cuts the file: a reader never finds it empty. */
    errno = ENOSPC; /* for a short write */
    return pwrite(pf->fd, text, (size_t)len, 0) == len ? ftruncate(pf->fd, len) : -1;
}

/* 0, or -1 with err and pf closed. */
static int open_regular(struct pidfile *pf, int more_flags, const struct privileges *workers,
                        struct error *err)
{
    const int flags = O_RDWR | O_NONBLOCK | O_NOCTTY;
    struct stat st;

    pf->is_new = false;
    pf->fd = safe_open(pf->path, flags | more_flags, 0644, workers);
    if (pf->fd >= 0)
        pf->is_new = (more_flags & O_EXCL) != 0;
    else if (errno == EEXIST && (more_flags & O_EXCL))
        pf->fd = safe_open(pf->path, flags | (more_flags & ~O_EXCL), 0644, workers);
    if (pf->fd < 0 || fstat(pf->fd, &st) < 0)
        return refuse(pf, err, safe_open_reason(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(pf, err, "is not a regular file");
    pf->dev = st.st_dev;
    pf->ino = st.st_ino;
    return 0;
}

static int check_content(struct pidfile *pf, struct error *err)
{
    int result = looks_like_pid(pf->fd);

    if (result < 0)
        return refuse(pf, err, strerror(errno));
    return result ? 0 : refuse(pf, err, "holds something other than a pid; not overwritten");
}

/* Returns 1: locked; 0: the name leads to another file now; -1 with err and pf closed. */
static int open_and_lock(struct pidfile *pf, const struct privileges *workers, struct error *err)
{
    struct flock lock = whole_file();

    fd_close(&pf->fd);
    if (open_regular(pf, O_CREAT | O_EXCL, workers, err) < 0)
        return -1;
    if (fcntl(pf->fd, F_SETLK, &lock) < 0)
        return errno == EACCES || errno == EAGAIN ? already_running(pf, err)
                                                  : refuse(pf, err, strerror(errno));
    int result = has_name(pf);
    return result < 0 ? refuse(pf, err, strerror(errno)) : result;
}

int pidfile_open(struct pidfile *pf, const char *path, const struct privileges *workers,
                 struct error *err)
{
    int locked = 0;

    *pf = (struct pidfile){.fd = -1, .path = path_absolute(path)};
    for (int tries = 0; locked == 0; tries++) {
        if (tries == LOCK_TRIES)
            return refuse(pf, err, "another file takes its name again and again");
        locked = open_and_lock(pf, workers, err);
    }
    if (locked < 0 || check_content(pf, err) < 0)
        return -1;
    pf->pid = getpid(); /* from here on pidfile_close removes the file */
    if (write_pid(pf) < 0)
        return refuse(pf, err, strerror(errno));
    return 0;
}

/* For an absent file, or a link to one: the file would be made where the link leads. */
static int probe_new(struct pidfile *pf, const struct privileges *workers, struct error *err)
{
    struct stat st;
    int result = 0, fd = safe_open(pf->path, O_RDONLY | O_NONBLOCK, 0, workers);

    if (fd < 0 && errno == ELOOP)
        return refuse(pf, err, safe_open_reason(errno));
    if (lstat(pf->path, &st) < 0 && writable_new(pf->path) < 0)
        result = refuse(pf, err, strerror(errno));
    fd_close(&fd);
    pidfile_close(pf);
    return result;
}

int pidfile_probe(const char *path, const struct privileges *workers, bool *held, pid_t *held_by,
                  struct error *err)
{
    struct pidfile pf = {.fd = -1, .path = path_absolute(path)};
    struct flock lock = whole_file();
    struct stat st;

    *held = false;
    *held_by = 0;
    if (stat(path, &st) < 0 && errno == ENOENT)
        return probe_new(&pf, workers, err);
    if (open_regular(&pf, 0, workers, err) < 0)
        return -1;
    if (fcntl(pf.fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
        *held = true;
        *held_by = holder(pf.fd);
        (void)already_running(&pf, err);
        return 0;
    }
    int result = check_content(&pf, err);
    pidfile_close(&pf);
    return result;
}

bool pidfile_is(const struct pidfile *pf, const char *path)
{
    struct stat st;

    return pf->path && stat(path, &st) == 0 && st.st_dev == pf->dev && st.st_ino == pf->ino;
}

void pidfile_close(struct pidfile *pf)
{
    if (!pf->path)
        return;
    /* While the lock is held, so that a successor's file is never the one removed. */
    if (pf->pid == getpid() && has_name(pf) == 1)
        (void)unlink(pf->path); /* failed: it is unlocked, so a later start takes it */
    fd_close(&pf->fd);
    free(pf->path);
    *pf = (struct pidfile){.fd = -1};
}
