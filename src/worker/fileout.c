/* SPDX-License-Identifier: MIT
 *
 * See fileout.h.
 */
#include "worker/fileout.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/response.h"

enum { READ_SIZE = 32 * 1024 };

static ssize_t read_and_send(int socket_fd, const struct response *r, size_t len)
{
    char bytes[READ_SIZE];
    ssize_t n = pread(r->file.fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes), r->file.offset);

    if (n < 0 && errno != EINTR)
        errno = EIO;
    return n > 0 ? send(socket_fd, bytes, (size_t)n, MSG_NOSIGNAL) : n;
}

ssize_t fileout_send(int socket_fd, struct response *r, size_t len, bool by_kernel)
{
    off_t offset = r->file.offset;

    if (by_kernel && !r->file.reads) {
        ssize_t n = sendfile(socket_fd, r->file.fd, &offset, len);

        if (n >= 0 || errno == EAGAIN || errno == EINTR)
            return n;
        r->file.reads = true; /* if it is the socket that has failed, it will again */
    }
    return read_and_send(socket_fd, r, len);
}
