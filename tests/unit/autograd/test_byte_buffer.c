// rooms: autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/text/byte_buffer.h"

static void pieces_are_put_one_behind_another(void **state) {
    (void)state;
    ByteBuffer buffer = {0};
    byte_buffer_put_text(&buffer, "a");
    byte_buffer_put_byte(&buffer, 0xff);
    byte_buffer_put(&buffer, "\0c", 2);
    byte_buffer_put_little_endian(&buffer, 0x1234, 3);
    byte_buffer_print(&buffer, "%d|%s", 17, "text");
    assert_int_equal(buffer.size, 14);
    assert_memory_equal(buffer.data,
                        "a\xff\0c\x34\x12\0"
                        "17|text",
                        15); // and the zero behind it
    byte_buffer_clear(&buffer);
    assert_string_equal(buffer.data, "");
    for (int i = 0; i < 10000; i++) byte_buffer_print(&buffer, "%04d", i);
    assert_int_equal(buffer.size, 40000);
    assert_memory_equal(buffer.data + 4 * 1234, "1234", 4);
    assert_true(byte_buffer_check(&buffer, NULL));
    byte_buffer_free(&buffer);
    assert_null(buffer.data);
}

static void past_its_limit_a_buffer_takes_nothing_and_says_so_by_its_name(void **state) {
    (void)state;
    Error error = {0};
    ByteBuffer buffer = {.limit = 5, .name = "the answer"};
    byte_buffer_put_text(&buffer, "12345");
    assert_true(byte_buffer_check(&buffer, &error));
    byte_buffer_print(&buffer, "%d", 6);
    byte_buffer_put(&buffer, "", 0); // once over, always over
    assert_false(byte_buffer_check(&buffer, &error));
    assert_string_equal(error.message, "the answer: more than 5 bytes");
    assert_string_equal(buffer.data, "12345");
    assert_null(byte_buffer_reserve(&buffer, 1));
    byte_buffer_clear(&buffer);
    byte_buffer_put(&buffer, "x", SIZE_MAX); // no sum of sizes wraps
    assert_false(byte_buffer_check(&buffer, &error));
    byte_buffer_free(&buffer);
    assert_int_equal(buffer.limit, 5);
}

static void the_bytes_can_be_handed_over(void **state) {
    (void)state;
    ByteBuffer buffer = {0};
    char *empty = byte_buffer_take(&buffer);
    assert_string_equal(empty, "");
    free(empty);
    char *place = byte_buffer_reserve(&buffer, 3);
    memcpy(place, "abc", 3);
    buffer.size += 2;
    byte_buffer_put_text(&buffer, "d");
    char *text = byte_buffer_take(&buffer);
    assert_string_equal(text, "abd");
    assert_int_equal(buffer.size, 0);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_put_one_behind_another),
        cmocka_unit_test(past_its_limit_a_buffer_takes_nothing_and_says_so_by_its_name),
        cmocka_unit_test(the_bytes_can_be_handed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
