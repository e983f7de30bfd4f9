// rooms: eval models ops checkpoints data autograd
// How alike phrases are, by words and by BERT.
#include "data/tokenizers/word_piece.h"
#include "eval/phrases/phrase_similarity.h"
#include "models/language/bert.h"
#include "ops/kernels.h"
#include "tests/unit/recorded.h"
#include "tests/unit/temporary_folder.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>

static void words_are_compared_without_articles_and_case(void **state) {
    (void)state;
    assert_true(word_similarity(NULL, "a red ring", "The Red Ring") == 1);
    assert_true(word_similarity(NULL, "a red ring", "the ring") == 2 * 1 / 3.0);
    assert_true(word_similarity(NULL, "a ring", "a star") == 0);
    assert_true(word_similarity(NULL, "ring ring", "ring") == 2 / 3.0);
    assert_true(word_similarity(NULL, "", "ring") == 0);
    assert_true(word_similarity(NULL, "the", "a") == 0);
}

/// The recorded BERT with a vocabulary of letters.
static void make_bert(int vocab_size) {
    static const char *const SPECIAL[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    symlink(RECORDED_FOLDER "bert/plain/config.json", in_folder("config.json"));
    symlink(RECORDED_FOLDER "bert/plain/model.safetensors", in_folder("model.safetensors"));
    FILE *file = fopen(in_folder("vocab.txt"), "w");
    for (int i = 0; i < 5; i++) fprintf(file, "%s\n", SPECIAL[i]);
    for (int i = 5; i < vocab_size; i++)
        fprintf(file, "%s%c%d\n", i < 31 ? "" : "##", 'a' + i % 26, i / 26);
    fclose(file);
}

static int recorded_vocabulary(void) {
    json_t *config = json_load_file(RECORDED_FOLDER "bert/plain/config.json", 0, NULL);
    int size = (int)json_integer_value(json_object_get(config, "vocab_size"));
    json_decref(config);
    return size;
}

static void bert_compares_means_of_hidden_states(void **state) {
    (void)state;
    Error error = {0};
    Device *device = ops_cpu_open(1);
    make_bert(recorded_vocabulary());
    BertSimilarity *similarity = bert_similarity_open(temporary_folder, device, &error);
    if (!similarity) fail_msg("%s", error.message);
    assert_true(fabs(bert_similarity(similarity, "f0 g0", "f0 g0") - 1) < 1e-6);
    double one = bert_similarity(similarity, "f0 g0", "h0");
    assert_true(one < 1 && one == bert_similarity(similarity, "f0 g0", "h0"));
    assert_true(fabs(one - bert_similarity(similarity, "h0", "f0 g0")) < 1e-12);
    // the same from the network itself
    Bert *bert = bert_load(temporary_folder, device, FLOAT32, &error);
    WordPiece *words = word_piece_open(temporary_folder, true, &error);
    TokenList tokens[2] = {0};
    const char *const texts[] = {"f0 g0", "h0"};
    float *means[2];
    for (int i = 0; i < 2; i++) {
        token_list_append(&tokens[i], word_piece_cls(words), 0, 0);
        assert_true(word_piece_encode(words, texts[i], strlen(texts[i]), &tokens[i], &error));
        token_list_append(&tokens[i], word_piece_sep(words), 0, 0);
        means[i] = checked_calloc((size_t)bert->hidden_size, sizeof(float));
        bert_means(bert, tokens[i].ids, 1, &tokens[i].count, means[i]);
    }
    double dot = 0, a = 0, b = 0;
    for (int c = 0; c < bert->hidden_size; c++) {
        dot += (double)means[0][c] * means[1][c];
        a += (double)means[0][c] * means[0][c];
        b += (double)means[1][c] * means[1][c];
    }
    assert_true(fabs(one - dot / sqrt(a * b)) < 1e-9);
    // a thousand phrases are remembered
    for (int i = 0; i < 1500; i++) {
        char phrase[32];
        snprintf(phrase, sizeof phrase, "f0 %d", i);
        assert_true(isfinite(bert_similarity(similarity, phrase, "h0")));
    }
    assert_true(one == bert_similarity(similarity, "f0 g0", "h0"));
    for (int i = 0; i < 2; i++) {
        free(means[i]);
        token_list_free(&tokens[i]);
    }
    bert_free(bert);
    word_piece_close(words);
    bert_similarity_close(similarity);
}

static void a_vocabulary_that_is_larger_than_the_model_is_refused(void **state) {
    (void)state;
    Error error = {0};
    make_bert(recorded_vocabulary() + 1);
    assert_null(bert_similarity_open(temporary_folder, ops_cpu_open(1), &error));
    assert_non_null(strstr(error.message, "the vocabulary has"));
    assert_null(bert_similarity_open(in_folder("nowhere"), ops_cpu_open(1), &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_compared_without_articles_and_case),
        IN_FOLDER(bert_compares_means_of_hidden_states),
        IN_FOLDER(a_vocabulary_that_is_larger_than_the_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
