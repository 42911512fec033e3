/* SPDX-License-Identifier: MIT
 *
 * message_file - the file behind memory that the workers of two masters share: it takes memory as
 * it is written, and its size is sealed where the kernel can do that.
 */
#ifndef GCORN_SYSTEM_MESSAGES_MESSAGE_FILE_H
#define GCORN_SYSTEM_MESSAGES_MESSAGE_FILE_H

#include <stddef.h>

/* A new one of this size, zeroed: a descriptor, close-on-exec; or -1 with errno. EFBIG: the limit
 * of a file's size (RLIMIT_FSIZE) is lower. */
int message_file_new(const char *name, size_t size);

/* Is this such a file, and of this size? Returns 0, or -1 with errno. */
int message_file_check(int fd, size_t size);

#endif
