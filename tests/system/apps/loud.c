/* SPDX-License-Identifier: MIT
 *
 * loud - an application that talks to the master in the worker's place. GET /PATH writes packets
 * into the status pipe, and answers the worker's pid:
 *
 *   /flood?type=N   64 threads write messages of this type for ever
 *   /say?type=N     one message
 *
 * With -DMALFORMED=N the constructor sends N bytes to every socket that may be the template's.
 * With -DIN_TEMPLATE the constructor leaves 16 children behind, each of which writes news for ever
 * to every socket that may be the template's; with -DORPHANS /orphans makes processes without end
 * that end at once, the master's to reap.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gcorn.h>

static int status_pipe(void)
{
    for (int fd = 3; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFL);
        struct stat st;

        if (flags >= 0 && (flags & O_ACCMODE) == O_WRONLY && (flags & O_DIRECT) &&
            fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
            return fd;
    }
    return -1;
}

static char message[] = " spoken by the application";

static void *flood(void *arg)
{
    int fd = status_pipe();

    (void)arg;
    for (;;) { /* a full pipe is waited for: the flood is of messages, not of processor time */
        struct pollfd room = {.fd = fd, .events = POLLOUT};

        if (write(fd, message, sizeof(message) - 1) < 0)
            (void)poll(&room, 1, -1);
    }
    return NULL;
}

#ifdef IN_TEMPLATE
static void tell_news(void)
{
    struct {
        uint64_t serial;
        char rest[40];
    } news = {.serial = 12345};

    for (bool is_heard = true; is_heard;) {
        is_heard = false;
        for (int fd = 3; fd < 64; fd++) {
            int type;
            socklen_t len = sizeof(type);

            if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET)
                is_heard = send(fd, &news, sizeof(news), MSG_NOSIGNAL) > 0 || is_heard;
        }
    }
    _exit(0);
}

__attribute__((constructor)) static void leave_children(void)
{
    for (int i = 0; i < 16; i++) {
        if (syscall(SYS_fork) == 0) /* fork() would take the server's descriptors away */
            tell_news();
    }
    sleep(1); /* the master hears them first */
}
#endif

#ifdef MALFORMED
__attribute__((constructor)) static void send_malformed(void)
{
    static const char bytes[MALFORMED + 1];

    for (int fd = 3; fd < 64; fd++) {
        int type;
        socklen_t len = sizeof(type);

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET)
            (void)send(fd, bytes, MALFORMED, MSG_NOSIGNAL);
    }
}
#endif

static void make_orphans(void)
{
    if (fork() != 0)
        return;
    for (;;) {
        if (fork() == 0)
            _exit(fork() < 0); /* the grandchild goes the same way, and is nobody's */
        (void)waitpid(-1, NULL, 0);
    }
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO"), *type = gcorn_query(env, "type");
    pthread_t thread;

    message[0] = (char)(type ? atoi(type) : 0);
    for (int i = 0; i < 64 && strcmp(path, "/flood") == 0; i++)
        (void)pthread_create(&thread, NULL, flood, NULL);
    if (strcmp(path, "/say") == 0)
        (void)!write(status_pipe(), message, sizeof(message) - 1);
    if (strcmp(path, "/orphans") == 0)
        make_orphans();
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)getpid()));
}
