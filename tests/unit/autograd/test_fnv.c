// rooms: autograd
#include "autograd/fnv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/// The published test vectors: RFC 9923, appendix C, and the authors' test_fnv.c.
static void fnv1a_gives_the_published_values(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t hash;
    } vectors[] = {
        {"", 0xcbf29ce484222325ull},       {"a", 0xaf63dc4c8601ec8cull},
        {"b", 0xaf63df4c8601f1a5ull},      {"f", 0xaf63db4c8601ead9ull},
        {"fo", 0x08985907b541d342ull},     {"foo", 0xdcb27518fed9d577ull},
        {"foob", 0xdd120e790c2512afull},   {"fooba", 0xcac165afa2fef40aull},
        {"foobar", 0x85944171f73967e8ull},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        assert_true(fnv1a(vectors[i].text, strlen(vectors[i].text)) == vectors[i].hash);
    // with the zero that ends a string in C
    assert_true(fnv1a("foobar", 7) == 0x34531ca7168b8f38ull);
}

/// One step by hand: (basis xor word) * prime, and its high 35 bits folded into the low ones.
static void words_are_taken_lowest_byte_first_and_filled_up_with_zeros(void **state) {
    (void)state;
    uint64_t hash = (0xcbf29ce484222325ull ^ 0x0000000000636261ull) * 0x100000001b3ull;
    assert_true(fnv1a_words("abc", 3) == (hash ^ hash >> 29));
    assert_true(fnv1a_words("abc\0\0\0\0\0", 8) == fnv1a_words("abc", 3));
    assert_true(fnv1a_words("", 0) == 0xcbf29ce484222325ull);
}

/// Values that stand in checkpoints.
static void hashes_of_words_do_not_change(void **state) {
    (void)state;
    static const char text[] =
        "[{\"id\": \"000000033471\", \"image\": \"train/000000033471.jpg\"}]";
    assert_true(fnv1a_words(text, sizeof text - 1) == 0x90adcf6a313f946cull);
    assert_true(fnv1a_words(text, 16) == 0x5d88097405c86c40ull);
    assert_true(fnv1a_words(text, 17) == 0xb694832067345e47ull);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fnv1a_gives_the_published_values),
        cmocka_unit_test(words_are_taken_lowest_byte_first_and_filled_up_with_zeros),
        cmocka_unit_test(hashes_of_words_do_not_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
