/* SPDX-License-Identifier: MIT
 *
 * See message_file.h.
 */
#include "system/messages/message_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "system/file/memfile.h"

/* ftruncate beyond the limit would end the process by SIGXFSZ. */
static int check_limit(size_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur >= size)
        return 0;
    errno = EFBIG;
    return -1;
}

int message_file_new(const char *name, size_t size)
{
    int fd = check_limit(size) < 0 ? -1 : memfile_new(name);

    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)size) < 0) {
        int saved_errno = errno;
        fd_close(&fd);
        errno = saved_errno;
        return -1;
    }
    /* a file that is no memfd takes no seals; it serves without */
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

int message_file_check(int fd, size_t size)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
        return 0;
    errno = EPROTO;
    return -1;
}
