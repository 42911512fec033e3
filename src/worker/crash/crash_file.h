/* SPDX-License-Identifier: MIT
 *
 * crash_file - the request that an application crashed or hung in, kept in a file of crash_dir.
 *
 * The file is plain HTTP, head and body as a client would send them, and nothing else: nc can send
 * it, an editor can change it, --replay runs it. It does not contain the client's address.
 */
#ifndef GCORN_WORKER_CRASH_CRASH_FILE_H
#define GCORN_WORKER_CRASH_CRASH_FILE_H

#include <stdbool.h>

struct error;
struct request;

enum { CRASH_FILE_BODY_MAX = 64 * 1024 }; /* bytes of a body that are kept */

/* Opens a directory for crash_file_save, and checks that this process may make files in it. Returns
 * the descriptor (O_PATH, close-on-exec), or -1 with err. */
int crash_file_dir_open(const char *path, struct error *err);

/* Removes the oldest files that workers of this server or another have made there, until `keep` are
 * left; files that cannot be removed stay. Returns 0, or -1 with errno when the directory cannot be
 * listed. */
int crash_file_dir_trim(int dir_fd, unsigned keep);

/* Keeps a request whose head is complete in the new file `name`, mode 0600, of the directory. The
 * body is cut after CRASH_FILE_BODY_MAX bytes; a chunked one is written as one chunk, its trailers
 * are not kept. redact: queries and the values of fields that carry secrets (Authorization, Cookie,
 * X-Api-Key and the like) are replaced by "redacted"; the body is not.
 *
 * For signal handlers: takes no lock, allocates nothing, needs less than 2 KiB of stack; it follows
 * the pointers of a request that a broken application may have written over. 0, or -1 with errno
 * and no file: EINVAL when there is no complete head, EEXIST. */
int crash_file_save(int dir_fd, const char *name, const struct request *r, bool redact);

#endif
