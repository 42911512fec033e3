/* SPDX-License-Identifier: MIT
 *
 * See crash.h. Everything under on_fatal and on_exit_called is async-signal-safe. Its own faults
 * end the process at once, for all signals are blocked in it; its own delays end by SIGALRM.
 */
#include "worker/crash/crash.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/compat.h"
#include "base/log.h"
#include "base/util.h"
#include "worker/accept/accept.h"
#include "worker/call/call.h"
#include "worker/crash/crash_file.h"
#include "worker/crash/farewell.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

enum {
    ALT_STACK_SIZE = 64 * 1024,
    STACKS_MS = 7000, /* for the master to take the stacks; many workers may crash at once */
    DEADLINE_S = 9,   /* in all; the master gives it more (CRASH_MS in crashes.c) */
    PARK_MS = 20,     /* for the other threads of the worker to stop */
    REST_MS = 250,    /* for the loop's thread to finish the callback it is in */
    NO_CALL = -1,
};

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGTRAP, SIGABRT};

/* Apart from the heap, which may be broken by the time that it is needed. */
static struct {
    struct worker *worker;
    struct slot *slot;
    struct channel channel;
    void (*abort_hook)(void);
    pid_t pid, master_pid;
    struct sigaction before[ARRAY_LEN(fatal_signals)];
    bool said_stolen, said_blocked;
    siginfo_t held; /* of worker->held_signal */
    _Atomic bool expects_exit;
    _Atomic pid_t dying;           /* the thread that sees to it; 0: none */
    _Atomic unsigned parked;       /* threads that stand still for it */
    _Atomic bool hurries;          /* the loop's thread has not come to an end in time */
    volatile sig_atomic_t is_over; /* all is done, and the signal has its course */
} self;

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
 * a worker that calls on the loop's. Else it is the thread's own (of the loop's a callback that
 * runs), or the one that has lasted too long. */
static int find_call(bool is_timeout)
{
    unsigned threads = call_thread_count(self.worker);
    int found = threads > 0 ? NO_CALL : 0;
    uint64_t oldest_ms = UINT64_MAX;

    for (unsigned i = 0; threads > 0 && i <= threads; i++) {
        uint64_t started_ms = slot_call_started_ms(&self.slot->calls[i]);

        if (!is_timeout && call_thread_id(self.worker, i) == thread_id())
            return i == threads && started_ms == 0 ? NO_CALL : (int)i;
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

static bool wait_parked(unsigned told, int ms)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (; ms > 0 && atomic_load(&self.parked) < told; ms--)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    return atomic_load(&self.parked) >= told;
}

/* The loop's thread must not touch the connections meanwhile, nor the pool's their requests. The
 * loop's comes first and ends what it does: it may have read a request of which nothing shows yet,
 * and may need what a thread of the pool holds. */
static void park_others(void)
{
    unsigned threads = call_thread_count(self.worker), told = park(self.pid);

    if (threads > 0 && !wait_parked(told, REST_MS)) {
        atomic_store(&self.hurries, true);
        (void)park(self.pid);
    }
    for (unsigned i = 0; i < threads; i++)
        told += park(call_thread_id(self.worker, i));
    (void)wait_parked(told, PARK_MS);
}

/* An alarm ends the process whatever happens, a little before the master would. */
static void set_deadline(void)
{
    sigset_t alarm_only;

    (void)signal(SIGALRM, SIG_DFL);
    (void)sigemptyset(&alarm_only);
    (void)sigaddset(&alarm_only, SIGALRM);
    (void)sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
    (void)alarm(DEADLINE_S);
}

/* Waits until the master has taken the stacks (DOWN_GO) or is gone. */
static void wait_for_stacks(void)
{
    struct pollfd commands = {.fd = self.channel.down_worker, .events = POLLIN};
    uint64_t until_ns = now_ns() + STACKS_MS * UINT64_C(1000000), now;
    struct down_message message;

    while ((now = now_ns()) < until_ns) {
        if (poll(&commands, 1, (int)((until_ns - now) / 1000000) + 1) < 0 && errno != EINTR)
            return;
        int got = channel_recv_down(self.channel.down_worker, &message);
        if (got < 0 || (got > 0 && message.type == DOWN_GO))
            return;
    }
}

/* True for the first thread that dies; the others stop here for good. False when that thread faults
 * again, in what exit() calls later or over what the application has broken. */
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

/* Saves the crashed request to a file. Late, because the pointers to it may be broken: a fault here
 * loses only the file. */
static void save_request(const struct conn *crashed, int call)
{
    char name[SLOT_FILE_NAME_SIZE];

    if (self.worker->crash_dir_fd < 0 || !crashed || !crashed->h1.env)
        return;
    const struct request *r = &crashed->h1.env->request;
    slot_file_name(self.slot, &self.slot->calls[call], name);
    if (crash_file_save(self.worker->crash_dir_fd, name, r, self.worker->config->crash_redact) == 0)
        self.slot->crash.saved = r->state == REQUEST_DONE && !r->ahead ? SAVED_WHOLE : SAVED_HEAD;
}

static void die(bool is_timeout)
{
    struct slot_crash *crash = &self.slot->crash;
    int call = find_call(is_timeout);
    const struct conn *crashed = call == NO_CALL ? NULL : farewell_served((unsigned)call);

    crash->call = call;
    crash->tid = thread_id();
    (void)prctl(PR_GET_NAME, crash->thread, 0, 0, 0); /* as long as the kernel has it */
    crash->at_ms = now_ms();
    crash->answered = slot_requests(&self.slot->counts);
    /* when it is counted, what runs comes behind its answer */
    if (call != NO_CALL && slot_call_runs(&self.slot->calls[call]) &&
        self.slot->calls[call].request_id != 0 && !self.slot->calls[call].answers)
        crash->answered--;
    atomic_store_explicit(&crash->stage, CRASH_BEGUN, memory_order_release);
    self.worker->draining = true;
    accept_close(self.worker); /* whatever becomes of this process, it takes no more clients */
    /* a replacement can start now; when the pipe is full, our death will tell */
    (void)channel_send_up(self.channel.up_write, UP_DYING, NULL);
    farewell_say(crashed, is_timeout);
    atomic_store_explicit(&crash->stage, CRASH_ANSWERED, memory_order_release);
    bool explains = !is_timeout && channel_send_up(self.channel.up_write, UP_CRASHED, NULL) == 0;
    if (explains)
        wait_for_stacks();
    save_request(crashed, call);
    farewell_log(crashed, is_timeout);
}

/* The handler that had the signal before gets it again. If the application recovers, each of its
 * calls ends in crash_end_recovered, and so does the loop. */
static void let_recover(void)
{
    self.is_over = 1;
    for (unsigned i = 0; i < slot_call_count(self.slot); i++)
        atomic_store(&self.slot->calls[i].until_ms, 1); /* call_leave looks closer */
    ev_break(self.worker->loop, EVBREAK_ALL);           /* it stores a number */
    atomic_store_explicit(&self.slot->crash.stage, CRASH_RETURNED, memory_order_release);
}

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

/* A signal that a process has sent may come while bytes are sent to a client and not yet marked as
 * sent. True: it is held, and raised again after that. */
static bool hold(const siginfo_t *info)
{
    struct worker *w = self.worker;

    if (info->si_code > 0 || thread_id() != self.pid || !w->is_sending)
        return false;
    self.held = *info;
    w->held_signal = info->si_signo;
    return true;
}

/* True: this is the loop's thread, which was told to stop during its work. It goes on to
 * crash_rest. */
static bool goes_on(void)
{
    pid_t dying = atomic_load(&self.dying);

    return thread_id() == self.pid && call_thread_count(self.worker) > 0 && dying != 0 &&
           dying != self.pid && !atomic_load(&self.hurries);
}

void crash_rest(void)
{
    if (atomic_load(&self.dying) != 0)
        (void)claim();
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
        if (goes_on() || hold(info))
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
            _exit(EXIT_FAILED); /* also a child that the hook has forked */
        }
        let_recover();
    }
    give_back(signal_number);
    errno = saved_errno;
    if (info->si_code <= 0) /* it was sent, so nothing will raise it again */
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

/* Gives the signal handler a separate stack with a guard page, because the thread's stack may be
 * what has overflowed. Threads of the application get none: the handler runs on their own stack. */
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

void crash_end_thread(void)
{
    const stack_t none = {.ss_flags = SS_DISABLE};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    stack_t stack;

    if (sigaltstack(&none, &stack) == 0 && stack.ss_size == ALT_STACK_SIZE)
        (void)munmap((char *)stack.ss_sp - page, page + ALT_STACK_SIZE);
}

void crash_spare_fatal(sigset_t *blocked)
{
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++)
        (void)sigdelset(blocked, fatal_signals[i]);
}

static bool is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_fatal;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction now;

    (void)sigfillset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++) {
        (void)sigaction(fatal_signals[i], &action, &now); /* the numbers are valid */
        if (!is_ours(&now))
            self.before[i] = now;
    }
}

/* The latest to be registered is called first: functions of the application may not come back. */
static void catch_end(void)
{
    if (self.worker->config->crash_handler)
        catch_signals();
    (void)on_exit(on_exit_called, NULL); /* else it is reported as _exit is */
}

void crash_init(struct worker *w)
{
    self.worker = w;
    self.slot = w->slot;
    self.channel = w->args->channel;
    self.pid = getpid();
    self.master_pid = w->args->master_pid;
    farewell_init(w);
    set_alt_stack();
    catch_end();
}

void crash_go_in_front(void)
{
    self.abort_hook = self.worker->app.on_worker_abort;
    catch_end();
}

void crash_end_recovered(void)
{
    if (!self.is_over || getpid() != self.pid)
        return;
    log_errorx(
        "Worker (pid:%d): the application has recovered from a crash, but its clients have been "
        "answered already; this worker ends",
        (int)self.pid);
    _exit(EXIT_FAILED);
}

void crash_check(void)
{
    struct sigaction now;
    sigset_t blocked, fatal;
    bool is_blocked = false;

    (void)sigemptyset(&fatal);
    if (!self.worker->config->crash_handler || pthread_sigmask(SIG_BLOCK, NULL, &blocked) != 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++) {
        (void)sigaddset(&fatal, fatal_signals[i]);
        is_blocked = is_blocked || sigismember(&blocked, fatal_signals[i]) == 1;
    }
    if (is_blocked) {
        (void)pthread_sigmask(SIG_UNBLOCK, &fatal, NULL);
        if (!self.said_blocked)
            log_warnx(
                "Worker (pid:%d): the application has blocked fatal signals; unblocked, so that "
                "clients of a crash are answered",
                (int)self.pid);
        self.said_blocked = true;
    }
    bool is_stolen = sigaction(SIGSEGV, NULL, &now) == 0 && !is_ours(&now);
    if (is_stolen && !self.said_stolen) {
        log_warnx(
            "Worker (pid:%d): the application has installed a handler of SIGSEGV: clients of a "
            "crash are not answered; install it in gcorn_on_worker_init, then it runs after "
            "gcorn's",
            (int)self.pid);
        self.said_stolen = true;
    }
}
