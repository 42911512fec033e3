/* SPDX-License-Identifier: MIT
 *
 * See admin.h. The built-in application uses only gcorn.h, like any application.
 */
#include "master/telemetry/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "gcorn.h"
#include "master/telemetry/stats.h"
#include "master/telemetry/prometheus.h"
#include "master/telemetry/snapshot.h"
#include "worker/worker.h"

enum {
    CONNECTIONS_MAX = 128, /* scrapers and probes are few */
    BEAT_MAX_MS = 6000,    /* the master hangs if its loop has not run for longer */
    CLIENT_MAX_MS = 2000,  /* for a client to send its head, or to read some of its answer */
};

/* The state of the built-in application: one for the process. */
static struct {
    struct config config;
    struct listener *listener;
    const struct stats *stats;
    struct scoreboard *scoreboard;
    pid_t master_pid;
} admin;

static const struct gcorn_header plain[] = {{"Content-Type", "text/plain; charset=utf-8"},
                                            {NULL, NULL}};

typedef struct gcorn_body *endpoint(struct gcorn_environ *env,
                                    struct gcorn_start_response *start_response);

/* Takes the content of text. */
static struct gcorn_body *body_of(struct gcorn_environ *env, struct strbuf *text)
{
    size_t len = text->len;
    char *data = strbuf_detach(text);

    gcorn_defer(env, free, data);
    return gcorn_body_borrow(env, data, len);
}

static struct gcorn_body *answer(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response, const char *status,
                                 const char *text)
{
    (void)gcorn_start(start_response, status, plain);
    return gcorn_body_text(env, text);
}

static struct gcorn_body *refuse_stuck(struct gcorn_environ *env,
                                       struct gcorn_start_response *start_response)
{
    return answer(env, start_response, "503 Service Unavailable",
                  "the master stopped while it wrote its statistics\n");
}

static struct gcorn_body *livez(struct gcorn_environ *env,
                                struct gcorn_start_response *start_response)
{
    uint64_t now = now_ms(), beat_ms = stats_beat_ms(admin.stats);

    if (getppid() != admin.master_pid)
        return answer(env, start_response, "503 Service Unavailable", "the master is gone\n");
    if (now > beat_ms && now - beat_ms > BEAT_MAX_MS) {
        (void)gcorn_start(start_response, "503 Service Unavailable", plain);
        return gcorn_body_text(
            env, gcorn_printf(env, "the master hangs: its event loop has not run for %u s\n",
                              (unsigned)((now - beat_ms) / 1000)));
    }
    return answer(env, start_response, "200 OK", "alive\n");
}

/* After TTOU all workers that are left are enough; after WINCH none is left, and the server is not
 * ready. */
static unsigned needed_workers(const struct snapshot *s)
{
    unsigned needed = (unsigned)admin.config.ready_workers, wanted = s->facts->workers_wanted;

    return wanted > 0 && wanted < needed ? wanted : needed;
}

static struct gcorn_body *readyz(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response)
{
    struct strbuf why = {0};
    struct snapshot s;

    if (getppid() != admin.master_pid)
        return livez(env, start_response);
    if (snapshot_take(&s, admin.stats, admin.scoreboard) < 0)
        return refuse_stuck(env, start_response);
    bool is_ready =
        snapshot_is_ready(&s, needed_workers(&s), admin.config.ready_fresh_ms, now_ms(), &why);
    snapshot_release(&s);
    if (is_ready)
        return answer(env, start_response, "200 OK", "ready\n");
    (void)gcorn_start(start_response, "503 Service Unavailable", plain);
    return body_of(env, &why);
}

static struct gcorn_body *metrics(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {
        {"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}, {NULL, NULL}};
    struct strbuf text = {0};
    struct snapshot s;

    if (snapshot_take(&s, admin.stats, admin.scoreboard) < 0)
        return refuse_stuck(env, start_response);
    snapshot_add_usage(&s);
    prometheus_add(&text, &s);
    snapshot_release(&s);
    (void)gcorn_start(start_response, "200 OK", headers);
    return body_of(env, &text);
}

static endpoint *find_endpoint(const char *path)
{
    static const struct {
        const char *path;
        endpoint *function;
    } endpoints[] = {{"/livez", livez}, {"/readyz", readyz}, {"/metrics", metrics}};

    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        if (strcmp(path, endpoints[i].path) == 0)
            return endpoints[i].function;
    }
    return NULL;
}

/* A host without its port, and without the brackets of an IPv6 address. */
static void take_host(const char *field, char *host, size_t size)
{
    bool has_brackets = field[0] == '[';
    const char *start = field + has_brackets;
    size_t len = strcspn(start, has_brackets ? "]" : ":");

    (void)snprintf(host, size, "%.*s", (int)(len < size ? len : size - 1), start);
}

static bool is_named(const char *host)
{
    for (size_t i = 0; i < admin.config.admin_hosts.count; i++) {
        if (ascii_same(host, admin.config.admin_hosts.items[i]))
            return true;
    }
    return false;
}

/* Against DNS rebinding: a web page can make its own name resolve to this address and read the
 * answer, but its browser sends that name as Host. A browser cannot reach a unix socket. */
static bool is_for_us(struct gcorn_environ *env)
{
    const char *field = gcorn_get(env, "HTTP_HOST");
    char host[256];
    struct in6_addr address;

    if (!field || field[0] == '\0' || admin.listener->family == AF_UNIX)
        return true;
    take_host(field, host, sizeof(host));
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1 ||
           ascii_same(host, "localhost") || is_named(host);
}

static struct gcorn_body *admin_app(struct gcorn_environ *env,
                                    struct gcorn_start_response *start_response)
{
    static const struct gcorn_header allow[] = {{"Allow", "GET, HEAD"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO"), *method = gcorn_get(env, "REQUEST_METHOD");
    endpoint *function = path ? find_endpoint(path) : NULL;

    if (!is_for_us(env))
        return answer(env, start_response, "421 Misdirected Request",
                      "Host is neither an address nor localhost nor one of admin_hosts\n");
    if (!function)
        return answer(env, start_response, "404 Not Found",
                      "there are /livez, /readyz and /metrics\n");
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        (void)gcorn_start(start_response, "405 Method Not Allowed", allow);
        return gcorn_body_text(env, "");
    }
    return function(env, start_response);
}

/* Copies the settings, without those that are meant for the application's clients. */
static void own_config(struct config *own, const struct config *given)
{
    *own = *given;
    own->max_requests = 0;
    own->queue_timeout_ms = 0;
    own->skip_gone_after_ms = 0;
    own->fair_close = false;
    own->proxy_protocol = 0;
    own->raw_env.count = 0;
    own->crash_dir = NULL;
    own->worker_connections = CONNECTIONS_MAX;
    own->header_timeout_ms = own->write_timeout_ms = CLIENT_MAX_MS;
    own->keepalive_ms = 0; /* one request for each connection */
}

void admin_prepare(struct worker_args *args, struct listener *listener, struct stats *stats,
                   struct scoreboard *scoreboard)
{
    if (stats_make_read_only(stats) < 0 || scoreboard_make_read_only(scoreboard) < 0)
        fatal("admin process: cannot map the shared memory read-only: %s", strerror(errno));
    own_config(&admin.config, args->config);
    admin.listener = listener;
    admin.stats = stats;
    admin.scoreboard = scoreboard;
    admin.master_pid = args->master_pid;
    args->role = "admin";
    args->config = &admin.config;
    args->builtin = admin_app;
    args->listeners = &admin.listener;
    args->listener_count = 1;
    args->slot = xcalloc(1, sizeof(*args->slot));
    args->hints = xcalloc(1, sizeof(*args->hints));
    args->scoreboard = NULL; /* it shares no connections with workers */
    args->number = 0;        /* gcorn_worker_number() */
    args->access_fd = -1;
    args->check_path = NULL;
}
