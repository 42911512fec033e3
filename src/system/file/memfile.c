/* SPDX-License-Identifier: MIT
 *
 * See memfile.h.
 */
#include "system/file/memfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/util.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int memfile_sealable(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    return fd < 0 && errno == EINVAL ? memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

static int unlinked_file(const char *dir)
{
    return dir && *dir != '\0' ? open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
}

int memfile_new(const char *name)
{
    const char *const dirs[] = {"/dev/shm", getenv("TMPDIR"), "/tmp"};
    int fd = memfile_sealable(name), reason = errno;

    if (fd >= 0 || (reason != EPERM && reason != EACCES && reason != ENOSYS))
        return fd;
    for (size_t i = 0; i < ARRAY_LEN(dirs) && fd < 0; i++)
        fd = unlinked_file(dirs[i]);
    errno = reason;
    return fd;
}
