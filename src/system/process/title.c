/* SPDX-License-Identifier: MIT
 *
 * See title.h. The title is global because a process has one command line.
 */
#include "system/process/title.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/util.h"

static struct {
    char *start;
    size_t size;
    char **strings;     /* the environment's copy: also what unsetenv takes out of the array */
    char **environment; /* the copy's array: setenv replaces it by its own */
} title;

static size_t count_strings(char **strings)
{
    size_t count = 0;

    while (strings[count])
        count++;
    return count;
}

static char **copy_strings(char **strings)
{
    size_t count = count_strings(strings);
    char **copy = xcalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = xstrdup(strings[i]);
    return copy;
}

static char **copy_pointers(char **strings)
{
    size_t count = count_strings(strings);
    char **copy = xcalloc(count + 1, sizeof(*copy));
    memcpy(copy, strings, count * sizeof(*copy));
    return copy;
}

/* The end of the strings that follow each other in memory from end on, as the kernel places them.
 */
static char *follow(char **strings, char *end)
{
    for (size_t i = 0; strings[i] == end; i++)
        end += strlen(end) + 1;
    return end;
}

char **title_init(int argc, char **argv)
{
    char **args = copy_strings(argv);

    if (argc > 0) {
        title.start = argv[0];
        title.size = (size_t)(follow(environ, follow(argv, argv[0])) - argv[0]);
        title.strings = copy_strings(environ);
        title.environment = copy_pointers(title.strings);
        environ = title.environment;
        /* glibc's error messages name the program by pointers into argv[0] */
        program_invocation_name = args[0];
        const char *slash = strrchr(args[0], '/');
        program_invocation_short_name = slash ? args[0] + (slash - args[0]) + 1 : args[0];
    }
    (void)prctl(PR_SET_NAME, "gcorn"); /* cannot fail with a valid pointer */
    return args;
}

void title_set(const char *fmt, ...)
{
    va_list ap;

    if (title.size == 0)
        return;
    va_start(ap, fmt);
    int len = vsnprintf(title.start, title.size, fmt, ap);
    va_end(ap);
    /* ps shows all bytes of the old command line, so those after the title are zeroed. A longer
     * title continues in the memory of the environment, which ps reads, too (fs/proc/base.c). */
    if (len >= 0 && (size_t)len < title.size)
        memset(title.start + len, 0, title.size - (size_t)len);
}
