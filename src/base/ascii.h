/* SPDX-License-Identifier: MIT
 *
 * ascii - text of protocols and logs, the same in every locale.
 *
 * An application may call setlocale, and what the C library then makes of names, dates and errors
 * is for its users. HTTP, the logs and what else the server writes are ASCII and English, so none
 * of strftime, strcasecmp, isdigit, strerror and their like is called in base/, http/ and worker/
 * (`make lint` looks at their objects).
 *
 * Nothing here allocates, locks or looks at the environment: all of it is safe in a signal handler,
 * in any thread, and in a child that a thread has forked.
 */
#ifndef GCORN_BASE_ASCII_H
#define GCORN_BASE_ASCII_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Are the texts the same but for the case of ASCII letters? */
bool ascii_same(const char *a, const char *b);

/* The same of two texts of len bytes. */
bool ascii_same_n(const char *a, const char *b, size_t len);

/* Writes n in decimal, with leading zeros, as `width` digits: its last ones. No NUL. */
void ascii_put_digits(char *out, uint64_t n, size_t width);

/* "0123456789abcdef". */
extern const char ascii_hex_digits[17];

/* The value of a hexadecimal digit of either case; -1 for another character. */
static inline int ascii_hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Writes a byte as two hexadecimal digits; with \x in front of them. No NUL. */
enum { ASCII_ESCAPE_LEN = 4 };
void ascii_put_hex(char out[2], char byte);
void ascii_put_escape(char out[ASCII_ESCAPE_LEN], char byte);

/* What errno's value or a signal's number means, in English; never NULL. Signals have glibc's
 * words ("Segmentation fault"); a number that the C library does not know is "unknown". */
const char *ascii_error(int error_number);
const char *ascii_signal(int number);

/* ---- the wall clock ---------------------------------------------------------------------- */

/* A date of the proleptic Gregorian calendar, and a time of day. */
struct civil {
    int32_t year;
    uint8_t month; /* 1 to 12 */
    uint8_t day;   /* 1 to 31 */
    uint8_t hour, minute, second;
    uint8_t weekday; /* 0: Sunday */
};

/* Of unix_s seconds since 1970, without leap seconds, of the years 1 to 9999; UTC, or local when
 * the zone's offset has been added. */
void civil_from_unix(struct civil *c, int64_t unix_s);

/* English names of three letters: by month - 1, by weekday. */
extern const char civil_months[12][4];
extern const char civil_weekdays[7][4];

/* The zone of this process's logs: seconds east of Greenwich. It is 0 until it is set; a child has
 * its parent's. Not taken from the C library each time: localtime_r has a lock, which a thread that
 * died or was forked away may hold. */
void zone_set(int32_t offset_s);
int32_t zone_offset_s(void);

/* Local times, each with a final NUL; the length without it. */
enum { TIME_TEXT_SIZE = 40 };
size_t time_put_log(char out[TIME_TEXT_SIZE], int64_t unix_s); /* 2026-11-22 12:34:56 +0100 */
size_t time_put_clf(char out[TIME_TEXT_SIZE], int64_t unix_s); /* [22/Nov/2026:12:34:56 +0100] */

/* RFC 3339, with milliseconds: 2026-11-22T12:34:56.789+01:00 */
size_t time_put_iso(char out[TIME_TEXT_SIZE], int64_t unix_ms);

/* The date of HTTP (RFC 9110 5.6.7), which is UTC: Sun, 22 Nov 2026 11:34:56 GMT */
size_t time_put_http(char out[TIME_TEXT_SIZE], int64_t unix_s);

#endif
