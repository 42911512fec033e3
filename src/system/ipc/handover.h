/* SPDX-License-Identifier: MIT
 *
 * handover - what a master passes to the program that replaces it: a record in a memfd, whose
 * number is in the variable GCORN_HANDOVER, and the descriptors in the record, which stay open
 * across exec.
 *
 * The record may come from another version of gcorn: the layout only grows at the ends of its
 * parts, so any version can serve the same addresses.
 *
 *   writer   struct handover, handover_add_socket ..., handover_write, handover_pass, exec
 *   reader   handover_receive, handover_take_socket of each, then handover_release
 *
 * The reader checks sizes, ends of texts, and that every descriptor was passed, and only once.
 */
#ifndef GCORN_SYSTEM_IPC_HANDOVER_H
#define GCORN_SYSTEM_IPC_HANDOVER_H

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

struct handover {
    bool is_received;    /* in the reader: there was a record */
    pid_t pid;           /* the old master's */
    int report_fd;       /* a socket to the old master; -1: none */
    unsigned generation; /* of the old master; new ones get higher numbers. 0: unknown */
    int bus_fd, wake_fd; /* of system/messages/message_bus.h; -1: none */
    int memory_fd;       /* of system/messages/named_memory.h; -1: none */
    struct handover_socket *sockets;
    size_t socket_count;
};

/* Makes an empty one for a writer. */
void handover_init(struct handover *h);

/* Adds a socket, unless its fd is -1. Returns 0, or -1 with errno ENAMETOOLONG. */
int handover_add_socket(struct handover *h, const struct listener *l, enum handover_use use);

/* Writes the record to a new memfd, close-on-exec, and returns it; -1 with errno. */
int handover_write(const struct handover *h);

/* Keeps the descriptors in the record, and the record, open across exec. Returns 0, or -1 with
 * errno: a descriptor is not open. */
int handover_pass(const struct handover *h, int record_fd);

/* Sets GCORN_HANDOVER to this number for exec; a negative one unsets it. */
void handover_set_variable(int record_fd);

/* Reads the record of GCORN_HANDOVER, unsets the variable and makes all descriptors close-on-exec.
 * Returns 0, also without the variable (is_received is false), or -1 with err when the variable
 * leads to no valid record. */
int handover_receive(struct handover *h, struct error *err);

/* Makes *l from a socket, and takes its descriptor (listener_adopt). Returns 0, or -1 with err. */
int handover_take_socket(struct handover_socket *s, struct listener *l, struct error *err);

/* Closes the sockets that were not taken; the other members of *h stay. */
void handover_close_rest(struct handover *h);

/* For a reader: closes what was not taken, and frees; a caller that takes a descriptor of memory
 * sets it to -1 there. For a writer handover_drop only frees. */
void handover_release(struct handover *h);
void handover_drop(struct handover *h);

#endif
