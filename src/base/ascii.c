/* SPDX-License-Identifier: MIT
 *
 * See ascii.h. Times are written digit by digit, because snprintf may lock and allocate.
 */
#include "base/ascii.h"

#include <endian.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/compat.h"

bool ascii_same(const char *a, const char *b)
{
    while (*a != '\0' && ascii_lower(*a) == ascii_lower(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

bool ascii_same_n(const char *a, const char *b, size_t len)
{
    size_t i = 0;

    while (i < len && ascii_lower(a[i]) == ascii_lower(b[i]))
        i++;
    return i == len;
}

void ascii_put_digits(char *out, uint64_t n, size_t width)
{
    for (size_t i = width; i > 0; n /= 10)
        out[--i] = (char)('0' + n % 10);
}

const char ascii_hex_digits[17] = "0123456789abcdef";

void ascii_put_hex(char out[2], char byte)
{
    out[0] = ascii_hex_digits[(unsigned char)byte >> 4];
    out[1] = ascii_hex_digits[(unsigned char)byte & 15];
}

#define EACH_BYTE(n) (UINT64_C(0x0101010101010101) * (n))

/* The eight digits of n, the first one in the highest byte: its halves, quarters and so on are moved
 * apart until each has a byte of its own. From 10 on a digit is 'a' and more, which is 0x27 further. */
static uint64_t eight_digits(uint64_t n)
{
    n = (n | n << 16) & UINT64_C(0x0000ffff0000ffff);
    n = (n | n << 8) & UINT64_C(0x00ff00ff00ff00ff);
    n = (n | n << 4) & EACH_BYTE(0x0f);
    uint64_t is_letter = (n + EACH_BYTE(6)) >> 4 & EACH_BYTE(1);

    return n + EACH_BYTE('0') + is_letter * ('a' - '9' - 1);
}

void ascii_put_hex_u64(char out[16], uint64_t n)
{
    const uint64_t digits[2] = {htobe64(eight_digits(n >> 32)),
                                htobe64(eight_digits(n & UINT32_MAX))};

    memcpy(out, digits, sizeof(digits));
}

void ascii_put_escape(char out[ASCII_ESCAPE_LEN], char byte)
{
    memcpy(out, "\\x", 2);
    ascii_put_hex(out + 2, byte);
}

const char *ascii_error(int error_number)
{
    const char *text = strerrordesc_np(error_number);

    return text ? text : "unknown error";
}

const char *ascii_signal(int number)
{
    const char *text = sigdescr_np(number);

    return text ? text : "unknown signal";
}

/* ---- the wall clock ---------------------------------------------------------------------- */

const char civil_months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
const char civil_weekdays[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

enum { DAY_S = 86400, ERA_DAYS = 146097 }; /* an era is 400 years */

/* 1970-01-01 is this many days after 0000-03-01, where the count below begins: with March, so that
 * a leap day is the last one of its year. */
static const int64_t EPOCH_DAYS = 719468;

void civil_from_unix(struct civil *c, int64_t unix_s)
{
    uint64_t from_march_0 = (uint64_t)(unix_s + EPOCH_DAYS * DAY_S);
    uint32_t days = (uint32_t)(from_march_0 / DAY_S), of_day = (uint32_t)(from_march_0 % DAY_S);
    uint32_t era = days / ERA_DAYS, day_of_era = days % ERA_DAYS;
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month = (5 * day_of_year + 2) / 153; /* 0: March; months come as 31, 30, 31, 30, 31 */

    c->day = (uint8_t)(day_of_year - (153 * month + 2) / 5 + 1);
    c->month = (uint8_t)(month < 10 ? month + 3 : month - 9);
    c->year = (int32_t)(era * 400 + year_of_era + (month >= 10));
    c->hour = (uint8_t)(of_day / 3600);
    c->minute = (uint8_t)(of_day / 60 % 60);
    c->second = (uint8_t)(of_day % 60);
    c->weekday = (uint8_t)((days + 3) % 7); /* 0000-03-01 was a Wednesday */
}

static _Atomic int32_t zone_s;

void zone_set(int32_t offset_s)
{
    atomic_store_explicit(&zone_s, offset_s, memory_order_relaxed);
}

int32_t zone_offset_s(void)
{
    return atomic_load_explicit(&zone_s, memory_order_relaxed);
}

static char *put_number(char *p, uint64_t n, size_t width, char behind)
{
    ascii_put_digits(p, n, width);
    p[width] = behind;
    return p + width + 1;
}

static char *put_name(char *p, const char name[4], char behind)
{
    memcpy(p, name, 3);
    p[3] = behind;
    return p + 4;
}

/* 12:34:56 */
static char *put_clock(char *p, const struct civil *c, char behind)
{
    p = put_number(p, c->hour, 2, ':');
    p = put_number(p, c->minute, 2, ':');
    return put_number(p, c->second, 2, behind);
}

/* 2026-11-22 */
static char *put_date(char *p, const struct civil *c, char behind)
{
    p = put_number(p, (uint64_t)c->year, 4, '-');
    p = put_number(p, c->month, 2, '-');
    return put_number(p, c->day, 2, behind);
}

/* +0100 and its NUL, or +01:00; the end of the text. */
static char *put_zone(char *p, int32_t offset_s, bool with_colon)
{
    uint32_t minutes = (uint32_t)(offset_s < 0 ? -offset_s : offset_s) / 60;

    *p++ = offset_s < 0 ? '-' : '+';
    ascii_put_digits(p, minutes / 60, 2);
    p += 2;
    if (with_colon)
        *p++ = ':';
    return put_number(p, minutes % 60, 2, '\0') - 1;
}

size_t time_put_log(char out[TIME_TEXT_SIZE], int64_t unix_s)
{
    int32_t offset_s = zone_offset_s();
    struct civil c;

    civil_from_unix(&c, unix_s + offset_s);
    return (size_t)(put_zone(put_clock(put_date(out, &c, ' '), &c, ' '), offset_s, false) - out);
}

size_t time_put_clf(char out[TIME_TEXT_SIZE], int64_t unix_s)
{
    int32_t offset_s = zone_offset_s();
    struct civil c;

    civil_from_unix(&c, unix_s + offset_s);
    out[0] = '[';
    char *p = put_number(out + 1, c.day, 2, '/');
    p = put_name(p, civil_months[c.month - 1], '/');
    p = put_number(p, (uint64_t)c.year, 4, ':');
    p = put_zone(put_clock(p, &c, ' '), offset_s, false);
    memcpy(p, "]", 2);
    return (size_t)(p + 1 - out);
}

size_t time_put_iso(char out[TIME_TEXT_SIZE], int64_t unix_ms)
{
    int32_t offset_s = zone_offset_s();
    struct civil c;

    civil_from_unix(&c, unix_ms / 1000 + offset_s);
    char *p = put_clock(put_date(out, &c, 'T'), &c, '.');
    ascii_put_digits(p, (uint64_t)unix_ms % 1000, 3);
    return (size_t)(put_zone(p + 3, offset_s, true) - out);
}

size_t time_put_http(char out[TIME_TEXT_SIZE], int64_t unix_s)
{
    struct civil c;

    civil_from_unix(&c, unix_s);
    char *p = put_name(out, civil_weekdays[c.weekday], ',');
    *p++ = ' ';
    p = put_number(p, c.day, 2, ' ');
    p = put_name(p, civil_months[c.month - 1], ' ');
    p = put_clock(put_number(p, (uint64_t)c.year, 4, ' '), &c, ' ');
    memcpy(p, "GMT", 4);
    return (size_t)(p + 3 - out);
}
