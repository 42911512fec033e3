/* SPDX-License-Identifier: MIT
 *
 * See top.h. One loop waits for keys, signals and the answer of the server, so q also works when
 * the server hangs. An error of the server stays in the last line until a server answers again.
 *
 * Signals are blocked and read from a signalfd: so they cannot end the process while the terminal
 * is half restored.
 */
#include "ctl/top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "ctl/ask.h"
#include "ctl/show.h"

enum {
    REFRESH_MS = 1000,
    ANSWER_MS = 3000, /* then the screen shows an error, and the next question is sent */
    RUNNING = -1,
    HEIGHT_MIN = 2,
};

/* Switches to the alternate screen, without cursor, with lines cut instead of wrapped; and back. */
static const char enter_screen[] = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
static const char leave_screen[] = "\x1b[?7h\x1b[?25h\x1b[?1049l";

struct top {
    const char *path;
    bool has_colour;
    enum top_order order;
    struct termios found; /* the terminal's settings before */
    sigset_t mask_found;
    int signal_fd;
    int asked_fd;         /* -1: no answer is awaited */
    struct strbuf answer; /* the last whole one */
    struct strbuf partial;
    struct error server_error; /* text "": none */
    uint64_t next_ms;          /* when to ask */
    uint64_t deadline_ms;      /* of the answer */
    int status;                /* to end with, or RUNNING */
    int signal_number;         /* to end by; 0: none */
};

bool top_has_terminal(void)
{
    const char *name = getenv("TERM");

    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && name && *name &&
           strcmp(name, "dumb") != 0;
}

/* ---- the terminal ------------------------------------------------------------------------ */

static void put(struct top *t, const char *text, size_t len)
{
    if (write_all(STDOUT_FILENO, text, len) < 0)
        t->status = CTL_REFUSED; /* the terminal has hung up */
}

static void enter(struct top *t)
{
    struct termios raw = t->found;

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* signals by key remain */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw); /* failed: keys need a newline */
    put(t, enter_screen, strlen(enter_screen));
}

static void leave(struct top *t)
{
    put(t, leave_screen, strlen(leave_screen));
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t->found); /* fails when the terminal has hung up */
}

/* ---- drawing ----------------------------------------------------------------------------- */

/* Appends what fits of a line into width columns: a character takes one, an escape sequence none.
 */
static void add_cut(struct strbuf *out, const char *line, size_t len, unsigned width)
{
    unsigned column = 0;

    for (size_t i = 0; i < len; i++) {
        bool is_continuation = ((unsigned char)line[i] & 0xc0) == 0x80;

        if (line[i] == '\x1b') {
            size_t rest = strcspn(line + i, "m");
            size_t sequence = rest < len - i ? rest + 1 : len - i;

            strbuf_add(out, line + i, sequence);
            i += sequence - 1;
        } else {
            column += !is_continuation;
            if (column <= width)
                strbuf_addch(out, line[i]);
        }
    }
    strbuf_addstr(out, "\x1b[K");
}

/* Appends at most height lines of text and returns how many. If there are more, the last one tells
 * how many are missing. */
static unsigned add_lines(struct strbuf *out, const char *text, unsigned height, unsigned width)
{
    unsigned all = 0, shown = 0;

    for (const char *p = text; *p; p++)
        all += *p == '\n';
    for (; shown < height && *text; shown++) {
        size_t len = strcspn(text, "\n");

        if (shown == height - 1 && all > height) {
            strbuf_addf(out, "... and %u more\x1b[K\r\n", all - shown);
            continue;
        }
        add_cut(out, text, len, width);
        strbuf_addstr(out, "\r\n");
        text += len + (text[len] == '\n');
    }
    return shown;
}

static const char *order_name(enum top_order order)
{
    static const char *const names[] = {
        [TOP_NUMBER] = "number", [TOP_REQUESTS] = "requests",    [TOP_CPU] = "CPU",
        [TOP_MEMORY] = "memory", [TOP_TIME] = "time of request",
    };

    return names[order];
}

static void add_foot(struct strbuf *out, const struct top *t, unsigned width)
{
    struct strbuf foot = {0};

    if (t->server_error.text[0] != '\0')
        strbuf_addf(&foot, "%s%s%s", t->has_colour ? "\x1b[31m" : "", t->server_error.text,
                    t->has_colour ? "\x1b[0m" : "");
    else
        strbuf_addf(&foot,
                    "q quit; sorted by %s; sort by: n number, r requests, c CPU, m memory, t time",
                    order_name(t->order));
    add_cut(out, foot.data, foot.len, width);
    strbuf_release(&foot);
}

static void draw(struct top *t)
{
    struct strbuf text = {0}, frame = {0};
    struct winsize size = {0};
    unsigned height = 24, width = 80;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        height = size.ws_row < HEIGHT_MIN ? HEIGHT_MIN : size.ws_row;
        width = size.ws_col;
    }
    if (show_top(&text, &t->answer, t->order, t->has_colour) != CTL_DONE)
        strbuf_addch(&text, '\n');
    strbuf_addstr(&frame, "\x1b[H");
    for (unsigned line = add_lines(&frame, text.data, height - 1, width); line < height - 1; line++)
        strbuf_addstr(&frame, "\x1b[K\r\n");
    add_foot(&frame, t, width);
    put(t, frame.data, frame.len);
    strbuf_release(&text);
    strbuf_release(&frame);
}

/* ---- asking ------------------------------------------------------------------------------ */

/* Shows the new answer, or the error that it is. */
static void take_answer(struct top *t)
{
    struct strbuf why = {0}, before = t->answer;

    if (show_top(&why, &t->partial, TOP_NUMBER, false) == CTL_DONE) {
        t->answer = t->partial;
        t->partial = before;
        t->server_error.text[0] = '\0';
    } else {
        (void)error_set(&t->server_error, EXIT_FAILED, "%s", why.data);
    }
    strbuf_release(&why);
}

static void begin_question(struct top *t, uint64_t now)
{
    strbuf_reset(&t->partial);
    t->next_ms = now + REFRESH_MS;
    t->deadline_ms = now + ANSWER_MS;
    t->asked_fd = ask_begin(t->path, "status", 0, &t->server_error);
    if (t->asked_fd < 0)
        draw(t);
}

static void read_answer(struct top *t)
{
    int more = ask_more(t->asked_fd, &t->partial);

    if (more > 0)
        return;
    if (more == 0)
        take_answer(t);
    else
        (void)error_set(&t->server_error, EXIT_FAILED, "no answer from the server at %s: %s",
                        t->path, strerror(errno));
    fd_close(&t->asked_fd);
    draw(t);
}

static void give_up(struct top *t)
{
    fd_close(&t->asked_fd);
    (void)error_set(&t->server_error, EXIT_FAILED,
                    "no answer from the server at %s: it does not respond", t->path);
    draw(t);
}

/* ---- keys and signals -------------------------------------------------------------------- */

static void on_key(struct top *t, char key)
{
    static const char keys[] = {[TOP_NUMBER] = 'n',
                                [TOP_REQUESTS] = 'r',
                                [TOP_CPU] = 'c',
                                [TOP_MEMORY] = 'm',
                                [TOP_TIME] = 't'};
    const char *found = memchr(keys, key, sizeof(keys));

    if (key == 'q')
        t->status = CTL_DONE;
    if (!found)
        return;
    t->order = (enum top_order)(found - keys);
    draw(t);
}

static void read_keys(struct top *t)
{
    char keys[32];
    ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0)
        t->status = CTL_DONE; /* the terminal has hung up */
    for (ssize_t i = 0; i < n; i++)
        on_key(t, keys[i]);
}

static void read_signal(struct top *t)
{
    struct signalfd_siginfo info;

    if (read(t->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    switch (info.ssi_signo) {
    case SIGWINCH: draw(t); break;
    case SIGTSTP:
        leave(t);
        (void)raise(SIGSTOP);
        break; /* SIGCONT follows */
    case SIGCONT:
        enter(t);
        draw(t);
        break;
    default: t->status = CTL_DONE; t->signal_number = (int)info.ssi_signo;
    }
}

/* ---- life -------------------------------------------------------------------------------- */

static void wait_and_act(struct top *t)
{
    uint64_t now = now_ms();

    if (t->asked_fd >= 0 && now >= t->deadline_ms)
        give_up(t);
    if (t->asked_fd < 0 && now >= t->next_ms)
        begin_question(t, now);
    uint64_t at = t->asked_fd >= 0 ? t->deadline_ms : t->next_ms;
    struct pollfd fds[] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = t->signal_fd, .events = POLLIN},
        {.fd = t->asked_fd, .events = POLLIN}, /* -1 is ignored */
    };
    if (poll(fds, ARRAY_LEN(fds), at > now ? (int)(at - now) : 0) <= 0)
        return;
    if (fds[1].revents != 0)
        read_signal(t);
    if (fds[0].revents != 0)
        read_keys(t);
    if (fds[2].revents != 0)
        read_answer(t);
}

static int block_signals(struct top *t)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};
    sigset_t mine;

    (void)sigemptyset(&mine);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaddset(&mine, numbers[i]);
    (void)sigprocmask(SIG_BLOCK, &mine, NULL);
    t->signal_fd = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
    return t->signal_fd;
}

/* The first answer comes before the screen: an error is then printed like that of other commands.
 */
static int first_answer(struct top *t, struct error *err)
{
    const struct question q = {.path = t->path, .line = "status"};
    struct strbuf text = {0};

    if (ask(&q, &t->answer, err) < 0)
        return CTL_UNREACHABLE;
    int status = (int)show_top(&text, &t->answer, TOP_NUMBER, false);
    if (status != CTL_DONE)
        (void)error_set(err, EXIT_FAILED, "%s", text.data);
    strbuf_release(&text);
    return status;
}

static void run(struct top *t)
{
    enter(t);
    draw(t);
    t->next_ms = now_ms() + REFRESH_MS;
    while (t->status == RUNNING)
        wait_and_act(t);
    leave(t);
}

int top_run(const char *path, bool has_colour, struct error *err)
{
    struct top t = {
        .path = path, .has_colour = has_colour, .signal_fd = -1, .asked_fd = -1, .status = RUNNING};
    (void)sigprocmask(SIG_SETMASK, NULL, &t.mask_found);
    int status = first_answer(&t, err);
    if (status == CTL_DONE && (tcgetattr(STDIN_FILENO, &t.found) < 0 || block_signals(&t) < 0)) {
        (void)error_set(err, EXIT_FAILED, "cannot use the terminal: %s", strerror(errno));
        status = CTL_REFUSED;
    } else if (status == CTL_DONE) {
        run(&t);
        status = t.status;
    }
    fd_close(&t.asked_fd);
    fd_close(&t.signal_fd);
    strbuf_release(&t.answer);
    strbuf_release(&t.partial);
    (void)sigprocmask(SIG_SETMASK, &t.mask_found, NULL);
    if (t.signal_number != 0)
        (void)raise(t.signal_number);
    return status;
}
