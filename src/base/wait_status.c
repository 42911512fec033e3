/* SPDX-License-Identifier: MIT
 *
 * See wait_status.h.
 */
#include "base/wait_status.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/ascii.h"
#include "base/compat.h"

const char *wait_status_text(int status, char text[WAIT_STATUS_TEXT_SIZE])
{
    if (!WIFSIGNALED(status)) {
        (void)snprintf(text, WAIT_STATUS_TEXT_SIZE, "exited with code %d", WEXITSTATUS(status));
        return text;
    }
    int number = WTERMSIG(status);
    const char *name = sigabbrev_np(number);

    if (name)
        (void)snprintf(text, WAIT_STATUS_TEXT_SIZE, "was killed by SIG%s (%s)", name,
                       ascii_signal(number));
    else /* a real-time signal */
        (void)snprintf(text, WAIT_STATUS_TEXT_SIZE, "was killed by signal %d", number);
    return text;
}
