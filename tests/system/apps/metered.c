/* SPDX-License-Identifier: MIT
 *
 * metered - an application with metrics: visits, their sizes (/?size=N), and a gauge.
 * With -DMANY=N there are N more, of the largest kind.
 */
#include <stdio.h>
#include <stdlib.h>

#include <gcorn.h>

static struct gcorn_metric *visits, *sizes;

#ifndef MANY
#define MANY 0
#endif

/* A histogram with a long name, of each worker its own: what is shown of it is 3 KiB long. */
static void add_large(int number)
{
    static const double bounds[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    char name[128];

    snprintf(name, sizeof(name), "large_%d{label=\"%090d\"}", number, (int)gcorn_worker_number());
    gcorn_histogram(name, "", bounds, 16);
}

int gcorn_on_worker_init(void)
{
    static const double bounds[] = {1, 10, 100};

    visits = gcorn_counter("visits_total{kind=\"get\"}", "Visits.");
    sizes = gcorn_histogram("visit_bytes", "How large they were.", bounds, 3);
    gcorn_metric_set(gcorn_gauge("visitors", "Visitors now.", GCORN_GAUGE_SUM), 1);
    for (int i = 0; i < MANY; i++)
        add_large(i);
    return visits && sizes ? 0 : -1;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *size = gcorn_query(env, "size");

    gcorn_metric_add(visits, 1);
    gcorn_metric_observe(sizes, size ? atof(size) : 0);
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "");
}
