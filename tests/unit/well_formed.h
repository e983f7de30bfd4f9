/// Pages and charts that a test looks at.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <string.h>

/// How often a part occurs in the text.
static inline int count_of(const char *text, const char *part) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) count++;
    return count;
}

/// Fails unless every tag is closed in order, every attribute is quoted and every coordinate is a
/// number.
static inline void expect_well_formed(const char *html) {
    char open[64][16];
    int depth = 0;
    const char *at = html;
    while ((at = strchr(at, '<'))) {
        if (at[1] == '!') {
            at++;
            continue;
        }
        const char *end = at + 1;
        bool is_quoted = false;
        for (; *end && (is_quoted || *end != '>'); end++) is_quoted ^= *end == '"';
        assert_int_equal(*end, '>');
        bool closes = at[1] == '/', is_empty = end[-1] == '/';
        char name[16] = {0};
        for (int i = 0; i < 15 && isalnum(at[1 + closes + i]); i++) name[i] = at[1 + closes + i];
        if (closes) {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (!is_empty && strcmp(name, "meta") != 0 && strcmp(name, "img") != 0) {
            assert_true(depth < 64);
            strcpy(open[depth++], name);
        }
        at = end;
    }
    assert_int_equal(depth, 0);
    static const char *const NO_NUMBERS[] = {"\"nan", "\"-nan", " nan", "Mnan", "\"inf", "inf "};
    for (size_t i = 0; i < sizeof NO_NUMBERS / sizeof *NO_NUMBERS; i++)
        assert_null(strstr(html, NO_NUMBERS[i]));
}
