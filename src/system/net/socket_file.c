/* SPDX-License-Identifier: MIT
 *
 * See socket_file.h. Every user who may write to the directory can replace the file at any moment:
 * so the owner is changed by a descriptor of the file, and in the end the name must lead to it.
 */
#include "system/net/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"

enum { NAME_TRIES = 4 };

#define TEMPORARY ".gcorn." /* and eight hexadecimal digits */

static const char in_use[] = "already in use by another server";

/* ---- the file before --------------------------------------------------------------------- */

static pid_t peer_pid(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.pid : 0;
}

/* Returns 0, or the errno of connect(2) or socket(2). */
static int try_connect(const char *path, pid_t *holder)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 ? errno : 0;

    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&un, sizeof(un)) < 0)
        error = errno;
    else if (fd >= 0)
        *holder = peer_pid(fd);
    fd_close(&fd);
    return error;
}

enum listener_state socket_file_look(const char *path, struct stat *found, pid_t *holder,
                                     const char **why)
{
    *holder = 0;
    *why = NULL;
    if (lstat(path, found) < 0) {
        found->st_ino = 0;
        *why = strerror(errno);
        return errno == ENOENT ? LISTENER_FREE : LISTENER_REFUSED;
    }
    *why = "a file that is not a socket has this name";
    if (!S_ISSOCK(found->st_mode))
        return LISTENER_REFUSED;
    int error = try_connect(path, holder);
    switch (error) {
    case ENOENT: found->st_ino = 0; return LISTENER_FREE;
    case ECONNREFUSED: return LISTENER_FREE;
    case EACCES: *why = "a socket of another user has this name"; return LISTENER_REFUSED;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS: *why = strerror(error); return LISTENER_REFUSED;
    default: *why = in_use; return LISTENER_IN_USE; /* EAGAIN: the backlog is full */
    }
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Removes the file of a dead server. Another server may take the name between the check and the
 * removal; checking the inode again leaves a window of microseconds, which the lock of a pid file
 * closes. Returns like socket_file_listen. */
static int clear_stale(const char *path, const char **why)
{
    struct stat before, now;
    pid_t holder;
    enum listener_state state = socket_file_look(path, &before, &holder, why);

    errno = state == LISTENER_IN_USE ? EADDRINUSE : EEXIST;
    if (state != LISTENER_FREE)
        return -1;
    if (before.st_ino == 0)
        return 0;
    *why = in_use;
    errno = EADDRINUSE;
    if (lstat(path, &now) == 0 && !is_same(&now, &before))
        return -1;
    *why = NULL;
    return unlink(path) < 0 && errno != ENOENT ? -1 : 0;
}

/* ---- the temporary name ------------------------------------------------------- */

static uint32_t random_number(void)
{
    uint32_t number;

    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number))
        number = (uint32_t)now_ns() ^
                 (uint32_t)getpid() << 16; /* getrandom fails early in the boot of the system */
    return number;
}

/* 0, or -1 with errno. */
static int bind_name(int fd, const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(name);

    if (len >= sizeof(un.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(un.sun_path, name, len);
    return bind(fd, (const struct sockaddr *)&un, sizeof(un));
}

/* Binds to a path; one that is too long for an address is bound from within its directory. Returns
 * 0, or -1 with errno. */
static int bind_path(int fd, const char *path)
{
    int result = bind_name(fd, path);
    const char *name = strrchr(path, '/');
    char dir[PATH_MAX];

    if (result == 0 || errno != ENAMETOOLONG || !name)
        return result;
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(dir, sizeof(dir), "%.*s", (int)(name - path + 1), path);
    if (here >= 0 && chdir(dir) == 0) {
        result = bind_name(fd, name + 1);
        int bind_errno = errno;
        if (fchdir(here) < 0) /* practically impossible: it was the working directory */
            result = -1;
        else
            errno = bind_errno;
    }
    fd_close(&here);
    return result;
}

bool socket_file_is_temporary(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct stat st;

    return strncmp(name, TEMPORARY, strlen(TEMPORARY)) == 0 && lstat(path, &st) == 0 &&
           S_ISSOCK(st.st_mode);
}

/* Binds fd to a temporary name in the directory of path. Returns 0, or -1 with errno. */
static int bind_beside(int fd, const char *path, const struct file_notice *notice,
                       char temp[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    int dir_len = slash ? (int)(slash - path + 1) : 0, result = -1;

    for (int i = 0; i < NAME_TRIES && result < 0; i++) {
        (void)snprintf(temp, PATH_MAX, "%.*s" TEMPORARY "%08x", dir_len, path, random_number());
        if (notice->note)
            notice->note(notice->arg, temp);
        result = bind_path(fd, temp);
        if (result < 0 && errno != EADDRINUSE)
            break;
    }
    return result;
}

/* Notes the file that was just made, which then gets another owner: another file may have replaced
 * it, such as a second name (hard link) of a file of root. Returns 0, or -1 with errno. */
static int note_made(const char *temp, struct stat *made)
{
    if (lstat(temp, made) < 0)
        return -1;
    errno = EEXIST;
    return S_ISSOCK(made->st_mode) && made->st_nlink == 1 && made->st_uid == geteuid() ? 0 : -1;
}

/* ---- the wanted name --------------------------------------------------------------- */

/* 0, or -1 with errno. */
static int give(const char *path, const struct stat *made, uid_t uid, gid_t gid)
{
    struct stat st;
    int fd, result = -1;

    if (uid == geteuid() && gid == getegid())
        return 0;
    fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0) {
        errno = EEXIST;
        result = is_same(&st, made) ? fchownat(fd, "", uid, gid, AT_EMPTY_PATH) : -1;
    }
    fd_close(&fd);
    return result;
}

/* Renames without replacing a file; if the file system cannot do that (EINVAL), checks first.
 * Returns 0, or -1 with errno, EEXIST when a file has the name. */
static int rename_new(const char *from, const char *to)
{
    struct stat st;

    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

static int take_name(const char *temp, const char *path, const struct stat *made, const char **why)
{
    struct stat now;

    if (clear_stale(path, why) < 0)
        return -1;
    if (rename_new(temp, path) < 0) {
        if (errno != EEXIST)
            return -1;
        *why = in_use;
        errno = EADDRINUSE;
        return -1;
    }
    if (lstat(path, &now) == 0 && is_same(&now, made))
        return 0;
    *why = "another file has its name now";
    errno = EEXIST;
    return -1;
}

int socket_file_listen(int fd, const char *path, int backlog,
                       const struct listener_options *options, struct stat *made, const char **why)
{
    struct stat found;
    char temp[PATH_MAX];
    pid_t holder;

    *why = NULL;
    enum listener_state state = socket_file_look(path, &found, &holder, why);
    errno = state == LISTENER_IN_USE ? EADDRINUSE : EEXIST;
    if (state != LISTENER_FREE)
        return -1;
    *why = NULL;
    int result = bind_beside(fd, path, &options->notice, temp);
    if (result == 0) {
        if (note_made(temp, made) < 0 || listen(fd, backlog) < 0 ||
            give(temp, made, options->uid, options->gid) < 0 ||
            take_name(temp, path, made, why) < 0) {
            int saved_errno = errno;

            result = -1;
            (void)unlink(temp);
            errno = saved_errno;
        }
    }
    if (result < 0 && !*why)
        *why = strerror(errno);
    return result;
}
