/* SPDX-License-Identifier: MIT
 *
 * load - the client of `make bench`: sends one request over and over, and reads every answer.
 *
 *   load -p PORT -r FILE [-c CONNECTIONS] [-d SECONDS | -n REQUESTS] [-P PIPELINE] [-1] [-i IDLE]
 *
 * FILE holds the bytes of one request. CONNECTIONS send it, PIPELINE times in one write, and again
 * when all of these are answered, for SECONDS or until REQUESTS are answered. With -1 an answer is
 * followed by the server's close, and the next request takes a new connection. With -i IDLE more
 * connections are made first, each of which has had one answer and stays open; then a line "idle N"
 * is printed, and the load begins when a line comes on stdin.
 *
 * It must not be what is measured: an answer that begins as the one before it did and has its
 * length is not parsed again, and long bodies are dropped in the kernel. The result is a line of
 * JSON; a request is lost when its connection ends before its answer does. An answer that is no 200
 * ends it.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)
static const char good[] = "HTTP/1.1 200";

enum {
    HEAD_MAX = 4096,
    READ_SIZE = 256 * 1024,
    DROP_SIZE = 4 * 1024 * 1024, /* of a long body, in one call */
    LATENCY_MAX_US = 10 * 1000 * 1000,
    EVENTS = 256,
};

struct conn {
    int fd;
    bool wants_write;
    bool ends;          /* the server closes after this answer */
    unsigned expected;  /* answers still to come */
    size_t out_sent;    /* of the batch */
    uint64_t body_left; /* of the answer that is being read */
    uint64_t began_ns;
    size_t head_len; /* what came of a head that is not complete */
    char head[HEAD_MAX];
};

static struct {
    struct sockaddr_in server;
    char *batch; /* PIPELINE requests */
    size_t batch_len, request_len;
    unsigned connections, pipeline, idle;
    uint64_t duration_ns, requests; /* 0: not so limited */
    bool closes;
} options = {.connections = 1, .pipeline = 1};

static struct {
    uint64_t sent, answered, lost, bytes;
    uint32_t *latency; /* batches by microseconds */
    size_t answer_len; /* of the last that was parsed, when it is short; else 0 */
} counts;

static int epoll_fd;
static char input[HEAD_MAX + READ_SIZE];

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static void watch(struct conn *c, int op, bool wants_write)
{
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = c};

    c->wants_write = wants_write;
    if (epoll_ctl(epoll_fd, op, c->fd, &event) != 0)
        err(1, "epoll_ctl");
}

/* The rest of the batch, as far as the socket takes it. */
static void send_rest(struct conn *c)
{
    ssize_t n = send(c->fd, options.batch + c->out_sent, options.batch_len - c->out_sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    bool wants_write;

    if (n > 0)
        c->out_sent += (size_t)n;
    /* other errors are found by reading */
    wants_write = c->out_sent < options.batch_len && (n >= 0 || errno == EAGAIN);
    if (wants_write != c->wants_write)
        watch(c, EPOLL_CTL_MOD, wants_write);
}

static bool is_over(uint64_t now, uint64_t until)
{
    return options.requests ? counts.sent >= options.requests : now >= until;
}

static void send_batch(struct conn *c, uint64_t now)
{
    c->began_ns = now;
    c->out_sent = 0;
    c->expected = options.pipeline;
    counts.sent += options.pipeline;
    send_rest(c);
}

static void conn_open(struct conn *c, int extra_flags)
{
    int on = 1;

    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | extra_flags, 0)};
    if (c->fd < 0)
        err(1, "socket");
    if (connect(c->fd, (struct sockaddr *)&options.server, sizeof(options.server)) != 0 &&
        errno != EINPROGRESS)
        err(1, "connect");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void conn_begin(struct conn *c, uint64_t now)
{
    conn_open(c, SOCK_NONBLOCK);
    watch(c, EPOLL_CTL_ADD, false);
    send_batch(c, now);
}

/* The value of a field of the head, or NULL. */
static const char *field(const char *head, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    const char *end = head + len;

    for (const char *line = head; line && line + name_len < end;) {
        if (strncasecmp(line, name, name_len) == 0)
            return line + name_len + strspn(line + name_len, " ");
        line = memchr(line, '\n', (size_t)(end - line));
        line = line ? line + 1 : NULL;
    }
    return NULL;
}

/* Takes a head of this length; its body follows. */
static void take_head(struct conn *c, const char *head, size_t len)
{
    const char *body = field(head, len, "Content-Length:");
    const char *connection = field(head, len, "Connection:");

    if (len < sizeof(good) || memcmp(head, good, sizeof(good) - 1) != 0)
        errx(1, "no good answer: %.*s", (int)len, head);
    if (!body)
        errx(1, "an answer without Content-Length: %.*s", (int)len, head);
    c->body_left = strtoull(body, NULL, 10);
    c->ends = connection && strncasecmp(connection, "close", 5) == 0;
    counts.answer_len = c->ends || len + c->body_left > HEAD_MAX ? 0 : len + c->body_left;
}

/* Is this the same answer again, followed by nothing or by another? */
static bool is_known(const char *data, size_t len)
{
    size_t known = counts.answer_len;

    return known && len >= known && memcmp(data, good, sizeof(good) - 1) == 0 &&
           (len == known || memcmp(data + known, good, len - known < 4 ? len - known : 4) == 0);
}

static void answered(struct conn *c)
{
    if (c->expected == 0)
        errx(1, "an answer to no request");
    c->expected--;
    counts.answered++;
}

/* Takes what came; what is left of a head is kept for the next time. */
static void take(struct conn *c, const char *data, size_t len)
{
    while (len > 0) {
        const char *end;
        size_t used;

        if (c->body_left == 0 && is_known(data, len)) {
            data += counts.answer_len;
            len -= counts.answer_len;
            answered(c);
            continue;
        }
        if (c->body_left == 0) {
            end = memmem(data, len, "\r\n\r\n", 4);
            if (!end) {
                if (len > HEAD_MAX)
                    errx(1, "a head of more than %d bytes", HEAD_MAX);
                memcpy(c->head, data, len);
                c->head_len = len;
                return;
            }
            used = (size_t)(end - data) + 4;
            take_head(c, data, used);
            data += used;
            len -= used;
            if (c->body_left == 0)
                answered(c);
            continue;
        }
        used = len < c->body_left ? len : (size_t)c->body_left;
        data += used;
        len -= used;
        c->body_left -= used;
        if (c->body_left == 0)
            answered(c);
    }
}

/* As recv. Of the middle of a long body nothing is looked at, and so nothing copied. */
static ssize_t conn_receive(struct conn *c)
{
    size_t size = sizeof(input) - c->head_len;
    ssize_t n;

    if (c->body_left > READ_SIZE) {
        n = recv(c->fd, NULL, c->body_left < DROP_SIZE ? c->body_left : DROP_SIZE, MSG_TRUNC);
        if (n > 0) {
            c->body_left -= (uint64_t)n;
            counts.bytes += (uint64_t)n;
            if (c->body_left == 0)
                answered(c);
        }
        return n;
    }
    memcpy(input, c->head, c->head_len);
    n = recv(c->fd, input + c->head_len, size, 0);
    if (n > 0) {
        size_t len = c->head_len + (size_t)n;

        counts.bytes += (uint64_t)n;
        c->head_len = 0;
        take(c, input, len);
    }
    return n;
}

static void count_latency(uint64_t ns)
{
    uint64_t us = ns / 1000;

    counts.latency[us < LATENCY_MAX_US ? us : LATENCY_MAX_US]++;
}

static void on_event(struct conn *c, uint32_t events, uint64_t until)
{
    bool waited = c->expected > 0;
    uint64_t now;
    ssize_t n;

    if (events & EPOLLOUT)
        send_rest(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    n = conn_receive(c);
    if (n < 0 && errno == EAGAIN)
        return;
    now = now_ns();
    if (waited && c->expected == 0)
        count_latency(now - c->began_ns);
    if (n <= 0) {
        counts.lost += c->expected;
        (void)close(c->fd);
        c->fd = -1;
        if (!is_over(now, until))
            conn_begin(c, now);
        return;
    }
    /* whoever is told that the connection ends waits for that */
    if (c->expected == 0 && !options.closes && !c->ends && !is_over(now, until))
        send_batch(c, now);
}

/* One answer on a new connection, which stays open. */
static void idle_open(struct conn *c)
{
    conn_open(c, 0);
    c->expected = 1;
    if (send(c->fd, options.batch, options.request_len, MSG_NOSIGNAL) < 0)
        err(1, "send");
    while (c->expected > 0)
        if (conn_receive(c) <= 0)
            errx(1, "a connection that should become idle was closed");
}

/* How many of the idle connections the server has kept. */
static unsigned idle_count(const struct conn *conns)
{
    unsigned kept = 0;
    char byte;

    for (unsigned i = 0; i < options.idle; i++)
        kept += recv(conns[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
    return kept;
}

static void idle_begin(struct conn *conns)
{
    for (unsigned i = 0; i < options.idle; i++)
        idle_open(&conns[i]);
    printf("idle %u\n", idle_count(conns));
    (void)fflush(stdout);
    (void)getchar();
}

static uint64_t run(struct conn *conns)
{
    uint64_t began = now_ns(), until = began + options.duration_ns, now = began;
    struct epoll_event events[EVENTS];

    for (unsigned i = 0; i < options.connections; i++)
        conn_begin(&conns[i], now);
    while (options.requests ? counts.answered + counts.lost < options.requests : now < until) {
        int n = epoll_wait(epoll_fd, events, EVENTS, 100);

        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr, events[i].events, until);
        now = now_ns();
    }
    return now - began;
}

static uint64_t percentile_us(double share)
{
    uint64_t total = 0, seen = 0;
    uint64_t us;

    for (us = 0; us <= LATENCY_MAX_US; us++)
        total += counts.latency[us];
    for (us = 0; us < LATENCY_MAX_US; us++) {
        seen += counts.latency[us];
        if (total && (double)seen >= share * (double)total)
            break;
    }
    return us;
}

static void report(uint64_t took_ns, unsigned kept)
{
    printf("{\"seconds\": %.6f, \"sent\": %" PRIu64 ", \"answered\": %" PRIu64
           ", \"lost\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"idle\": %u, \"p50_us\": %" PRIu64
           ", \"p99_us\": %" PRIu64 ", \"p999_us\": %" PRIu64 "}\n",
           (double)took_ns / (double)SECOND_NS, counts.sent, counts.answered, counts.lost,
           counts.bytes, kept, percentile_us(0.5), percentile_us(0.99), percentile_us(0.999));
}

/* The file's bytes, as often as a write holds them. */
static void read_request(const char *path)
{
    FILE *file = fopen(path, "re");
    char *request;
    long len;

    if (!file || fseek(file, 0, SEEK_END) != 0 || (len = ftell(file)) <= 0)
        err(1, "%s", path);
    rewind(file);
    options.request_len = (size_t)len;
    options.batch_len = options.request_len * options.pipeline;
    request = options.batch = malloc(options.batch_len);
    if (!request || fread(request, 1, options.request_len, file) != options.request_len)
        err(1, "%s", path);
    (void)fclose(file);
    for (unsigned i = 1; i < options.pipeline; i++)
        memcpy(request + i * options.request_len, request, options.request_len);
}

static const char *read_options(int argc, char **argv)
{
    const char *path = NULL;
    int option;

    options.server =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    while ((option = getopt(argc, argv, "p:r:c:d:n:P:i:1")) != -1) {
        switch (option) {
        case 'p': options.server.sin_port = htons((uint16_t)atoi(optarg)); break;
        case 'r': path = optarg; break;
        case 'c': options.connections = (unsigned)atoi(optarg); break;
        case 'd': options.duration_ns = (uint64_t)(atof(optarg) * (double)SECOND_NS); break;
        case 'n': options.requests = (uint64_t)atoll(optarg); break;
        case 'P': options.pipeline = (unsigned)atoi(optarg); break;
        case 'i': options.idle = (unsigned)atoi(optarg); break;
        case '1': options.closes = true; break;
        default: exit(2);
        }
    }
    if (!path || !options.server.sin_port || (!options.duration_ns && !options.requests))
        errx(2, "-p PORT, -r FILE and -d SECONDS or -n REQUESTS are needed");
    return path;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    struct conn *conns;
    uint64_t took_ns;

    read_request(read_options(argc, argv));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    conns = calloc(options.idle + options.connections, sizeof(*conns));
    counts.latency = calloc(LATENCY_MAX_US + 1, sizeof(*counts.latency));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!conns || !counts.latency || epoll_fd < 0)
        err(1, "no memory, or no epoll");
    if (options.idle)
        idle_begin(conns);
    took_ns = run(conns + options.idle);
    report(took_ns, idle_count(conns));
    return 0;
}
