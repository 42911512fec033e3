/* SPDX-License-Identifier: MIT
 *
 * gcornctl - asks a running gcorn by its control socket (master/control.h): finds the socket, sends
 * one line, shows the answer. With jansson it shows a table; without it only the JSON itself.
 *
 * The socket is the one of -s, or else what gcorn itself would make of the settings here: the
 * variable GCORN_CONTROL_SOCKET, gunicorn-c.yaml in this directory, systemd's RUNTIME_DIRECTORY.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/config_cli.h"

extern char **environ;

enum ctl_status {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* the server says no, or the reload failed */
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 4,
};

enum {
    ANSWER_MAX = 64 << 20,
    PATIENCE_S = 10, /* a master that is well answers at once */
};

static int fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(int status, const char *fmt, ...)
{
    va_list ap;

    (void)fputs("gcornctl: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return status;
}

/* ---- in words ---------------------------------------------------------------------------- */

#ifdef HAVE_JANSSON

/* What comes from a worker's slot may hold anything, and a terminal obeys control characters; the
 * master escapes them, jansson undoes that. */
static void add_plain(struct strbuf *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            strbuf_addf(out, "\\x%02x", *p);
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
            strbuf_addf(out, "\\x%02x", *++p);
        else
            strbuf_addch(out, (char)*p);
    }
}

/* A member as text: "-" when it is null or not there. */
static void add_member(struct strbuf *out, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_string(value))
        add_plain(out, json_string_value(value));
    else if (json_is_integer(value))
        strbuf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        strbuf_addch(out, '-');
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));

    return n > 0 ? (uint64_t)n : 0;
}

/* "3d 4h", "12s", "250ms": two units at most. */
static void add_duration(struct strbuf *out, uint64_t ms)
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;

    while (i < ARRAY_LEN(units) - 1 && ms < units[i].ms)
        i++;
    strbuf_addf(out, "%" PRIu64 " %s", ms / units[i].ms, units[i].unit);
    uint64_t rest = ms % units[i].ms;
    if (i < 3 && rest >= units[i + 1].ms)
        strbuf_addf(out, " %" PRIu64 " %s", rest / units[i + 1].ms, units[i + 1].unit);
}

static void show_line(const char *name, struct strbuf *text)
{
    (void)printf("%-12s %s\n", name, text->data ? text->data : "");
    strbuf_reset(text);
}

static void show_last_reload(const json_t *reload)
{
    struct strbuf text = {0};
    bool ok = json_is_true(json_object_get(reload, "ok"));

    if (!json_is_object(reload))
        return;
    add_member(&text, reload, "at");
    strbuf_addstr(&text, ok ? ", ok: generation " : ", FAILED, generation ");
    add_member(&text, reload, "generation");
    if (!ok) {
        strbuf_addstr(&text, " serves: ");
        add_member(&text, reload, "error");
    }
    show_line("last reload", &text);
    strbuf_release(&text);
}

static void show_server(const json_t *status)
{
    struct strbuf text = {0};
    const json_t *listener;
    size_t i;

    add_member(&text, status, "version");
    strbuf_addstr(&text, ", ");
    add_member(&text, status, "state");
    strbuf_addstr(&text, ", pid ");
    add_member(&text, status, "pid");
    strbuf_addstr(&text, ", up ");
    add_duration(&text, number(status, "uptime_ms"));
    show_line("gcorn", &text);
    add_member(&text, status, "application");
    strbuf_addstr(&text, ", generation ");
    add_member(&text, status, "generation");
    strbuf_addstr(&text, ", build-id ");
    add_member(&text, status, "build_id");
    show_line("application", &text);
    json_array_foreach(json_object_get(status, "listeners"), i, listener)
    {
        add_plain(&text, json_is_string(listener) ? json_string_value(listener) : "-");
        show_line("listening at", &text);
    }
    show_last_reload(json_object_get(status, "last_reload"));
    strbuf_addf(&text, "%zu, wanted %" PRIu64, json_array_size(json_object_get(status, "workers")),
                number(status, "workers_wanted"));
    show_line("workers", &text);
    strbuf_release(&text);
}

static void add_request(struct strbuf *out, const json_t *request)
{
    if (!json_is_object(request))
        return;
    add_member(out, request, "method");
    strbuf_addch(out, ' ');
    add_member(out, request, "target");
    strbuf_addstr(out, " for ");
    add_duration(out, number(request, "ms"));
}

/* The columns but the last, which is of any length. */
static const struct column {
    const char *title, *key;
    bool is_number;
} columns[] = {
    {"WORKER", "number", true},
    {"PID", "pid", true},
    {"GENERATION", "generation", true},
    {"PHASE", "phase", false},
    {"STATE", "state", false},
    {"REQUESTS", "requests", true},
    {"CONNECTIONS", "connections", true},
};

static void show_workers(const json_t *workers)
{
    size_t widths[ARRAY_LEN(columns)], i;
    struct strbuf cell = {0};
    const json_t *worker;

    for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
        widths[c] = strlen(columns[c].title);
        json_array_foreach(workers, i, worker)
        {
            strbuf_reset(&cell);
            add_member(&cell, worker, columns[c].key);
            if (cell.len > widths[c])
                widths[c] = cell.len;
        }
    }
    (void)putchar('\n');
    for (size_t c = 0; c < ARRAY_LEN(columns); c++)
        (void)printf("%*s  ", columns[c].is_number ? (int)widths[c] : -(int)widths[c],
                     columns[c].title);
    (void)puts("REQUEST");
    json_array_foreach(workers, i, worker)
    {
        for (size_t c = 0; c < ARRAY_LEN(columns); c++) {
            strbuf_reset(&cell);
            add_member(&cell, worker, columns[c].key);
            (void)printf("%*s  ", columns[c].is_number ? (int)widths[c] : -(int)widths[c],
                         cell.data);
        }
        strbuf_reset(&cell);
        add_request(&cell, json_object_get(worker, "request"));
        (void)puts(cell.data && cell.len > 0 ? cell.data : "-");
    }
    strbuf_release(&cell);
}

static void show_status(const json_t *answer)
{
    show_server(answer);
    show_workers(json_object_get(answer, "workers"));
}

static int show(const char *command, const struct strbuf *answer)
{
    json_error_t why;
    json_t *root = json_loadb(answer->data, answer->len, 0, &why);
    struct strbuf text = {0};
    int status = CTL_REFUSED;

    if (!root)
        return fail(CTL_UNREACHABLE, "the answer is no JSON: %s", why.text);
    if (!json_is_true(json_object_get(root, "ok"))) {
        add_member(&text, root, "error");
        (void)fail(status, "%s: %s", command, text.data);
        strbuf_release(&text);
    } else {
        status = CTL_DONE;
        if (strcmp(command, "status") == 0)
            show_status(root);
        else if (strcmp(command, "reload") == 0)
            (void)printf("reloaded: generation %" PRIu64 " serves\n", number(root, "generation"));
        else
            (void)puts("the server is stopping");
    }
    json_decref(root);
    return status;
}

#endif

/* ---- asking ------------------------------------------------------------------------------ */

/* The answer itself. Its first member tells how it went, and the server writes it so. */
static int show_json(const struct strbuf *answer)
{
    static const char done[] = "{\"ok\": true";

    (void)fwrite(answer->data, 1, answer->len, stdout); /* main asks ferror */
    return strncmp(answer->data, done, strlen(done)) == 0 ? CTL_DONE : CTL_REFUSED;
}

/* The connected socket, or -1 with errno. */
static int reach(const char *path)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(un.sun_path)) {
        errno = ENAMETOOLONG;
        fd_close(&fd);
    }
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    if (fd >= 0) /* a connection waits while the backlog is full; at worst for ever */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
        fd_close(&fd);
    return fd;
}

/* Sends the line and reads the answer to its end. 0, or -1 with errno. */
static int ask(int fd, const char *command, struct strbuf *answer)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    char *line = xasprintf("%s\n", command);
    ssize_t n;

    /* Who is refused is told so and not read: then the line meets a closed end. */
    (void)send(fd, line, strlen(line), MSG_NOSIGNAL);
    free(line);
    if (strcmp(command, "reload") != 0 && /* which takes its time */
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
        return -1;
    do {
        n = recv(fd, strbuf_grow(answer, 1 << 16), 1 << 16, 0);
        if (n > 0)
            answer->len += (size_t)n;
    } while ((n > 0 && answer->len < ANSWER_MAX) || (n < 0 && errno == EINTR));
    if (answer->len > 0) {
        answer->data[answer->len] = '\0';
        return 0;
    }
    if (n == 0)
        errno = ECONNRESET;
    return -1;
}

/* What gcorn itself would take from the settings here, to be freed; NULL, and what is wrong has
 * been said. */
static char *find_socket(void)
{
    char *const words[] = {(char[]){"gcornctl"}, (char[]){"--print-config"}, NULL};
    struct config config;
    struct error err;

    if (config_load(&config, 2, words, environ, &err) < 0) {
        (void)fail(CTL_USAGE, "%s (-s SOCKET needs no settings)", err.text);
        return NULL;
    }
    bool is_relative = config.control_socket && config.control_socket[0] != '/';
    char *path = NULL;
    if (!config.control_socket)
        (void)fail(CTL_USAGE, "no control socket is known: neither -s SOCKET nor "
                              "GCORN_CONTROL_SOCKET nor control_socket in gunicorn-c.yaml");
    else if (is_relative && config.chdir)
        path = xasprintf("%s/%s", config.chdir, config.control_socket);
    else
        path = xstrdup(config.control_socket);
    config_release(&config);
    return path;
}

static int run(const char *path, const char *command, bool as_json)
{
    struct strbuf answer = {0};
    int status = CTL_UNREACHABLE, fd = reach(path);

    if (fd < 0)
        return fail(CTL_UNREACHABLE, "cannot reach the server at %s: %s", path, strerror(errno));
    if (ask(fd, command, &answer) < 0)
        (void)fail(status, "no answer from the server at %s: %s", path,
                   errno == EAGAIN ? "it does not respond" : strerror(errno));
    else if (as_json)
        status = show_json(&answer);
#ifdef HAVE_JANSSON
    else
        status = show(command, &answer);
#endif
    fd_close(&fd);
    strbuf_release(&answer);
    return status;
}

/* ---- the command line -------------------------------------------------------------------- */

static const char usage[] =
    "usage: gcornctl [-s SOCKET] [--json] COMMAND\n"
    "\n"
    "Commands:\n"
    "  status                what the server is and what each worker does\n"
    "  reload                new settings and new code, as HUP; waits for the outcome\n"
    "  stop                  stop when every request is answered, as TERM; does not wait\n"
    "\n"
    "Options:\n"
    "  -s, --socket SOCKET   the server's control_socket; without it the one of\n"
    "                        GCORN_CONTROL_SOCKET, of gunicorn-c.yaml in this directory, or\n"
    "                        gcorn.ctl in systemd's RUNTIME_DIRECTORY\n"
    "      --json            the answer as JSON, one line\n"
    "  -v, --version         print the version and exit\n"
    "  -h, --help            print this help and exit\n"
    "\n"
    "Exit status: 0 done, 1 the server says no or the reload failed, 2 wrong usage,\n"
    "4 the server cannot be reached.\n";

static bool is_command(const char *word)
{
    static const char *const words[] = {"status", "reload", "stop"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i]) == 0)
            return true;
    }
    return false;
}

static int finish(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return fail(CTL_REFUSED, "cannot write to standard output: %s", strerror(errno));
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *socket_path = NULL;
    bool as_json = false;
    int option;

    while ((option = getopt_long(argc, argv, "s:vh", options, NULL)) != -1) {
        switch (option) {
        case 's': socket_path = optarg; break;
        case 'j': as_json = true; break;
        case 'v': (void)puts("gcornctl " GCORN_VERSION); return finish(CTL_DONE);
        case 'h': (void)fputs(usage, stdout); return finish(CTL_DONE);
        default: return CTL_USAGE; /* getopt has said what is wrong */
        }
    }
    if (argc - optind != 1)
        return fail(CTL_USAGE, "one command is needed: status, reload or stop (see --help)");
    if (!is_command(argv[optind]))
        return fail(CTL_USAGE, "no such command: %s (see --help)", argv[optind]);
#ifndef HAVE_JANSSON
    if (!as_json)
        return fail(CTL_USAGE, "built without jansson, it can only show --json");
#endif
    char *path = socket_path ? xstrdup(socket_path) : find_socket();
    if (!path)
        return CTL_USAGE;
    int status = run(path, argv[optind], as_json);
    free(path);
    return finish(status);
}
