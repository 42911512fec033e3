/* SPDX-License-Identifier: MIT
 *
 * See late.h. The master may send the signal several times for one call, and too late: the call may
 * have ended, and another one have begun. So the handler looks for itself, and calls the hook once
 * for a call.
 */
#include "worker/crash/late.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "worker/call/call.h"
#include "worker/loop/state.h"

/* The data of the signal handler. */
static struct {
    struct worker *worker;
    void (*hook)(void);
    _Atomic uint64_t told_ms[SLOT_CALLS + 1]; /* the beginning of the call that was told last */
} self;

/* The slot's entry of this thread; -1: it calls nothing. */
static int own_entry(void)
{
    pid_t thread = (pid_t)syscall(SYS_gettid);

    for (unsigned i = 0; i <= call_thread_count(self.worker); i++) {
        if (call_thread_id(self.worker, i) == thread)
            return (int)i;
    }
    return -1;
}

/* As the master decides it (plan_check_health). */
static bool is_late(const struct slot_call *call, uint64_t started_ms)
{
    uint64_t now = now_ms(), timeout = self.worker->config->timeout_ms;

    return timeout > 0 && now > started_ms && now - started_ms > timeout &&
           atomic_load(&call->until_ms) <= now;
}

static void on_late(int signal_number)
{
    int saved_errno = errno;
    int entry = getpid() == self.worker->pid ? own_entry() : -1;

    (void)signal_number;
    if (entry >= 0) {
        const struct slot_call *call = &self.worker->slot->calls[entry];
        uint64_t started_ms = slot_call_started_ms(call);

        if (started_ms != 0 && is_late(call, started_ms) &&
            atomic_exchange(&self.told_ms[entry], started_ms) != started_ms)
            self.hook();
    }
    errno = saved_errno;
}

/* Without SA_RESTART: the call that a thread waits in ends with EINTR. */
void late_init(struct worker *w)
{
    const struct sigaction action = {.sa_handler = on_late, .sa_flags = SA_ONSTACK};

    self.worker = w;
    self.hook = w->app.on_call_late;
    w->takes_late_signal = self.hook && sigaction(SLOT_LATE_SIGNAL, &action, NULL) == 0;
}
