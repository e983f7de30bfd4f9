// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/loaders.h"
#include "tests/unit/temporary_folder.h"

#define TINY_MODEL SOURCE_DIR "/checkpoints/tiny/llm"
enum { SAMPLES = 23, SIZE = 16 };

static Tokenizer *tokenizer;
static Dataset *dataset;

static void need_tokenizer(void) {
    if (tokenizer) return;
    print_message("skipped: neither shared data nor " TINY_MODEL "\n");
    skip();
}

static LoaderOptions usual(void) {
    return (LoaderOptions){.dataset = dataset,
                           .tokenizer = tokenizer,
                           .format = {TEMPLATE_VICUNA_V1, NULL, 4, 2048},
                           .image_aspect = IMAGE_PAD,
                           .image_size = SIZE,
                           .seed = 3,
                           .shuffle = true,
                           .world_size = 1,
                           .micro_batch = 2,
                           .accumulation = 2,
                           .prefetch = 3,
                           .threads = 1};
}

/// The picture of sample i is all of one grey, and its answer names it.
static float expected_pixel(int64_t i) { return ((float)(i * 10) / 255 - 0.5f) / 0.5f; }

static void check_sample(const LoadedSample *sample) {
    bool has_image = sample->index % 4 != 3;
    assert_true((sample->image != NULL) == has_image);
    assert_true((sample->tokens.image_position >= 0) == has_image);
    if (has_image) {
        assert_true(sample->image[0] - expected_pixel(sample->index) < 1e-6f);
        assert_true(sample->image[0] - expected_pixel(sample->index) > -1e-6f);
        assert_int_equal(sample->geometry.original_width, 8);
    }
    DecodedText text = tokenizer_decode(tokenizer, sample->tokens.ids, sample->tokens.count);
    char answer[64];
    snprintf(answer, sizeof answer, "ASSISTANT: a%lld", (long long)sample->index);
    assert_non_null(strstr(text.text, answer));
    decoded_text_free(&text);
}

static void expect_same(const MicroBatch *a, const MicroBatch *b) {
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->accumulation, b->accumulation);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->image_count, b->image_count);
    for (int i = 0; i < a->count; i++) assert_int_equal(a->samples[i].index, b->samples[i].index);
    if (a->image_count > 0)
        assert_memory_equal(a->images, b->images,
                            (size_t)a->image_count * SIZE * SIZE * 3 * sizeof(float));
}

/// The next `count` batches of the two are the same.
static void expect_same_batches(Loader *one, Loader *other, int count) {
    for (int i = 0; i < count; i++) {
        MicroBatch *a = next(one), *b = next(other);
        expect_same(a, b);
        micro_batch_free(a);
        micro_batch_free(b);
    }
}

static void every_sample_comes_once_with_its_own_picture_and_text(void **state) {
    (void)state;
    need_tokenizer();
    LoaderOptions options = usual();
    Loader *loader = create(options);
    Error error = {0};
    assert_int_equal(loader_steps_per_epoch(&options, &error), 6);
    int seen[SAMPLES] = {0};
    for (int number = 0; number < 12; number++) {
        MicroBatch *batch = next(loader);
        assert_int_equal(batch->step, number / 2);
        assert_int_equal(batch->accumulation, number % 2);
        for (int i = 0; i < batch->count; i++) {
            check_sample(&batch->samples[i]);
            seen[batch->samples[i].index]++;
        }
        micro_batch_free(batch);
    }
    for (int i = 0; i < SAMPLES; i++) assert_int_equal(seen[i], 1);
    loader_free(loader);
}

static void threads_do_not_change_the_order(void **state) {
    (void)state;
    need_tokenizer();
    LoaderOptions options = usual();
    options.group_by_modality_length = true;
    Loader *one = create(options);
    options.threads = 4;
    options.prefetch = 7;
    Loader *four = create(options);
    expect_same_batches(one, four, 40);
    loader_free(one);
    loader_free(four);
}

static void a_loader_that_starts_later_goes_on_as_if_it_had_never_stopped(void **state) {
    (void)state;
    need_tokenizer();
    LoaderOptions options = usual();
    Loader *whole = create(options);
    options.first_step = 4; // across the end of the epoch at step 6
    Loader *resumed = create(options);
    for (int i = 0; i < 8; i++) micro_batch_free(next(whole));
    expect_same_batches(whole, resumed, 10);
    loader_free(whole);
    loader_free(resumed);
}

static void processes_share_a_step_without_overlap(void **state) {
    (void)state;
    need_tokenizer();
    LoaderOptions options = usual();
    options.accumulation = 1;
    options.world_size = 2;
    Loader *ranks[2];
    for (int r = 0; r < 2; r++) {
        options.rank = r;
        ranks[r] = create(options);
    }
    Loader *alone = create(usual()); // the same global batch of 4 on one process
    for (int step = 0; step < 6; step++) {
        int balance[SAMPLES] = {0};
        for (int part = 0; part < 2; part++) {
            MicroBatch *a = next(ranks[part]), *b = next(alone);
            for (int i = 0; i < a->count; i++) balance[a->samples[i].index]++;
            for (int i = 0; i < b->count; i++) balance[b->samples[i].index]--;
            micro_batch_free(a);
            micro_batch_free(b);
        }
        for (int i = 0; i < SAMPLES; i++) assert_int_equal(balance[i], 0);
    }
    loader_free(ranks[0]);
    loader_free(ranks[1]);
    loader_free(alone);
}

static void the_end_is_an_empty_answer(void **state) {
    (void)state;
    need_tokenizer();
    LoaderOptions options = usual();
    options.first_step = 1;
    options.end_step = 3;
    Loader *loader = create(options);
    for (int i = 0; i < 4; i++) micro_batch_free(next(loader));
    assert_null(next(loader));
    assert_null(next(loader));
    loader_free(loader);
    options.first_step = 3;
    loader = create(options);
    assert_null(next(loader));
    loader_free(loader);
}

static void a_loader_can_be_freed_at_any_time(void **state) {
    (void)state;
    need_tokenizer();
    for (int taken = 0; taken < 4; taken++) {
        LoaderOptions options = usual();
        options.threads = 3;
        Loader *loader = create(options);
        for (int i = 0; i < taken; i++) micro_batch_free(next(loader));
        loader_free(loader);
    }
}

/// Opens the data set of damaged.json: sample 1 of 3 has an image that is cut off.
static Dataset *damaged_dataset(void) {
    FILE *file = fopen(in_folder("damaged.png"), "w");
    fputs("\x89PNG\r\n\x1a\n", file);
    fclose(file);
    file = fopen(in_folder("damaged.json"), "w");
    fputs("[", file);
    for (int i = 0; i < 3; i++)
        fprintf(file,
                "%s{\"id\": \"s%d\", \"image\": \"%s.png\", \"conversations\": [{\"from\": "
                "\"human\", \"value\": "
                "\"<image>\"}, {\"from\": \"gpt\", \"value\": \"a\"}]}\n",
                i ? "," : "", i, i == 1 ? "damaged" : "0");
    fputs("]", file);
    fclose(file);
    char path[512];
    snprintf(path, sizeof path, "%s", in_folder("damaged.json"));
    Error error = {0};
    Dataset *damaged =
        dataset_open(&(DatasetOptions){path, temporary_folder, MISSING_IMAGE_FAIL}, &error);
    if (!damaged) fail_msg("%s", error.message);
    return damaged;
}

static void the_error_of_a_damaged_image_comes_in_its_turn(void **state) {
    (void)state;
    need_tokenizer();
    Dataset *damaged = damaged_dataset();
    LoaderOptions options = usual();
    options.dataset = damaged;
    options.shuffle = false;
    options.micro_batch = options.accumulation = 1;
    Loader *loader = create(options);
    micro_batch_free(next(loader));
    Error error = {0};
    MicroBatch *batch;
    for (int i = 0; i < 2; i++) {
        assert_false(loader_next(loader, &batch, &error));
        assert_null(batch);
        if (!strstr(error.message, "damaged.json: sample 1 (id 's1', line 2): ") ||
            !strstr(error.message, "damaged.png: a damaged PNG"))
            fail_msg("%s", error.message);
    }
    loader_free(loader);
    dataset_close(damaged);
}

static void a_damaged_image_can_be_skipped_and_is_counted(void **state) {
    (void)state;
    need_tokenizer();
    Dataset *damaged = damaged_dataset();
    LoaderOptions options = usual();
    options.dataset = damaged;
    options.shuffle = false;
    options.accumulation = 1;
    options.micro_batch = 3;
    options.damaged_image = MISSING_IMAGE_SKIP;
    Loader *loader = create(options);
    MicroBatch *batch = next(loader);
    assert_int_equal(batch->count, 2);
    assert_int_equal(batch->image_count, 2);
    assert_int_equal(batch->skipped, 1);
    assert_non_null(strstr(batch->skipped_because, "damaged.png"));
    assert_int_equal(batch->samples[1].index, 2);
    micro_batch_free(batch);
    loader_free(loader);
    dataset_close(damaged);
}

static bool has_no_third(const void *context, int64_t index) {
    (void)context;
    return index != 2;
}

/// In 40 steps over samples of which one has no image that can be read: every batch is full.
static void check_full_batches(LoaderOptions options, int64_t missing) {
    int skipped = 0;
    options.shuffle = true;
    options.damaged_image = MISSING_IMAGE_SKIP;
    Loader *loader = create(options);
    for (int i = 0; i < 40; i++) {
        MicroBatch *batch = next(loader);
        int without_image = 0;
        for (int s = 0; s < batch->count; s++) {
            assert_true(batch->samples[s].index != missing);
            without_image += batch->samples[s].tokens.image_position < 0;
        }
        assert_int_equal(batch->count, options.micro_batch);
        if (!options.without_images)
            assert_int_equal(batch->image_count + without_image, batch->count);
        skipped += batch->skipped;
        micro_batch_free(batch);
    }
    assert_true(skipped > 0);
    loader_free(loader);
}

static void in_training_another_sample_takes_the_place_of_a_damaged_one(void **state) {
    (void)state;
    need_tokenizer();
    Dataset *damaged = damaged_dataset();
    LoaderOptions options = usual();
    options.dataset = damaged;
    options.micro_batch = options.accumulation = 1;
    check_full_batches(options, 1);
    options.without_images = true;
    options.has_features = has_no_third;
    check_full_batches(options, 2);
    dataset_close(damaged);
}

static void options_that_do_not_fit_name_the_data_set(void **state) {
    (void)state;
    need_tokenizer();
    LoaderOptions options = usual();
    options.micro_batch = 50;
    options.drop_last = true;
    Error error = {0};
    assert_null(loader_create(&options, &error));
    assert_non_null(strstr(error.message, "data.json"));
}

static void write_world(void) {
    FILE *file = fopen(in_folder("data.json"), "w");
    for (int i = 0; i < SAMPLES; i++) {
        bool has_image = i % 4 != 3;
        char name[32], field[64] = "";
        if (has_image) {
            Image image = image_new(8, 8);
            memset(image.pixels, i * 10, 8 * 8 * 3);
            snprintf(name, sizeof name, "%d.png", i);
            Error error = {0};
            if (!image_write_png(in_folder(name), &image, &error))
                print_error("%s\n", error.message);
            image_free(&image);
            snprintf(field, sizeof field, "\"image\": \"%s\", ", name);
        }
        fprintf(file,
                "%s{\"id\": %d, %s\"conversations\": [{\"from\": \"human\", \"value\": \"%sq\"}, "
                "{\"from\": \"gpt\", "
                "\"value\": \"a%d\"}]}\n",
                i ? "," : "[", i, field, has_image ? "<image>" : "", i);
    }
    fputs("]\n", file);
    fclose(file);
}

static int set_up(void **state) {
    char path[512];
    Error error = {0};
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    snprintf(path, sizeof path, "%s/llama2_tokenizer.model",
             shared ? shared : SOURCE_DIR "/../shared/data");
    if (access(path, F_OK) != 0) snprintf(path, sizeof path, "%s/tokenizer.model", TINY_MODEL);
    if (access(path, F_OK) == 0 && !(tokenizer = tokenizer_open(path, &error)))
        print_error("%s\n", error.message);
    if (make_temporary_folder(state) != 0) return -1;
    write_world();
    snprintf(path, sizeof path, "%s", in_folder("data.json"));
    dataset = dataset_open(&(DatasetOptions){path, temporary_folder, MISSING_IMAGE_FAIL}, &error);
    if (!dataset) print_error("%s\n", error.message);
    return dataset ? 0 : -1;
}

static int clean_up(void **state) {
    tokenizer_close(tokenizer);
    dataset_close(dataset);
    return remove_temporary_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_comes_once_with_its_own_picture_and_text),
        cmocka_unit_test(threads_do_not_change_the_order),
        cmocka_unit_test(a_loader_that_starts_later_goes_on_as_if_it_had_never_stopped),
        cmocka_unit_test(processes_share_a_step_without_overlap),
        cmocka_unit_test(the_end_is_an_empty_answer),
        cmocka_unit_test(a_loader_can_be_freed_at_any_time),
        cmocka_unit_test(the_error_of_a_damaged_image_comes_in_its_turn),
        cmocka_unit_test(a_damaged_image_can_be_skipped_and_is_counted),
        cmocka_unit_test(in_training_another_sample_takes_the_place_of_a_damaged_one),
        cmocka_unit_test(options_that_do_not_fit_name_the_data_set),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
