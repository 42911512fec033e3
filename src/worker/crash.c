/* SPDX-License-Identifier: MIT
 *
 * See crash.h. Everything under on_fatal and on_exit_called is async-signal-safe. Its own faults
 * end the process at once, for all signals are blocked in it; its own delays end by SIGALRM.
 */
#include "worker/crash.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "worker/replay.h"
#include "worker/worker.h"

enum {
    ALT_STACK_SIZE = 64 * 1024,
    LINGER_MS = 50,        /* for clients to take their answers and to send what is on its way */
    ROUND_NS = 500 * 1000, /* between two looks at all connections */
    STACKS_MS = 3000,      /* for the master to take the stacks */
    DEADLINE_S = 6,        /* for all of it */
    PARK_MS = 20,          /* for the worker's other threads to come to a stand */
    NO_CALL = -1,
};

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGTRAP, SIGABRT};

/* How far a connection is on its way out. */
enum last_step {
    LAST_DONE,
    LAST_FLUSH,  /* its last bytes are being sent */
    LAST_WATCH,  /* it has nothing; perhaps a request is on its way */
    LAST_LINGER, /* our side is closed: reads on, so that nothing is reset */
};

struct last_words {
    enum last_step step;
    bool is_turned_away; /* its request is told 503 */
    int status;          /* of the answer that they are */
    bool ends;           /* the connection, behind them */
    bool resets;         /* the connection, instead of ending it in an orderly way */
    const char *text[2]; /* behind what was unsent */
    size_t left[2];
};

/* Apart from the heap, which may be broken by the time that it is needed. */
static struct {
    struct worker *worker;
    struct slot *slot;
    struct conn *conns;
    size_t max_conns;
    struct last_words *last; /* one a connection; no memory until it is written */
    struct channel channel;
    void (*abort_hook)(void);
    pid_t pid, master_pid;
    struct sigaction before[ARRAY_LEN(fatal_signals)];
    bool said_stolen, said_blocked;
    siginfo_t held; /* of worker->held_signal */
    _Atomic bool expects_exit;
    _Atomic pid_t dying;     /* the thread that sees to it; 0: none */
    _Atomic unsigned parked; /* threads that stand still for it */
} self;

/* ---- the clients ------------------------------------------------------------------------- */

#define CANNED(status, text)                                                                       \
    "HTTP/1.1 " status "\r\nServer: gcorn\r\nConnection: close\r\nContent-Type: text/plain; "      \
    "charset=utf-8\r\n" text

static const struct canned {
    int status;
    const char *head, *body;
} canned[] = {
    {500, CANNED("500 Internal Server Error", "Content-Length: 26\r\n\r\n"),
     "500 Internal Server Error\n"},
    /* no body: nobody knows whether it is asked by HEAD */
    {503, CANNED("503 Service Unavailable", "Retry-After: 0\r\nContent-Length: 0\r\n\r\n"), ""},
    {504, CANNED("504 Gateway Timeout", "Content-Length: 20\r\n\r\n"), "504 Gateway Timeout\n"},
};

enum { CANNED_500, CANNED_503, CANNED_504 };

static struct last_words *last_of(const struct conn *c)
{
    return &self.last[c - self.conns];
}

/* Its answer, behind what is unsent. */
static void add_canned(struct conn *c, unsigned which)
{
    struct last_words *last = last_of(c);

    last->status = canned[which].status;
    last->text[0] = canned[which].head;
    last->text[1] = c->is_head ? "" : canned[which].body;
    last->left[0] = strlen(last->text[0]);
    last->left[1] = strlen(last->text[1]);
    last->ends = true;
    last->step = LAST_FLUSH;
}

/* Of an answer that has not begun: what was being put together for it. */
static void take_back(struct conn *c)
{
    if (c->out.len > c->whole_len)
        c->out.len = c->whole_len;
    c->piece_len = 0;
}

/* A request that was not run, or whose answer waits for the application. */
static void turn_away(struct conn *c)
{
    if (c->runs)
        take_back(c);
    add_canned(c, CANNED_503);
    last_of(c)->is_turned_away = true;
    self.slot->crash.others_answered++;
}

/* An answer that has begun and cannot go on. */
static void cut(struct conn *c)
{
    struct last_words *last = last_of(c);

    last->ends = true;
    last->resets = c->close_delimited;
    last->step = LAST_FLUSH;
}

static void begin_crashed(struct conn *c, bool is_timeout)
{
    struct slot_crash *crash = &self.slot->crash;

    if (c->answer_begun) {
        cut(c);
        crash->client = c->close_delimited ? CRASH_CLIENT_RESET : CRASH_CLIENT_CUT;
        return;
    }
    take_back(c);
    add_canned(c, is_timeout ? CANNED_504 : CANNED_500);
    crash->client = CRASH_CLIENT_LOST; /* until it is sent */
    crash->client_status = is_timeout ? 504 : 500;
}

static bool has_unsent(const struct conn *c)
{
    return c->out_sent < c->out.len || c->piece_len > 0;
}

static void begin_other(struct conn *c)
{
    last_of(c)->step = LAST_WATCH;
    if (c->state == CONN_LINGER) {
        last_of(c)->step = LAST_LINGER;
    } else if (c->runs && !c->answer_begun) {
        turn_away(c); /* it waits for the application */
    } else if (c->runs && c->more) {
        cut(c);
        self.slot->crash.others_cut++;
    } else if (!c->runs && ((c->env && c->state != CONN_CALLING) || c->in.len > 0)) {
        turn_away(c);
    } else if (has_unsent(c)) {
        last_of(c)->step = LAST_FLUSH;
    }
}

static void finish(struct conn *c)
{
    (void)close(c->fd);
    last_of(c)->step = LAST_DONE;
}

/* Takes n bytes off the front of the four pieces that send_rest sends. */
static void mark_sent(struct conn *c, const struct iovec *iov, size_t n)
{
    struct last_words *last = last_of(c);
    size_t parts[4];

    self.slot->counts.bytes_out += n;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        parts[i] = n < iov[i].iov_len ? n : iov[i].iov_len;
        n -= parts[i];
    }
    c->out_sent += parts[0];
    c->piece += parts[1];
    c->piece_len -= parts[1];
    for (size_t i = 0; i < 2; i++) {
        last->text[i] += parts[2 + i];
        last->left[i] -= parts[2 + i];
    }
}

/* Bytes of answers, in order: what was unsent, and the last words. 1: all gone, 0: the socket is
 * full, -1: the client is. */
static int send_rest(struct conn *c)
{
    const struct last_words *last = last_of(c);

    for (;;) {
        struct iovec iov[4] = {{c->out.data + c->out_sent, c->out.len - c->out_sent},
                               {(void *)(uintptr_t)c->piece, c->piece_len},
                               {(void *)(uintptr_t)last->text[0], last->left[0]},
                               {(void *)(uintptr_t)last->text[1], last->left[1]}};
        const struct msghdr message = {.msg_iov = iov, .msg_iovlen = ARRAY_LEN(iov)};

        if (iov[0].iov_len + iov[1].iov_len + iov[2].iov_len + iov[3].iov_len == 0)
            return 1;
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            mark_sent(c, iov, (size_t)n);
        else if (errno != EINTR)
            return errno == EAGAIN ? 0 : -1;
    }
}

static void reset(struct conn *c)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    finish(c);
}

static void flush(struct conn *c, const struct conn *crashed)
{
    struct last_words *last = last_of(c);
    int sent = send_rest(c);

    if (sent == 0)
        return;
    if (c == crashed && sent > 0 && self.slot->crash.client == CRASH_CLIENT_LOST)
        self.slot->crash.client = CRASH_CLIENT_ANSWERED;
    if (sent < 0)
        finish(c);
    else if (last->resets)
        reset(c);
    else if (!last->ends && !c->closing)
        last->step = LAST_WATCH;
    else if (shutdown(c->fd, SHUT_WR) < 0)
        finish(c);
    else
        last->step = LAST_LINGER;
}

/* Reads what there is and throws it away. */
static void take(struct conn *c)
{
    static char waste[16 * 1024];
    ssize_t n;

    while ((n = recv(c->fd, waste, sizeof(waste), MSG_DONTWAIT)) > 0) {
        if (last_of(c)->step == LAST_WATCH)
            turn_away(c);
    }
    if ((n == 0 || (errno != EAGAIN && errno != EINTR)) && last_of(c)->step != LAST_FLUSH)
        finish(c);
}

static uint64_t clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static size_t table_used(void)
{
    size_t used = self.worker->table_used;

    return used < self.max_conns ? used : self.max_conns;
}

static bool is_in_call(unsigned i)
{
    return atomic_load(&self.slot->calls[i].started_ms) != 0;
}

/* Has the application said all that its answer begins with, and the answer is not there yet? */
static bool is_being_made(const struct conn *c)
{
    return !self.worker->pool && !c->answer_begun && !conn_is_waiting(c);
}

/* The connection whose request is in the application's hands in that place of the slot's calls, or
 * was just now: what it did to the heap shows when its answer is put together. NULL when there is
 * none. */
static const struct conn *served_by(unsigned i)
{
    const struct worker *w = self.worker;
    const struct conn *c = w->pool ? pool_serving(w->pool, i) : w->serving;
    bool is_one = c >= self.conns && c < self.conns + table_used();

    return is_one && c->runs && (is_in_call(i) || is_being_made(c)) ? c : NULL;
}

static unsigned call_count(void)
{
    return self.worker->pool ? pool_count(self.worker->pool) : 1;
}

/* Is it among the calls for which the master ends the worker? (plan_judge) */
static bool is_too_long(const struct conn *c)
{
    uint64_t now = clock_ns() / 1000000, timeout = self.worker->config->timeout_ms;

    for (unsigned i = 0; i < call_count(); i++) {
        const struct slot_call *call = &self.slot->calls[i];
        uint64_t started = atomic_load(&call->started_ms);

        if (served_by(i) == c)
            return timeout > 0 && now > started && now - started > timeout &&
                   atomic_load(&call->until_ms) <= now;
    }
    return false;
}

static void count_answers(uint32_t status, uint32_t count)
{
    self.slot->counts.by_status[status - SLOT_STATUS_MIN] += count;
    self.slot->counts.requests += count;
}

/* One more that takes too long. */
static void time_out(struct conn *c)
{
    add_canned(c, CANNED_504);
    count_answers(504, 1);
}

static void begin_all(const struct conn *crashed, bool is_timeout)
{
    for (size_t i = 0; i < table_used(); i++) {
        struct conn *c = &self.conns[i];

        if (c->state == CONN_FREE || c->fd < 0)
            continue;
        if (c->state == CONN_CALLING) { /* what is there is half made; nothing else is unsent */
            c->out = (struct strbuf){0};
            c->out_sent = c->piece_len = 0;
            c->more = c->runs;
        }
        if (c == crashed)
            begin_crashed(c, is_timeout);
        else if (is_timeout && c->runs && !c->answer_begun && is_too_long(c))
            time_out(c);
        else
            begin_other(c);
    }
}

/* One look at every connection. How many are not done. */
static size_t serve_all(const struct conn *crashed)
{
    size_t left = 0;

    for (size_t i = 0; i < table_used(); i++) {
        struct conn *c = &self.conns[i];

        if (last_of(c)->step == LAST_WATCH || last_of(c)->step == LAST_LINGER)
            take(c);
        if (last_of(c)->step == LAST_FLUSH)
            flush(c, crashed);
        left += last_of(c)->step != LAST_DONE;
    }
    return left;
}

/* Time is over. Who still has not taken a close-delimited answer must not think it whole. */
static void abandon_all(void)
{
    for (size_t i = 0; i < table_used(); i++) {
        struct conn *c = &self.conns[i];

        if (last_of(c)->step == LAST_FLUSH && !last_of(c)->ends)
            self.slot->crash.others_cut++;
        if (last_of(c)->step == LAST_FLUSH &&
            (last_of(c)->resets || (c->runs && c->close_delimited)))
            reset(c);
        else if (last_of(c)->step == LAST_WATCH)
            (void)shutdown(c->fd, SHUT_WR);
    }
}

static void answer_clients(const struct conn *crashed, bool is_timeout)
{
    const struct timespec pause = {.tv_nsec = ROUND_NS};
    uint64_t until_ns = clock_ns() + LINGER_MS * UINT64_C(1000000);

    begin_all(crashed, is_timeout);
    while (serve_all(crashed) > 0 && clock_ns() < until_ns)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    abandon_all();
}

/* ---- the facts --------------------------------------------------------------------------- */

static void note_registers(struct slot_crash *crash, const void *context)
{
    const ucontext_t *uc = context;

#if defined(__x86_64__)
    crash->ip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    crash->sp = (uint64_t)uc->uc_mcontext.gregs[REG_RSP];
    crash->fp = (uint64_t)uc->uc_mcontext.gregs[REG_RBP];
#elif defined(__aarch64__)
    crash->ip = uc->uc_mcontext.pc;
    crash->sp = uc->uc_mcontext.sp;
    crash->fp = uc->uc_mcontext.regs[29];
#else
    (void)uc;
#endif
    /* reads itself like a stranger: sp may point anywhere, and a fault here would be the last */
    struct iovec to = {crash->stack, sizeof(crash->stack)};
    struct iovec from = {(void *)(uintptr_t)crash->sp, sizeof(crash->stack)};
    ssize_t n = crash->sp != 0 ? process_vm_readv(self.pid, &to, 1, &from, 1, 0) : 0;
    crash->stack_len = n > 0 ? (uint32_t)n : 0;
}

static void note_signal(const siginfo_t *info, const void *context)
{
    struct slot_crash *crash = &self.slot->crash;
    bool is_fault = info->si_code > 0 && info->si_code != SI_KERNEL;

    crash->signal = info->si_signo;
    crash->code = info->si_code;
    crash->sender = info->si_code <= 0 ? info->si_pid : 0;
    crash->address = is_fault ? (uint64_t)(uintptr_t)info->si_addr : 0;
    note_registers(crash, context);
}

/* ---- dying ------------------------------------------------------------------------------- */

static pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* Which of the slot's calls is to blame; NO_CALL: none. Whatever its thread, it is the only one of
 * a worker without a pool. With one it is the thread's own, or the one that has lasted too long. */
static int find_call(bool is_timeout)
{
    const struct pool *p = self.worker->pool;
    int found = p ? NO_CALL : 0;
    uint64_t oldest_ms = UINT64_MAX;

    for (unsigned i = 0; p && i < pool_count(p); i++) {
        uint64_t started_ms = atomic_load(&self.slot->calls[i].started_ms);

        if (!is_timeout && pool_thread_id(p, i) == thread_id())
            return (int)i;
        if (is_timeout && started_ms != 0 && started_ms < oldest_ms) {
            oldest_ms = started_ms;
            found = (int)i;
        }
    }
    return found;
}

static void __attribute__((noreturn)) stand_still(void)
{
    for (;;)
        (void)pause();
}

static unsigned park(pid_t thread)
{
    if (thread == 0 || thread == thread_id()) /* 0: it has not begun yet */
        return 0;
    return syscall(SYS_tgkill, self.pid, thread, SIGABRT) == 0;
}

/* The loop's thread must not touch the connections meanwhile, nor the pool's their requests. */
static void park_others(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    const struct pool *p = self.worker->pool;
    unsigned told = park(self.pid);

    for (unsigned i = 0; p && i < pool_count(p); i++)
        told += park(pool_thread_id(p, i));
    for (int ms = 0; ms < PARK_MS && atomic_load(&self.parked) < told; ms++)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
}

/* A clock that ends us whatever happens, as the master would a little later. */
static void set_deadline(void)
{
    sigset_t alarm_only;

    (void)signal(SIGALRM, SIG_DFL);
    (void)sigemptyset(&alarm_only);
    (void)sigaddset(&alarm_only, SIGALRM);
    (void)sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
    (void)alarm(DEADLINE_S);
}

/* The master takes the stacks, says so, or is gone. */
static void wait_for_stacks(void)
{
    struct pollfd orders = {.fd = self.channel.down_worker, .events = POLLIN};
    uint64_t until_ns = clock_ns() + STACKS_MS * UINT64_C(1000000), now;
    struct down_message message;

    while ((now = clock_ns()) < until_ns) {
        if (poll(&orders, 1, (int)((until_ns - now) / 1000000) + 1) < 0 && errno != EINTR)
            return;
        int got = channel_recv_down(self.channel.down_worker, &message);
        if (got < 0 || (got > 0 && message.type == DOWN_GO))
            return;
    }
}

/* True for the one thread that sees to it; the others stand still. False when that one falls again:
 * in what exit() calls behind us, or over what the application has broken. */
static bool claim(void)
{
    pid_t other = 0;

    if (!atomic_compare_exchange_strong(&self.dying, &other, thread_id())) {
        if (other == thread_id())
            return false;
        atomic_fetch_add(&self.parked, 1);
        stand_still();
    }
    set_deadline();
    park_others();
    return true;
}

static void count_last_answers(void)
{
    const struct slot_crash *crash = &self.slot->crash;

    if (crash->client == CRASH_CLIENT_ANSWERED)
        count_answers(crash->client_status, 1);
    count_answers(503, crash->others_answered);
}

/* The crashed request as a file. The pointers to it may be broken, so this is the last act: a fault
 * ends it, and only this is lost. */
static void save_request(const struct conn *crashed)
{
    char name[SLOT_FILE_NAME_SIZE];

    if (self.worker->crash_dir_fd < 0 || !crashed || !crashed->env)
        return;
    slot_file_name(self.slot, &self.slot->calls[self.slot->crash.call], name);
    self.slot->crash.saved = replay_save(self.worker->crash_dir_fd, name, &crashed->env->request,
                                         self.worker->config->crash_redact) == 0;
}

/* ---- the access log: of everything that will not end by itself --------------------------- */

static void count_answer(int status)
{
    if (status >= SLOT_STATUS_MIN && status <= SLOT_STATUS_MAX)
        count_answers((uint32_t)status, 1);
}

/* Its answer may be whole by now. */
static void log_answer(const struct conn *c, const char *ended, int told)
{
    struct response *r = &c->env->response;

    if (!c->answer_begun)
        r->status = told;
    else
        count_answer(r->status);
    r->ended = c->answer_begun && !c->more && !has_unsent(c) ? r->ended : ended;
    accesslines_add(&self.worker->access_lines, c->env, clock_ns() - c->request_ns);
}

/* A request that was not run, of which often nothing is known. */
static void log_turned_away(const struct conn *c, const char *ended)
{
    static struct gcorn_environ unread;
    struct gcorn_environ *env = c->env;

    if (!env) {
        env = &unread;
        environ_init(env, &self.worker->http, &c->peer.seen, 0);
    }
    env->response.status = 503;
    env->response.ended = ended;
    accesslines_add(&self.worker->access_lines, env, c->env ? clock_ns() - c->request_ns : 0);
}

/* Its line is written, so the master need not do that. */
static void forget_answers(const struct conn *c)
{
    for (unsigned i = 0; i < call_count(); i++) {
        if (!self.worker->pool || served_by(i) == c)
            self.slot->calls[i].answers = 0;
    }
}

/* What it needs may be broken: the one that crashed comes first, and if even that fails its line is
 * left to the master. */
static void log_all(const struct conn *crashed, bool is_timeout)
{
    const char *ended = is_timeout ? "timeout" : "crash";
    int status = is_timeout ? 504 : 500;

    accesslines_take_back(&self.worker->access_lines); /* its answer is one of those below */
    if (crashed && crashed->env)
        log_answer(crashed, ended, status);
    forget_answers(crashed);
    for (size_t i = 0; i < table_used(); i++) {
        const struct conn *c = &self.conns[i];

        if (c->state == CONN_FREE || c == crashed)
            continue;
        if (c->runs && c->env) {
            log_answer(c, ended, last_of(c)->status);
            forget_answers(c);
        } else if (last_of(c)->is_turned_away) {
            log_turned_away(c, ended);
        }
    }
}

static void die(bool is_timeout)
{
    struct slot_crash *crash = &self.slot->crash;
    int call = find_call(is_timeout);
    const struct conn *crashed = call == NO_CALL ? NULL : served_by((unsigned)call);

    crash->call = call;
    crash->tid = thread_id();
    crash->at_ms = clock_ns() / 1000000;
    crash->answered = self.slot->counts.requests;
    /* when it is counted, what runs comes behind its answer */
    if (call != NO_CALL && is_in_call((unsigned)call) && !self.slot->calls[call].answers)
        crash->answered--;
    atomic_store_explicit(&crash->stage, CRASH_BEGUN, memory_order_release);
    /* a replacement can start now; when the pipe is full, our death will tell */
    (void)channel_send_up(self.channel.up_write, UP_DYING, NULL);
    answer_clients(crashed, is_timeout);
    count_last_answers();
    atomic_store_explicit(&crash->stage, CRASH_ANSWERED, memory_order_release);
    bool explains = !is_timeout && channel_send_up(self.channel.up_write, UP_CRASHED, NULL) == 0;
    if (explains)
        wait_for_stacks();
    save_request(crashed);
    log_all(crashed, is_timeout);
}

/* Who had the signal before has it again. */
static void give_back(int signal_number)
{
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++) {
        if (fatal_signals[i] == signal_number)
            (void)sigaction(signal_number, &self.before[i], NULL);
    }
}

static bool is_from_master(const siginfo_t *info)
{
    return info->si_signo == SIGABRT && info->si_code == SI_USER && info->si_pid == self.master_pid;
}

/* A signal that was sent comes at any time, not only at a bad one for us. True: it will be raised
 * again in a moment. */
static bool hold(const siginfo_t *info)
{
    struct worker *w = self.worker;

    if (info->si_code > 0 || thread_id() != self.pid || !w->is_sending)
        return false;
    self.held = *info;
    w->held_signal = info->si_signo;
    return true;
}

void crash_take_held(void)
{
    (void)raise(self.worker->held_signal);
    self.worker->held_signal = 0;
}

static void on_fatal(int signal_number, siginfo_t *info, void *context)
{
    int saved_errno = errno;

    if (getpid() == self.pid) {
        if (hold(info))
            return;
        if (thread_id() == self.pid && self.worker->held_signal == signal_number)
            info = &self.held;
        bool is_timeout = is_from_master(info);

        if (claim()) {
            note_signal(info, context);
            die(is_timeout);
        }
        if (is_timeout) {
            if (self.abort_hook)
                self.abort_hook();
            _exit(EXIT_FAILED);
        }
    }
    give_back(signal_number);
    errno = saved_errno;
    if (info->si_code <= 0) /* it was sent, so nothing will raise it anew */
        (void)raise(signal_number);
}

/* The application called exit(): its request is over, and so is the worker. */
static void on_exit_called(int status, void *unused)
{
    (void)unused;
    if (getpid() != self.pid || atomic_load(&self.expects_exit) || !claim())
        return;
    self.slot->crash.signal = 0;
    self.slot->crash.code = status;
    die(false);
}

/* ---- init -------------------------------------------------------------------------------- */

void crash_expect_exit(void)
{
    atomic_store(&self.expects_exit, true);
}

/* A stack of its own, with a page under it that nobody can write: the thread's may be what is full.
 * Threads of the application have none, and use their own. */
static void set_alt_stack(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *map = mmap(NULL, page + ALT_STACK_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED)
        return;
    (void)mprotect(map, page, PROT_NONE);
    const stack_t stack = {.ss_sp = map + page, .ss_size = ALT_STACK_SIZE};
    (void)sigaltstack(&stack, NULL);
}

void crash_init_thread(void)
{
    set_alt_stack();
}

void crash_spare_fatal(sigset_t *blocked)
{
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++)
        (void)sigdelset(blocked, fatal_signals[i]);
}

void crash_init(struct worker *w)
{
    struct sigaction action = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    self.worker = w;
    self.slot = w->slot;
    self.conns = w->conns;
    self.max_conns = w->max_conns;
    self.channel = w->args->channel;
    self.abort_hook = w->app.on_worker_abort;
    self.pid = getpid();
    self.master_pid = w->args->master_pid;
    self.last = mmap(NULL, w->max_conns * sizeof(*self.last), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (self.last == MAP_FAILED)
        fatal("cannot map a table of %zu connections: %s", w->max_conns, strerror(errno));
    (void)sigfillset(&action.sa_mask);
    set_alt_stack();
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++)
        (void)sigaction(fatal_signals[i], &action, &self.before[i]); /* the numbers are valid */
    (void)on_exit(on_exit_called, NULL); /* else it is reported as _exit is */
}

void crash_check(void)
{
    struct sigaction now;
    sigset_t blocked, fatal;
    bool is_blocked = false;

    (void)sigemptyset(&fatal);
    if (pthread_sigmask(SIG_BLOCK, NULL, &blocked) != 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++) {
        (void)sigaddset(&fatal, fatal_signals[i]);
        is_blocked = is_blocked || sigismember(&blocked, fatal_signals[i]) == 1;
    }
    if (is_blocked) {
        (void)pthread_sigmask(SIG_UNBLOCK, &fatal, NULL);
        if (!self.said_blocked)
            log_warnx("The application had blocked fatal signals: unblocked, so that a crash is "
                      "answered and explained");
        self.said_blocked = true;
    }
    bool is_stolen = sigaction(SIGSEGV, NULL, &now) == 0 &&
                     (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_fatal);
    if (is_stolen && !self.said_stolen) {
        log_warnx("The application has its own handler of SIGSEGV now: clients of a crash are not "
                  "answered. Install it in gcorn_on_worker_init, and it runs behind gcorn's");
        self.said_stolen = true;
    }
}
