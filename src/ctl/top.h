/* SPDX-License-Identifier: MIT
 *
 * top - a live view of the server on a terminal: `gcornctl top`.
 */
#ifndef GCORN_CTL_TOP_H
#define GCORN_CTL_TOP_H

#include <stdbool.h>

struct error;

/* Are stdin and stdout a terminal that can move its cursor (not TERM=dumb)? */
bool top_has_terminal(void);

/* Shows the server of this control socket, refreshed every second, until q is pressed. Returns an
 * enum ctl_status: CTL_DONE, or another one with err when the screen could not be started. The
 * terminal is restored, also before a signal ends the process. */
int top_run(const char *path, bool has_colour, struct error *err);

#endif
