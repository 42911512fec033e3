/* SPDX-License-Identifier: MIT
 *
 * limit - what the kernel alone allows: a pre-fork epoll loop that parses nothing.
 *
 *   limit -p PORT [-w WORKERS] -r REQUEST_SIZE [-b BODY_SIZE | -f FILE] [-1]
 *
 * It is told how long a request is, and answers once for so many bytes received, always the same:
 * Hello, World!, BODY_SIZE letters, or FILE by sendfile. With -1 it closes after an answer. So no
 * server that looks at requests can be faster; how near one comes is what its own work costs.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "listen.h"

enum { EVENTS = 256, COPIES = 64, CONNECTIONS_MAX = 20000 };

struct conn {
    uint64_t received; /* since the last whole request */
    uint64_t to_send;
    bool wants_write;
};

static struct {
    uint16_t port;
    int workers;
    uint64_t request_size, body_size;
    int file_fd;
    bool closes;
} options = {.workers = 1, .body_size = 13, .file_fd = -1};

static char *answers; /* copies of the answer, or the head alone with a file */
static uint64_t answers_len;
static uint64_t answer_len; /* with its body */
static uint64_t head_len;
static int epoll_fd;
static struct conn conns[CONNECTIONS_MAX];
static char input[256 * 1024];

static void make_answers(void)
{
    char head[200];
    int copies = options.file_fd >= 0 || options.body_size > 1000 ? 1 : COPIES;
    uint64_t in_memory = options.file_fd >= 0 ? 0 : options.body_size;

    head_len = (uint64_t)snprintf(head, sizeof(head),
                                  "HTTP/1.1 200 OK\r\nServer: limit\r\nContent-Type: "
                                  "text/plain\r\nContent-Length: %llu\r\n%s\r\n",
                                  (unsigned long long)options.body_size,
                                  options.closes ? "Connection: close\r\n" : "");
    answer_len = head_len + options.body_size;
    answers_len = (uint64_t)copies * (head_len + in_memory);
    answers = malloc(answers_len);
    if (!answers)
        err(1, "malloc");
    memset(answers, 'x', answers_len);
    for (int i = 0; i < copies; i++) {
        char *answer = answers + (uint64_t)i * answer_len;

        memcpy(answer, head, head_len);
        if (in_memory >= 13)
            memcpy(answer + head_len, "Hello, World!", 13);
    }
}

/* As send: a piece of what is to be sent, which is some end of a row of answers. */
static ssize_t send_piece(int fd, uint64_t to_send)
{
    uint64_t at = (answer_len - to_send % answer_len) % answer_len;
    uint64_t len = answers_len - at;
    off_t offset = (off_t)(at - head_len);

    if (options.file_fd < 0)
        return send(fd, answers + at, to_send < len ? to_send : len, MSG_NOSIGNAL);
    if (at < head_len)
        return send(fd, answers + at, head_len - at, MSG_NOSIGNAL | MSG_MORE);
    return sendfile(fd, options.file_fd, &offset, answer_len - at);
}

static void conn_end(int fd)
{
    conns[fd] = (struct conn){0};
    (void)close(fd);
}

static void conn_send(int fd)
{
    struct conn *c = &conns[fd];
    bool wants_write;

    while (c->to_send > 0) {
        ssize_t n = send_piece(fd, c->to_send);

        if (n < 0 && errno != EAGAIN) {
            conn_end(fd);
            return;
        }
        if (n < 0)
            break;
        c->to_send -= (uint64_t)n;
    }
    wants_write = c->to_send > 0;
    if (!wants_write && options.closes) {
        conn_end(fd);
        return;
    }
    if (wants_write != c->wants_write) {
        struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0),
                                    .data.fd = fd};

        (void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
        c->wants_write = wants_write;
    }
}

static void conn_read(int fd)
{
    struct conn *c = &conns[fd];
    ssize_t n = read(fd, input, sizeof(input));

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            conn_end(fd);
        return;
    }
    c->received += (uint64_t)n;
    c->to_send += c->received / options.request_size * answer_len;
    c->received %= options.request_size;
    if (c->to_send > 0)
        conn_send(fd);
}

static void take_connection(int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    int on = 1;

    if (fd < 0)
        return;
    if (fd >= CONNECTIONS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        (void)close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void serve(int listen_fd)
{
    struct epoll_event events[EVENTS];
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = listen_fd};

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) != 0)
        err(1, "epoll");
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;

            if (fd == listen_fd)
                take_connection(fd);
            else if (events[i].events & EPOLLOUT)
                conn_send(fd);
            else
                conn_read(fd);
        }
    }
}

static void open_file(const char *path)
{
    struct stat st;

    options.file_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (options.file_fd < 0 || fstat(options.file_fd, &st) != 0)
        err(1, "%s", path);
    options.body_size = (uint64_t)st.st_size;
}

static void read_options(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "p:w:r:b:f:1")) != -1) {
        switch (option) {
        case 'p': options.port = (uint16_t)atoi(optarg); break;
        case 'w': options.workers = atoi(optarg); break;
        case 'r': options.request_size = strtoull(optarg, NULL, 10); break;
        case 'b': options.body_size = strtoull(optarg, NULL, 10); break;
        case 'f': open_file(optarg); break;
        case '1': options.closes = true; break;
        default: exit(2);
        }
    }
    if (!options.port || !options.request_size)
        errx(2, "-p PORT and -r REQUEST_SIZE are needed");
}

int main(int argc, char **argv)
{
    int listen_fd;

    read_options(argc, argv);
    make_answers();
    (void)signal(SIGPIPE, SIG_IGN); /* sendfile has no MSG_NOSIGNAL */
    listen_fd = listen_at(options.port);
    for (int i = 0; i < options.workers; i++) {
        if (fork() == 0) {
            /* TERM to the parent ends all */
            (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
            serve(listen_fd);
        }
    }
    while (wait(NULL) > 0)
        ;
    return 0;
}
