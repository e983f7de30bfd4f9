// The feature cache, filled by several ranks that each have a copy of the images, of which one is
// damaged. Run by mpirun.
#include "autograd/stop_request.h"
#include "data/tiny/world.h"
#include "tests/unit/temporary_folder.h"
#include "train/features/feature_cache.h"
#include "train/trainer/model_setup.h"

#include <signal.h>
#include <unistd.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"

/// Three blocks of 32; the last has 16.
enum { IMAGES = 80, BLOCK = 32 };

static ProcessGroup *group, *alone;
static int rank, count;
static Config *config;
static ModelSetup setup;
static Dataset *data;

static void check_ok(bool ok, const Error *error) {
    if (!ok) fail_msg("rank %d: %s", rank, error->message);
}

static FeatureCacheOptions options_of(ProcessGroup *of, MissingImage damaged) {
    return (FeatureCacheOptions){.model = setup.model,
                                 .dataset = data,
                                 .image_aspect = IMAGE_CENTER_CROP,
                                 .limit = -1,
                                 .damaged_image = damaged,
                                 .group = of};
}

static FeatureCache *fill_with(ProcessGroup *of, MissingImage damaged, FeatureFolder *folder) {
    Error error = {0};
    bool stopping = false;
    FeatureCacheOptions options = options_of(of, damaged);
    options.folder = folder;
    FeatureCache *cache = feature_cache_new(&options, &stopping, NULL, &error);
    if (!cache) fail_msg("rank %d: %s", rank, error.message);
    assert_false(stopping);
    return cache;
}

static FeatureCache *fill(ProcessGroup *of, MissingImage damaged) {
    return fill_with(of, damaged, NULL);
}

/// In the share of the last rank.
static int64_t of_last_rank(void) { return (count - 1) * BLOCK + 8; }

/// Cuts the last rank's copy of an image off, or makes it whole again.
static void damage(int64_t index, bool is_damaged) {
    static char *whole;
    static long size;
    Error error = {0};
    Sample sample;
    if (rank != count - 1) return;
    check_ok(dataset_sample(data, index, &sample, &error), &error);
    FILE *file = fopen(sample.image_path, is_damaged ? "r+" : "w");
    assert_non_null(file);
    if (is_damaged) {
        fseek(file, 0, SEEK_END);
        size = ftell(file);
        whole = malloc((size_t)size);
        rewind(file);
        assert_int_equal(fread(whole, 1, (size_t)size, file), size);
        assert_int_equal(ftruncate(fileno(file), size / 2), 0);
    } else {
        assert_int_equal(fwrite(whole, 1, (size_t)size, file), size);
        free(whole);
    }
    assert_int_equal(fclose(file), 0);
    sample_free(&sample);
}

static void assert_same_tensor(const Tensor *x, const Tensor *y) {
    size_t bytes = dtype_size(x->dtype) * (size_t)tensor_numel(x);
    assert_int_equal(bytes, dtype_size(y->dtype) * (size_t)tensor_numel(y));
    assert_memory_equal(x->data, y->data, bytes);
}

/// All have features but for the sample `but`, and they are the same bits.
static void assert_same_features(const FeatureCache *cache, const FeatureCache *expected,
                                 int64_t but) {
    for (int64_t i = 0; i < IMAGES; i++) {
        assert_int_equal(feature_cache_has(cache, i), i != but);
        if (i == but) continue;
        scope_begin();
        FrozenFeatures is, should;
        Error error = {0};
        check_ok(feature_cache_batch(cache, &i, 1, &is, &error), &error);
        check_ok(feature_cache_batch(expected, &i, 1, &should, &error), &error);
        assert_same_tensor(is.clip, should.clip);
        assert_same_tensor(is.moments, should.moments);
        scope_end();
    }
}

// ---- tests

static void the_ranks_together_compute_what_one_does(void **state) {
    (void)state;
    FeatureCache *expected = fill(alone, MISSING_IMAGE_FAIL),
                 *cache = fill(group, MISSING_IMAGE_FAIL);
    assert_same_features(cache, expected, -1);
    feature_cache_free(cache);
    feature_cache_free(expected);
}

static void an_image_that_its_rank_cannot_read_is_left_out_everywhere_and_no_other_changes(
    void **state) {
    (void)state;
    FeatureCache *expected = fill(alone, MISSING_IMAGE_FAIL);
    damage(of_last_rank(), true);
    FeatureCache *cache = fill(group, MISSING_IMAGE_SKIP);
    assert_same_features(cache, expected, of_last_rank());
    damage(of_last_rank(), false);
    feature_cache_free(cache);
    feature_cache_free(expected);
}

static void a_copy_that_another_rank_reads_does_not_matter(void **state) {
    (void)state;
    FeatureCache *expected = fill(alone, MISSING_IMAGE_FAIL);
    damage(3, true); // in the share of rank 0
    FeatureCache *cache = fill(group, MISSING_IMAGE_FAIL);
    assert_same_features(cache, expected, -1);
    damage(3, false);
    feature_cache_free(cache);
    feature_cache_free(expected);
}

/// Each its own folder, of which only rank 0's is full: the others compute, and so say all.
static void ranks_that_find_their_features_and_ranks_that_do_not_go_together(void **state) {
    (void)state;
    Error error = {0};
    OutputFolder made = {0};
    check_ok(feature_folder_make(config, &made, &error), &error);
    output_folder_close(&made, false);
    FeatureFolder *folder = feature_folder_open(config, setup.model, false, &error);
    check_ok(folder != NULL, &error);
    FeatureCache *expected = fill_with(alone, MISSING_IMAGE_FAIL, rank == 0 ? folder : NULL),
                 *cache = fill_with(group, MISSING_IMAGE_FAIL, folder),
                 *again = fill_with(group, MISSING_IMAGE_FAIL, folder);
    assert_same_features(cache, expected, -1);
    assert_same_features(again, expected, -1);
    // of three blocks rank 0 has the first, and of two ranks the third
    assert_int_equal(feature_cache_count_found(cache), count == 2 ? IMAGES - BLOCK : BLOCK);
    assert_int_equal(feature_cache_count_found(again), IMAGES);
    feature_cache_free(cache);
    feature_cache_free(again);
    feature_cache_free(expected);
    feature_folder_close(folder);
}

static void where_damage_is_a_failure_every_rank_hears_of_it(void **state) {
    (void)state;
    Error error = {0};
    bool stopping = false;
    FeatureCacheOptions options = options_of(group, MISSING_IMAGE_FAIL);
    damage(of_last_rank(), true);
    assert_null(feature_cache_new(&options, &stopping, NULL, &error));
    damage(of_last_rank(), false);
    assert_false(stopping);
    char expected[64];
    snprintf(expected, sizeof expected, "rank %d: ", count - 1);
    assert_int_equal(strncmp(error.message, expected, strlen(expected)) == 0, rank != count - 1);
    assert_non_null(strstr(error.message, ".jpg"));
}

static void a_request_to_stop_to_one_rank_ends_it_on_all(void **state) {
    (void)state;
    Error error = {0};
    bool stopping = false;
    FeatureCacheOptions options = options_of(group, MISSING_IMAGE_FAIL);
    stop_request_listen();
    if (rank == count - 1) raise(SIGTERM);
    assert_null(feature_cache_new(&options, &stopping, NULL, &error));
    assert_true(stopping);
    assert_string_equal(error.message, "stopped on request");
}

// ---- the program

static bool open_all(Error *error) {
    static char data_path[128], image_folder[128], feature_folder[128];
    snprintf(data_path, sizeof data_path, "%s",
             in_folder("world/train/blip_laion_cc_sbu_558k.json"));
    snprintf(image_folder, sizeof image_folder, "%s", in_folder("world/train"));
    snprintf(feature_folder, sizeof feature_folder, "data.feature_folder=%s",
             in_folder("features"));
    const char *settings[] = {feature_folder,           "data.cache_features=true",
                              "model.sd=" TINY "/sd",   "model.vision_tower=" TINY "/clip",
                              "model.llm=" TINY "/llm", "data.image_size=128",
                              "training.device=cpu",    "training.threads=1"};
    WorldOptions world = {.seed = 5, .num_train = IMAGES, .num_test = 2};
    config = config_load(NULL, settings, 8, error);
    bool ok = config && world_write(in_folder("world"), &world, error) &&
              model_setup_open(config, 0, group, &setup, error);
    if (ok)
        data = dataset_open(&(DatasetOptions){data_path, image_folder, MISSING_IMAGE_FAIL}, error);
    return data != NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ranks_together_compute_what_one_does),
        cmocka_unit_test(
            an_image_that_its_rank_cannot_read_is_left_out_everywhere_and_no_other_changes),
        cmocka_unit_test(a_copy_that_another_rank_reads_does_not_matter),
        cmocka_unit_test(ranks_that_find_their_features_and_ranks_that_do_not_go_together),
        cmocka_unit_test(where_damage_is_a_failure_every_rank_hears_of_it),
        cmocka_unit_test(a_request_to_stop_to_one_rank_ends_it_on_all),
    };
    Error error = {0};
    group = process_group_open(30, &error);
    if (!group || process_count(group) < 2) {
        fprintf(stderr, "to be run by mpirun -n 2 or more: %s\n", error.message);
        return 1;
    }
    rank = process_rank(group);
    count = process_count(group);
    alone = process_group_alone();
    bool ok = make_temporary_folder(NULL) == 0 && open_all(&error);
    if (!ok) fprintf(stderr, "rank %d: %s\n", rank, error.message);
    int failed = ok ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    dataset_close(data);
    model_setup_close(&setup);
    config_free(config);
    remove_temporary_folder(NULL);
    if (failed) process_group_abort(group, 1); // the others may wait for this rank
    process_group_close(alone);
    process_group_close(group);
    return 0;
}
