/* SPDX-License-Identifier: MIT
 *
 * See signals.h.
 */
#include "system/process/signals.h"

#include <stddef.h>

void signals_block(sigset_t *old)
{
    sigset_t all;

    (void)sigfillset(&all); /* neither can fail: the arguments are constant */
    (void)sigprocmask(SIG_SETMASK, &all, old);
}

void signals_restore(const sigset_t *old)
{
    (void)sigprocmask(SIG_SETMASK, old, NULL); /* cannot fail: as above */
}

void signals_default(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};

    /* fails for KILL, STOP and the C library's own signals, which have no other disposition */
    for (int sig = 1; sig <= SIGRTMAX; sig++)
        (void)sigaction(sig, &dfl, NULL);
}

void signals_reset(void)
{
    sigset_t none;

    signals_default();
    (void)sigemptyset(&none);
    signals_restore(&none); /* last: a pending signal must find the default dispositions */
}
