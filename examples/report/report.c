/* SPDX-License-Identifier: MIT
 *
 * report - a table that is sent as it is computed: how many primes lie in each range of numbers.
 *
 *   gcorn --threads 4 report.so:handler
 *   curl -N 'http://127.0.0.1:8000/primes.csv?rows=1000&step=10000'
 *
 * What it shows: gcorn_send hands each row on at once, so the first rows are there while the last
 * ones are computed, and no report is ever whole in memory. The code is a plain loop: what an
 * iterator would keep between its calls are local variables here.
 *
 * The price is that a report holds its worker, or with --threads its thread, from the first row to
 * the last. A slow client costs nothing before stream_spool is full. One that has left makes
 * gcorn_send fail, and the work ends with that row.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

enum { ROWS = 100, ROWS_MAX = 1000000, STEP = 1000, STEP_MAX = 1000000, ROW_SIZE = 128 };

static bool is_prime(unsigned long n)
{
    if (n < 4)
        return n > 1;
    for (unsigned long d = 2; d * d <= n; d++) {
        if (n % d == 0)
            return false;
    }
    return true;
}

static unsigned long count_primes(unsigned long from, unsigned long to)
{
    unsigned long count = 0;

    for (unsigned long n = from; n < to; n++)
        count += is_prime(n);
    return count;
}

/* A parameter from 1 to max; standard where it is absent, 0 where it is wrong. */
static unsigned long number(struct gcorn_environ *env, const char *name, unsigned long standard,
                            unsigned long max)
{
    const char *text = gcorn_query(env, name);
    char *end;

    if (!text)
        return standard;
    unsigned long n = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && n <= max ? n : 0;
}

static struct gcorn_body *refuse(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};

    (void)gcorn_start(start_response, "400 Bad Request", headers);
    return gcorn_body_printf(env, "rows is 1 to %d, step 1 to %d\n", ROWS_MAX, STEP_MAX);
}

/* The client has left, or the worker must stop: returning NULL breaks the answer, so that a report
 * which is cut short never looks whole. */
static struct gcorn_body *give_up(struct gcorn_environ *env, unsigned long rows)
{
    gcorn_log(env, GCORN_INFO, "the report ends after %lu rows: %s", rows,
              errno == ESHUTDOWN ? "the worker stops" : "its client has left");
    return NULL;
}

/* One row; -1 with errno as gcorn_send. */
static int send_row(struct gcorn_environ *env, unsigned long from, unsigned long to,
                    unsigned long *total)
{
    char row[ROW_SIZE];
    unsigned long primes = count_primes(from, to);

    *total += primes;
    int len = snprintf(row, sizeof(row), "%lu,%lu,%lu,%lu\n", from, to - 1, primes, *total);
    return gcorn_send(env, row, (size_t)len);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const char titles[] = "from,to,primes,total\n";
    static const struct gcorn_header headers[] = {
        {"Content-Type", "text/csv"},
        {"Content-Disposition", "attachment; filename=\"primes.csv\""},
        {NULL, NULL}};
    unsigned long rows = number(env, "rows", ROWS, ROWS_MAX);
    unsigned long step = number(env, "step", STEP, STEP_MAX), total = 0;

    if (rows == 0 || step == 0)
        return refuse(env, start_response);
    (void)gcorn_start(start_response, "200 OK", headers);
    if (gcorn_send(env, titles, strlen(titles)) < 0)
        return give_up(env, 0);
    for (unsigned long i = 0; i < rows; i++) {
        if (send_row(env, i * step, (i + 1) * step, &total) < 0)
            return give_up(env, i);
    }
    return gcorn_body_text(env, "");
}
