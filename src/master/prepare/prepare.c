/* SPDX-License-Identifier: MIT
 *
 * See prepare.h. The process is a fork of the master that runs only the master's code, not the
 * application's.
 */
#include "master/prepare/prepare.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "system/ipc/packet.h"
#include "system/net/socket_file.h"
#include "system/process/process.h"
#include "system/process/signals.h"
#include "system/process/title.h"

/* A packet that is not part of the record begins with one of these instead of a kind. */
enum { WORD_STEP = 0x50455453, WORD_FAILURE = 0x4c494146, WORD_FILE = 0x454c4946 };

enum { PACKETS_PER_EVENT = 16 };

struct step_packet {
    uint32_t word;
    char text[sizeof(((struct prepare *)0)->step)];
};

struct failure_packet {
    uint32_t word;
    struct error err;
};

struct file_packet {
    uint32_t word;
    char path[PATH_MAX];
};

/* A name of a file that the process with this pid has announced. */
struct prepare_file {
    struct prepare_file *next;
    pid_t pid;
    char path[];
};

/* ---- the process ------------------------------------------------------------------------- */

static void on_no_memory(size_t size, void *report_fd)
{
    struct error err;

    (void)error_set(&err, EXIT_FAILED, "out of memory (%zu bytes)", size);
    prepare_report_failure(*(const int *)report_fd, &err);
    _exit(EXIT_FAILED);
}

static void __attribute__((noreturn))
run_child(void (*work)(void *arg, int fd), void *arg, int fd, pid_t master_pid)
{
    title_set("gcorn: reload");
    signals_default();
    /* Signals stay blocked: those to the process group are the master's, which kills this process
     * when they end the reload. */
    process_die_with_parent(master_pid, SIGKILL);
    log_after_fork();
    xmalloc_set_handler(on_no_memory, &fd);
    work(arg, fd);
    _exit(EXIT_STOPPED);
}

void prepare_step(int fd, const char *text)
{
    struct step_packet packet = {.word = WORD_STEP};

    (void)snprintf(packet.text, sizeof(packet.text), "%s", text);
    (void)packet_send(fd, &packet, sizeof(packet), NULL, 0); /* only for the log */
}

void prepare_report_failure(int fd, const struct error *err)
{
    const struct failure_packet packet = {.word = WORD_FAILURE, .err = *err};

    (void)packet_send(fd, &packet, sizeof(packet), NULL, 0); /* else the exit status says it */
}

void prepare_note_file(void *fd, const char *path)
{
    struct file_packet packet = {.word = WORD_FILE};
    char *absolute = path_absolute(path);

    (void)snprintf(packet.path, sizeof(packet.path), "%s", absolute);
    free(absolute);
    /* without this only a file of a killed process would be left */
    (void)packet_send(*(const int *)fd, &packet, sizeof(packet), NULL, 0);
}

/* ---- files that are left ----------------------------------------------------------------- */

/* Without memory the file is not noted. */
static void note_file(struct prepare *p, const char *path)
{
    size_t size = strlen(path) + 1;
    struct prepare_file *file = malloc(sizeof(*file) + size);

    if (!file)
        return;
    file->next = p->files;
    file->pid = p->pid;
    memcpy(file->path, path, size);
    p->files = file;
}

/* Removes the files of a process that has ended; pid 0: all. Those that have got their own names
 * are no longer there. */
static void remove_files(struct prepare *p, pid_t pid)
{
    for (struct prepare_file **at = &p->files, *file; (file = *at);) {
        if (pid != 0 && file->pid != pid) {
            at = &file->next;
            continue;
        }
        *at = file->next;
        if (socket_file_is_temporary(file->path))
            (void)unlink(file->path);
        free(file);
    }
}

/* ---- the master -------------------------------------------------------------------------- */

static void stop_reading(struct prepare *p)
{
    ev_io_stop(p->loop, &p->io);
    fd_close(&p->fd);
}

static void fail(struct prepare *p, const char *why)
{
    (void)error_set(&p->err, EXIT_FAILED, "%s", why);
    p->has_failed = true;
}

/* Handles a packet that is not part of the record. False: it is part of it. */
static bool take_word(struct prepare *p, const void *data, size_t len)
{
    uint32_t word;

    if (len < sizeof(word))
        return false;
    memcpy(&word, data, sizeof(word));
    if (word == WORD_STEP && len == sizeof(struct step_packet)) {
        memcpy(p->step, (const char *)data + offsetof(struct step_packet, text), sizeof(p->step));
        p->step[sizeof(p->step) - 1] = '\0';
    } else if (word == WORD_FAILURE && len == sizeof(struct failure_packet)) {
        memcpy(&p->err, (const char *)data + offsetof(struct failure_packet, err), sizeof(p->err));
        p->err.text[sizeof(p->err.text) - 1] = '\0';
        p->has_failed = true;
    } else if (word == WORD_FILE && len == sizeof(struct file_packet)) {
        char path[PATH_MAX];

        memcpy(path, (const char *)data + offsetof(struct file_packet, path), sizeof(path));
        path[sizeof(path) - 1] = '\0';
        note_file(p, path);
    } else {
        return false;
    }
    return true;
}

/* Reads one packet. False: no more now. */
static bool read_one(struct prepare *p)
{
    char data[PREPARED_PACKET_MAX];
    struct packet packet;
    int result = packet_recv(p->fd, data, sizeof(data), &packet);

    if (result == 0)
        return false;
    if (result < 0) { /* it has ended: prepare_reaped */
        ev_io_stop(p->loop, &p->io);
        return false;
    }
    result = take_word(p, data, packet.len) ? 0 : prepared_add(&p->record, data, &packet);
    if (result < 0)
        fail(p, errno == ENOMEM   ? "out of memory"
                : errno == EMFILE ? "the master has too many open files"
                                  : "what was prepared came as a malformed record");
    else if (result > 0)
        p->is_whole = true;
    packet_close_fds(&packet);
    return true;
}

static void read_some(struct prepare *p, unsigned packets)
{
    while (!p->is_whole && !p->has_failed && packets-- > 0 && read_one(p))
        continue;
}

static void on_packet(struct ev_loop *loop, struct ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    read_some(io->data, PACKETS_PER_EVENT);
}

void prepare_init(struct prepare *p, struct ev_loop *loop, void (*work)(void *arg, int fd),
                  void *arg)
{
    *p = (struct prepare){.fd = -1, .loop = loop, .work = work, .arg = arg};
    ev_init(&p->io, on_packet);
    p->io.data = p;
}

/* 0, or -1 with errno. */
static int start(struct prepare *p)
{
    int fds[2];
    sigset_t old;
    pid_t master_pid = getpid();

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    signals_block(&old);
    p->pid = fd_set_nonblock(fds[0]) < 0 ? -1 : fork();
    if (p->pid == 0) {
        fd_close(&fds[0]);
        run_child(p->work, p->arg, fds[1], master_pid);
    }
    int saved_errno = errno;
    signals_restore(&old);
    fd_close(&fds[1]);
    if (p->pid < 0) {
        fd_close(&fds[0]);
        p->pid = 0;
        errno = saved_errno;
        return -1;
    }
    p->fd = fds[0];
    ev_io_set(&p->io, p->fd, EV_READ);
    ev_io_start(p->loop, &p->io);
    return 0;
}

void prepare_begin(struct prepare *p)
{
    assert(p->state == PREPARE_NONE || p->state == PREPARE_WAITS);
    assert(p->fd < 0 && !p->record.first);
    p->step[0] = '\0';
    p->is_whole = p->has_failed = p->logs_reopened = false;
    p->state = PREPARE_RUNS;
    if (start(p) == 0)
        return;
    (void)error_set(&p->err, EXIT_FAILED, "no process can be started: %s", strerror(errno));
    p->state = PREPARE_WAITS;
    p->retry_ms = now_ms() + PREPARE_RETRY_MS;
}

bool prepare_reaped(struct prepare *p, pid_t pid, int status)
{
    char text[WAIT_STATUS_TEXT_SIZE], why[WAIT_STATUS_TEXT_SIZE + 40];

    if (p->pid == 0 || p->pid != pid) {
        remove_files(p, pid); /* it may be one that was killed */
        return false;
    }
    assert(p->state == PREPARE_RUNS && p->fd >= 0);
    read_some(p, UINT32_MAX);
    p->pid = 0;
    remove_files(p, pid);
    stop_reading(p);
    if (!p->is_whole && !p->has_failed) {
        (void)snprintf(why, sizeof(why), "the process that prepares it %s",
                       wait_status_text(status, text));
        fail(p, why);
    }
    p->state = p->has_failed ? PREPARE_FAILED : PREPARE_DONE;
    return true;
}

void prepare_end(struct prepare *p)
{
    if (p->pid > 0)
        (void)kill(p->pid, SIGKILL); /* not reaped yet, so the pid is still its own */
    if (p->fd >= 0) {
        read_some(p, UINT32_MAX); /* a file that it has made is removed with the record */
        stop_reading(p);
    }
    p->pid = 0;
    prepared_release(&p->record);
    p->state = PREPARE_NONE;
}

void prepare_release(struct prepare *p)
{
    prepare_end(p);
    remove_files(p, 0);
}
