/* SPDX-License-Identifier: MIT
 *
 * See cookie_date.h. A date is a bag of words: each is the time, the day, the month or the year,
 * whichever it fits first and is not known yet.
 */
#include "testlib/client/cookie_date.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/ascii.h"

struct date {
    bool has_time, has_day, has_month, has_year;
    int hour, minute, second, day, month, year;
};

static bool is_delimiter(char c)
{
    return c == '\t' || (c >= ' ' && c <= '/') || (c >= ';' && c <= '@') ||
           (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* Reads min to max digits that no other digit follows. Returns what follows; NULL: it is not so. */
static const char *read_number(const char *p, const char *end, int min, int max, int *number)
{
    int digits = 0;

    for (*number = 0; p < end && ascii_is_digit(*p) && digits <= max; digits++)
        *number = *number * 10 + (*p++ - '0');
    return digits >= min && digits <= max ? p : NULL;
}

static bool read_time(const char *p, const char *end, struct date *d)
{
    p = read_number(p, end, 1, 2, &d->hour);
    if (!p || p == end || *p != ':')
        return false;
    p = read_number(p + 1, end, 1, 2, &d->minute);
    if (!p || p == end || *p != ':')
        return false;
    return read_number(p + 1, end, 1, 2, &d->second) != NULL;
}

static bool read_month(const char *p, const char *end, struct date *d)
{
    for (int i = 0; i < 12 && end - p >= 3; i++) {
        if (ascii_same_n(p, civil_months[i], 3)) {
            d->month = i;
            return true;
        }
    }
    return false;
}

static void read_word(const char *p, const char *end, struct date *d)
{
    if (!d->has_time && read_time(p, end, d))
        d->has_time = true;
    else if (!d->has_day && read_number(p, end, 1, 2, &d->day))
        d->has_day = true;
    else if (!d->has_month && read_month(p, end, d))
        d->has_month = true;
    else if (!d->has_year && read_number(p, end, 2, 4, &d->year))
        d->has_year = true;
}

static bool is_whole(const struct date *d)
{
    return d->has_time && d->has_day && d->has_month && d->has_year && d->day >= 1 &&
           d->day <= 31 && d->year >= 1601 && d->hour <= 23 && d->minute <= 59 && d->second <= 59;
}

int cookie_date_parse(const char *text, size_t len, int64_t *unix_s)
{
    const char *end = text + len;
    struct date d = {.has_time = false};

    while (text < end) {
        const char *word = text;

        while (text < end && !is_delimiter(*text))
            text++;
        if (text > word)
            read_word(word, text, &d);
        else
            text++;
    }
    if (d.year >= 0 && d.year <= 99)
        d.year += d.year >= 70 ? 1900 : 2000;
    if (!is_whole(&d))
        return -1;
    struct tm tm = {.tm_year = d.year - 1900,
                    .tm_mon = d.month,
                    .tm_mday = d.day,
                    .tm_hour = d.hour,
                    .tm_min = d.minute,
                    .tm_sec = d.second};
    *unix_s = timegm(&tm);
    return tm.tm_mday == d.day ? 0 : -1; /* the 30th of February is the 2nd of March */
}
