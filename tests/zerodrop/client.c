/* SPDX-License-Identifier: MIT
 *
 * client - the client of `make zerodrop`: keeps connections of three kinds busy and judges every
 * answer. run.py starts it, and asks for reports.
 *
 *   client PORT IDLE BUSY FRESH DRAIN_MS PAUSE_US SEED
 *
 * IDLE connections are kept alive and pause 0 to 2 * DRAIN_MS between requests, BUSY ones 0 to
 * 2 * PAUSE_US; FRESH ones make a new connection for each request, at the same pace. Each connects
 * from a loopback address of its own (127.1.x.y), so that run.py can tell whose is whose.
 *
 * A request has a token, and fails unless a complete answer, framed right, with that token and
 * status 200 comes within 1 s and the time that it asks the handler to take; the time of a new
 * connection counts. A FIN that can be read before sending is "closed idle": no failure. A request
 * on a kept connection that is lost because the close came within 5 ms of sending is "near":
 * listed, and judged by run.py against the number of those that were answered so close to a close.
 *
 * On stdin: `report` prints a line of JSON; `stop` (or the end) finishes what is under way, prints
 * the last report and ends. All times in a report are CLOCK_MONOTONIC nanoseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

#define MS    UINT64_C(1000000) /* nanoseconds */
#define NEVER UINT64_MAX

enum {
    PATIENCE_MS = 1000, /* and the handler's time */
    NEAR_MS = 5,
    IN_MAX = 160 * 1024,
    OUT_MAX = 16 * 1024,
    BIG = 100 * 1000,
    FAILED_MAX = 20000,
    VERSIONS_MAX = 8192,
    PIDS_MAX = 1 << 16, /* a power of two */
    RETRY_MS = 20,      /* after a failed connect */
};

enum kind { IDLE, BUSY, FRESH };
static const char *const kind_names[] = {"idle", "busy", "fresh"};

enum state {
    CLOSED,     /* until `due` */
    OPEN,       /* until `due` */
    CONNECTING, /* a request waits for the connection, at most until `due` */
    SENT,       /* a request waits for its answer, at most until `due` */
};

/* Why a request failed. */
enum failure { CONNECT, TIMEOUT, RESET, EARLY_END, CUT, STATUS, MALFORMED, WRONG, NEAR, FAILURES };
static const char *const failure_names[] = {"connect", "timeout",   "reset", "closed", "cut",
                                            "status",  "malformed", "wrong", "near"};

struct conn {
    enum kind kind;
    enum state state;
    unsigned index;
    int fd;
    uint64_t due;
    uint64_t begun; /* the request */
    uint64_t sent;
    uint64_t token;
    unsigned served; /* answers on this connection */
    int pid;         /* who answers on it; 0: not known */
    unsigned port;   /* its own */
    size_t size;     /* of the filler asked for */
    bool asked_close;
    char *out;
    size_t out_len;
    char *in;
    size_t in_len;
    uint32_t events;
};

struct version {
    uint64_t count;
    uint64_t first_received;
    uint64_t last_received;
    uint64_t last_sent;      /* of a request, new or on a connection in use */
    uint64_t last_sent_kept; /* of one whose answer ended a connection that had been kept */
    uint64_t kept;
};

struct failed {
    enum failure failure;
    enum kind kind;
    unsigned index, port, served;
    int pid;
    uint64_t begun, sent, at, token;
    size_t got;
    char text[48];
};

struct answer { /* as parsed so far */
    const char *body;
    size_t body_len;
    size_t end; /* of the whole, in bytes */
    bool closes;
    char *plain; /* of a chunked body */
};

static struct {
    struct conn *conns;
    size_t conn_count;
    int epoll;
    uint16_t port;
    uint64_t drain_ns, pause_ns;
    bool stopping;
    uint64_t random, sequence;

    uint64_t requests, answered, closed_idle, reset_idle, connections, near_idle, near_all;
    uint64_t failures[FAILURES];
    struct version versions[VERSIONS_MAX];
    struct failed failed[FAILED_MAX];
    size_t failed_count;
    struct {
        int pid;
        uint64_t count;
    } pids[PIDS_MAX];
    uint64_t slowest_ns;
} the;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

/* splitmix64 */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t limit)
{
    return limit == 0 ? 0 : mix(the.random += UINT64_C(0x9e3779b97f4a7c15)) % limit;
}

/* ---- a connection ------------------------------------------------------------------------------
 */

static void watch(struct conn *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (events != c->events && epoll_ctl(the.epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
        die("epoll_ctl");
    c->events = events;
}

static void hang_up(struct conn *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
    c->served = 0;
    c->pid = 0;
    c->in_len = 0;
}

static void rest(struct conn *c)
{
    c->due = now_ns() + below(2 * (c->kind == IDLE ? the.drain_ns : the.pause_ns) + 1);
}

static void fail(struct conn *c, enum failure failure, const char *text)
{
    uint64_t at = now_ns();

    the.failures[failure]++;
    if (the.failed_count < FAILED_MAX) {
        struct failed *f = &the.failed[the.failed_count++];

        *f = (struct failed){.failure = failure,
                             .kind = c->kind,
                             .index = c->index,
                             .port = c->port,
                             .served = c->served,
                             .pid = c->pid,
                             .begun = c->begun,
                             .sent = c->state == CONNECTING ? 0 : c->sent,
                             .at = at,
                             .token = c->token,
                             .got = c->in_len};
        for (size_t i = 0; i < sizeof(f->text) - 1 && text[i] != '\0'; i++)
            f->text[i] =
                text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\' ? '.' : text[i];
    }
    hang_up(c);
    rest(c);
    if (failure == CONNECT)
        c->due += RETRY_MS * MS;
}

/* The connection ended before the answer did. */
static void fail_ended(struct conn *c, int error)
{
    bool is_near = c->served > 0 && c->in_len == 0 && now_ns() - c->sent < NEAR_MS * MS;

    fail(c,
         is_near         ? NEAR
         : c->in_len > 0 ? CUT
         : error != 0    ? RESET
                         : EARLY_END,
         error != 0 ? strerror(error) : "");
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static uint64_t compose(struct conn *c)
{
    unsigned dice = (unsigned)below(100);
    uint64_t ms = dice == 0 ? 5 + below(16) : 0;
    bool chunks = dice >= 1 && dice < 5, posts = dice >= 5 && dice < 8;

    c->token = mix(++the.sequence);
    c->asked_close = c->kind == FRESH && below(2) == 0;
    c->size = dice >= 8 && dice < 11 ? BIG : chunks ? below(5000) : posts ? 1 + below(8000) : 0;
    int n = snprintf(c->out, OUT_MAX,
                     "%s /%s?token=%016" PRIx64 "&ms=%" PRIu64 "&size=%zu HTTP/1.1\r\n"
                     "Host: zerodrop\r\n%s",
                     posts ? "POST" : "GET", chunks ? "chunks" : "plain", c->token, ms, c->size,
                     c->asked_close ? "Connection: close\r\n" : "");
    c->out_len = (size_t)n;
    if (posts)
        c->out_len +=
            (size_t)snprintf(c->out + n, OUT_MAX - (size_t)n, "Content-Length: %zu\r\n", c->size);
    memcpy(c->out + c->out_len, "\r\n", 2);
    c->out_len += 2;
    for (size_t i = 0; posts && i < c->size; i++)
        c->out[c->out_len++] = (char)('a' + i % 26);
    return ms;
}

static void dial(struct conn *c)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(the.port)};
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    socklen_t len = sizeof(from);
    int on = 1;

    from.sin_addr.s_addr = htonl(0x7f010000u + 1 + c->index);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    c->state = CONNECTING;
    c->port = 0;
    if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
        die("bind");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
        fail(c, CONNECT, strerror(errno));
        return;
    }
    if (getsockname(c->fd, (struct sockaddr *)&from, &len) == 0)
        c->port = ntohs(from.sin_port);
    the.connections++;
    c->events = event.events;
    if (epoll_ctl(the.epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void transmit(struct conn *c)
{
    c->sent = now_ns();
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    c->state = SENT;
    if (n < 0) {
        fail_ended(c, errno);
        return;
    }
    if ((size_t)n < c->out_len) {
        fail(c, WRONG, "the socket took only a part"); /* of 8 KB: not here */
        return;
    }
    watch(c, EPOLLIN);
}

/* Before a request goes out: is the kept connection still one? */
static void look_for_end(struct conn *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n == 0) {
        the.closed_idle++;
    } else if (n < 0) {
        the.reset_idle++;
    } else {
        c->begun = c->sent = now_ns();
        fail(c, WRONG, "bytes without a request");
        return;
    }
    hang_up(c);
}

static void ask(struct conn *c)
{
    if (c->state == OPEN)
        look_for_end(c);
    the.requests++;
    c->begun = now_ns();
    c->due = c->begun + (PATIENCE_MS + compose(c)) * MS;
    if (c->state == OPEN)
        transmit(c);
    else
        dial(c);
}

/* ---- the answer --------------------------------------------------------------------------------
 */

/* 1: whole; 0: more to come; -1: malformed, said in *why. */
static int unchunk(struct answer *a, char *p, char *end, const char **why)
{
    char *plain = a->plain = malloc((size_t)(end - p) + 1);

    for (;;) {
        char *line = p, *after;
        char *nl = memchr(p, '\n', (size_t)(end - p));

        if (!nl)
            return 0;
        unsigned long size = strtoul(line, &after, 16);
        if (after == line || after != nl - 1 || *after != '\r') {
            *why = "chunk size line";
            return -1;
        }
        p = nl + 1;
        if ((size_t)(end - p) < size + 2)
            return 0;
        if (memcmp(p + size, "\r\n", 2) != 0) {
            *why = "end of a chunk";
            return -1;
        }
        memcpy(plain, p, size);
        plain += size;
        p += size + 2;
        if (size > 0)
            continue;
        a->body = a->plain;
        a->body_len = (size_t)(plain - a->plain);
        a->end = (size_t)(p - end); /* the caller adds the length */
        return 1;
    }
}

static bool field_is(const char *line, const char *name, const char **value)
{
    size_t len = strlen(name);

    if (strncasecmp(line, name, len) != 0 || line[len] != ':')
        return false;
    *value = line + len + 1 + strspn(line + len + 1, " ");
    return true;
}

/* c->in as an answer: 1, 0 or -1 as above; -2: a status that is not 200. */
static int parse(struct conn *c, struct answer *a, const char **why)
{
    const char *value;
    long length = -1;
    bool chunked = false;

    c->in[c->in_len] = '\0';
    char *head_end = strstr(c->in, "\r\n\r\n");
    if (!head_end)
        return 0;
    if (strncmp(c->in, "HTTP/1.1 ", 9) != 0) {
        *why = "status line";
        return -1;
    }
    if (strncmp(c->in + 9, "200 OK\r\n", 8) != 0)
        return -2;
    for (const char *line = strstr(c->in, "\r\n") + 2; line < head_end + 2;
         line = strstr(line, "\r\n") + 2) {
        if (field_is(line, "Content-Length", &value)) {
            if (length >= 0 || chunked) {
                *why = "two framings";
                return -1;
            }
            length = atol(value);
        } else if (field_is(line, "Transfer-Encoding", &value)) {
            if (length >= 0 || chunked || strncmp(value, "chunked\r\n", 9) != 0) {
                *why = "two framings";
                return -1;
            }
            chunked = true;
        } else if (field_is(line, "Connection", &value)) {
            a->closes = strncasecmp(value, "close\r\n", 7) == 0;
        }
    }
    char *body = head_end + 4, *end = c->in + c->in_len;
    if (chunked) {
        int result = unchunk(a, body, end, why);

        a->end += c->in_len;
        return result;
    }
    if (length < 0) {
        *why = "no framing";
        return -1;
    }
    if (end - body < length)
        return 0;
    a->body = body;
    a->body_len = (size_t)length;
    a->end = (size_t)(body - c->in) + (size_t)length;
    return 1;
}

/* The body against what was asked for. NULL, or what is wrong with it. */
static const char *check_body(const struct conn *c, const struct answer *a, int *version, int *pid)
{
    char token[17], line[96];
    unsigned number;
    const char *nl = memchr(a->body, '\n', a->body_len);
    size_t line_len = nl ? (size_t)(nl - a->body) + 1 : 0;

    (void)snprintf(token, sizeof(token), "%016" PRIx64, c->token);
    if (line_len == 0 || line_len > sizeof(line) || line_len < 20)
        return "no first line";
    memcpy(line, a->body, line_len);
    line[line_len - 1] = '\0';
    if (memcmp(line, token, 16) != 0)
        return "the token of another request";
    if (sscanf(line + 16, " %d %u %d", version, &number, pid) != 3 || *version < 0 ||
        *version >= VERSIONS_MAX)
        return "first line";
    if (a->body_len != line_len + c->size + 17)
        return "length of the body";
    const char *filler = a->body + line_len;
    for (size_t i = 0; i < c->size; i++) {
        if (filler[i] != (char)('a' + i % 26))
            return "filler";
    }
    if (memcmp(filler + c->size, token, 16) != 0 || filler[c->size + 16] != '\n')
        return "last line";
    return NULL;
}

static void note_answer(const struct conn *c, const struct answer *a, int version, int pid)
{
    struct version *v = &the.versions[version];
    uint64_t now = now_ns();
    size_t i = (size_t)pid * 2654435761u % PIDS_MAX;

    the.answered++;
    if (now - c->begun > the.slowest_ns)
        the.slowest_ns = now - c->begun;
    if (v->count++ == 0)
        v->first_received = now;
    v->last_received = now;
    if (c->served > 0 && a->closes) {
        v->kept++;
        v->last_sent_kept = c->sent > v->last_sent_kept ? c->sent : v->last_sent_kept;
        the.near_all += now - c->sent < NEAR_MS * MS;
        the.near_idle += c->kind == IDLE && now - c->sent < NEAR_MS * MS;
    } else {
        v->last_sent = c->sent > v->last_sent ? c->sent : v->last_sent;
    }
    while (the.pids[i].pid != 0 && the.pids[i].pid != pid)
        i = (i + 1) % PIDS_MAX;
    the.pids[i].pid = pid;
    the.pids[i].count++;
}

/* Looks at what has come of the answer; the connection may be closed after it. */
static void judge(struct conn *c)
{
    struct answer a = {0};
    const char *why = "";
    int version, pid;
    int result = parse(c, &a, &why);

    if (result == 1) {
        why = a.end != c->in_len ? "bytes after the answer" : check_body(c, &a, &version, &pid);
        if (!why && c->pid != 0 && c->pid != pid)
            why = "another worker on the same connection";
        if (why) {
            fail(c, WRONG, why);
        } else {
            note_answer(c, &a, version, pid);
            c->served++;
            c->pid = pid;
            c->in_len = 0;
            c->state = OPEN;
            if (a.closes || c->kind == FRESH || the.stopping)
                hang_up(c);
            rest(c);
        }
    } else if (result < 0) {
        fail(c, result == -2 ? STATUS : MALFORMED, result == -2 ? c->in + 9 : why);
    }
    free(a.plain);
}

static void take(struct conn *c)
{
    for (;;) {
        size_t room = IN_MAX - 1 - c->in_len;
        ssize_t n = recv(c->fd, c->in + c->in_len, room, 0);

        if (n > 0) {
            c->in_len += (size_t)n;
            if ((size_t)n == room) {
                fail(c, WRONG, "an answer too long");
                return;
            }
            if (c->in_len < c->size)
                continue; /* cannot be all */
            judge(c);
            return;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        fail_ended(c, n < 0 ? errno : 0);
        return;
    }
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

static void on_event(struct conn *c, uint32_t events)
{
    int error = 0;
    socklen_t len = sizeof(error);

    (void)events;
    switch (c->state) {
    case CONNECTING:
        (void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0)
            fail(c, CONNECT, strerror(error));
        else
            transmit(c);
        break;
    case SENT: take(c); break;
    case OPEN: look_for_end(c); break;
    case CLOSED: break;
    }
}

static void on_due(struct conn *c)
{
    switch (c->state) {
    case CLOSED:
    case OPEN:
        if (the.stopping) {
            hang_up(c);
            c->due = NEVER;
        } else {
            ask(c);
        }
        break;
    case CONNECTING: fail(c, TIMEOUT, "while connecting"); break;
    case SENT: {
        uint64_t token = c->token;

        take(c); /* what has come wins */
        if (c->state == SENT && c->token == token)
            fail(c, TIMEOUT, "");
        break;
    }
    }
}

static void report(void)
{
    struct rusage usage;
    uint64_t pids = 0, busiest = 0, failures = the.reset_idle;
    const char *comma = "";

    for (size_t i = 0; i < PIDS_MAX; i++) {
        pids += the.pids[i].pid != 0;
        busiest = the.pids[i].count > busiest ? the.pids[i].count : busiest;
    }
    (void)getrusage(RUSAGE_SELF, &usage);
    for (size_t i = 0; i < FAILURES; i++)
        failures += i == NEAR ? 0 : the.failures[i];
    printf("{\"requests\": %" PRIu64 ", \"answered\": %" PRIu64 ", \"failures\": %" PRIu64
           ", \"closed_idle\": %" PRIu64 ", \"connections\": %" PRIu64 ", \"near_idle\": %" PRIu64
           ", \"near_all\": %" PRIu64 ", \"near_lost\": %" PRIu64 ", \"pids\": %" PRIu64
           ", \"busiest\": %" PRIu64 ", \"slowest_ms\": %" PRIu64 ", \"cpu_ms\": %ld, \"kinds\": {",
           the.requests, the.answered, failures, the.closed_idle, the.connections, the.near_idle,
           the.near_all, the.failures[NEAR], pids, busiest, the.slowest_ns / MS,
           (long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000);
    for (size_t i = 0; i < FAILURES; i++)
        printf("\"%s\": %" PRIu64 ", ", failure_names[i], the.failures[i]);
    printf("\"reset idle\": %" PRIu64 "}, \"versions\": {", the.reset_idle);
    for (size_t i = 0; i < VERSIONS_MAX; i++) {
        const struct version *v = &the.versions[i];

        if (v->count == 0)
            continue;
        printf("%s\"%zu\": {\"count\": %" PRIu64 ", \"first_received\": %" PRIu64
               ", \"last_received\": %" PRIu64 ", \"last_sent\": %" PRIu64
               ", \"last_sent_kept\": %" PRIu64 ", \"kept\": %" PRIu64 "}",
               comma, i, v->count, v->first_received, v->last_received, v->last_sent,
               v->last_sent_kept, v->kept);
        comma = ", ";
    }
    printf("}, \"failed\": [");
    for (size_t i = 0; i < the.failed_count; i++) {
        const struct failed *f = &the.failed[i];

        printf("%s{\"failure\": \"%s\", \"kind\": \"%s\", \"from\": \"127.1.%u.%u:%u\", "
               "\"served\": %u, \"pid\": %d, \"begun\": %" PRIu64 ", \"sent\": %" PRIu64
               ", \"at\": %" PRIu64 ", \"token\": \"%016" PRIx64 "\", \"got\": %zu, "
               "\"text\": \"%s\"}",
               i > 0 ? ", " : "", failure_names[f->failure], kind_names[f->kind],
               (f->index + 1) >> 8, (f->index + 1) & 255, f->port, f->served, f->pid, f->begun,
               f->sent, f->at, f->token, f->got, f->text);
    }
    printf("]}\n");
    (void)fflush(stdout);
}

static void stop(void)
{
    the.stopping = true;
    for (size_t i = 0; i < the.conn_count; i++) {
        if (the.conns[i].state == OPEN || the.conns[i].state == CLOSED)
            the.conns[i].due = 0;
    }
}

static void on_command(void)
{
    char text[256];
    ssize_t n = read(STDIN_FILENO, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    if (n <= 0 || strstr(text, "stop")) {
        (void)epoll_ctl(the.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        stop();
    } else {
        report();
    }
}

static void init(char **argv)
{
    size_t counts[] = {strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10),
                       strtoul(argv[4], NULL, 10)};
    struct epoll_event event = {.events = EPOLLIN};

    the.port = (uint16_t)atoi(argv[1]);
    the.drain_ns = strtoul(argv[5], NULL, 10) * MS;
    the.pause_ns = strtoul(argv[6], NULL, 10) * 1000;
    the.random = mix(strtoul(argv[7], NULL, 10));
    the.sequence = mix(the.random);
    the.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (the.epoll < 0 || epoll_ctl(the.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        die("epoll");
    the.conn_count = counts[IDLE] + counts[BUSY] + counts[FRESH];
    the.conns = calloc(the.conn_count, sizeof(*the.conns));
    for (size_t i = 0; i < the.conn_count; i++) {
        struct conn *c = &the.conns[i];

        c->index = (unsigned)i;
        c->kind = i < counts[IDLE] ? IDLE : i < counts[IDLE] + counts[BUSY] ? BUSY : FRESH;
        c->fd = -1;
        c->in = malloc(IN_MAX);
        c->out = malloc(OUT_MAX);
        c->state = CLOSED;
        rest(c);
    }
}

/* What is due, and how long until more is: milliseconds, -1 when nothing is left to do. */
static int turn(void)
{
    uint64_t next = NEVER, now = now_ns();

    for (size_t i = 0; i < the.conn_count; i++) {
        struct conn *c = &the.conns[i];

        if (c->due <= now)
            on_due(c);
        if (c->due < next)
            next = c->due;
    }
    if (next == NEVER)
        return -1;
    now = now_ns();
    return next > now ? (int)((next - now + MS - 1) / MS) : 0;
}

int main(int argc, char **argv)
{
    struct epoll_event events[64];
    int wait_ms;

    if (argc != 8) {
        (void)fprintf(stderr, "usage: client PORT IDLE BUSY FRESH DRAIN_MS PAUSE_US SEED\n");
        return 2;
    }
    init(argv);
    while ((wait_ms = turn()) >= 0) {
        int n = epoll_wait(the.epoll, events, 64, wait_ms);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                on_event(events[i].data.ptr, events[i].events);
            else
                on_command();
        }
    }
    report();
    return 0;
}
