/* SPDX-License-Identifier: MIT
 *
 * control_client - one client of the control socket as a state machine: READING its line, perhaps
 * WAITING for a reload or a dump, WRITING what the socket did not take at once, FREE. Part of
 * control.h, whose callers do not need it.
 */
#ifndef GCORN_MASTER_OPERATOR_CONTROL_CLIENT_H
#define GCORN_MASTER_OPERATOR_CONTROL_CLIENT_H

#include "master/operator/control.h"

struct strbuf;

/* Changes the state, with its watcher and its timer. FREE closes the connection. */
void control_client_set(struct control_client *client, enum client_state state);

/* The answer comes later, when this is over. */
void control_client_wait(struct control_client *client, enum client_wait what);

/* Sends of the answer what the socket takes; when that was all, the connection ends. */
void control_client_flush(struct control_client *client);

/* Answers with an error. */
void control_client_refuse(struct control_client *client, const char *why);

/* Appends the answer of a command that failed. */
void control_add_error(struct strbuf *answer, const char *why);

#endif
