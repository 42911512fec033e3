/* SPDX-License-Identifier: MIT
 *
 * trim - what a burst of connections has left behind goes back to the system when the worker is
 * quiet: the free end of the table of connections, and what malloc holds for another burst. Buffers
 * of bodies that were not used for a second or two go back in any case.
 */
#ifndef GCORN_WORKER_TRIM_H
#define GCORN_WORKER_TRIM_H

struct worker;

/* Called once a second. A second without a request is quiet. */
void trim_when_quiet(struct worker *w);

#endif
