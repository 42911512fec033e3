/* SPDX-License-Identifier: MIT
 *
 * prometheus - a snapshot in Prometheus' text format (version 0.0.4).
 */
#ifndef GCORN_MASTER_TELEMETRY_PROMETHEUS_H
#define GCORN_MASTER_TELEMETRY_PROMETHEUS_H

struct snapshot;
struct strbuf;

/* The server's own metrics, gcorn_*, then the application's. */
void prometheus_add(struct strbuf *out, const struct snapshot *s);

#endif
