/* SPDX-License-Identifier: MIT
 *
 * report - the log lines about a worker that crashed, hung or was killed: which request it ran, how
 * it ended, what its clients were answered.
 *
 * A worker's slot is untrusted input: each text is read once, bounded, and only shown.
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

/* The worker hangs, and the master ends it. ms: for how long its call has run, or its event loop
 * has not run. */
void report_hung(const struct proc *p, const struct slot_call *call, enum health health,
                 uint64_t ms);

/* A call has lasted longer than timeout, and is told. */
void report_late(const struct proc *p, const struct slot_call *call, uint64_t ms);

/* A call has lasted longer than slow_request. */
void report_slow(const struct proc *p, const struct slot_call *call, uint64_t ms);

/* Names the step of its boot that a worker is in, such as ", in gcorn_on_worker_init"; "" when no
 * code of the application runs. */
enum { BOOT_STEP_SIZE = 800 };
void report_boot_step(const struct slot *s, char step[BOOT_STEP_SIZE]);

/* The worker has crashed and answered its clients; the process still exists. During its boot the
 * level is error: the critical line comes later and says what follows for the server. */
void report_crash(const struct proc *p, const struct slot *s);
enum log_level report_crash_level(const struct proc *p);

/* The same for a template; step as report_boot_step gives it. */
void report_template_crash(const struct template *t, const struct template_fault *fault,
                           const char *step);

/* The worker has ended with this status of waitpid(2). For a SIGKILL that gcorn did not send, oom
 * says whether the kernel was out of memory; if so, returns true. */
bool report_death(const struct proc *p, const struct slot *s, int status, struct oom *oom);

/* The call that crashed; NULL: none of them. */
const struct slot_call *report_crashed_call(const struct slot *s);

/* The id of the call's request, for log_about: written to id and returned; NULL when the call has
 * no request. call may be NULL. */
const char *report_request_id(const struct slot_call *call, char id[SLOT_GIVEN_ID_SIZE]);

/* Writes the access log's line of each request that was running when the worker died, unless the
 * worker has written it, and logs where the request is kept (crash_dir). */
void report_last_request(const struct proc *p, const struct slot *s);

#endif
