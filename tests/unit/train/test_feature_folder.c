// rooms: train eval models ops checkpoints tiny_world data autograd
// Frozen features on disk, of a few pictures of the tiny world by the tiny encoders: what is read
// is what would be computed, and nothing that happens to the folder changes it.
#include "autograd/output/output_file.h"
#include "checkpoints/training_state.h"
#include "data/tiny/world.h"
#include "tests/unit/temporary_folder.h"
#include "train/features/feature_cache.h"
#include "train/trainer/model_setup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"

/// Two blocks.
enum { IMAGES = 40, SECOND_BLOCK = IMAGES - FEATURE_BLOCK };

/// A model, and what is configured with it.
typedef struct Setup {
    Config *config;
    ModelSetup model;
} Setup;

static Setup shared;
static Dataset *data;
static ProcessGroup *alone;

static Setup open_setup(const char *setting) {
    Error error = {0};
    char folder[300];
    snprintf(folder, sizeof folder, "data.feature_folder=%s", in_folder("features"));
    const char *settings[] = {"model.sd=" TINY "/sd",
                              "model.vision_tower=" TINY "/clip",
                              "model.llm=" TINY "/llm",
                              "data.image_size=128",
                              "data.cache_features=true",
                              "training.device=cpu",
                              "training.threads=1",
                              folder,
                              setting};
    Setup setup = {.config = config_load(NULL, settings, setting ? 9 : 8, &error)};
    if (!setup.config || !model_setup_open(setup.config, 0, NULL, &setup.model, &error))
        fail_msg("%s", error.message);
    return setup;
}

static void close_setup(Setup *setup) {
    model_setup_close(&setup->model);
    config_free(setup->config);
}

static FeatureFolder *open_folder(const Setup *setup) {
    Error error = {0};
    OutputFolder made = {0};
    FeatureFolder *folder =
        feature_folder_make(setup->config, &made, &error)
            ? feature_folder_open(setup->config, setup->model.model, false, &error)
            : NULL;
    output_folder_close(&made, false);
    if (!folder) fail_msg("%s", error.message);
    return folder;
}

/// With the folder, or NULL: without.
static FeatureCache *try_filling(const Setup *setup, FeatureFolder *folder, MissingImage damaged,
                                 Error *error) {
    bool stopping = false;
    const DataSection *section = &setup->config->data;
    FeatureCacheOptions options = {.model = setup->model.model,
                                   .dataset = data,
                                   .image_aspect = section->image_aspect_ratio,
                                   .image_normalization = section->image_normalization,
                                   .limit = -1,
                                   .damaged_image = damaged,
                                   .group = alone,
                                   .folder = folder};
    return feature_cache_new(&options, &stopping, NULL, error);
}

static FeatureCache *compute(const Setup *setup) {
    Error error = {0};
    FeatureCache *cache = try_filling(setup, NULL, MISSING_IMAGE_SKIP, &error);
    if (!cache) fail_msg("%s", error.message);
    return cache;
}

/// Fills a cache with the folder's help, and asserts how many images were found there.
static FeatureCache *fill(const Setup *setup, int found) {
    Error error = {0};
    FeatureFolder *folder = open_folder(setup);
    FeatureCache *cache = try_filling(setup, folder, MISSING_IMAGE_SKIP, &error);
    feature_folder_close(folder);
    if (!cache) fail_msg("%s", error.message);
    assert_int_equal(feature_cache_count(cache), IMAGES);
    assert_int_equal(feature_cache_count_found(cache), found);
    return cache;
}

static bool is_same_tensor(const Tensor *x, const Tensor *y) {
    if (!x || !y) return x == y;
    size_t bytes = dtype_size(x->dtype) * (size_t)tensor_numel(x);
    assert_int_equal(bytes, dtype_size(y->dtype) * (size_t)tensor_numel(y));
    return !memcmp(x->data, y->data, bytes);
}

static bool is_same_image(const FeatureCache *x, const FeatureCache *y, int64_t index) {
    if (feature_cache_has(x, index) != feature_cache_has(y, index)) return false;
    if (!feature_cache_has(x, index)) return true;
    scope_begin();
    Error error = {0};
    FrozenFeatures of_x, of_y;
    if (!feature_cache_batch(x, &index, 1, &of_x, &error) ||
        !feature_cache_batch(y, &index, 1, &of_y, &error))
        fail_msg("%s", error.message);
    bool same = is_same_tensor(of_x.clip, of_y.clip) && is_same_tensor(of_x.moments, of_y.moments);
    scope_end();
    return same;
}

static void assert_same_features(FeatureCache *x, FeatureCache *y) {
    for (int64_t i = 0; i < IMAGES; i++) assert_true(is_same_image(x, y, i));
}

/// The same, of one that the folder helped to fill, and of one without.
static void assert_fills_as_computed(const Setup *setup, int found) {
    FeatureCache *cache = fill(setup, found), *expected = compute(setup);
    assert_same_features(cache, expected);
    feature_cache_free(cache);
    feature_cache_free(expected);
}

// ---- files

/// The files of the folder; of more than two the test fails.
typedef struct Files {
    char paths[2][600];
    int count;
} Files;

static Files files(void) {
    Files found = {.count = 0};
    DIR *directory = opendir(in_folder("features"));
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        assert_true(found.count < 2);
        snprintf(found.paths[found.count++], sizeof found.paths[0], "%s/%s", in_folder("features"),
                 entry->d_name);
    }
    if (directory) closedir(directory);
    return found;
}

static void empty_folder(void) {
    Files there = files();
    for (int i = 0; i < there.count; i++) assert_int_equal(unlink(there.paths[i]), 0);
}

static int begin(void **state) {
    (void)state;
    empty_folder();
    return 0;
}

/// The whole content, to be freed.
static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t size) {
    Error error = {0};
    if (!output_whole_file(path, bytes, size, &error)) fail_msg("%s", error.message);
}

static char *image_path(int64_t index) {
    Error error = {0};
    Sample sample;
    assert_true(dataset_sample(data, index, &sample, &error));
    char *path = strdup(sample.image_path);
    sample_free(&sample);
    return path;
}

// ---- tests

static void what_is_read_is_what_would_be_computed(void **state) {
    (void)state;
    assert_fills_as_computed(&shared, 0);
    assert_int_equal(files().count, 2);
    assert_fills_as_computed(&shared, IMAGES);
}

/// Each dtype and architecture has its own form of file.
static void every_model_reads_its_own_features_only(void **state) {
    (void)state;
    static const char *const settings[] = {"model.dtype=float32", "model.architecture=llava",
                                           "data.image_aspect_ratio=pad",
                                           "data.image_normalization=clip_twice"};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        empty_folder();
        Setup setup = open_setup(settings[i]);
        feature_cache_free(fill(&setup, 0));
        assert_fills_as_computed(&setup, IMAGES);
        FeatureFolder *own = open_folder(&setup), *other = open_folder(&shared);
        char *key = feature_folder_key(own, &(PictureContent){"none"}, 1),
             *other_key = feature_folder_key(other, &(PictureContent){"none"}, 1);
        assert_string_not_equal(key, other_key);
        free(key);
        free(other_key);
        feature_folder_close(own);
        feature_folder_close(other);
        close_setup(&setup);
    }
}

/// Replaces the first of CLIP's features in a file, with a checksum that is right; and its key
/// unless `key` is NULL.
static void falsify(const char *path, const char *key) {
    Error error = {0};
    int rank;
    int64_t shapes[2][STATE_MAX_RANK], sizes[2] = {1, 1}, readable;
    StateType types[2];
    static const char *const names[] = {"clip", "moments"};
    char *arrays[2], *made_of;
    StateFile *file = state_open(path, &error);
    assert_non_null(file);
    assert_true(state_read_attribute_string(file, "made_of", &made_of, &error));
    assert_true(state_read_attribute_int(file, "readable", &readable, &error));
    for (int i = 0; i < 2; i++) {
        assert_true(state_describe_array(file, names[i], &types[i], &rank, shapes[i], &error));
        assert_int_equal(rank, 4);
        for (int k = 0; k < rank; k++) sizes[i] *= shapes[i][k];
        arrays[i] = malloc(4 * (size_t)sizes[i]);
        assert_true(state_read_array(file, names[i], types[i], rank, shapes[i], arrays[i], &error));
    }
    state_close(file);
    arrays[0][0] ^= 1;
    StateWriter *writer = state_create(path, &error);
    assert_non_null(writer);
    assert_true(state_write_attribute_string(writer, "made_of", key ? key : made_of, &error));
    assert_true(state_write_attribute_int(writer, "readable", readable, &error));
    for (int i = 0; i < 2; i++) {
        assert_true(state_write_array(writer, names[i], types[i], 4, shapes[i], arrays[i], &error));
        free(arrays[i]);
    }
    assert_true(state_commit(writer, &error));
    free(made_of);
}

static void a_block_that_is_there_is_not_computed(void **state) {
    (void)state;
    feature_cache_free(fill(&shared, 0));
    Files there = files();
    for (int i = 0; i < there.count; i++) falsify(there.paths[i], NULL);
    FeatureCache *cache = fill(&shared, IMAGES), *expected = compute(&shared);
    for (int64_t i = 0; i < IMAGES; i++)
        assert_int_equal(is_same_image(cache, expected, i), i % FEATURE_BLOCK != 0);
    feature_cache_free(cache);
    feature_cache_free(expected);
}

static void a_file_of_another_key_with_the_same_name_is_not_read(void **state) {
    (void)state;
    feature_cache_free(fill(&shared, 0));
    Files there = files();
    for (int i = 0; i < there.count; i++) falsify(there.paths[i], "{}");
    assert_fills_as_computed(&shared, 0);
    feature_cache_free(fill(&shared, IMAGES));
}

static void a_picture_that_changes_under_its_name_is_computed_anew_with_its_block(void **state) {
    (void)state;
    size_t size, other_size;
    char *path = image_path(FEATURE_BLOCK + 1), *other = image_path(0);
    char *bytes = read_file(path, &size), *other_bytes = read_file(other, &other_size);
    feature_cache_free(fill(&shared, 0));
    write_file(path, other_bytes, other_size);
    assert_fills_as_computed(&shared, FEATURE_BLOCK);
    write_file(path, bytes, size);
    Files there = {.count = 0};
    DIR *directory = opendir(in_folder("features")); // three: the third block goes again
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.') there.count++;
    rewinddir(directory);
    assert_int_equal(there.count, 3);
    feature_cache_free(fill(&shared, IMAGES));
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.') unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    free(bytes);
    free(other_bytes);
    free(path);
    free(other);
}

static void a_picture_is_known_by_its_content_wherever_it_lies(void **state) {
    (void)state;
    size_t size;
    char *path = image_path(3), *bytes = read_file(path, &size);
    const PictureContent in_file = feature_folder_picture(&(Sample){.image_path = path}),
                         in_pack = feature_folder_picture(
                             &(Sample){.image_path = "3.jpg",
                                       .packed_image = {"3.jpg", bytes, (int64_t)size}}),
                         shorter = feature_folder_picture(
                             &(Sample){.image_path = "3.jpg",
                                       .packed_image = {"3.jpg", bytes, (int64_t)size - 1}}),
                         absent = feature_folder_picture(&(Sample){.image_path = "/nowhere/3.jpg"});
    assert_string_equal(in_file.text, in_pack.text);
    assert_string_not_equal(in_file.text, shorter.text);
    assert_string_equal(absent.text, "none");
    free(bytes);
    free(path);
}

/// The key where CLIP lies in a folder of that name, with one byte of a file changed or none.
static char *key_with_clip(const char *name, const char *changed) {
    static const char *const names[] = {"config.json", "model.safetensors"};
    Error error = {0};
    char folder[600];
    snprintf(folder, sizeof folder, "%s", in_folder(name));
    assert_int_equal(mkdir(folder, 0777), 0);
    for (int i = 0; i < 2; i++) {
        size_t size;
        char path[700];
        snprintf(path, sizeof path, "%s/clip/%s", TINY, names[i]);
        char *bytes = read_file(path, &size);
        if (changed && !strcmp(changed, names[i])) bytes[size - 1] ^= 1;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        write_file(path, bytes, size);
        free(bytes);
    }
    Config config = *shared.config;
    config.model.vision_tower = folder;
    FeatureFolder *opened = feature_folder_open(&config, shared.model.model, false, &error);
    if (!opened) fail_msg("%s", error.message);
    char *key = feature_folder_key(opened, &(PictureContent){"none"}, 1);
    feature_folder_close(opened);
    return key;
}

static void encoders_are_known_by_their_content_and_not_by_their_name(void **state) {
    (void)state;
    FeatureFolder *folder = open_folder(&shared);
    char *key = feature_folder_key(folder, &(PictureContent){"none"}, 1),
         *same = key_with_clip("other-name", NULL),
         *weights = key_with_clip("weights", "model.safetensors"),
         *config = key_with_clip("config", "config.json");
    assert_string_equal(key, same);
    assert_string_not_equal(key, weights);
    assert_string_not_equal(key, config);
    feature_folder_close(folder);
    free(key);
    free(same);
    free(weights);
    free(config);
}

static void a_damaged_file_is_computed_anew_and_whole_again(void **state) {
    (void)state;
    feature_cache_free(fill(&shared, 0));
    for (int kind = 0; kind < 3; kind++) {
        Files there = files();
        size_t size;
        char *bytes = read_file(there.paths[0], &size);
        if (kind == 0) bytes[size / 2] ^= 1;
        write_file(there.paths[0], bytes, kind == 0 ? size : kind == 1 ? size / 2 : 0);
        free(bytes);
        FeatureCache *cache = compute(&shared), *again = NULL;
        Error error = {0};
        FeatureFolder *folder = open_folder(&shared);
        again = try_filling(&shared, folder, MISSING_IMAGE_FAIL, &error);
        feature_folder_close(folder);
        assert_non_null(again);
        int64_t found = feature_cache_count_found(again);
        assert_true(found == FEATURE_BLOCK || found == SECOND_BLOCK);
        assert_same_features(cache, again);
        feature_cache_free(cache);
        feature_cache_free(again);
        feature_cache_free(fill(&shared, IMAGES));
    }
}

/// Whether the cache gives the features of that sample; otherwise the message has `expected`.
static bool gives(const FeatureCache *cache, int64_t index, const char *expected) {
    Error error = {0};
    FrozenFeatures features;
    scope_begin();
    const bool ok = feature_cache_batch(cache, &index, 1, &features, &error);
    scope_end();
    if (!ok && !strstr(error.message, expected)) fail_msg("%s", error.message);
    return ok;
}

static void features_are_read_when_they_are_needed_and_not_kept_in_memory(void **state) {
    (void)state;
    FeatureCache *cache = fill(&shared, 0), *in_memory = compute(&shared);
    assert_true(gives(cache, 0, ""));
    empty_folder();
    assert_false(gives(cache, 0, "cannot be opened: No such file"));
    assert_true(gives(in_memory, 0, ""));
    feature_cache_free(cache);
    feature_cache_free(in_memory);
}

static void what_is_expected_is_read_before_it_is_needed(void **state) {
    (void)state;
    FeatureCache *cache = fill(&shared, 0);
    for (int i = 0; i < 2; i++) feature_cache_expect(cache, 3);
    feature_cache_expect(cache, IMAGES - 1);
    empty_folder();
    assert_true(gives(cache, 3, ""));
    assert_true(gives(cache, IMAGES - 1, ""));
    assert_true(gives(cache, 3, ""));
    assert_false(gives(cache, 3, "cannot be opened"));
    feature_cache_expect(cache, 4);
    assert_false(gives(cache, 4, "cannot be opened"));
    feature_cache_free(cache);
}

static void what_changes_on_disk_is_an_error_and_not_other_features(void **state) {
    (void)state;
    FeatureCache *cache = fill(&shared, 0);
    Files there = files();
    for (int i = 0; i < there.count; i++) {
        size_t size;
        char *bytes = read_file(there.paths[i], &size);
        for (size_t k = size / 4; k < size; k++) bytes[k] ^= 1;
        write_file(there.paths[i], bytes, size);
        free(bytes);
    }
    assert_false(gives(cache, 20, "no longer what they were"));
    feature_cache_free(cache);
}

static void an_image_that_cannot_be_read_is_told_though_its_block_is_there(void **state) {
    (void)state;
    size_t size;
    char *path = image_path(5), *bytes = read_file(path, &size);
    write_file(path, bytes, size / 2);
    assert_fills_as_computed(&shared, 0);
    FeatureCache *cache = fill(&shared, IMAGES);
    assert_false(feature_cache_has(cache, 5));
    assert_true(feature_cache_has(cache, 4));
    feature_cache_free(cache);
    Error error = {0};
    FeatureFolder *folder = open_folder(&shared);
    assert_null(try_filling(&shared, folder, MISSING_IMAGE_FAIL, &error));
    feature_folder_close(folder);
    assert_non_null(strstr(error.message, path));
    write_file(path, bytes, size);
    free(bytes);
    free(path);
}

static void a_full_disk_costs_the_folder_only(void **state) {
    (void)state;
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN); // so that writing fails, as on a full disk
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit low = {4096, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &low);
    FeatureCache *cache = fill(&shared, 0);
    setrlimit(RLIMIT_FSIZE, &before);
    FeatureCache *expected = compute(&shared);
    assert_same_features(cache, expected);
    assert_int_equal(files().count, 0);
    feature_cache_free(cache);
    feature_cache_free(expected);
}

static void what_a_kill_left_long_ago_is_removed_and_nothing_else(void **state) {
    (void)state;
    char old[600], young[600];
    snprintf(old, sizeof old, "%s/features-0123456789abcdef.h5.aaaaaa", in_folder("features"));
    snprintf(young, sizeof young, "%s/features-0123456789abcdef.h5.bbbbbb", in_folder("features"));
    write_file(old, "half", 4);
    write_file(young, "half", 4);
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, old, times, 0), 0);
    feature_folder_close(open_folder(&shared));
    assert_int_not_equal(access(old, F_OK), 0);
    assert_int_equal(access(young, F_OK), 0);
}

static void the_space_is_told_beforehand(void **state) {
    (void)state;
    feature_cache_free(fill(&shared, 0));
    Files there = files();
    int64_t bytes = 0;
    for (int i = 0; i < there.count; i++) {
        struct stat status;
        assert_int_equal(stat(there.paths[i], &status), 0);
        bytes += status.st_size;
    }
    const FeatureShape shape = feature_shape(shared.model.model);
    int64_t told = feature_folder_bytes(&shape, IMAGES);
    assert_true(told >= bytes);
    assert_true((double)told < 1.1 * (double)bytes);
}

static void a_folder_that_cannot_be_used_is_refused_with_its_key(void **state) {
    (void)state;
    Error error = {0};
    char path[600];
    snprintf(path, sizeof path, "%s", in_folder("a-file"));
    write_file(path, "x", 1);
    Config config = *shared.config;
    config.data.feature_folder = path;
    OutputFolder made = {0};
    assert_false(feature_folder_make(&config, &made, &error));
    output_folder_close(&made, true);
    assert_non_null(strstr(error.message, "data.feature_folder"));
    assert_non_null(strstr(error.message, "is a file"));
    const char *without[] = {"data.feature_folder=/tmp/features"};
    assert_null(config_load(NULL, without, 1, &error));
    assert_non_null(strstr(error.message, "data.feature_folder"));
    assert_non_null(strstr(error.message, "data.cache_features"));
}

static int open_all(void **state) {
    Error error = {0};
    if (make_temporary_folder(state) != 0) return -1;
    char path[600], images[600];
    snprintf(path, sizeof path, "%s", in_folder("world/train/blip_laion_cc_sbu_558k.json"));
    snprintf(images, sizeof images, "%s", in_folder("world/train"));
    WorldOptions world = {.seed = 5, .num_train = IMAGES, .num_test = 2};
    if (world_write(in_folder("world"), &world, &error))
        data = dataset_open(&(DatasetOptions){path, images, MISSING_IMAGE_FAIL}, &error);
    if (!data) {
        print_error("%s\n", error.message);
        return -1;
    }
    alone = process_group_alone();
    shared = open_setup(NULL);
    return 0;
}

static int close_all(void **state) {
    close_setup(&shared);
    process_group_close(alone);
    dataset_close(data);
    return remove_temporary_folder(state);
}

#define TEST(test) cmocka_unit_test_setup(test, begin)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_read_is_what_would_be_computed),
        TEST(every_model_reads_its_own_features_only),
        TEST(a_block_that_is_there_is_not_computed),
        TEST(a_file_of_another_key_with_the_same_name_is_not_read),
        TEST(a_picture_that_changes_under_its_name_is_computed_anew_with_its_block),
        TEST(a_picture_is_known_by_its_content_wherever_it_lies),
        TEST(encoders_are_known_by_their_content_and_not_by_their_name),
        TEST(a_damaged_file_is_computed_anew_and_whole_again),
        TEST(features_are_read_when_they_are_needed_and_not_kept_in_memory),
        TEST(what_is_expected_is_read_before_it_is_needed),
        TEST(what_changes_on_disk_is_an_error_and_not_other_features),
        TEST(an_image_that_cannot_be_read_is_told_though_its_block_is_there),
        TEST(what_a_kill_left_long_ago_is_removed_and_nothing_else),
        TEST(the_space_is_told_beforehand),
        TEST(a_folder_that_cannot_be_used_is_refused_with_its_key),
        // the last: under a limit on files HDF5 may keep one open that it could not write, and then
        // refuses a new one that the system gives the same number
        TEST(a_full_disk_costs_the_folder_only),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
