/* SPDX-License-Identifier: MIT
 *
 * sanitizer - how the sanitizers behave in gcorn; compiled only with SANITIZE. Their libraries look
 * for these functions by name before main, and what the environment says (ASAN_OPTIONS and the
 * like) comes after and wins.
 *
 * A report ends in SIGABRT, not in an exit status of the sanitizer's own: then it goes the way of
 * every crash, its client is answered, and the log names the request. Plain faults are left to
 * gcorn's handler, which has a stack of its own. Leaks are looked for when a worker exits; they
 * end in SIGABRT too.
 */
#define EXPORTED __attribute__((visibility("default"))) /* for the sanitizers' libraries */

EXPORTED const char *__asan_default_options(void);
EXPORTED const char *__ubsan_default_options(void);
EXPORTED const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "abort_on_error=1:handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:"
           "handle_abort=0:use_sigaltstack=0";
}

const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1:handle_segv=0:handle_sigbus=0:handle_sigill=0:"
           "handle_sigfpe=0:handle_abort=0:use_sigaltstack=0";
}

const char *__tsan_default_options(void)
{
    return "abort_on_error=1:halt_on_error=1:handle_segv=0:handle_sigbus=0:handle_sigill=0:"
           "handle_sigfpe=0:handle_abort=0:use_sigaltstack=0";
}
