#include "tests/fuzz/mutate.h"

#include <ctype.h>
#include <string.h>

static const char *const NUMBERS[] = {"0",
                                      "-1",
                                      "1",
                                      "2",
                                      "3",
                                      "7",
                                      "255",
                                      "256",
                                      "65535",
                                      "65536",
                                      "2147483647",
                                      "2147483648",
                                      "-2147483649",
                                      "4294967296",
                                      "4294967297",
                                      "9007199254740993",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "-9223372036854775808",
                                      "18446744073709551615",
                                      "18446744073709551616",
                                      "99999999999999999999999999",
                                      "0.5",
                                      "1.5",
                                      "-0.0",
                                      "1e3",
                                      "1e30",
                                      "1e-30",
                                      "1e308",
                                      "1e400",
                                      "-1e400",
                                      "1e-400",
                                      "nan",
                                      "inf",
                                      ".nan",
                                      "-.inf",
                                      "0x10",
                                      "0o17",
                                      "010",
                                      "1_000",
                                      "+1",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "--1",
                                      "128.0"};

const char *random_number(Random *random) { return RANDOM_PICK(random, NUMBERS); }

void append_text(ByteBuffer *out, Random *random) {
    static const char *const words[] = {"",
                                        "a",
                                        "null",
                                        "~",
                                        "true",
                                        "<image>",
                                        "<image>\n<image>",
                                        "</s>",
                                        "\x1b[31mred\x1b[0m",
                                        "\r",
                                        "\n",
                                        "\t",
                                        "\x01",
                                        "\x7f",
                                        "\xff",
                                        "\xc3",
                                        "\xc0\xaf",
                                        "\xed\xa0\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xef\xbb\xbf",
                                        "\xe2\x80\xae",
                                        "\xf0\x9f\x98\x80",
                                        "\xc2\x85",
                                        "%s%n%d",
                                        "$(x)",
                                        "'",
                                        "\"",
                                        "\\",
                                        "/",
                                        ".",
                                        "..",
                                        "a.b",
                                        "a=b",
                                        "version https://git-lfs.github.com/spec/v1",
                                        "data:image/png;base64,iVBORw0KGgo="};
    size_t kind = random_below(random, 10);
    if (kind < 6) {
        const char *word = RANDOM_PICK(random, words);
        byte_buffer_put(out, word, strlen(word));
    }
    if (kind == 6 || kind == 7) {
        for (size_t count = random_size(random, 40); count; count--) {
            unsigned char c = (unsigned char)(1 + random_below(random, kind == 6 ? 126 : 255));
            byte_buffer_put(out, &c, 1);
        }
    }
    if (kind >= 8) {
        char c = "aA9./ \xe9"[random_below(random, 7)];
        for (size_t count = random_size(random, 70000); count; count--) byte_buffer_put(out, &c, 1);
    }
}

static size_t place(const ByteBuffer *bytes, Random *random) {
    size_t near = random_chance(random, 40) ? random_size(random, bytes->size)
                                            : random_below(random, bytes->size);
    if (random_chance(random, 15)) near = bytes->size - near; // many formats keep their index there
    return near < bytes->size ? near : bytes->size - 1;
}

/// A number in the text becomes another. Where there is none within reach, nothing happens.
static void change_number(ByteBuffer *bytes, Random *random) {
    size_t at = place(bytes, random), end = at + 200 < bytes->size ? at + 200 : bytes->size;
    while (at < end && !isdigit((unsigned char)bytes->data[at])) at++;
    size_t length = 0;
    while (at + length < end && isdigit((unsigned char)bytes->data[at + length])) length++;
    const char *number = random_number(random);
    if (length) bytes_replace(bytes, at, length, number, strlen(number));
}

static void set_field(ByteBuffer *bytes, size_t at, Random *random) {
    static const uint64_t values[] = {0,          1,          0x7f,          0x80,       0xff,
                                      0x100,      0x7fff,     0xffff,        0x10000,    0x7fffffff,
                                      0x80000000, 0xffffffff, 0xfffffffe,    1ull << 32, INT64_MAX,
                                      1ull << 63, UINT64_MAX, UINT64_MAX - 7};
    uint64_t value = RANDOM_PICK(random, values);
    size_t width = (size_t)1 << random_below(random, 4);
    bool big_endian = random_chance(random, 50);
    if (random_chance(random, 30)) value = random_bits(random);
    for (size_t i = 0; i < width && at + i < bytes->size; i++)
        bytes->data[at + i] = (char)(value >> (8 * (big_endian ? width - 1 - i : i)));
}

static void change_once(ByteBuffer *bytes, const ByteBuffer *donor, Random *random) {
    size_t kind = random_below(random, 12);
    if (!bytes->size || kind == 0) {
        append_text(bytes, random);
        return;
    }
    size_t at = place(bytes, random),
           count = 1 + random_size(random, random_chance(random, 80) ? 16 : bytes->size),
           room = bytes->size - at, span = count < room ? count : room;
    ByteBuffer text = {0};
    switch (kind) {
    case 1:
        bytes_replace(bytes, at, span, NULL, 0);
        break;
    case 2:
        bytes_replace(bytes, at, 0, bytes->data + at, span);
        break;
    case 3:
        bytes_replace(bytes, at, room, NULL, 0);
        break;
    case 4:
        append_text(&text, random);
        bytes_replace(bytes, at, random_below(random, 4), text.data, text.size);
        break;
    case 5:
        if (donor && donor->size) {
            size_t from = place(donor, random), left = donor->size - from;
            bytes_replace(bytes, at, random_chance(random, 50) ? span : 0, donor->data + from,
                          count < left ? count : left);
        }
        break;
    case 6:
        change_number(bytes, random);
        break;
    case 7:
        set_field(bytes, at, random);
        break;
    case 8:
        for (size_t i = 0; i < span; i++) bytes->data[at + i] = (char)random_bits(random);
        break;
    case 9:
        memmove(bytes->data + place(bytes, random) % (bytes->size - span + 1), bytes->data + at,
                span);
        break;
    default:
        bytes->data[at] = (char)(bytes->data[at] ^ 1 << random_below(random, 8));
    }
    byte_buffer_free(&text);
}

void mutate_bytes(ByteBuffer *bytes, const ByteBuffer *donor, Random *random) {
    for (size_t changes = 1 + random_size(random, 7); changes; changes--)
        change_once(bytes, donor, random);
}
