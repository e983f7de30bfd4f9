// rooms: eval models ops checkpoints data autograd
/// What is heard of an answer while it is written, piece by piece against the whole.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/philox.h"
#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"
#include "eval/attention/answer_stream.h"

#define RECORDED SOURCE_DIR "/tests/parity/data/tokenizers/"

enum { LENGTH = 40 };

/// What was heard.
typedef struct Heard {
    ByteBuffer text;
    int calls, question;
    bool goes_on;
} Heard;

static bool hear(void *context, int question, const char *piece, size_t length) {
    Heard *heard = context;
    heard->calls++;
    heard->question = question;
    // a piece alone can be shown
    assert_true(is_utf8(piece, length));
    byte_buffer_put(&heard->text, piece, length);
    return heard->goes_on;
}

/// Writes the tokens one by one as sequence 1 of 2; the pieces are the decoded text.
static void check_pieces(const Tokenizer *tokenizer, int32_t *ids, int count, bool ended) {
    Heard heard = {.goes_on = true};
    AnswerListener listener = {hear, &heard};
    AnswerStream *stream = answer_stream_new(tokenizer, &listener);
    assert_int_equal(answer_stream_add(stream, 4), 0);
    assert_int_equal(answer_stream_add(stream, 9), 1);
    for (int n = 1; n <= count; n++)
        assert_true(answer_stream_take(stream, 1, &(Generation){.tokens = ids, .count = n}));
    if (ended)
        answer_stream_take(stream, 1, &(Generation){.tokens = ids, .count = count, .ended = true});
    assert_int_equal(heard.calls, count + ended);
    DecodedText decoded = tokenizer_decode(tokenizer, ids, count);
    answer_stream_end(stream, 1, decoded.text);
    if (count) assert_int_equal(heard.question, 9);
    byte_buffer_put_byte(&heard.text, 0);
    assert_string_equal(heard.text.data, decoded.text);
    decoded_text_free(&decoded);
    answer_stream_free(stream);
    byte_buffer_free(&heard.text);
}

static void all_pieces_together_are_the_answer(void **state) {
    (void)state;
    static const char *const TOKENIZERS[] = {RECORDED "llama_3", RECORDED "smollm2",
                                             RECORDED "llama_2",
                                             SOURCE_DIR "/checkpoints/tiny/llm"};
    for (size_t t = 0; t < sizeof TOKENIZERS / sizeof *TOKENIZERS; t++) {
        Error error;
        Tokenizer *tokenizer = tokenizer_open(TOKENIZERS[t], &error);
        if (!tokenizer) fail_msg("%s", error.message);
        int pieces = tokenizer_vocabulary_size(tokenizer);
        for (int round = 0; round < 200; round++) {
            float draws[2 * LENGTH];
            int32_t ids[LENGTH];
            philox_uniform(23, (uint64_t)round, 0, draws, 2 * LENGTH);
            for (int i = 0; i < LENGTH; i++)
                ids[i] = (int32_t)(draws[2 * i] * (float)(draws[2 * i + 1] < 0.3f ? 260 : pieces));
            check_pieces(tokenizer, ids, round % LENGTH, round % 2);
        }
        TokenList list = {0};
        const char *text = "two \xf0\x9f\x9c\x82\xf0\x9f\x8d\x8e  apples,\n\xe6\xb0\xb4 and ";
        assert_true(tokenizer_encode(tokenizer, text, strlen(text), &list, &error));
        for (int n = 0; n <= list.count; n++) check_pieces(tokenizer, list.ids, n, true);
        token_list_free(&list);
        tokenizer_close(tokenizer);
    }
}

static void a_listener_ends_the_answer(void **state) {
    (void)state;
    Error error;
    Tokenizer *tokenizer = tokenizer_open(RECORDED "smollm2", &error);
    assert_non_null(tokenizer);
    Heard heard = {.goes_on = false};
    AnswerListener listener = {hear, &heard};
    AnswerStream *stream = answer_stream_new(tokenizer, &listener);
    answer_stream_add(stream, 0);
    int32_t id = 70;
    assert_false(answer_stream_take(stream, 0, &(Generation){.tokens = &id, .count = 1}));
    answer_stream_free(stream);
    byte_buffer_free(&heard.text);
    tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pieces_together_are_the_answer),
        cmocka_unit_test(a_listener_ends_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
