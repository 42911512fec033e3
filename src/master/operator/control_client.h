/* SPDX-License-Identifier: MIT
 *
 * control_client - one client of the control socket as a state machine: READING its line, perhaps
 * WAITING for a reload, a dump or an upgrade, WRITING the rest of an answer that the socket did not
 * take at once, FREE. Internal to the control socket; callers use control.h.
 */
#ifndef GCORN_MASTER_OPERATOR_CONTROL_CLIENT_H
#define GCORN_MASTER_OPERATOR_CONTROL_CLIENT_H

#include "master/operator/control.h"

struct strbuf;

/* Changes the state, with its watcher and its timer. FREE closes the connection. */
void control_client_set(struct control_client *client, enum client_state state);

/* The client is answered later, when `what` is over. */
void control_client_wait(struct control_client *client, enum client_wait what);

/* Sends as much of the answer as the socket takes; closes the connection after the last byte. */
void control_client_flush(struct control_client *client);

/* Answers with an error. */
void control_client_refuse(struct control_client *client, const char *why);

/* Appends the answer of a command that failed. */
void control_add_error(struct strbuf *answer, const char *why);

#endif
