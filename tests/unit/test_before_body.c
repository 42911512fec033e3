/* SPDX-License-Identifier: MIT
 *
 * gcorn_on_head and what it may ask for, each rule a row: a client's bytes, the statuses of the
 * answers, and what the application saw. Each row runs on the loop's thread and in a pool, and with
 * the bytes cut at every place: the outcome is the same.
 */
#include "worker_case.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

/* ---- the application --------------------------------------------------------------------- */

static char seen[4096]; /* by the application, in order */

static void note(const char *what)
{
    size_t len = strlen(seen);

    (void)snprintf(seen + len, sizeof(seen) - len, "%s%s", len > 0 ? " " : "", what);
}

static void on_pre(struct gcorn_environ *env)
{
    (void)env;
    note("pre");
}

static void on_post(struct gcorn_environ *env)
{
    (void)env;
    note("post");
}

static void close_counted(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    note("close");
}

static ssize_t next_counted(struct gcorn_environ *env, void *state, const void **chunk)
{
    const char **text = state;
    size_t len = *text ? strlen(*text) : 0;

    (void)env;
    *chunk = *text;
    *text = NULL;
    return (ssize_t)len;
}

static struct gcorn_body *counted(struct gcorn_environ *env, const char *text)
{
    const char **state = gcorn_alloc(env, sizeof(*state));

    *state = text;
    return gcorn_body_iter(env, next_counted, close_counted, (void *)state);
}

/* ---- a body that is read as it comes ----------------------------------------------------- */

struct reader {
    char text[64]; /* what was read */
    size_t len;
    bool begins; /* with a piece, before it reads */
    bool has_ended;
};

static const char *error_name(int error)
{
    switch (error) {
    case EBADMSG: return "EBADMSG";
    case EMSGSIZE: return "EMSGSIZE";
    case ETIMEDOUT: return "ETIMEDOUT";
    case ECONNRESET: return "ECONNRESET";
    default: return "?";
    }
}

static void close_reader(struct gcorn_environ *env, void *state)
{
    const struct reader *r = state;
    char rest[8];
    ssize_t n = 0;

    while (!r->has_ended && (n = gcorn_input_read(env, rest, sizeof(rest))) > 0)
        continue;
    note(n == -1 ? gcorn_printf(env, "close(%s)", error_name(errno)) : "close");
}

static ssize_t next_read(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct reader *r = state;
    ssize_t n;

    *chunk = "handled";
    if (r->has_ended)
        return 0;
    if (r->begins) {
        r->begins = false;
        return 7;
    }
    while ((n = gcorn_input_read(env, r->text + r->len, 3)) > 0)
        r->len += (size_t)n;
    if (n != 0)
        return n;
    r->has_ended = true;
    note(gcorn_printf(env, "read(%s)", r->text));
    return 7;
}

/* ---- middleware that passes everything on ------------------------------------------------ */

static ssize_t next_wrapped(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    return gcorn_body_next((struct gcorn_body *)state, chunk);
}

static void close_wrapped(struct gcorn_environ *env, void *state)
{
    (void)env;
    note("outer");
    gcorn_body_close((struct gcorn_body *)state);
}

static struct gcorn_body *read_as_it_comes(struct gcorn_environ *env, const char *path)
{
    struct reader *r = gcorn_alloc(env, sizeof(*r));

    assert_null(gcorn_input_all(env, NULL));
    assert_int_equal(errno, EINVAL);
    r->begins = strstr(path, "/begins") != NULL;
    note("stream");
    if (strstr(path, "/wrapped"))
        return gcorn_body_iter(env, next_wrapped, close_wrapped,
                               gcorn_body_iter(env, next_read, close_reader, r));
    return strstr(path, "/early") ? counted(env, "handled")
                                  : gcorn_body_iter(env, next_read, close_reader, r);
}

/* ---- the hook and the handler ------------------------------------------------------------ */

static struct gcorn_body *on_head(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    const char *path = gcorn_get(env, "PATH_INFO");
    char byte;

    note("head");
    gcorn_set(env, "app.carried", "over");
    if (strcmp(path, "/deny") == 0) {
        gcorn_start(start, "401 Unauthorized", NULL);
        return counted(env, "denied");
    }
    if (strcmp(path, "/null") == 0)
        return (struct gcorn_body *)(void *)seen;
    if (strncmp(path, "/s", 2) == 0)
        assert_int_equal(gcorn_stream_body(env), 0);
    if (strncmp(path, "/s/limit/", 9) == 0)
        assert_int_equal(gcorn_limit_body(env, atoi(path + 9)), 0);
    if (strncmp(path, "/limit/", 7) == 0)
        assert_int_equal(gcorn_limit_body(env, atoi(path + 7)), 0);
    if (gcorn_get(env, "CONTENT_LENGTH") || gcorn_get(env, "HTTP_TRANSFER_ENCODING")) {
        assert_int_equal(gcorn_input_read(env, &byte, 1), -1);
        assert_int_equal(errno, EINVAL);
        assert_null(gcorn_input_all(env, NULL));
    }
    assert_int_equal(gcorn_limit_body(env, -2), -1);
    return NULL;
}

static struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    assert_string_equal(gcorn_get(env, "app.carried"), "over");
    assert_int_equal(gcorn_limit_body(env, 1), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(gcorn_stream_body(env), -1);
    assert_int_equal(errno, EINVAL);
    gcorn_start(start, "200 OK", NULL);
    if (strncmp(path, "/s", 2) == 0)
        return read_as_it_comes(env, path);
    note(gcorn_printf(env, "handler(%s)", gcorn_input_all(env, NULL)));
    return counted(env, "handled");
}

/* ---- rows -------------------------------------------------------------------------------- */

#define LAST     "GET /last HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
#define SAW_LAST " pre head handler() close post"
#define CHUNKED  "Host: t\r\nTransfer-Encoding: chunked\r\n\r\n"

static const struct row {
    const char *rule;
    const char *sent;
    const char *statuses; /* of the answers; 100 is left out, for it depends on the cuts */
    const char *seen;
} rows[] = {
    {"a: NULL goes on", "GET / HTTP/1.1\r\nHost: t\r\n\r\n" LAST, "200 200",
     "pre head handler() close post" SAW_LAST},
    {"a: a body answers, without a request body", "GET /deny HTTP/1.1\r\nHost: t\r\n\r\n" LAST,
     "401 200", "pre head close post" SAW_LAST},
    {"a: a pointer that is no body", "GET /null HTTP/1.1\r\nHost: t\r\n\r\n" LAST, "500 200",
     "pre head post" SAW_LAST},
    {"b: the handler comes when a counted body has come",
     "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" LAST, "200 200",
     "pre head handler(hello) close post" SAW_LAST},
    {"b: the handler comes when a chunked body has come",
     "POST / HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n" LAST, "200 200",
     "pre head handler(abcde) close post" SAW_LAST},
    {"b: a bad chunk is not looked at before the hook",
     "POST /deny HTTP/1.1\r\n" CHUNKED "zz\r\n" LAST, "401", "pre head close post"},
    {"j: a bad chunk after it is answered by the server",
     "POST / HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\nzz\r\n" LAST, "400", "pre head post"},
    {"d: the announced length is judged after the hook",
     "POST /deny HTTP/1.1\r\nHost: t\r\nContent-Length: 40\r\n\r\n"
     "0123456789012345678901234567890123456789" LAST,
     "401 200", "pre head close post" SAW_LAST},
    {"d: the limit of all",
     "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 21\r\n\r\n012345678901234567890" LAST, "413",
     "pre head post"},
    {"d: a raised limit",
     "POST /limit/21 HTTP/1.1\r\nHost: t\r\nContent-Length: 21\r\n\r\n012345678901234567890" LAST,
     "200 200", "pre head handler(012345678901234567890) close post" SAW_LAST},
    {"d: no limit",
     "POST /limit/-1 HTTP/1.1\r\nHost: t\r\nContent-Length: 21\r\n\r\n012345678901234567890" LAST,
     "200 200", "pre head handler(012345678901234567890) close post" SAW_LAST},
    {"d: a lowered limit",
     "POST /limit/4 HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" LAST, "413",
     "pre head post"},
    {"d: a lowered limit of chunks",
     "POST /limit/4 HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" LAST, "413",
     "pre head post"},
    {"d: no body at all", "POST /limit/0 HTTP/1.1\r\n" CHUNKED "1\r\na\r\n0\r\n\r\n" LAST, "413",
     "pre head post"},
    {"e: a short rest is dropped",
     "POST /deny HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nGET /" LAST, "401 200",
     "pre head close post" SAW_LAST},
    {"e: a long rest closes",
     "POST /deny HTTP/1.1\r\nHost: t\r\nContent-Length: 65537\r\n\r\nGET /" LAST, "401",
     "pre head close post"},
    {"e: a rest of unknown length closes",
     "POST /deny HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\n0\r\n\r\n" LAST, "401", "pre head close post"},
    {"e: a refused expectation closes",
     "POST /deny HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: "
     "5\r\n\r\nhello" LAST,
     "401", "pre head close post"},
    {"f: an expectation that is met",
     "POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" LAST,
     "200 200", "pre head handler(hello) close post" SAW_LAST},
    {"c: pipelined heads wait for the answer before them",
     "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\na"
     "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nb" LAST,
     "200 200 200", "pre head handler(a) close post pre head handler(b) close post" SAW_LAST},
    {"g: a counted body as it comes",
     "POST /s HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" LAST, "200 200",
     "pre head stream read(hello) close post" SAW_LAST},
    {"g: a chunked body as it comes",
     "POST /s HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n" LAST, "200 200",
     "pre head stream read(abcde) close post" SAW_LAST},
    {"k: middleware that passes AGAIN on, a counted body",
     "POST /s/wrapped HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" LAST, "200 200",
     "pre head stream read(hello) outer close post" SAW_LAST},
    {"k: the same, a chunked body",
     "POST /s/wrapped HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\n0\r\n\r\n" LAST, "200 200",
     "pre head stream read(abc) outer close post" SAW_LAST},
    {"k: the same, a body that is malformed",
     "POST /s/wrapped HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\nzz\r\n" LAST, "400",
     "pre head stream outer close(EBADMSG) post"},
    {"g: no body", "GET /s HTTP/1.1\r\nHost: t\r\n\r\n" LAST, "200 200",
     "pre head stream read() close post" SAW_LAST},
    {"g: an answer that begins before the body has come, with a short rest",
     "POST /s/begins HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" LAST, "200 200",
     "pre head stream read(hello) close post" SAW_LAST},
    {"e: the same with a rest of unknown length closes",
     "POST /s/begins HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\n0\r\n\r\n" LAST, "200",
     "pre head stream read(abc) close post"},
    {"e: an answer instead of the body, with a short rest",
     "POST /s/early HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" LAST, "200 200",
     "pre head stream close post" SAW_LAST},
    {"e: an answer instead of the body, with a rest of unknown length",
     "POST /s/early HTTP/1.1\r\n" CHUNKED "zz" LAST, "200", "pre head stream close post"},
    {"e: an answer instead of the body, to a client that waits",
     "POST /s/early HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: "
     "5\r\n\r\nhello" LAST,
     "200", "pre head stream close post"},
    {"f: an expectation that is met when the body is read",
     "POST /s HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" LAST,
     "200 200", "pre head stream read(hello) close post" SAW_LAST},
    {"d: a body that is announced to be too long",
     "POST /s HTTP/1.1\r\nHost: t\r\nContent-Length: 21\r\n\r\n012345678901234567890" LAST, "413",
     "pre head post"},
    {"d: a body that turns out to be too long",
     "POST /s/limit/4 HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" LAST, "413",
     "pre head stream close(EMSGSIZE) post"},
    {"j: a bad chunk before the answer's head",
     "POST /s HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\nzz\r\n" LAST, "400",
     "pre head stream close(EBADMSG) post"},
    {"j: a bad chunk after the answer's head",
     "POST /s/begins HTTP/1.1\r\n" CHUNKED "3\r\nabc\r\nzz\r\n" LAST, "200 cut",
     "pre head stream close(EBADMSG) post"},
    {"j: the same to a client of HTTP/1.0",
     "POST /s/begins HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello" LAST, "200 whole",
     "pre head stream read(hello) close post"},
};

static void open_case(struct worker_case *t, unsigned threads)
{
    log_set_level(LOG_LEVEL_CRITICAL);
    worker_case_init(t);
    t->config.limit_request_body = 20;
    worker_case_start(t, handler, threads);
    t->w->app.on_pre_request = on_pre;
    t->w->app.on_post_request = on_post;
    t->w->app.on_head = on_head;
    t->w->http.limits.holds_body = true;
}

static bool is_unread(int client)
{
    int left = 0;

    assert_int_equal(ioctl(client, SIOCOUTQ, &left), 0);
    return left > 0;
}

static void send_bytes(int client, const char *bytes, size_t len)
{
    (void)!send(client, bytes, len, MSG_NOSIGNAL); /* it may be closed by now */
}

/* All that the client is sent, until the worker has closed its side. */
static const char *read_all(struct worker_case *t, int client)
{
    static char text[16 * 1024];
    size_t len = 0;

    do {
        worker_case_turn(t);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", worker_case_read(client));
    } while (!worker_case_is_closed(client));
    return text;
}

/* The statuses of its answers, and what a last one lacks that is not chunked and whole. */
static const char *read_statuses(struct worker_case *t, int client)
{
    static char statuses[256];
    const char *text = read_all(t, client), *last = text;
    char *at = statuses;

    *at = '\0';
    for (const char *p = text; (p = strstr(p, "HTTP/1.1 ")); p += 9) {
        if (strncmp(p + 9, "100", 3) == 0)
            continue;
        at += sprintf(at, "%s%.3s", at > statuses ? " " : "", p + 9);
        last = p;
    }
    if (strstr(last, "Transfer-Encoding: chunked") && !strstr(last, "\r\n0\r\n\r\n"))
        (void)strcpy(at, " cut");
    if (!strstr(last, "Transfer-Encoding: chunked") && strstr(last, "handledhandled"))
        (void)strcpy(at, " whole");
    return statuses;
}

static void run_row(struct worker_case *t, const struct row *row, size_t cut)
{
    int client = worker_case_connect(t);
    size_t len = strlen(row->sent);

    seen[0] = '\0';
    send_bytes(client, row->sent, cut);
    ev_invoke_pending(t->w->loop); /* of conn_open: a turn would wait after it */
    WORKER_CASE_UNTIL(t, !is_unread(client));
    send_bytes(client, row->sent + cut, len - cut);
    const char *statuses = read_statuses(t, client);
    (void)close(client);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    if (strcmp(statuses, row->statuses) != 0 || strcmp(seen, row->seen) != 0)
        fail_msg("%s, cut at %zu: answered %s, not %s; the application saw \"%s\", not \"%s\"",
                 row->rule, cut, statuses, row->statuses, seen, row->seen);
}

static void run_rows(unsigned threads)
{
    struct worker_case t;

    open_case(&t, threads);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t cut = strlen(rows[i].sent) + 1; cut-- > 0;)
            run_row(&t, &rows[i], cut);
    }
    worker_case_close(&t);
}

static void test_rules_sync(void **state)
{
    (void)state;
    run_rows(0);
}

static void test_rules_gthread(void **state)
{
    (void)state;
    run_rows(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_sync),
        cmocka_unit_test(test_rules_gthread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
