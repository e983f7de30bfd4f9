// rooms: train eval models ops checkpoints data autograd
// Adapters are shown the pictures that they were trained on, or somebody is told.
#include "checkpoints/training_state.h"
#include "tests/unit/temporary_folder.h"
#include "train/saved/export.h"
#include "train/saved/trained_normalization.h"

#include <stdlib.h>

#define LLM SOURCE_DIR "/tests/parity/data/difflmm/llm"

/// what was written as a warning, and why a check failed
static char warned[2048];
static Error refused;

static Config *configure(const char *setting) {
    const char *settings[] = {"model.llm=" LLM, setting};
    Config *config = config_load(NULL, settings, setting ? 2 : 1, &refused);
    if (!config) fail_msg("%s", refused.message);
    return config;
}

static bool passes(const char *path, const char *setting) {
    Config *config = configure(setting);
    memset(warned, 0, sizeof warned);
    refused = (Error){0};
    FILE *out = fmemopen(warned, sizeof warned - 1, "w");
    bool ok = trained_normalization_check(config, path, out, &refused);
    fclose(out);
    config_free(config);
    return ok;
}

static const char *write_checkpoint(const char *yaml) {
    Error error = {0};
    const char *path = in_folder("checkpoint-1.h5");
    const int64_t length = (int64_t)strlen(yaml);
    StateWriter *writer = state_create(path, &error);
    if (!writer ||
        !state_write_attribute_string(writer, "training/format", "difflmm training checkpoint 2",
                                      &error) ||
        !state_write_array(writer, "config.yaml", STATE_BYTES, 1, &length, yaml, &error) ||
        !state_commit(writer, &error))
        fail_msg("%s", error.message);
    return path;
}

static void expect_refusal(const char *part) {
    if (!strstr(refused.message, part)) fail_msg("'%s' not in: %s", part, refused.message);
}

static void a_checkpoint_must_be_asked_about_pictures_like_those_of_its_training(void **state) {
    (void)state;
    static const char *const written[] = {"data: {image_normalization: half}\n",
                                          "data: {image_normalization: clip_twice}\n"};
    static const char *const settings[] = {"data.image_normalization=half",
                                           "data.image_normalization=clip_twice"};
    for (int then = 0; then < 2; then++)
        for (int now = 0; now < 2; now++) {
            const char *path = write_checkpoint(written[then]);
            assert_int_equal(passes(path, settings[now]), then == now);
            assert_string_equal(warned, "");
            if (then == now) continue;
            expect_refusal(path);
            expect_refusal(then ? "set data.image_normalization: clip_twice"
                                : "set data.image_normalization: half");
            assert_true(refused.is_configuration);
        }
    assert_false(passes(write_checkpoint(written[1]), NULL));
    expect_refusal("default: data.image_normalization: half, but");
}

static void a_checkpoint_older_than_the_key_was_trained_with_half(void **state) {
    (void)state;
    const char *path = write_checkpoint("data: {image_size: 64}\n");
    assert_true(passes(path, NULL));
    assert_string_equal(warned, "");
    assert_false(passes(path, "data.image_normalization=clip_twice"));
}

static void nothing_is_known_of_a_checkpoint_with_an_unknown_configuration(void **state) {
    (void)state;
    const char *path = write_checkpoint("data: {of_tomorrow: 64}\n");
    assert_true(passes(path, "data.image_normalization=clip_twice"));
    assert_string_equal(warned, "");
    assert_true(passes(path, NULL));
    assert_non_null(strstr(warned, path));
}

static void published_adapters_give_one_warning_until_the_key_is_set(void **state) {
    (void)state;
    write_text("mm_projector.bin", "");
    for (int with_config = 0; with_config < 2; with_config++) {
        if (with_config) write_text("config.json", "{\"model_type\": \"llava_llama\"}");
        const char *const paths[] = {in_folder("mm_projector.bin"), temporary_folder};
        for (int i = 0; i < 2; i++) {
            assert_true(passes(paths[i], NULL));
            assert_non_null(strstr(warned, paths[i]));
            assert_non_null(strstr(warned, "data.image_normalization is not set: half is taken"));
            assert_non_null(strstr(warned, "need clip_twice"));
            assert_ptr_equal(strchr(warned, '\n'), warned + strlen(warned) - 1);
            assert_true(passes(paths[i], "data.image_normalization=half"));
            assert_true(passes(paths[i], "data.image_normalization=clip_twice"));
            assert_string_equal(warned, "");
            assert_true(passes(paths[i], "model.architecture=llava"));
            assert_string_equal(warned, "");
        }
    }
}

static void what_is_written_beside_published_adapters_counts(void **state) {
    (void)state;
    write_text("mm_projector.bin", "");
    write_text("config.json", "{\"image_normalization\": \"clip_twice\"}");
    const char *const paths[] = {in_folder("mm_projector.bin"), temporary_folder};
    for (int i = 0; i < 2; i++) {
        assert_true(passes(paths[i], "data.image_normalization=clip_twice"));
        assert_false(passes(paths[i], NULL));
        assert_string_equal(warned, "");
        expect_refusal(paths[i]);
    }
    static const char *const broken[][2] = {
        {"{\"image_normalization\": \"thrice\"}", "half or clip_twice"},
        {"{\"image_normalization\": 2}", "image_normalization"},
        {"{\"image_normalization\": ", "config.json"},
        {"[]", "config.json"}};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        write_text("config.json", broken[i][0]);
        assert_false(passes(temporary_folder, NULL));
        expect_refusal("config.json");
        expect_refusal(broken[i][1]);
    }
}

/// Exports the config.json of a merged model, and says whether the adapters beside it pass then.
static bool passes_exported(const char *trained_with, bool is_known, const char *setting) {
    Error error = {0};
    Config *config = configure(trained_with);
    ExportSource source = {.config = config, .knows_normalization = is_known};
    if (!export_config(&source, true, temporary_folder, &error)) fail_msg("%s", error.message);
    config_free(config);
    return passes(in_folder("mm_projector.bin"), setting);
}

static void exported_adapters_say_what_they_were_trained_on(void **state) {
    (void)state;
    static const char *const half = "data.image_normalization=half",
                             *const clip = "data.image_normalization=clip_twice";
    write_text("mm_projector.bin", "");
    assert_true(passes_exported(half, true, NULL));
    assert_string_equal(warned, "");
    assert_true(passes_exported(clip, true, clip));
    assert_false(passes_exported(half, true, clip));
    assert_false(passes_exported(clip, true, half));
    // but not what nobody knows
    assert_true(passes_exported(half, false, clip));
    assert_true(passes_exported(half, false, NULL));
    assert_non_null(strstr(warned, "warning: "));
    assert_true(passes_exported("model.architecture=llava", true, NULL));
    assert_non_null(strstr(warned, "warning: "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_checkpoint_must_be_asked_about_pictures_like_those_of_its_training),
        IN_FOLDER(a_checkpoint_older_than_the_key_was_trained_with_half),
        IN_FOLDER(nothing_is_known_of_a_checkpoint_with_an_unknown_configuration),
        IN_FOLDER(published_adapters_give_one_warning_until_the_key_is_set),
        IN_FOLDER(what_is_written_beside_published_adapters_counts),
        IN_FOLDER(exported_adapters_say_what_they_were_trained_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
