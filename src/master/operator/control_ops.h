/* SPDX-License-Identifier: MIT
 *
 * control_ops - the commands of the control socket (control.h lists them).
 */
#ifndef GCORN_MASTER_OPERATOR_CONTROL_OPS_H
#define GCORN_MASTER_OPERATOR_CONTROL_OPS_H

#include <stddef.h>

struct control_client;

/* Runs the command in the first len bytes of the client's line, and answers the client, now or
 * later. */
void control_run(struct control_client *client, size_t len);

#endif
