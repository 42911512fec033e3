/* SPDX-License-Identifier: MIT
 *
 * metered - an application with numbers of its own: visits, their sizes (/?size=N), and a gauge.
 */
#include <stdlib.h>

#include <gcorn.h>

static struct gcorn_metric *visits, *sizes;

int gcorn_on_worker_init(void)
{
    static const double bounds[] = {1, 10, 100};

    visits = gcorn_counter("visits_total{kind=\"get\"}", "Visits.");
    sizes = gcorn_histogram("visit_bytes", "How large they were.", bounds, 3);
    gcorn_metric_set(gcorn_gauge("visitors", "Who is there."), 1);
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
