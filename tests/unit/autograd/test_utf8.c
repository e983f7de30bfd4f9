// rooms: autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/text/utf8.h"

/// The definition, by number: what a character's bytes stand for, and that nothing shorter does.
static size_t length_by_number(const unsigned char *c, size_t count) {
    static const uint32_t shortest[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t length = c[0] < 0x80           ? 1
                          : (c[0] >> 5) == 6    ? 2
                          : (c[0] >> 4) == 14   ? 3
                          : (c[0] >> 3) == 0x1e ? 4
                                                : 0;
    if (length == 0 || length > count) return 0;
    uint32_t number = length == 1 ? c[0] : c[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((c[i] & 0xc0) != 0x80) return 0;
        number = number << 6 | (c[i] & 0x3fu);
    }
    const bool is_character =
        number >= shortest[length] && number <= 0x10ffff && !(number >= 0xd800 && number < 0xe000);
    return is_character ? length : 0;
}

static void characters_are_those_of_the_definition(void **state) {
    (void)state;
    static const unsigned char thirds[] = {0, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    unsigned char c[4];
    for (int first = 0; first < 256; first++) {
        for (int second = 0; second < 256; second++) {
            for (size_t k = 0; k < sizeof thirds * sizeof thirds; k++) {
                c[0] = (unsigned char)first, c[1] = (unsigned char)second;
                c[2] = thirds[k / sizeof thirds], c[3] = thirds[k % sizeof thirds];
                for (size_t count = 1; count <= 4; count++)
                    assert_int_equal(utf8_character_length((const char *)c, count),
                                     length_by_number(c, count));
            }
        }
    }
}

static void a_text_is_utf8_if_all_of_it_is(void **state) {
    (void)state;
    assert_true(is_utf8("", 0));
    assert_true(is_utf8("Đà \xf0\x9f\x98\x80\0x", 11));
    assert_false(is_utf8("a\xff", 2));
    assert_false(is_utf8("\xc4", 1)); // cut off
    assert_false(is_utf8("\xed\xa0\x80", 3));
}

static void broken_starts_count_as_unicode_says(void **state) {
    (void)state;
    assert_int_equal(utf8_broken_length("\xe2\x82x", 3), 2);
    assert_int_equal(utf8_broken_length("\xf0\x9f\x98", 3), 3);
    assert_int_equal(utf8_broken_length("\xe0\x80\x80", 3), 1);
    assert_int_equal(utf8_broken_length("\xed\xa0\x80", 3), 1);
    assert_int_equal(utf8_broken_length("\xff\xff", 2), 1);
    assert_int_equal(utf8_broken_length("\x80", 1), 1);
    assert_int_equal(utf8_broken_length("\xc4", 1), 1);
}

static void bytes_that_are_no_text_are_escaped_and_the_others_stay(void **state) {
    (void)state;
    char *escaped = utf8_escape("runs/\xff\xc4\x90\xc4-\xe2\x82");
    assert_string_equal(escaped, "runs/\\xff\xc4\x90\\xc4-\\xe2\\x82");
    free(escaped);
    escaped = utf8_escape("");
    assert_string_equal(escaped, "");
    free(escaped);
}

static void what_is_printed_moves_no_cursor(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    utf8_print(out, "%d %s\n\t%s\n", 7, "a\x1b[2Jb\r", "\xc3\xa9\xff");
    fclose(out);
    assert_string_equal(text, "7 a\\x1b[2Jb\\x0d\n\t\xc3\xa9\\xff\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_those_of_the_definition),
        cmocka_unit_test(a_text_is_utf8_if_all_of_it_is),
        cmocka_unit_test(broken_starts_count_as_unicode_says),
        cmocka_unit_test(bytes_that_are_no_text_are_escaped_and_the_others_stay),
        cmocka_unit_test(what_is_printed_moves_no_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
