/* SPDX-License-Identifier: MIT
 *
 * See small_file.h.
 */
#include "base/small_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/util.h"

enum { STEP_SIZE = 4096 };

static ssize_t read_again(int fd, char *to, size_t size)
{
    ssize_t n;

    do {
        n = read(fd, to, size);
    } while (n < 0 && errno == EINTR);
    return n;
}

int small_file_read(const char *path, size_t max, struct strbuf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n;

    if (fd < 0)
        return -1;
    do {
        char *to = strbuf_grow(out, STEP_SIZE);

        n = read_again(fd, to, STEP_SIZE);
        if (n > 0)
            strbuf_set_end(out, to + n);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0 && len <= max);
    fd_close(&fd); /* keeps errno */
    if (n > 0)
        errno = EFBIG;
    return n == 0 ? 0 : -1;
}

ssize_t small_file_start(const char *path, char *text, size_t size)
{
    assert(size > 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = fd < 0 ? -1 : 0;

    while (fd >= 0 && len < size - 1 && (n = read_again(fd, text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    fd_close(&fd); /* keeps errno */
    if (n < 0)
        len = 0;
    text[len] = '\0';
    return n < 0 ? -1 : (ssize_t)len;
}
