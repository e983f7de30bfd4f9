#include "eval/metrics/text/ptb_treatment.h"

#include <string.h>

typedef struct Replacement {
    const char *from, *to;
} Replacement;

#define SOFT_HYPHEN "\u00ad"

static const Replacement FRACTIONS[] = {{"\u00bc", "1/4"}, {"\u00bd", "1/2"}, {"\u00be", "3/4"},
                                        {"\u2153", "1/3"}, {"\u2154", "2/3"}, {NULL, NULL}};
// U+0080 is the Euro sign in Windows' code page 1252, U+0091 to U+0094 are its quotation marks.
static const Replacement CURRENCIES[] = {{"\u00a2", "cents"}, {"\u00a3", "#"}, {"\xc2\x80", "$"},
                                         {"\u00a4", "$"},     {"\u20a0", "$"}, {"\u20ac", "$"},
                                         {NULL, NULL}};
static const Replacement CLOSING[] = {
    {"&apos;", "'"},  {"'", "'"},         {"\"", "''"},     {"&quot;", "''"},  {"\xc2\x91", "`"},
    {"\u2018", "`"},  {"\u201b", "`"},    {"\u2039", "`"},  {"\xc2\x92", "'"}, {"\u2019", "'"},
    {"\u203a", "'"},  {"\xc2\x93", "``"}, {"\u201c", "``"}, {"\u00ab", "``"},  {"\xc2\x94", "''"},
    {"\u201d", "''"}, {"\u00bb", "''"},   {NULL, NULL}};
static const Replacement OPENING[] = {
    {"&apos;", "`"}, {"'", "`"}, {"\"", "``"}, {"&quot;", "``"}, {NULL, NULL}};
static const Replacement SPACES[] = {{" ", "\u00a0"}, {NULL, NULL}};
static const Replacement PARENTHESES[] = {{"(", "-LRB-"}, {")", "-RRB-"}, {NULL, NULL}};
static const Replacement PHONE[] = {{" ", "\u00a0"}, {"(", "-LRB-"}, {")", "-RRB-"}, {NULL, NULL}};

static void put_replaced(ByteBuffer *to, const char *text, size_t length,
                         const Replacement *replacements) {
    for (size_t i = 0; i < length;) {
        const Replacement *r = replacements;
        while (r->from &&
               (strlen(r->from) > length - i || memcmp(text + i, r->from, strlen(r->from)) != 0))
            r++;
        if (r->from)
            byte_buffer_put_text(to, r->to);
        else
            byte_buffer_put_byte(to, text[i]);
        i += r->from ? strlen(r->from) : 1;
    }
}

/// Nothing but soft hyphens is a hyphen.
static void put_without_soft_hyphens(ByteBuffer *to, const char *text, size_t length) {
    const size_t before = to->size;
    static const Replacement none[] = {{SOFT_HYPHEN, ""}, {NULL, NULL}};
    put_replaced(to, text, length, none);
    if (to->size == before) byte_buffer_put_byte(to, '-');
}

static void put_ampersands(ByteBuffer *to, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        byte_buffer_put_byte(to, text[i]);
        if (length - i >= 5 && strncasecmp(text + i, "&amp;", 5) == 0) i += 4;
    }
}

void ptb_treatment_put(ByteBuffer *to, const PtbRule *rule, const char *text, size_t length) {
    switch (rule->treatment) {
    case PTB_SOFT_HYPHENS:
        put_without_soft_hyphens(to, text, length);
        break;
    case PTB_QUOTES:
        put_replaced(to, text, length, CLOSING);
        break;
    case PTB_OPENING_QUOTES:
        put_replaced(to, text, length, OPENING);
        break;
    case PTB_HYPHENS:
        byte_buffer_put(to, text, length == 3 || length == 4 ? 2 : length);
        break;
    case PTB_AMPERSAND:
        put_ampersands(to, text, length);
        break;
    case PTB_FRACTION_CHARACTER:
        put_replaced(to, text, length, FRACTIONS);
        break;
    case PTB_CURRENCY:
        put_replaced(to, text, length, CURRENCIES);
        break;
    case PTB_SPACES:
        put_replaced(to, text, length, SPACES);
        break;
    case PTB_PARENTHESES:
        put_replaced(to, text, length, PARENTHESES);
        break;
    case PTB_PHONE:
        put_replaced(to, text, length, PHONE);
        break;
    case PTB_REPLACE:
        byte_buffer_put_text(to, rule->text);
        break;
    default:
        byte_buffer_put(to, text, length);
        break;
    }
}
