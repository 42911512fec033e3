/* SPDX-License-Identifier: MIT
 *
 * See sanitizer.h.
 */
#include "system/code/sanitizer.h"

#define ENDS_IN_SIGNALS                                                                            \
    "abort_on_error=1:handle_abort=0:handle_segv=0:handle_sigbus=0:handle_sigill=0:"               \
    "handle_sigfpe=0:use_sigaltstack=0"

const char *__asan_default_options(void)
{
    return ENDS_IN_SIGNALS ":detect_stack_use_after_return=1";
}

const char *__ubsan_default_options(void)
{
    return ENDS_IN_SIGNALS ":print_stacktrace=1";
}

const char *__tsan_default_options(void)
{
    return ENDS_IN_SIGNALS ":halt_on_error=1";
}
