/* SPDX-License-Identifier: MIT
 *
 * handover - what a master leaves to the program that it is replaced by: one record, in a memfd
 * whose number stands in the variable GCORN_HANDOVER, and the descriptors that the record names,
 * open across exec.
 *
 * The record may come from another version of gcorn. Its first part, the sockets and a plain list
 * of all other descriptors, is the same for ever: with it any version can go on serving the same
 * addresses. The rest (the workers, their scoreboard, the counts) is of one version, and left
 * unread by others: a reader that does not know it starts workers of its own, and when they serve
 * lets go of the listed descriptors, at which the old workers finish.
 *
 *   writer   struct handover, handover_add_socket, handover_add_fd ..., handover_write,
 *            handover_pass, exec
 *   reader   handover_receive, then take what is used: a socket by setting its fd to -1, any other
 *            descriptor by handover_claim; handover_release closes what is left
 *
 * What is read is checked: sizes, ends of texts, and that every descriptor was passed, once.
 */
#ifndef GCORN_SYSTEM_HANDOVER_H
#define GCORN_SYSTEM_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct listener;

enum {
    HANDOVER_TEXT_SIZE = 400,
    HANDOVER_PATH_SIZE = 4352, /* a working directory's, and a socket's in it */
    HANDOVER_SOCKETS_MAX = 1024,
    HANDOVER_FDS_MAX = 1 << 17,
    HANDOVER_PROCS_MAX = 1 << 15,
    HANDOVER_LEDGER_MAX = 16 << 20,
};

enum handover_kind {
    HANDOVER_NONE,
    HANDOVER_TRIAL,  /* in a child: boot one worker that serves nobody, say how that went, leave */
    HANDOVER_BESIDE, /* in a child: a master beside the old one, until that leaves */
    HANDOVER_IN_PLACE, /* in the process of the old master */
};

enum handover_use { HANDOVER_WORKERS, HANDOVER_ADMIN, HANDOVER_CONTROL };

/* A listening socket; the fields are struct listener's. */
struct handover_socket {
    int32_t fd;
    uint32_t use; /* enum handover_use */
    uint32_t inherited;
    uint32_t has_path;
    uint64_t dev, ino;
    char text[HANDOVER_TEXT_SIZE];
    char name[HANDOVER_TEXT_SIZE];
    char path[HANDOVER_PATH_SIZE];
};

/* A worker; what the numbers mean is the master's business. */
struct handover_proc {
    int32_t pid;
    int32_t up_fd, down_fd;
    int32_t output_fd; /* -1: none */
    uint32_t place;    /* in the scoreboard */
    uint32_t phase, number, generation, end;
    uint32_t recycle, hurried;
    uint64_t started_ms, ready_ms, deadline_ms;
};

/* How long the old workers may take, by the settings that they were started with. */
struct handover_limits {
    uint64_t timeout_ms, heartbeat_ms, graceful_timeout_ms, keepalive_drain_ms, boot_timeout_ms;
};

struct handover {
    /* of every version */
    enum handover_kind kind;
    pid_t pid;     /* the old master's */
    int report_fd; /* a socket to the old master; -1: none */
    struct handover_socket *sockets;
    size_t socket_count;
    int32_t *fds; /* all others that were passed; -1: claimed */
    size_t fd_count;
    size_t client_count; /* the first of these: clients of the control socket who wait to hear how
                          * this ends */

    /* of this one; all zero unless is_known */
    bool is_known;
    unsigned generation; /* of the old master; later ones are to have higher numbers */
    int scoreboard_fd;
    struct handover_limits limits;
    struct handover_proc *procs;
    size_t proc_count;
    char pidfile[HANDOVER_PATH_SIZE]; /* absolute; "": none */
    void *ledger;
    size_t ledger_len;
};

/* For a writer: no descriptor in it yet. */
void handover_init(struct handover *h, enum handover_kind kind);

/* Adds a socket; 0, or -1 with errno ENAMETOOLONG. An fd of -1 is not added. */
int handover_add_socket(struct handover *h, const struct listener *l, enum handover_use use);

/* Adds one of the other descriptors, and returns it. */
int handover_add_fd(struct handover *h, int fd);

/* The record, close-on-exec; -1 with errno. */
int handover_write(const struct handover *h);

/* Lets all that is named, and the record itself, stay open across exec, or not any more. 0, or -1
 * with errno: a descriptor is not open. */
int handover_pass(const struct handover *h, int record_fd, bool on);

/* Puts the record's number into the environment, for exec; a negative one: takes it out. */
void handover_set_variable(int record_fd);

/* Reads the record that the environment names, and takes the variable out of it. All descriptors
 * are close-on-exec then. 0, also when there is none (HANDOVER_NONE); -1 with err when there is a
 * variable and no record behind it. */
int handover_receive(struct handover *h, struct error *err);

/* The descriptor, which is the caller's from now on; -1 when it was not passed, or claimed. */
int handover_claim(struct handover *h, int fd);

/* Fills in *l from a socket, which it takes (listener_adopt). 0, or -1 with err. */
int handover_take_socket(struct handover_socket *s, struct listener *l, struct error *err);

/* Closes what is left; the rest of *h stays. */
void handover_close_rest(struct handover *h);

/* A reader's: closes what is left, and frees. A writer's is only freed: handover_drop. */
void handover_release(struct handover *h);
void handover_drop(struct handover *h);

#endif
