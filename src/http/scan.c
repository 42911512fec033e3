/* SPDX-License-Identifier: MIT
 *
 * See scan.h. The work is done by scan_control, 16 bytes a step: within a line nothing but control
 * bytes can matter, so the state machine runs once a line and not once a byte.
 */
#include "http/scan.h"

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

/* A client may send a few CRLFs before its request line; one that sends nothing else is not a
 * client. */
enum { SKIP_MAX = 16 };

static inline bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

size_t scan_control_portable(const char *p, size_t len)
{
    size_t i = 0;

    while (i < len && !is_control(p[i]))
        i++;
    return i;
}

#if defined(__SSE2__)

size_t scan_control(const char *p, size_t len)
{
    const __m128i last_control = _mm_set1_epi8(0x1f);
    const __m128i tab = _mm_set1_epi8('\t');
    const __m128i del = _mm_set1_epi8(0x7f);
    size_t i = 0;

    for (; i + 16 <= len; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v);
        __m128i bad =
            _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);

        if (mask != 0)
            return i + (size_t)__builtin_ctz(mask);
    }
    return i + scan_control_portable(p + i, len - i);
}

#elif defined(__ARM_NEON) && defined(__aarch64__)

size_t scan_control(const char *p, size_t len)
{
    size_t i = 0;

    for (; i + 16 <= len; i += 16) {
        uint8x16_t v = vld1q_u8((const uint8_t *)p + i);
        uint8x16_t low =
            vandq_u8(vcltq_u8(v, vdupq_n_u8(0x20)), vmvnq_u8(vceqq_u8(v, vdupq_n_u8('\t'))));

        if (vmaxvq_u8(vorrq_u8(low, vceqq_u8(v, vdupq_n_u8(0x7f)))) != 0)
            break;
    }
    return i + scan_control_portable(p + i, len - i);
}

#else

size_t scan_control(const char *p, size_t len)
{
    return scan_control_portable(p, len);
}

#endif

void scan_init(struct scan *s, bool trailers)
{
    *s = (struct scan){.place = trailers ? SCAN_START : SCAN_BEFORE, .trailers = trailers};
}

static bool in_request_line(const struct scan *s)
{
    return !s->trailers && s->lines == 0;
}

/* After bytes were added to the current line: is it still within bounds? */
static int check_line(const struct scan *s, const struct scan_limits *limits, const char **reason)
{
    if (in_request_line(s)) {
        if ((limits->line_max > 0 && s->line_len > limits->line_max) || s->len > limits->head_max) {
            *reason = "the request line is too long";
            return 414;
        }
        return 0;
    }
    if (limits->field_max > 0 && s->line_len > limits->field_max) {
        *reason = "a header field is too long";
        return 431;
    }
    if (s->len > limits->head_max) {
        *reason = "the header fields are too long together";
        return 431;
    }
    return 0;
}

/* At the first byte of a line that is not the request line. */
static int check_start(const struct scan *s, const struct scan_limits *limits, char c,
                       const char **reason)
{
    size_t fields = s->trailers ? s->lines : s->lines - 1;

    if (c == ' ' || c == '\t') {
        *reason = "a header field is folded over several lines";
        return 400;
    }
    if (c == ':') {
        *reason = "a header field has no name";
        return 400;
    }
    if (c != '\r' && limits->fields_max > 0 && fields >= limits->fields_max) {
        *reason = "there are too many header fields";
        return 431;
    }
    return 0;
}

static int bad_line_end(const char **reason)
{
    *reason = "a line does not end in CRLF, or holds a control character";
    return 400;
}

/* Scans the rest of the current line, up to and with its CR. */
static int scan_line(struct scan *s, const struct scan_limits *limits, const char *p, size_t len,
                     size_t *used, const char **reason)
{
    size_t n = scan_control(p, len);

    s->line_len += n;
    s->len += n;
    *used = n;
    int status = check_line(s, limits, reason);
    if (status != 0 || n == len)
        return status;
    if (p[n] != '\r')
        return bad_line_end(reason);
    *used = n + 1;
    s->len++;
    s->place = SCAN_CR;
    return 0;
}

/* One byte at a place where a single byte decides. */
static int scan_byte(struct scan *s, const struct scan_limits *limits, char c, const char **reason)
{
    switch (s->place) {
    case SCAN_BEFORE_CR:
        if (c != '\n')
            return bad_line_end(reason);
        s->place = SCAN_BEFORE;
        s->skipped++;
        return 0;
    case SCAN_CR:
    case SCAN_LAST_CR:
        if (c != '\n')
            return bad_line_end(reason);
        s->len++;
        if (s->place == SCAN_LAST_CR) {
            s->place = SCAN_END;
        } else {
            s->lines++;
            s->line_len = 0;
            s->place = SCAN_START;
        }
        return check_line(s, limits, reason);
    default: /* SCAN_START, at the CR of the empty line */
        s->len++;
        s->place = SCAN_LAST_CR;
        return 0;
    }
}

int scan_head(struct scan *s, const struct scan_limits *limits, const char *data, size_t len,
              size_t *used, const char **reason)
{
    size_t i = 0;
    int status = 0;

    while (i < len && status == 0 && s->place != SCAN_END) {
        size_t n = 1;

        if (s->place == SCAN_BEFORE) {
            if (data[i] == '\r' && s->skipped < SKIP_MAX) {
                s->skipped++;
                s->place = SCAN_BEFORE_CR;
                i++;
                continue;
            }
            s->place = SCAN_LINE;
        }
        if (s->place == SCAN_START) {
            status = check_start(s, limits, data[i], reason);
            if (status != 0)
                break;
            if (data[i] != '\r')
                s->place = SCAN_LINE;
        }
        if (s->place == SCAN_LINE)
            status = scan_line(s, limits, data + i, len - i, &n, reason);
        else
            status = scan_byte(s, limits, data[i], reason);
        i += n;
    }
    *used = i;
    return status;
}
