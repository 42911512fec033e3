/* SPDX-License-Identifier: MIT
 *
 * See text.h. Reading and writing use the same two tables of units, so a written value reads back
 * as the same value.
 */
#include "settings/text.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/strbuf.h"
#include "base/utf8.h"
#include "base/util.h"

/* ---- numbers ----------------------------------------------------------------------------- */

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

struct unit {
    const char *name;
    uint64_t factor;
    uint64_t print_from; /* the smallest value printed in this unit; 0: it is only read */
};

/* A value is printed in the first unit that divides it; 60s and 90s stay seconds. */
static const struct unit duration_units[] = {
    {"h", 3600000, 3600000}, {"m", 60000, 120000}, {"s", 1000, 1000}, {"ms", 1, 1},
    {"", 1000, 0},           {NULL, 0, 0},
};

static const struct unit size_units[] = {
    {"GiB", GIB, GIB},     {"MiB", MIB, MIB},  {"KiB", KIB, KIB}, {"", 1, 1},
    {"g", GIB, 0},         {"m", MIB, 0},      {"k", KIB, 0},     {"B", 1, 0},
    {"GB", 1000000000, 0}, {"MB", 1000000, 0}, {"kB", 1000, 0},   {NULL, 0, 0},
};

/* So that the multiplications below cannot overflow. */
#define DIGITS_MAX  ((uint64_t)1000000000000000)
#define DIVISOR_MAX 1000000

/* Reads a decimal number, with an optional fraction and unit; the result must be a whole number. */
static int parse_scaled(const char *text, const struct unit *units, uint64_t *value)
{
    uint64_t digits = 0, divisor = 1;
    const char *p = text;

    for (bool in_fraction = false; isdigit((unsigned char)*p) || (*p == '.' && !in_fraction); p++) {
        if (*p == '.') {
            if (p == text || !isdigit((unsigned char)p[1]))
                return -1;
            in_fraction = true;
            continue;
        }
        if (digits > DIGITS_MAX || divisor > DIVISOR_MAX)
            return -1;
        digits = digits * 10 + (uint64_t)(*p - '0');
        divisor *= in_fraction ? 10 : 1;
    }
    if (p == text)
        return -1;
    while (units->name && strcasecmp(units->name, p) != 0)
        units++;
    if (!units->name || digits > UINT64_MAX / units->factor ||
        digits * units->factor % divisor != 0)
        return -1;
    *value = digits * units->factor / divisor;
    return 0;
}

static void add_scaled(struct strbuf *out, const struct unit *units, uint64_t value)
{
    if (value == 0) {
        strbuf_addstr(out, "0");
        return;
    }
    while (units->print_from == 0 || value < units->print_from || value % units->factor != 0)
        units++;
    strbuf_addu(out, value / units->factor);
    strbuf_addstr(out, units->name);
}

int text_parse_duration(const char *text, uint64_t *ms)
{
    return parse_scaled(text, duration_units, ms);
}

int text_parse_size(const char *text, uint64_t *size)
{
    return parse_scaled(text, size_units, size);
}

void text_add_duration(struct strbuf *out, uint64_t ms)
{
    add_scaled(out, duration_units, ms);
}

void text_add_size(struct strbuf *out, uint64_t size)
{
    add_scaled(out, size_units, size);
}

void text_add_octal(struct strbuf *out, uint64_t value)
{
    strbuf_addf(out, "%#llo", (unsigned long long)value);
}

int text_parse_octal(const char *text, uint64_t *value)
{
    if (strncasecmp(text, "0o", 2) == 0)
        text += 2;
    if (*text == '\0' || strlen(text) > 6 || text[strspn(text, "01234567")] != '\0')
        return -1;
    *value = 0;
    for (; *text; text++)
        *value = *value * 8 + (uint64_t)(*text - '0');
    return 0;
}

/* ---- characters -------------------------------------------------------------------------- */

/* True: the character needs no escape in a YAML file. Control characters, Unicode line breaks and
 * characters that libyaml refuses need one. */
static bool is_yaml_printable(uint32_t code)
{
    return !utf8_is_control(code) && code != 0x2028 && code != 0x2029 && code != 0xfeff &&
           code != 0xfffe && code != 0xffff;
}

void text_add_quoted(struct strbuf *out, const char *text)
{
    size_t len = strlen(text), used;
    uint32_t code;

    strbuf_addch(out, '"');
    for (; len > 0; text += used, len -= used) {
        used = utf8_decode(text, len, &code);
        assert(used > 0);
        if (code == '"' || code == '\\')
            strbuf_addf(out, "\\%c", (int)code);
        else if (is_yaml_printable(code))
            strbuf_add(out, text, used);
        else if (code == '\n')
            strbuf_addstr(out, "\\n");
        else
            strbuf_addf(out, "\\u%04X", (unsigned)code); /* none above U+FFFF gets here */
    }
    strbuf_addch(out, '"');
}

void text_add_plain(struct strbuf *out, const char *text, size_t max)
{
    size_t len = strlen(text), used;
    uint32_t code;

    for (; len > 0 && max > 0; max--, text += used, len -= used) {
        used = utf8_decode(text, len, &code);
        if (used > 0 && is_yaml_printable(code))
            strbuf_add(out, text, used);
        else
            strbuf_addch(out, '?');
        used = used > 0 ? used : 1;
    }
    if (len > 0)
        strbuf_addstr(out, "...");
}

/* ---- names ------------------------------------------------------------------------------- */

enum { NAME_MAX_LEN = 40 }; /* a longer name is not a misspelt setting */

static int fold(char c)
{
    return c == '-' ? '_' : tolower((unsigned char)c);
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

size_t text_distance(const char *a, const char *b)
{
    size_t cost[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > NAME_MAX_LEN || b_len > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t i = 0; i <= a_len; i++) {
        for (size_t j = 0; j <= b_len; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            bool same = fold(a[i - 1]) == fold(b[j - 1]);

            cost[i][j] = min3(cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + !same);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]) && cost[i - 2][j - 2] + 1 < cost[i][j])
                cost[i][j] = cost[i - 2][j - 2] + 1;
        }
    }
    return cost[a_len][b_len];
}
