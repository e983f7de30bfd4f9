// rooms: data autograd
// The loader with a budget of tokens per micro-batch, and the buffers that it uses again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader/sample_lengths.h"
#include "tests/unit/loaders.h"
#include "tests/unit/temporary_folder.h"

enum { SAMPLES = 90, SIZE = 16, VISUAL_TOKENS = 20, BUDGET = 300 };

static Tokenizer *tokenizer;
static Dataset *dataset;
static int32_t lengths[SAMPLES];

static LoaderOptions usual(void) {
    return (LoaderOptions){.dataset = dataset,
                           .tokenizer = tokenizer,
                           .format = {TEMPLATE_PLAIN, NULL, VISUAL_TOKENS, 2048},
                           .image_aspect = IMAGE_PAD,
                           .image_size = SIZE,
                           .seed = 3,
                           .shuffle = true,
                           .world_size = 1,
                           .token_lengths = lengths,
                           .tokens_per_batch = BUDGET,
                           .accumulation = 4,
                           .prefetch = 3,
                           .threads = 1};
}

static int64_t steps_per_epoch(void) {
    Error error = {0};
    const LoaderOptions options = usual();
    const int64_t steps = loader_steps_per_epoch(&options, &error);
    assert_true(steps > 2);
    return steps;
}

static void expect_same(const MicroBatch *a, const MicroBatch *b) {
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->image_count, b->image_count);
    for (int i = 0; i < a->count; i++) {
        const TokenSequence *x = &a->samples[i].tokens, *y = &b->samples[i].tokens;
        assert_int_equal(a->samples[i].index, b->samples[i].index);
        assert_int_equal(x->count, y->count);
        assert_memory_equal(x->ids, y->ids, (size_t)x->count * sizeof *x->ids);
    }
    if (a->image_count > 0)
        assert_memory_equal(a->images, b->images,
                            (size_t)a->image_count * SIZE * SIZE * 3 * sizeof(float));
}

static void micro_batches_have_as_many_samples_as_fit(void **state) {
    (void)state;
    int seen[SAMPLES] = {0};
    const int64_t full = 4 * (steps_per_epoch() - 1); // the last step's are spread
    int64_t tokens = 0;
    Loader *loader = create(usual());
    for (int64_t i = 0; i < full + 4; i++) {
        MicroBatch *batch = next(loader);
        int64_t length = 0;
        for (int s = 0; s < batch->count; s++) {
            seen[batch->samples[s].index]++;
            length += batch->samples[s].tokens.length;
        }
        assert_true(length <= BUDGET);
        if (i < full) tokens += length;
        micro_batch_free(batch);
    }
    for (int i = 0; i < SAMPLES; i++) assert_int_equal(seen[i], 1);
    assert_true(tokens > 90 * full * BUDGET / 100);
    loader_free(loader);
}

static void the_rows_of_a_step_are_the_same_however_they_are_shared_out(void **state) {
    (void)state;
    static const int SHARED_OUT[][2] = {{2, 2}, {4, 1}}; // processes, accumulation
    for (int k = 0; k < 2; k++) {
        const int processes = SHARED_OUT[k][0], accumulation = SHARED_OUT[k][1];
        Loader *alone = create(usual()), *ranks[4];
        LoaderOptions options = usual();
        options.world_size = processes;
        options.accumulation = accumulation;
        for (options.rank = 0; options.rank < processes; options.rank++)
            ranks[options.rank] = create(options);
        for (int64_t i = 0; i < 4 * (steps_per_epoch() + 1); i++) {
            MicroBatch *a = next(alone), *b = next(ranks[i % processes]);
            expect_same(a, b);
            micro_batch_free(a);
            micro_batch_free(b);
        }
        loader_free(alone);
        for (int r = 0; r < processes; r++) loader_free(ranks[r]);
    }
}

static void a_loader_that_starts_within_an_epoch_has_exactly_the_samples_that_remain(void **state) {
    (void)state;
    for (int64_t first = 1; first < steps_per_epoch() + 2; first++) {
        LoaderOptions options = usual();
        Loader *whole = create(options);
        options.first_step = first;
        options.threads = 3;
        options.prefetch = 5;
        Loader *resumed = create(options);
        for (int64_t i = 0; i < 4 * first; i++) micro_batch_free(next(whole));
        for (int64_t i = 0; i < 4 * (2 * steps_per_epoch() - first); i++) {
            MicroBatch *a = next(whole), *b = next(resumed);
            expect_same(a, b);
            micro_batch_free(a);
            micro_batch_free(b);
        }
        loader_free(whole);
        loader_free(resumed);
    }
}

/// Another sample stands in for one whose features are not there, and may be no longer.
static bool is_short(const void *context, int64_t index) {
    (void)context;
    return lengths[index] < 60;
}

static void a_stand_in_is_no_longer_than_the_sample_it_stands_for(void **state) {
    (void)state;
    LoaderOptions options = usual();
    options.without_images = true;
    options.has_features = is_short;
    options.damaged_image = MISSING_IMAGE_SKIP;
    Loader *loader = create(options);
    int skipped = 0;
    for (int64_t i = 0; i < 8 * steps_per_epoch(); i++) {
        MicroBatch *batch = next(loader);
        int64_t length = 0;
        for (int s = 0; s < batch->count; s++) length += batch->samples[s].tokens.length;
        assert_true(length <= BUDGET);
        skipped += batch->skipped;
        micro_batch_free(batch);
    }
    assert_true(skipped > 0);
    loader_free(loader);
}

static void buffers_that_were_handed_back_are_used_again(void **state) {
    (void)state;
    enum { BATCHES = 40, HELD = 2, MOST = 16 };
    const MicroBatch *known[MOST];
    int count = 0;
    LoaderOptions options = usual();
    Loader *loader = create(options);
    MicroBatch *held[HELD] = {0};
    for (int i = 0; i < BATCHES; i++) {
        micro_batch_free(held[i % HELD]);
        held[i % HELD] = next(loader);
        int k = 0;
        while (k < count && known[k] != held[i % HELD]) k++;
        if (k < count) continue;
        assert_true(count < MOST);
        known[count++] = held[i % HELD];
    }
    assert_true(count <= options.prefetch + HELD);
    for (int i = 0; i < HELD; i++) micro_batch_free(held[i]);
    loader_free(loader);
}

/// Answers of 1 to 90 words; three of four samples have a picture.
static void write_world(void) {
    FILE *file = fopen(in_folder("data.json"), "w");
    for (int i = 0; i < SAMPLES; i++) {
        const bool has_image = i % 4 != 3;
        char name[32], field[64] = "";
        if (has_image) {
            Error error = {0};
            Image image = image_new(8, 8);
            memset(image.pixels, i * 2, 8 * 8 * 3);
            snprintf(name, sizeof name, "%d.png", i);
            snprintf(field, sizeof field, "\"image\": \"%s\", ", name);
            if (!image_write_png(in_folder(name), &image, &error))
                print_error("%s\n", error.message);
            image_free(&image);
        }
        fprintf(file,
                "%s{\"id\": %d, %s\"conversations\": [{\"from\": \"human\", \"value\": \"%sq\"}, "
                "{\"from\": \"gpt\", \"value\": \"a",
                i ? "," : "[", i, field, has_image ? "<image>" : "");
        for (int k = 0; k < i * i / SAMPLES; k++) fputs(" b", file);
        fprintf(file, "\"}]}\n");
    }
    fputs("]\n", file);
    fclose(file);
}

static int set_up(void **state) {
    Error error = {0};
    if (make_temporary_folder(state) != 0) return -1;
    write_world();
    tokenizer = tokenizer_open(SOURCE_DIR "/checkpoints/tiny/llm", &error);
    if (tokenizer)
        dataset = dataset_open(
            &(DatasetOptions){in_folder("data.json"), temporary_folder, MISSING_IMAGE_FAIL},
            &error);
    const LoaderOptions options = usual();
    const bool ok = dataset && sample_lengths(dataset, tokenizer, &options.format, 0, SAMPLES, 2,
                                              lengths, &error);
    if (!ok) print_error("%s\n", error.message);
    return ok ? 0 : -1;
}

static int clean_up(void **state) {
    tokenizer_close(tokenizer);
    dataset_close(dataset);
    return remove_temporary_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(micro_batches_have_as_many_samples_as_fit),
        cmocka_unit_test(the_rows_of_a_step_are_the_same_however_they_are_shared_out),
        cmocka_unit_test(a_loader_that_starts_within_an_epoch_has_exactly_the_samples_that_remain),
        cmocka_unit_test(a_stand_in_is_no_longer_than_the_sample_it_stands_for),
        cmocka_unit_test(buffers_that_were_handed_back_are_used_again),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
