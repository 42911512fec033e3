/* SPDX-License-Identifier: MIT
 *
 * replay - the request that an application crashed or hung in, kept in a file and run again.
 *
 * The file is plain HTTP, head and body as a client would send them, and nothing else: nc can send
 * it, an editor can change it. What it does not say is who sent it.
 */
#ifndef GCORN_WORKER_REPLAY_H
#define GCORN_WORKER_REPLAY_H

#include <stdbool.h>

struct config;
struct error;
struct request;

enum { REPLAY_BODY_MAX = 64 * 1024 }; /* bytes of a body that are kept */

/* Opens a directory for replay_save, and makes sure that this process may make files in it. The
 * descriptor (O_PATH, close-on-exec), or -1 with err. */
int replay_dir_open(const char *path, struct error *err);

/* Removes the oldest of the files that replay_save has made there by a worker's names (of this
 * server or another), until so many are left; those that cannot be removed stay. 0, or -1 with
 * errno: the directory cannot be listed. */
int replay_dir_trim(int dir_fd, unsigned keep);

/* Keeps a request whose head is complete in the new file `name`, mode 0600, of the directory. The
 * body is cut after REPLAY_BODY_MAX bytes; a chunked one is written as one chunk, its trailers are
 * not kept. redact: queries and the values of fields that carry secrets (Authorization, Cookie,
 * X-Api-Key and the like) are replaced by "redacted"; the body is not.
 *
 * For signal handlers: takes no lock, allocates nothing, needs less than 2 KiB of stack; it follows
 * the pointers of a request that a broken application may have written over. 0, or -1 with errno
 * and no file: EINVAL when there is no complete head, EEXIST. */
int replay_save(int dir_fd, const char *name, const struct request *r, bool redact);

/* --replay: runs the request in config->replay_file through the application in this process, which
 * does not fork, and writes the answer to standard output. Before it parses the request or loads
 * the application, this process takes the privileges of a worker, for good; the file, which must be
 * a regular one and no symbolic link, is opened by the caller's. Debuggers find the application
 * under its own name. A body that was cut is filled up with zeros. The request comes from 127.0.0.1
 * and is believed like one of a proxy in forwarded_allow_ips. 0, or -1 with err: EXIT_APP when the
 * application does not load or boot, EXIT_FAILED when the file holds no whole request that is in
 * order. To be called once in a process. */
int replay_run(const struct config *config, struct error *err);

#endif
