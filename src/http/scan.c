/* SPDX-License-Identifier: MIT
 *
 * See scan.h. Within a line nothing but control bytes can matter, so the state machine runs once a
 * line and not once a byte, and control bytes are found 16 bytes a step.
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

enum { BLOCK = 16 };

/* One bit for each of 16 bytes: is it a control byte? */
#if defined(__SSE2__)

static inline unsigned block_mask(const char *p)
{
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    const __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}

#elif defined(__ARM_NEON) && defined(__aarch64__)

static inline unsigned block_mask(const char *p)
{
    static const uint8_t bits[BLOCK] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t v = vld1q_u8((const uint8_t *)p);
    const uint8x16_t low =
        vandq_u8(vcltq_u8(v, vdupq_n_u8(0x20)), vmvnq_u8(vceqq_u8(v, vdupq_n_u8('\t'))));
    const uint8x16_t bad = vandq_u8(vorrq_u8(low, vceqq_u8(v, vdupq_n_u8(0x7f))), vld1q_u8(bits));

    return (unsigned)vaddv_u8(vget_low_u8(bad)) | (unsigned)vaddv_u8(vget_high_u8(bad)) << 8;
}

#else

static inline unsigned block_mask(const char *p)
{
    unsigned mask = 0;

    for (int i = 0; i < BLOCK; i++)
        mask |= (unsigned)is_control(p[i]) << i;
    return mask;
}

#endif

/* May one of eight bytes be a control byte (or an HTAB)? The usual arithmetic on bytes in a word: a
 * byte below 0x20 borrows from its top bit, and so does a zero. */
static inline bool word_has_control(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    const uint64_t del = word ^ ones * 0x7f;

    return (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops;
}

/* The same of a piece of 8 to 16 bytes, by two words that may overlap. */
static inline bool short_has_control(const char *p, size_t len)
{
    uint64_t first, last;

    memcpy(&first, p, sizeof(first));
    memcpy(&last, p + len - sizeof(last), sizeof(last));
    return word_has_control(first) || word_has_control(last);
}

/* A walk over the control bytes of a piece: each block of it is looked at once. */
struct cursor {
    const char *data;
    size_t len;
    size_t base;   /* of the block that mask is about */
    unsigned mask; /* its control bytes that are still to come */
};

/* A piece shorter than a block, or what is left of a longer one. */
static void cursor_load_end(struct cursor *c, size_t base)
{
    size_t left = c->len - base;

    c->base = base;
    if (c->len >= BLOCK) {
        /* by a block that overlaps what has been looked at */
        c->mask = block_mask(c->data + c->len - BLOCK) >> (BLOCK - left);
        return;
    }
    c->mask = 0;
    for (size_t i = 0; i < left; i++)
        c->mask |= (unsigned)is_control(c->data[base + i]) << i;
}

static inline void cursor_load(struct cursor *c, size_t base)
{
    if (c->len - base < BLOCK) {
        cursor_load_end(c, base);
        return;
    }
    c->base = base;
    c->mask = block_mask(c->data + base);
}

/* The index of the first control byte at or after from, or len. from never goes back. */
static inline size_t cursor_next(struct cursor *c, size_t from)
{
    if (from - c->base >= BLOCK)
        cursor_load(c, from);
    else
        c->mask &= ~0u << (from - c->base);
    while (c->mask == 0) {
        if (c->len - c->base <= BLOCK)
            return c->len;
        cursor_load(c, c->base + BLOCK);
    }
    return c->base + (size_t)__builtin_ctz(c->mask);
}

static inline struct cursor cursor_on(const char *data, size_t len)
{
    struct cursor c = {.data = data, .len = len};

    if (len > 0)
        cursor_load(&c, 0);
    return c;
}

size_t scan_control(const char *p, size_t len)
{
    struct cursor c = cursor_on(p, len);

    return len > 0 ? cursor_next(&c, 0) : 0;
}

bool scan_has_control(const char *p, size_t len)
{
    if (len >= sizeof(uint64_t) && len < BLOCK && !short_has_control(p, len))
        return false;
    return (len < BLOCK ? scan_control_portable(p, len) : scan_control(p, len)) < len;
}

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
    /* one text for both, since which is hit first depends on how the bytes are cut */
    *reason = request_line ? "the request line is too long"
                           : "a header field, or all of them together, are too long";
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

/* Scans the rest of the current line from at on, with its CRLF if that is there. */
static inline int scan_line(struct scan *s, const struct scan_limits *limits, struct cursor *cursor,
                            size_t at, size_t *end, const char **reason)
{
    const char *p = cursor->data;
    size_t i = cursor_next(cursor, at);

    s->line_len += i - at;
    s->len += i - at;
    *end = i;
    if (cursor->len - i > 1 && p[i] == '\r' && p[i + 1] == '\n') {
        s->len += 2;
        *end = i + 2;
        return end_line(s, limits, reason);
    }
    int status = check_line(s, limits, reason);
    if (status != 0 || i == cursor->len)
        return status;
    if (p[i] != '\r')
        return bad_line_end(reason);
    s->len++;
    *end = i + 1;
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

/* The common case, with nothing to remember between the bytes: lines that are there whole and in
 * order. Stops before the first that is not, for the careful way to judge; returns where. */
static size_t scan_whole_lines(struct scan *s, const struct scan_limits *limits,
                               struct cursor *cursor, size_t i)
{
    const char *p = cursor->data;
    size_t total = s->len, lines = s->lines;
    const size_t first_field = s->trailers ? 0 : 1;
    const size_t field_max = limits->field_max > 0 ? limits->field_max : SIZE_MAX;
    const size_t lines_max = limits->fields_max > 0 ? limits->fields_max + first_field : SIZE_MAX;

    while (lines >= first_field && i < cursor->len) {
        size_t end = cursor_next(cursor, i), n = end - i;

        if (cursor->len - end < 2 || p[end] != '\r' || p[end + 1] != '\n' || n == 0 ||
            n > field_max || total + n + 2 > limits->head_max || lines >= lines_max ||
            p[i] == ' ' || p[i] == '\t' || p[i] == ':')
            break;
        total += n + 2;
        lines++;
        i = end + 2;
    }
    s->len = total;
    s->lines = lines;
    return i;
}

int scan_head(struct scan *s, const struct scan_limits *limits, const char *data, size_t len,
              size_t *used, const char **reason)
{
    struct cursor cursor = cursor_on(data, len);
    size_t i = 0;
    int status = 0;

    while (i < len && status == 0 && s->place != SCAN_END) {
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
            i = scan_whole_lines(s, limits, &cursor, i);
            if (i == len)
                break;
            status = check_start(s, limits, data[i], reason);
            if (status != 0)
                break;
            if (data[i] != '\r')
                s->place = SCAN_LINE;
        }
        if (s->place == SCAN_LINE)
            status = scan_line(s, limits, &cursor, i, &i, reason);
        else
            status = scan_byte(s, limits, data[i++], reason);
    }
    *used = i;
    return status;
}
