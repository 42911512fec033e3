/* SPDX-License-Identifier: MIT
 *
 * gcornctl - asks a running gcorn over its control socket (master/operator/control.h): finds the
 * socket, sends one line, shows the answer. With jansson it shows tables; without it only the JSON.
 *
 *   ctl/ask.c    sends the question and waits for the answer
 *   ctl/show.c   shows the answer as text
 *   ctl/top.c    the live screen
 *
 * The socket is that of -s, or else the one that gcorn itself would take from the settings here:
 * the variable GCORN_CONTROL_SOCKET, gunicorn-c.yaml in this directory, systemd's
 * RUNTIME_DIRECTORY.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_JANSSON
#include <jansson.h>
#endif

#include "base/build_info.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "ctl/ask.h"
#include "ctl/show.h"
#include "ctl/top.h"
#include "settings/config.h"
#include "settings/config_load.h"
#include "settings/text.h"

enum { WORDS_MAX = 3 };

struct command {
    const char *word;
    bool (*takes)(char *const *words, size_t count); /* the words after it; NULL: none */
    const char *needs;                               /* what they must be, for errors */
    const char *line;                                /* what to send instead of the word */
    bool takes_long;
};

struct options {
    const char *socket_path; /* NULL: to be found */
    uint64_t timeout_ms;     /* 0: not given */
    bool as_json;
    bool once;
    char *words[WORDS_MAX];
    size_t word_count;
};

static int fail(const struct options *o, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Prints an error: on standard error, or with --json on standard output in the form of a server's
 * answer, so that a program always reads JSON. Returns status. */
static int fail(const struct options *o, int status, const char *fmt, ...)
{
    struct strbuf answer = {0};
    va_list ap;

    va_start(ap, fmt);
    char *why = xvasprintf(fmt, ap);
    va_end(ap);
    if (o->as_json) {
        strbuf_addstr(&answer, "{\"ok\": false, \"error\": ");
        json_add_string(&answer, why);
        (void)printf("%s}\n", answer.data); /* main asks ferror */
    } else {
        (void)fprintf(stderr, "gcornctl: %s\n", why);
    }
    strbuf_release(&answer);
    free(why);
    return status;
}

/* ---- commands ---------------------------------------------------------------------------- */

static bool is_digits(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static bool takes_change(char *const *words, size_t count)
{
    if (count == 2)
        return strcmp(words[0], "set") == 0 && is_digits(words[1]);
    return count == 1 && (*words[0] == '+' || *words[0] == '-') && is_digits(words[0] + 1);
}

static bool takes_pid(char *const *words, size_t count)
{
    return count == 0 || (count == 1 && is_digits(words[0]));
}

static const struct command commands[] = {
    {.word = "status"},
    {.word = "top", .line = "status"},
    {.word = "config"},
    {.word = "reload", .takes_long = true},
    {.word = "workers", .takes = takes_change, .needs = "+N, -N or set N"},
    {.word = "reopen"},
    {.word = "dump", .takes = takes_pid, .needs = "a pid or no argument", .takes_long = true},
    {.word = "upgrade", .takes_long = true},
    {.word = "stop"},
};

/* Returns NULL after it has printed an error. */
static const struct command *find_command(const struct options *o)
{
    if (o->word_count == 0) {
        (void)fail(o, CTL_USAGE, "no command given (see --help)");
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];
        size_t more = o->word_count - 1;

        if (strcmp(o->words[0], c->word) != 0)
            continue;
        if (c->takes ? c->takes(o->words + 1, more) : more == 0)
            return c;
        (void)fail(o, CTL_USAGE, "%s needs %s (see --help)", c->word,
                   c->needs ? c->needs : "no argument");
        return NULL;
    }
    (void)fail(o, CTL_USAGE, "no such command: %s (see --help)", o->words[0]);
    return NULL;
}

/* The line for the server; the caller frees it. */
static char *line_of(const struct command *c, const struct options *o)
{
    struct strbuf line = {0};

    strbuf_addstr(&line, c->line ? c->line : c->word);
    for (size_t i = 1; i < o->word_count; i++)
        strbuf_addf(&line, " %s", o->words[i]);
    return strbuf_detach(&line);
}

/* ---- asking ------------------------------------------------------------------------------ */

/* The path that gcorn itself would take from the settings here; the caller frees it. Returns NULL
 * after it has printed an error. */
static char *find_socket(const struct options *o)
{
    char *const words[] = {(char[]){"gcornctl"}, (char[]){"--print-config"}, NULL};
    struct config config;
    struct error err;

    if (config_load(&config, 2, words, environ, &err) < 0) {
        (void)fail(o, CTL_USAGE, "%s (with -s SOCKET no settings are read)", err.text);
        return NULL;
    }
    bool is_relative = config.control_socket && config.control_socket[0] != '/';
    char *path = NULL;
    if (!config.control_socket)
        (void)fail(o, CTL_USAGE,
                   "no control socket: give -s SOCKET, or set control_socket in "
                   "gunicorn-c.yaml or GCORN_CONTROL_SOCKET");
    else if (is_relative && config.chdir)
        path = xasprintf("%s/%s", config.chdir, config.control_socket);
    else
        path = xstrdup(config.control_socket);
    config_release(&config);
    return path;
}

/* Prints the answer: one line, whose first member tells the outcome. An answer that is cut, because
 * the server died, counts as none. */
static int show_json(const struct options *o, const struct strbuf *answer)
{
    static const char begin[] = "{\"ok\": ", done[] = "{\"ok\": true", end[] = "}\n";
    size_t len = answer->len, end_len = strlen(end);
    bool is_whole = strncmp(answer->data, begin, strlen(begin)) == 0 && len > end_len &&
                    memchr(answer->data, '\n', len) == answer->data + len - 1 &&
                    strcmp(answer->data + len - end_len, end) == 0;

    if (!is_whole)
        return fail(o, CTL_UNREACHABLE, "the answer is not a whole line of JSON");
    (void)fwrite(answer->data, 1, len, stdout); /* main asks ferror */
    return strncmp(answer->data, done, strlen(done)) == 0 ? CTL_DONE : CTL_REFUSED;
}

#ifdef HAVE_JANSSON

static int show_words(const struct options *o, const struct command *c, const struct strbuf *answer)
{
    struct strbuf text = {0};
    int status = (int)show_answer(&text, c->word, answer);

    if (status != CTL_DONE)
        (void)fail(o, status, "%s", text.data);
    else if (text.data)
        (void)fwrite(text.data, 1, text.len, stdout);
    strbuf_release(&text);
    return status;
}

static bool wants_screen(const struct command *c, const struct options *o)
{
    return strcmp(c->word, "top") == 0 && !o->once && !o->as_json && top_has_terminal();
}

static int run_top(const struct options *o, const char *path)
{
    const char *no_colour = getenv("NO_COLOR");
    struct error err;
    int status = top_run(path, !no_colour || *no_colour == '\0', &err);

    return status == CTL_DONE ? status : fail(o, status, "%s", err.text);
}

#endif

static int run(const char *path, const struct command *c, const struct options *o)
{
#ifdef HAVE_JANSSON
    if (wants_screen(c, o))
        return run_top(o, path);
#endif
    char *line = line_of(c, o);
    const struct question question = {
        .path = path, .line = line, .timeout_ms = o->timeout_ms, .takes_long = c->takes_long};
    struct strbuf answer = {0};
    struct error err;
    int status = CTL_UNREACHABLE;

    if (ask(&question, &answer, &err) < 0)
        (void)fail(o, status, "%s", err.text);
    else if (o->as_json)
        status = show_json(o, &answer);
#ifdef HAVE_JANSSON
    else
        status = show_words(o, c, &answer);
#endif
    strbuf_release(&answer);
    free(line);
    return status;
}

/* ---- the command line -------------------------------------------------------------------- */

static const char usage[] =
    "usage: gcornctl [-s SOCKET] [--json] [--timeout TIME] COMMAND\n"
    "\n"
    "Commands:\n"
    "  status                show the server, its application and each worker\n"
    "  top                   the same with rates, CPU and memory, every second\n"
    "  config                show every setting, its source and its value at the start\n"
    "  reload                load new settings and code, as HUP; wait for the outcome\n"
    "  workers +N            run N workers more, until a reload; do not wait\n"
    "  workers -N            run N workers fewer\n"
    "  workers set N         run N workers\n"
    "  reopen                reopen the log files, as USR1\n"
    "  dump [PID]            show the stacks of all workers, or of one\n"
    "  upgrade               replace the server by the gcorn that is on disk now, as\n"
    "                        USR2 and then TERM; wait for the outcome\n"
    "  stop                  stop when all requests are answered, as TERM; do not wait\n"
    "\n"
    "Options:\n"
    "  -s, --socket SOCKET   the server's control_socket; without it the one of\n"
    "                        GCORN_CONTROL_SOCKET, of gunicorn-c.yaml in this\n"
    "                        directory, or gcorn.ctl in systemd's RUNTIME_DIRECTORY\n"
    "      --json            print the answer, or an error, as one line of JSON\n"
    "      --once            top: show it once, as always without a terminal\n"
    "      --timeout TIME    how long to wait for the answer (30s, 2m). Default: 10s;\n"
    "                        for reload, dump and upgrade as long as the server\n"
    "                        answers other questions\n"
    "  -v, --version         print the version, and how gcornctl was built, and exit\n"
    "  -h, --help            print this help and exit\n"
    "\n"
    "Exit status: 0 done, 1 the server refused or the command failed, 2 wrong usage,\n"
    "4 the server cannot be reached or does not answer in time.\n";

static int finish(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return fail(&(const struct options){0}, CTL_REFUSED, "cannot write to standard output: %s",
                    strerror(errno));
    return status;
}

static void print_version(void)
{
    struct strbuf text = {0};

    strbuf_addstr(&text, "gcornctl " GCORN_VERSION "\n");
#ifdef HAVE_JANSSON
    strbuf_addstr(&text, "libraries: jansson " JANSSON_VERSION "\n");
#else
    strbuf_addstr(&text, "left out: jansson (the answers are shown with --json alone)\n");
#endif
    build_info_add(&text);
    (void)fputs(text.data, stdout); /* finish asks ferror */
    strbuf_release(&text);
}

/* Returns 0, or -1 after it has printed an error. */
static int add_word(struct options *o, char *word)
{
    if (o->word_count == WORDS_MAX) {
        (void)fail(o, CTL_USAGE, "too many arguments: %s (see --help)", word);
        return -1;
    }
    o->words[o->word_count++] = word;
    return 0;
}

/* Returns 0, or -1 after it has printed an error. */
static int take_option(struct options *o, int option)
{
    switch (option) {
    case 1: return add_word(o, optarg);
    case 's': o->socket_path = optarg; return 0;
    case 'j': o->as_json = true; return 0;
    case 'o': o->once = true; return 0;
    case 't':
        if (text_parse_duration(optarg, &o->timeout_ms) == 0 && o->timeout_ms > 0)
            return 0;
        (void)fail(o, CTL_USAGE, "--timeout must be a duration such as 30s, not %s", optarg);
        return -1;
    case 'v': print_version(); exit(finish(CTL_DONE));
    case 'h': (void)fputs(usage, stdout); exit(finish(CTL_DONE));
    default: return -1; /* getopt has printed an error */
    }
}

/* Reads words and options in any order; -3 is a word. Returns 0, or -1 after it has printed an
 * error. */
static int read_command_line(struct options *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"once", no_argument, NULL, 'o'},
        {"timeout", required_argument, NULL, 't'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };

    while (optind < argc) {
        bool is_number = *argv[optind] == '-' && is_digits(argv[optind] + 1);
        int option = is_number ? 1 : getopt_long(argc, argv, "-s:vh", options, NULL);

        if (is_number)
            optarg = argv[optind++];
        if (option == -1)
            break; /* words alone follow a -- */
        if (take_option(o, option) < 0)
            return -1;
    }
    while (optind < argc) {
        if (add_word(o, argv[optind++]) < 0)
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {0};

    if (read_command_line(&o, argc, argv) < 0)
        return finish(CTL_USAGE);
    const struct command *command = find_command(&o);
    if (!command)
        return finish(CTL_USAGE);
    if (o.once && strcmp(command->word, "top") != 0)
        return finish(fail(&o, CTL_USAGE, "--once is an option of top"));
#ifndef HAVE_JANSSON
    if (!o.as_json)
        return finish(fail(&o, CTL_USAGE, "built without jansson: only --json works"));
#endif
    char *path = o.socket_path ? xstrdup(o.socket_path) : find_socket(&o);
    if (!path)
        return finish(CTL_USAGE);
    int status = run(path, command, &o);
    free(path);
    return finish(status);
}
