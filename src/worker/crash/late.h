/* SPDX-License-Identifier: MIT
 *
 * late - gcorn_on_call_late: the master sends SLOT_LATE_SIGNAL to the thread whose call is over its
 * time, and the signal's handler has the application interrupt it.
 */
#ifndef GCORN_WORKER_CRASH_LATE_H
#define GCORN_WORKER_CRASH_LATE_H

struct worker;

/* After the application was loaded: if it has the hook, handles the signal and says so in the slot.
 * */
void late_init(struct worker *w);

#endif
