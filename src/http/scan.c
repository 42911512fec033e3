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
static inline int check_line(const struct scan *s, const struct scan_limits *limits,
                             const char **reason)
{
    bool request_line = in_request_line(s);
    size_t max = request_line ? limits->line_max : limits->field_max;

    if ((max == 0 || s->line_len <= max) && s->len <= limits->head_max)
        return 0;
    if (request_line)
        *reason = "the request line is too long";
    else if (s->len > limits->head_max)
        *reason = "the header fields are too long together";
    else
        *reason = "a header field is too long";
    return request_line ? 414 : 431;
}

/* The LF of a line has come: whatever the line was cut into, this is where it is judged whole. */
static inline int end_line(struct scan *s, const struct scan_limits *limits, const char **reason)
{
    int status = check_line(s, limits, reason);

    if (status != 0)
        return status;
    s->lines++;
    s->line_len = 0;
    s->place = SCAN_START;
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

/* Scans the rest of the current line, with its CRLF if that is there. */
static inline int scan_line(struct scan *s, const struct scan_limits *limits, const char *p,
                            size_t len, size_t *used, const char **reason)
{
    size_t n = scan_control(p, len);

    s->line_len += n;
    if (n == len) {
        s->len += n;
        *used = n;
        return check_line(s, limits, reason);
    }
    if (p[n] == '\r' && len - n > 1 && p[n + 1] == '\n') {
        s->len += n + 2;
        *used = n + 2;
        return end_line(s, limits, reason);
    }
    s->len += n;
    *used = n;
    int status = check_line(s, limits, reason);
    if (status != 0 || p[n] != '\r')
        return status != 0 ? status : bad_line_end(reason);
    s->len++;
    *used = n + 1;
    s->place = SCAN_CR;
    return 0;
}

/* One byte at a place where a single byte decides. */
static int scan_byte(struct scan *s, const struct scan_limits *limits, char c, const char **reason)
{
    if (s->place == SCAN_START) { /* at the CR of the empty line */
        s->len++;
        s->place = SCAN_LAST_CR;
        return 0;
    }
    if (c != '\n')
        return bad_line_end(reason);
    if (s->place == SCAN_BEFORE_CR) {
        s->skipped++;
        s->place = SCAN_BEFORE;
        return 0;
    }
    s->len++;
    if (s->place == SCAN_CR)
        return end_line(s, limits, reason);
    s->place = SCAN_END;
    return check_line(s, limits, reason);
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
