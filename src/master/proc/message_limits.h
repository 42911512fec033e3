/* SPDX-License-Identifier: MIT
 *
 * message_limits - how many messages a process may send to the master, and in which order.
 * Application code can write into the pipes and sockets of a worker and of a template; none of it
 * may keep the master from its other work, or fill its log. Functions of plain structs.
 */
#ifndef GCORN_MASTER_PROC_MESSAGE_LIMITS_H
#define GCORN_MASTER_PROC_MESSAGE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "system/ipc/channel.h"

enum {
    SPEECH_PASS_MAX = 16,     /* messages of one sender in a pass of the master's loop */
    SPEECH_SECOND_MAX = 1000, /* and in a second: more is a flood */
    SPEECH_LAST_MAX = 256,    /* of a dead process: what the largest pipe of a user may hold */
};

struct speech {
    uint64_t second_ms; /* when the second began that is counted */
    unsigned count;
    unsigned said; /* bits of enum up_type */
    bool is_over;  /* the sender is being killed for its messages; logged */
};

/* Counts a message. False: the sender floods. */
bool speech_count(struct speech *s, uint64_t now_ms);

/* Notes a message. False: it must not follow the earlier ones. READY and BOOTFAIL come once and
 * exclude each other; heartbeats and wishes come from a worker that is READY; a crash begins once
 * and ends once. */
bool speech_take(struct speech *s, enum up_type type);

/* Has the worker sent this message? */
bool speech_has_said(const struct speech *s, enum up_type type);

#endif
