/* SPDX-License-Identifier: MIT
 *
 * top - a live view of the server on a terminal: `gcornctl top`.
 */
#ifndef GCORN_CTL_TOP_H
#define GCORN_CTL_TOP_H

#include <stdbool.h>

struct error;

/* Is there a terminal to draw on, and to read keys from? A dumb one is none. */
bool top_has_terminal(void);

/* Shows the server of this control socket anew each second until q is pressed. 0 (enum ctl_status),
 * or another with err: it could not begin. The terminal is left as it was found; on a signal that
 * ends the process, that comes first. */
int top_run(const char *path, bool has_colour, struct error *err);

#endif
