/* SPDX-License-Identifier: MIT
 *
 * thief - does to the server's listening sockets, or to all of its descriptors, what its path says:
 *
 *   /close  /tcp  /udp  /listening  /file    closed, or another file in their place
 *   /shutdown                                shut down
 *   /channel                                 pipes and socket pairs replaced by /dev/null
 *   /all                                     every descriptor above 2 closed
 *
 * -DIN_INIT="/path": does so in gcorn_on_worker_init; -DIN_LOAD: in a constructor.
 * -DIGNORES: the constructor ignores SIGCHLD. -DREAPS: it reaps every child in a handler.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gcorn.h>

enum { FDS_MAX = 256 };

static void reap(int number)
{
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

__attribute__((constructor)) static void init(void)
{
#ifdef IGNORES
    signal(SIGCHLD, SIG_IGN);
#endif
#ifdef REAPS
    signal(SIGCHLD, reap);
#else
    (void)reap;
#endif
}

static int replacement(const char *path)
{
    const struct sockaddr_in any = {.sin_family = AF_INET};

    if (strcmp(path, "/file") == 0)
        return open("/dev/null", O_RDWR);
    int fd = socket(AF_INET, strcmp(path, "/udp") == 0 ? SOCK_DGRAM : SOCK_STREAM, 0);
    if (strcmp(path, "/listening") == 0 &&
        (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 1) < 0))
        return -1;
    return fd;
}

static void rob(int fd, const char *path)
{
    if (strcmp(path, "/close") == 0) {
        close(fd);
    } else if (strcmp(path, "/shutdown") == 0) {
        shutdown(fd, SHUT_RDWR);
    } else {
        int other = replacement(path);

        dup2(other, fd);
        close(other);
    }
}

static int listens(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

/* The master's channel: a pipe to it, and a pair of unix sockets from it. */
static int is_channel(int fd)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
        return 1;
    return getsockname(fd, (struct sockaddr *)&name, &len) == 0 && name.ss_family == AF_UNIX &&
           !listens(fd);
}

static void rob_all(const char *path)
{
    for (int fd = 3; fd < FDS_MAX; fd++) {
        if (strcmp(path, "/all") == 0)
            close(fd);
        else if (strcmp(path, "/channel") == 0 && is_channel(fd))
            rob(fd, "/file");
        else if (strcmp(path, "/channel") != 0 && listens(fd))
            rob(fd, path);
    }
}

#ifdef IN_INIT
GCORN_EXPORT int gcorn_on_worker_init(void)
{
    rob_all(IN_INIT);
    return 0;
}
#endif

#ifdef IN_LOAD
__attribute__((constructor)) static void load(void)
{
    rob_all(IN_LOAD);
}
#endif

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    if (strcmp(path, "/") != 0)
        rob_all(path);
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)getpid()));
}
