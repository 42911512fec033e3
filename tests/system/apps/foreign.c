/* An application with a locale and a time zone of its own: TEST_LOCALE and Tokyo's. Any request is
 * answered with the month and a number as the locale writes them, and with a field CONTENT-ID that
 * is looked for in another case. */
#include "gcorn.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    return setlocale(LC_ALL, getenv("TEST_LOCALE")) ? 0 : -1;
}

GCORN_EXPORT struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    static const struct gcorn_header headers[] = {{"CONTENT-ID", "found"}, {NULL, NULL}};
    const struct tm tm = {.tm_mon = 0};
    const char *found = gcorn_headers_get(headers, "content-id");
    char month[32] = "";

    gcorn_metric_add(gcorn_counter("foreign_seconds_total", "Half a second a request."), 0.5);
    strftime(month, sizeof(month), "%b", &tm);
    gcorn_log(env, GCORN_INFO, "%s", "a line of the application");
    gcorn_start(start, "200 OK", headers);
    return gcorn_body_text(env, gcorn_printf(env, "%s %.1f %s", month, 1.5, found ? found : "lost"));
}
