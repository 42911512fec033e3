/* SPDX-License-Identifier: MIT
 *
 * See chunk.h. The grammar:
 *
 *   chunk-size [ *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) ] CRLF
 */
#include "http/request/chunk.h"

#include <assert.h>
#include <stdbool.h>

#include "base/ascii.h"
#include "http/request/syntax.h"

void chunk_line_init(struct chunk_line *c)
{
    *c = (struct chunk_line){.place = CHUNK_SIZE};
}

void chunk_line_next(struct chunk_line *c)
{
    size_t ext_len = c->ext_len;

    chunk_line_init(c);
    c->ext_len = ext_len;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_token_char(char c)
{
    return syntax_is_tchar(c);
}

static bool is_quoted_char(char c)
{
    return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);
}

static bool add_digit(struct chunk_line *c, char digit)
{
    int value = ascii_hex_value(digit);

    if (c->digits == 1 && c->hex[0] == '0') {
        c->digits = 0; /* zeros in front say nothing, but may not be endless */
        c->ext_len++;
    }
    if (c->digits == CHUNK_DIGITS_MAX)
        return false;
    c->hex[c->digits++] = digit;
    c->size = c->size << 4 | (uint64_t)value;
    return true;
}

/* What may follow a complete element: the line's end, another extension, or blanks before one. */
static bool after_element(struct chunk_line *c, char byte)
{
    if (byte == '\r')
        c->place = CHUNK_LF;
    else if (byte == ';')
        c->place = CHUNK_BEFORE_NAME;
    else if (is_blank(byte))
        c->place = CHUNK_BEFORE_SEMI;
    else
        return false;
    return true;
}

static bool in_quotes(struct chunk_line *c, char byte)
{
    if (!is_quoted_char(byte))
        return false;
    if (c->place == CHUNK_QUOTED_PAIR)
        c->place = CHUNK_QUOTED;
    else if (byte == '\\')
        c->place = CHUNK_QUOTED_PAIR;
    else if (byte == '"')
        c->place = CHUNK_AFTER_VALUE;
    return true;
}

static bool after_name(struct chunk_line *c, char byte)
{
    if (is_blank(byte)) {
        c->place = CHUNK_AFTER_NAME;
        return true;
    }
    if (byte == '=') {
        c->place = CHUNK_BEFORE_VALUE;
        return true;
    }
    /* blanks after a name must lead to '=' or to the next ';' */
    if (c->place == CHUNK_AFTER_NAME && byte == '\r')
        return false;
    return after_element(c, byte);
}

static bool before_value(struct chunk_line *c, char byte)
{
    if (byte == '"')
        c->place = CHUNK_QUOTED;
    else if (is_token_char(byte))
        c->place = CHUNK_TOKEN;
    else
        return is_blank(byte);
    return true;
}

/* One byte; false: not the grammar. */
static bool step(struct chunk_line *c, char byte)
{
    switch (c->place) {
    case CHUNK_SIZE:
        if (ascii_hex_value(byte) >= 0)
            return add_digit(c, byte);
        return c->digits > 0 && after_element(c, byte);
    case CHUNK_BEFORE_SEMI: return byte != '\r' && after_element(c, byte);
    case CHUNK_BEFORE_NAME:
        if (is_token_char(byte))
            c->place = CHUNK_NAME;
        return is_token_char(byte) || is_blank(byte);
    case CHUNK_NAME: return is_token_char(byte) || after_name(c, byte);
    case CHUNK_AFTER_NAME: return after_name(c, byte);
    case CHUNK_BEFORE_VALUE: return before_value(c, byte);
    case CHUNK_TOKEN: return is_token_char(byte) || after_element(c, byte);
    case CHUNK_QUOTED:
    case CHUNK_QUOTED_PAIR: return in_quotes(c, byte);
    case CHUNK_AFTER_VALUE: return after_element(c, byte);
    case CHUNK_LF: c->place = CHUNK_LINE_END; return byte == '\n';
    case CHUNK_LINE_END: break;
    }
    return false;
}

int chunk_line_feed(struct chunk_line *c, size_t ext_max, const char *data, size_t len,
                    size_t *used, const char **reason)
{
    size_t i = 0;

    assert(c->place != CHUNK_LINE_END); /* chunk_line_next comes first */
    while (i < len && c->place != CHUNK_LINE_END) {
        if (!step(c, data[i++])) {
            *reason = "a chunk does not begin with a valid size line";
            *used = i;
            return 400;
        }
        if (c->place != CHUNK_SIZE && c->place < CHUNK_LF)
            c->ext_len++;
        if (c->ext_len > ext_max) {
            *reason = "the chunk extensions, or zeros before sizes, are too long";
            *used = i;
            return 400;
        }
    }
    *used = i;
    return 0;
}
