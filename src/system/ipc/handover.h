/* SPDX-License-Identifier: MIT
 *
 * handover - what a master leaves to the program that it is replaced by: one record, in a memfd
 * whose number stands in the variable GCORN_HANDOVER, and the descriptors that the record names,
 * open across exec.
 *
 * The record may come from another version of gcorn: its layout only grows at the ends of its
 * parts, so any version can go on serving the same addresses.
 *
 *   writer   struct handover, handover_add_socket ..., handover_write, handover_pass, exec
 *   reader   handover_receive, then handover_take_socket of each; handover_release closes what is
 *            left
 *
 * What is read is checked: sizes, ends of texts, and that every descriptor was passed, once.
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
    bool is_received;    /* a reader's: another master has left this */
    pid_t pid;           /* the old master's */
    int report_fd;       /* a socket to the old master; -1: none */
    unsigned generation; /* of the old master; later ones are to have higher numbers. 0: not said */
    struct handover_socket *sockets;
    size_t socket_count;
};

/* For a writer: no descriptor in it yet. */
void handover_init(struct handover *h);

/* Adds a socket; 0, or -1 with errno ENAMETOOLONG. An fd of -1 is not added. */
int handover_add_socket(struct handover *h, const struct listener *l, enum handover_use use);

/* The record, close-on-exec; -1 with errno. */
int handover_write(const struct handover *h);

/* Lets all that is named, and the record itself, stay open across exec. 0, or -1 with errno: a
 * descriptor is not open. */
int handover_pass(const struct handover *h, int record_fd);

/* Puts the record's number into the environment, for exec; a negative one: takes it out. */
void handover_set_variable(int record_fd);

/* Reads the record that the environment names, and takes the variable out of it. All descriptors
 * are close-on-exec then. 0, also when there is none (is_received is false); -1 with err when there
 * is a variable and no record behind it. */
int handover_receive(struct handover *h, struct error *err);

/* Fills in *l from a socket, which it takes (listener_adopt). 0, or -1 with err. */
int handover_take_socket(struct handover_socket *s, struct listener *l, struct error *err);

/* Closes the sockets that are left; the rest of *h stays. */
void handover_close_rest(struct handover *h);

/* A reader's: closes what is left, and frees. A writer's is only freed: handover_drop. */
void handover_release(struct handover *h);
void handover_drop(struct handover *h);

#endif
