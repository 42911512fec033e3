/* SPDX-License-Identifier: MIT
 *
 * report - what the log says about a worker that misbehaved: which request it ran, how it ended,
 * what became of its clients.
 *
 * What a worker says of itself in its slot is untrusted: read once, cut, and shown, no more.
 */
#ifndef GCORN_MASTER_POSTMORTEM_REPORT_H
#define GCORN_MASTER_POSTMORTEM_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "master/proc/proc.h"
#include "system/ipc/scoreboard.h"

struct oom;
struct strbuf;
struct template;
struct template_fault;

/* The worker hangs, and is ended for that. ms: how long its call has lasted, or its event loop has
 * not run. */
void report_hung(const struct proc *p, const struct slot_call *call, enum health health,
                 uint64_t ms);

/* A call has lasted longer than slow_request. */
void report_slow(const struct proc *p, const struct slot_call *call, uint64_t ms);

/* Where in its boot a worker is: ", in gcorn_on_worker_init"; "" when no code of the application
 * runs. */
enum { BOOT_STEP_SIZE = 800 };
void report_boot_step(const struct slot *s, char step[BOOT_STEP_SIZE]);

/* It has crashed, and told its clients so; it still lives. In its boot that is an error: the
 * critical line is the one that says what follows for the server. */
void report_crash(const struct proc *p, const struct slot *s);
enum log_level report_crash_level(const struct proc *p);

/* The same of a template; step is where it was, as report_boot_step has it. */
void report_template_crash(const struct template *t, const struct template_fault *fault,
                           const char *step);

/* It has ended with this status of waitpid(2). oom is asked about a SIGKILL that gcorn did not
 * send. True when the kernel was out of memory. */
bool report_death(const struct proc *p, const struct slot *s, int status, struct oom *oom);

/* The call that crashed; NULL: none of them. */
const struct slot_call *report_crashed_call(const struct slot *s);

/* The id of the call's request, for log_about: written to id and returned; NULL when there is none.
 * call may be NULL. */
const char *report_request_id(const struct slot_call *call, char id[SLOT_GIVEN_ID_SIZE]);

/* Writes the access log's line of each request that it died in, if it has not written that itself,
 * and says where the request is kept (crash_dir). */
void report_last_request(const struct proc *p, const struct slot *s);

#endif
