// rooms: data checkpoints autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/fnv.h"
#include "checkpoints/training_state.h"
#include "data/llava_dataset.h"
#include "data/loader/sample_lengths.h"
#include "data/pack/pack.h"
#include "data/sample_file.h"
#include "data/sample_image.h"
#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

#include <unistd.h>

enum { SAMPLES = 40, VISUAL_TOKENS = 9 };

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libhdf5"; }

static Tokenizer *tokenizer;

static int open_tokenizer(void **state) {
    (void)state;
    Error error = {0};
    tokenizer = tokenizer_open(SOURCE_DIR "/checkpoints/tiny/llm", &error);
    if (!tokenizer) fprintf(stderr, "%s\n", error.message);
    return tokenizer ? 0 : -1;
}

static int close_tokenizer(void **state) {
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

/// Every second sample has a picture; every fifth goes on.
static void write_json(const char *path) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "[\n");
    for (int i = 0; i < SAMPLES; i++) {
        fprintf(file, "{\"id\": \"%d\",%s \"conversations\": [", i,
                i % 2 ? " \"image\": \"a.png\"," : "");
        fprintf(file, "{\"from\": \"human\", \"value\": \"%swhat is %d?\"},",
                i % 2 ? "<image>\\n" : "", i);
        fprintf(file, "{\"from\": \"gpt\", \"value\": \"a red ring, %d of them\"}", i * i);
        if (i % 5 == 0)
            fprintf(file, ", {\"from\": \"human\", \"value\": \"and?\"}, {\"from\": \"gpt\", "
                          "\"value\": \"a star\"}");
        fprintf(file, "]}%s\n", i + 1 < SAMPLES ? "," : "");
    }
    fprintf(file, "]\n");
    fclose(file);
}

static void write_picture(const char *path, int value) {
    Error error;
    Image image = image_new(8, 6);
    memset(image.pixels, value, 8 * 6 * 3);
    assert_true(image_write_png(path, &image, &error));
    image_free(&image);
}

static ConversationFormat format(int model_max_length) {
    return (ConversationFormat){.kind = TEMPLATE_VICUNA_V1,
                                .visual_tokens = VISUAL_TOKENS,
                                .model_max_length = model_max_length};
}

typedef struct Packing {
    const char *path;
    PackWriter *writer;
    SampleFile *file;
    PackTotals totals;
    bool counts;
    /// changes what is said of a sample; NULL: nothing
    void (*lie)(PackSample *sample);
} Packing;

/// Counts a sample, or puts it.
static bool pack_one(void *context, const SamplePlace *place, int64_t number, struct json_t *json,
                     Error *error) {
    Packing *packing = context;
    Sample sample;
    TokenSequence tokens;
    const ConversationFormat whole = format(1 << 29);
    PackSpan spans[64];
    int32_t num_spans = 0;
    assert_true(sample_read(json, ".", &sample, error));
    assert_true(sample_tokenize(&sample, tokenizer, &whole, &tokens, error));
    for (int i = 0; i < tokens.count; i++) {
        if (!tokens.supervised[i]) continue;
        if (num_spans && spans[num_spans - 1].end == i)
            spans[num_spans - 1].end++;
        else
            spans[num_spans++] = (PackSpan){i, i + 1};
    }
    char *text = sample_file_text(packing->file, place, number, error);
    assert_non_null(text);
    PackSample packed = {.number = number,
                         .checksum = place->checksum,
                         .line = sample_file_line(packing->file, place->offset),
                         .words = sample_words(&sample),
                         .beyond_plain = sample_is_beyond_plain(&sample),
                         .text = text,
                         .text_bytes = place->bytes,
                         .tokens = tokens.ids,
                         .num_tokens = tokens.count,
                         .spans = spans,
                         .num_spans = num_spans};
    if (packing->lie) packing->lie(&packed);
    if (packing->counts)
        pack_count_sample(&packing->totals, &packed);
    else
        assert_true(pack_put_sample(packing->writer, &packed, error));
    packing->totals.numbers += packing->counts;
    free(text);
    token_sequence_free(&tokens);
    sample_free(&sample);
    return true;
}

/// picture: its bytes are in the pack; NULL: without. More samples than there are were left out.
static void pack_with(const char *json, const char *path, const char *picture, int64_t more,
                      void (*lie)(PackSample *sample)) {
    Error error = {0};
    Packing packing = {.counts = true,
                       .file = sample_file_open(json, &error),
                       .totals = {.numbers = more},
                       .lie = lie};
    const ConversationFormat of = format(1);
    assert_non_null(packing.file);
    assert_true(sample_file_scan(packing.file, pack_one, &packing, &error));
    FileBytes bytes = {0};
    if (picture) bytes = file_bytes_read(picture);
    const PackImage image = {"a.png", bytes.data, (int64_t)bytes.size};
    if (picture) pack_count_image(&packing.totals, &image);
    char *identity = conversation_identity(tokenizer, &of);
    packing.writer = pack_create(path, &packing.totals, "{}", identity, &error);
    free(identity);
    assert_non_null(packing.writer);
    packing.counts = false;
    assert_true(sample_file_scan(packing.file, pack_one, &packing, &error));
    if (picture) assert_true(pack_put_image(packing.writer, &image, &error));
    if (!pack_commit(packing.writer, &error)) fail_msg("%s", error.message);
    file_bytes_free(&bytes);
    sample_file_close(packing.file);
}

static void pack(const char *json, const char *path, const char *picture) {
    pack_with(json, path, picture, 0, NULL);
}

static void compare_samples(const Dataset *json, const Dataset *packed, int64_t index,
                            const ConversationFormat *how) {
    Error error = {0};
    Sample a, b;
    TokenSequence of_a, of_b;
    char where_a[256], where_b[256];
    assert_true(dataset_sample(json, index, &a, &error));
    assert_true(dataset_sample(packed, index, &b, &error));
    assert_null(a.tokens);
    assert_non_null(b.tokens);
    assert_string_equal(a.id, b.id);
    assert_int_equal(a.turn_count, b.turn_count);
    for (int t = 0; t < a.turn_count; t++) assert_string_equal(a.turns[t].text, b.turns[t].text);
    assert_true(sample_tokenize(&a, tokenizer, how, &of_a, &error));
    assert_true(sample_tokenize(&b, tokenizer, how, &of_b, &error));
    assert_int_equal(of_a.count, of_b.count);
    assert_memory_equal(of_a.ids, of_b.ids, (size_t)of_a.count * sizeof *of_a.ids);
    assert_memory_equal(of_a.supervised, of_b.supervised, (size_t)of_a.count);
    assert_int_equal(of_a.supervised_count, of_b.supervised_count);
    assert_int_equal(of_a.image_position, of_b.image_position);
    assert_int_equal(of_a.length, of_b.length);
    assert_int_equal(of_a.truncated, of_b.truncated);
    assert_int_equal(of_a.answer_is_cut_off, of_b.answer_is_cut_off);
    // behind the file's name
    assert_string_equal(
        strstr(dataset_describe(json, index, a.id, where_a, sizeof where_a), ": sample"),
        strstr(dataset_describe(packed, index, b.id, where_b, sizeof where_b), ": sample"));
    token_sequence_free(&of_a);
    token_sequence_free(&of_b);
    sample_free(&a);
    sample_free(&b);
}

static Dataset *open_set(const char *name) {
    Error error = {0};
    Dataset *dataset = dataset_open(
        &(DatasetOptions){in_folder(name), temporary_folder, MISSING_IMAGE_FAIL}, &error);
    if (!dataset) fail_msg("%s", error.message);
    return dataset;
}

static void a_pack_is_the_data_set_that_it_was_made_of(void **state) {
    (void)state;
    write_json(in_folder("a.json"));
    write_picture(in_folder("a.png"), 50);
    pack(in_folder("a.json"), in_folder("a.h5"), NULL);
    Dataset *json = open_set("a.json"), *packed = open_set("a.h5");
    int32_t lengths[2][SAMPLES];
    assert_int_equal(dataset_count(packed), SAMPLES);
    assert_true(dataset_checksum(json) == dataset_checksum(packed));
    assert_int_equal(dataset_first_beyond_plain(json), dataset_first_beyond_plain(packed));
    assert_int_equal(dataset_part(packed, 0).with_image, SAMPLES / 2);
    dataset_modality_lengths(json, lengths[0]);
    dataset_modality_lengths(packed, lengths[1]);
    assert_memory_equal(lengths[0], lengths[1], sizeof *lengths);
    // cut nowhere, in the answer, in the question, and in front of the picture
    static const int LIMITS[] = {2048, 60, 30, 12};
    for (int i = 0; i < 4; i++)
        for (int64_t s = 0; s < SAMPLES; s++) {
            const ConversationFormat how = format(LIMITS[i]);
            compare_samples(json, packed, s, &how);
        }
    dataset_close(json);
    dataset_close(packed);
}

static void tokens_of_another_format_are_made_anew(void **state) {
    (void)state;
    write_json(in_folder("a.json"));
    write_picture(in_folder("a.png"), 50);
    pack(in_folder("a.json"), in_folder("a.h5"), NULL);
    Dataset *json = open_set("a.json"), *packed = open_set("a.h5");
    ConversationFormat how = format(2048);
    how.system_message = "Be brief.";
    for (int64_t s = 0; s < SAMPLES; s++) compare_samples(json, packed, s, &how);
    how.kind = TEMPLATE_LLAVA_V1;
    how.system_message = NULL;
    for (int64_t s = 0; s < SAMPLES; s++) compare_samples(json, packed, s, &how);
    dataset_close(json);
    dataset_close(packed);
}

/// Of the samples from `begin` on.
static void count_tokens(const Dataset *dataset, const ConversationFormat *how, int64_t begin,
                         int threads, int32_t *lengths) {
    Error error = {0};
    if (!sample_lengths(dataset, tokenizer, how, begin, SAMPLES, threads, lengths, &error))
        fail_msg("%s", error.message);
}

static void tokens_are_counted_alike_from_a_pack_and_from_json(void **state) {
    (void)state;
    write_json(in_folder("a.json"));
    write_picture(in_folder("a.png"), 50);
    pack(in_folder("a.json"), in_folder("a.h5"), NULL);
    Dataset *json = open_set("a.json"), *packed = open_set("a.h5");
    static const int LIMITS[] = {2048, 60, 30, 12};
    for (int i = 0; i < 4; i++) {
        ConversationFormat how = format(LIMITS[i]);
        int32_t lengths[4][SAMPLES];
        count_tokens(json, &how, 0, 1, lengths[0]);
        count_tokens(json, &how, 0, 3, lengths[1]);
        count_tokens(packed, &how, 0, 3, lengths[2]);
        count_tokens(packed, &how, 7, 1, lengths[3]);
        assert_memory_equal(lengths[0], lengths[1], sizeof *lengths);
        assert_memory_equal(lengths[0], lengths[2], sizeof *lengths);
        assert_memory_equal(lengths[0] + 7, lengths[3], (SAMPLES - 7) * sizeof **lengths);
        for (int64_t s = 0; s < SAMPLES; s++) {
            Error error;
            Sample sample;
            TokenSequence sequence;
            assert_true(dataset_sample(json, s, &sample, &error));
            assert_true(sample_tokenize(&sample, tokenizer, &how, &sequence, &error));
            assert_int_equal(lengths[0][s], sequence.length);
            token_sequence_free(&sequence);
            sample_free(&sample);
        }
        // looked up, unless they are of another format
        char *identity = conversation_identity(tokenizer, &how);
        assert_true(dataset_packed_tokens(packed, 0, identity) > 0);
        assert_int_equal(dataset_packed_tokens(json, 0, identity), -1);
        assert_int_equal(dataset_packed_tokens(packed, 0, "another"), -1);
        free(identity);
    }
    dataset_close(json);
    dataset_close(packed);
}

static void the_first_sample_that_cannot_be_counted_is_named(void **state) {
    (void)state;
    write_json(in_folder("a.json"));
    write_picture(in_folder("a.png"), 50);
    Dataset *json = open_set("a.json");
    const ConversationFormat how = format(VISUAL_TOKENS); // no room for an image
    int32_t lengths[SAMPLES];
    for (int threads = 1; threads < 4; threads++) {
        Error error = {0};
        assert_false(sample_lengths(json, tokenizer, &how, 0, SAMPLES, threads, lengths, &error));
        assert_non_null(strstr(error.message, "a.json: sample 1 (id '1', line 3): "));
    }
    dataset_close(json);
}

static void a_picture_of_the_pack_is_taken_before_the_file(void **state) {
    (void)state;
    Error error = {0};
    Sample sample;
    Image image;
    write_json(in_folder("a.json"));
    write_picture(in_folder("a.png"), 50);
    pack(in_folder("a.json"), in_folder("a.h5"), in_folder("a.png"));
    write_picture(in_folder("a.png"), 200);
    Dataset *packed = open_set("a.h5");
    assert_true(dataset_sample(packed, 1, &sample, &error));
    assert_true(sample_image_read(&sample, &image, &error));
    assert_int_equal(image.pixels[0], 50);
    image_free(&image);
    sample_free(&sample);
    dataset_close(packed);
}

static void pictures_beside_a_pack_are_looked_for_when_it_is_opened(void **state) {
    (void)state;
    Error error = {0};
    write_json(in_folder("a.json"));
    write_picture(in_folder("a.png"), 50);
    pack(in_folder("a.json"), in_folder("a.h5"), NULL);
    Dataset *json = open_set("a.json"), *packed = open_set("a.h5");
    const DatasetPart of_json = dataset_part(json, 0), of_pack = dataset_part(packed, 0);
    assert_memory_equal(of_json.formats, of_pack.formats, sizeof of_json.formats);
    dataset_close(json);
    dataset_close(packed);
    assert_int_equal(unlink(in_folder("a.png")), 0);
    const char *const paths[] = {in_folder("a.json"), in_folder("a.h5")};
    char messages[2][2048];
    for (int i = 0; i < 2; i++) {
        assert_null(dataset_open(&(DatasetOptions){paths[i], temporary_folder, MISSING_IMAGE_FAIL},
                                 &error));
        snprintf(messages[i], sizeof messages[i], "%s", strstr(error.message, ": sample"));
    }
    assert_non_null(strstr(messages[0], "a.png: cannot be read"));
    assert_string_equal(messages[0], messages[1]);
    json = dataset_open(&(DatasetOptions){paths[0], temporary_folder, MISSING_IMAGE_SKIP}, &error);
    packed =
        dataset_open(&(DatasetOptions){paths[1], temporary_folder, MISSING_IMAGE_SKIP}, &error);
    assert_true(json && packed);
    assert_int_equal(dataset_count(packed), SAMPLES / 2);
    assert_int_equal(dataset_skipped(packed), SAMPLES / 2);
    assert_true(dataset_checksum(json) == dataset_checksum(packed));
    assert_int_equal(dataset_part(packed, 0).with_image, 0);
    dataset_close(json);
    dataset_close(packed);
}

static void another_hdf5_file_is_refused(void **state) {
    (void)state;
    Error error = {0};
    StateWriter *writer = state_create(in_folder("a.h5"), &error);
    assert_true(writer && state_commit(writer, &error));
    assert_null(
        dataset_open(&(DatasetOptions){in_folder("a.h5"), ".", MISSING_IMAGE_FAIL}, &error));
    assert_non_null(strstr(error.message, "no pack"));
}

static void say_otherwise_of_pictures(PackSample *sample) { sample->words = -sample->words; }
static void say_otherwise_of_plain(PackSample *sample) {
    sample->beyond_plain = !sample->beyond_plain;
}
static void say_more_words(PackSample *sample) { sample->words += sample->words > 0 ? 1 : -1; }

/// A pack whose checksums are right may have been made up.
static void what_a_pack_says_of_a_sample_is_held_to_its_text(void **state) {
    (void)state;
    void (*const lies[])(PackSample *) = {say_otherwise_of_pictures, say_otherwise_of_plain,
                                          say_more_words};
    write_json(in_folder("a.json"));
    for (int i = 0; i < 3; i++) {
        pack_with(in_folder("a.json"), in_folder("a.h5"), NULL, 0, lies[i]);
        Error error = {0};
        Dataset *packed = dataset_open(
            &(DatasetOptions){in_folder("a.h5"), temporary_folder, MISSING_IMAGE_UNCHECKED},
            &error);
        if (!packed) fail_msg("%s", error.message);
        for (int64_t s = 0; s < SAMPLES; s++) {
            Sample sample;
            assert_false(dataset_sample(packed, s, &sample, &error));
            assert_non_null(strstr(error.message, "make the pack again with 'difflmm prepare'"));
        }
        dataset_close(packed);
        // Its pictures are looked for, and so its samples read, when it is opened.
        assert_null(dataset_open(
            &(DatasetOptions){in_folder("a.h5"), temporary_folder, MISSING_IMAGE_FAIL}, &error));
        assert_non_null(strstr(error.message, "a.h5: sample "));
        assert_non_null(strstr(error.message, "make the pack again with 'difflmm prepare'"));
    }
}

static void more_samples_than_can_be_numbered_are_refused(void **state) {
    (void)state;
    Error error = {0};
    write_json(in_folder("a.json"));
    pack_with(in_folder("a.json"), in_folder("a.h5"), NULL, INT64_MAX - SAMPLES, NULL);
    char *path = (char *)in_folder("a.h5");
    const DatasetFile files[] = {{path, ".", 1}, {path, ".", 1}};
    for (int count = 1; count <= 2; count++) {
        assert_null(dataset_open_files(files, count, MISSING_IMAGE_FAIL, &error));
        assert_non_null(strstr(error.message, "a.h5: too many samples"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_pack_is_the_data_set_that_it_was_made_of),
        IN_FOLDER(tokens_of_another_format_are_made_anew),
        IN_FOLDER(what_a_pack_says_of_a_sample_is_held_to_its_text),
        IN_FOLDER(more_samples_than_can_be_numbered_are_refused),
        IN_FOLDER(tokens_are_counted_alike_from_a_pack_and_from_json),
        IN_FOLDER(the_first_sample_that_cannot_be_counted_is_named),
        IN_FOLDER(a_picture_of_the_pack_is_taken_before_the_file),
        IN_FOLDER(pictures_beside_a_pack_are_looked_for_when_it_is_opened),
        IN_FOLDER(another_hdf5_file_is_refused),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
