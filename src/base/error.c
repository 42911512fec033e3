/* SPDX-License-Identifier: MIT
 *
 * See error.h.
 */
#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, enum exit_status status, const char *fmt, ...)
{
    int saved_errno = errno;
    va_list ap;

    err->status = status;
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    errno = saved_errno;
    return -1;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
    char rest[sizeof(err->text)];
    va_list ap;

    memcpy(rest, err->text, sizeof(rest));
    va_start(ap, fmt);
    int len = vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    if (len < 0 || (size_t)len + 3 > sizeof(err->text))
        return -1;
    size_t room = sizeof(err->text) - (size_t)len - 3, rest_len = strnlen(rest, sizeof(rest));
    if (rest_len > room)
        rest_len = room;
    assert(len + 2 + rest_len < sizeof(err->text));
    memcpy(err->text + len, ": ", 2);
    memcpy(err->text + len + 2, rest, rest_len);
    err->text[(size_t)len + 2 + rest_len] = '\0';
    return -1;
}
