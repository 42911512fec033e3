/* SPDX-License-Identifier: MIT
 *
 * ascii - text of protocols and logs, the same in every locale.
 *
 * An application may call setlocale, which changes names, dates and errors of the C library. HTTP,
 * the logs and everything else that the server writes are ASCII and English, so base/, http/ and
 * worker/ call none of strftime, strcasecmp, isdigit, strerror and the like (`make lint` checks
 * their objects).
 *
 * Nothing here allocates, locks or reads the environment: all functions are async-signal-safe, and
 * safe in any thread and in a child that a thread has forked.
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

/* Are the texts equal, apart from the case of ASCII letters? */
bool ascii_same(const char *a, const char *b);

/* The same for two texts of len bytes. */
bool ascii_same_n(const char *a, const char *b, size_t len);

/* Writes the last `width` decimal digits of n, with leading zeros. No NUL. */
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

/* Writes n as 16 hexadecimal digits. No NUL. */
void ascii_put_hex_u64(char out[16], uint64_t n);
void ascii_put_escape(char out[ASCII_ESCAPE_LEN], char byte);

/* The meaning of a value of errno, of a signal's number, in English; never NULL. Signals have
 * glibc's texts ("Segmentation fault"). An unknown number is "unknown error", "unknown signal". */
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

/* Converts seconds since 1970 without leap seconds, in the years 1 to 9999: to UTC, or to local
 * time when the zone's offset has been added. */
void civil_from_unix(struct civil *c, int64_t unix_s);

/* English names of three letters: by month - 1, by weekday. */
extern const char civil_months[12][4];
extern const char civil_weekdays[7][4];

/* The time zone of this process's logs, in seconds east of Greenwich; 0 until it is set. A child
 * inherits it. It is not read from the C library each time: localtime_r takes a lock, which a
 * thread that has died or does not exist in a forked child may hold. */
void zone_set(int32_t offset_s);
int32_t zone_offset_s(void);

/* Write a local time and a NUL, and return the length without the NUL. */
enum { TIME_TEXT_SIZE = 40 };
size_t time_put_log(char out[TIME_TEXT_SIZE], int64_t unix_s); /* 2026-11-22 12:34:56 +0100 */
size_t time_put_clf(char out[TIME_TEXT_SIZE], int64_t unix_s); /* [22/Nov/2026:12:34:56 +0100] */

/* RFC 3339, with milliseconds: 2026-11-22T12:34:56.789+01:00 */
size_t time_put_iso(char out[TIME_TEXT_SIZE], int64_t unix_ms);

/* HTTP's date (RFC 9110 5.6.7), in UTC: Sun, 22 Nov 2026 11:34:56 GMT */
size_t time_put_http(char out[TIME_TEXT_SIZE], int64_t unix_s);

#endif
