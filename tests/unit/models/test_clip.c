// rooms: models ops checkpoints autograd
// CLIP's towers against transformers (tests/parity/record_vision.py).
#include "models/clip/clip_text.h"
#include "models/clip/clip_vision.h"
#include "tests/unit/recorded.h"

/// Rounded values of a layer, one after the other: two norms, q/k/v, probabilities, attention,
/// projection and sum, two MLP products, activation, sum.
enum { LAYER_ROUNDINGS = 11 };

static ClipVision *open_vision(const char *name, DType dtype) {
    Error error = {0};
    ClipVision *clip = clip_vision_load(recorded_path(name), case_device(), dtype, &error);
    if (!clip) fail_msg("%s", error.message);
    return clip;
}

static ClipText *open_text(const char *name, DType dtype) {
    Error error = {0};
    ClipText *clip = clip_text_load(recorded_path(name), case_device(), dtype, &error);
    if (!clip) fail_msg("%s", error.message);
    return clip;
}

static double bound(const ClipEncoder *encoder, DType dtype) {
    return recorded_bound(dtype, 3 + LAYER_ROUNDINGS * encoder->num_layers,
                          encoder->intermediate_size);
}

/// `file` holds the recordings of case `name`, which is the model's folder too.
static void check_vision_of(const char *file, const char *name, DType dtype) {
    case_begin();
    ClipVision *clip = open_vision(name, dtype);
    Tensor *pixels = clip_preprocess(clip, recorded(file, name, "image"));
    // Resizing is a mean of four and normalisation one product, in FLOAT32; then the type's
    // rounding.
    recorded_expect(name, "pixels", pixels, recorded(file, name, "pixels"),
                    case_unit(dtype) + 8 * case_unit(FLOAT32));
    Tensor *features = clip_vision_features(clip, recorded(file, name, "pixels"));
    recorded_expect(name, "features", features, recorded(file, name, "features"),
                    bound(&clip->encoder, dtype));
    clip_vision_free(clip);
    case_end();
}

static void check_vision(const char *name, DType dtype) { check_vision_of("clip", name, dtype); }

/// `file` holds the recordings of case `name`, whose model is in `folder`.
static void check_text(const char *file, const char *name, const char *folder, DType dtype) {
    case_begin();
    ClipText *clip = open_text(folder, dtype);
    Tensor *ids = recorded(file, name, "ids");
    Tensor *hidden = clip_text_hidden(clip, case_host(ids), (int)ids->shape[0], (int)ids->shape[1]);
    recorded_expect(name, "hidden", hidden, recorded(file, name, "hidden"),
                    bound(&clip->encoder, dtype));
    recorded_expect(name, "empty", clip_text_empty_prompt(clip), recorded(file, name, "empty"),
                    bound(&clip->encoder, dtype));
    clip_text_free(clip);
    case_end();
}

static void vision_tower_equals_transformers(void **state) {
    (void)state;
    check_vision("clip_vision", FLOAT32);
    check_vision("clip_whole", FLOAT32);
    check_vision("clip_shards", FLOAT32);
}

static void vision_tower_in_bfloat16_is_within_its_rounding(void **state) {
    (void)state;
    check_vision("clip_vision", BFLOAT16);
    check_vision("clip_whole", BFLOAT16);
    check_vision("clip_shards", BFLOAT16);
}

static void openclips_form_and_openais_weights_equal_openclip(void **state) {
    (void)state;
    for (int type = FLOAT32; type <= BFLOAT16; type++) {
        check_vision_of("open_clip", "clip_open", (DType)type);
        check_vision_of("open_clip", "clip_openai", (DType)type);
    }
}

static void text_tower_equals_transformers(void **state) {
    (void)state;
    for (int type = FLOAT32; type <= BFLOAT16; type++) {
        check_text("clip", "clip_whole", "clip_whole", (DType)type);
        check_text("clip", "clip_sd", "clip_sd/text_encoder", (DType)type);
        check_text("clip_text", "clip_text", "clip_text", (DType)type);
    }
}

static void frozen_towers_leave_nothing_on_the_tape_and_no_memory(void **state) {
    (void)state;
    int64_t before = case_device()->bytes_in_use;
    case_begin();
    tape_begin();
    ClipVision *vision = open_vision("clip_vision", FLOAT32);
    ClipText *text = open_text("clip_sd/text_encoder", FLOAT32);
    clip_vision_features(vision, clip_preprocess(vision, recorded("clip", "clip_vision", "image")));
    clip_text_empty_prompt(text);
    assert_int_equal(tape_length(), 0);
    tape_end();
    clip_vision_free(vision);
    clip_text_free(text);
    case_end();
    assert_int_equal(case_device()->bytes_in_use, before);
}

static void a_directory_of_another_model_is_refused(void **state) {
    (void)state;
    Error error = {0};
    assert_null(clip_vision_load(recorded_path("vae_old"), case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "class_embedding"));
    assert_null(clip_text_load(recorded_path("clip_vision"), case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "clip_vision/config.json"));
    assert_non_null(strstr(error.message, "model_type"));
    assert_null(clip_text_load(recorded_path("nowhere"), case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "nowhere"));
}

static void the_published_configuration_is_understood(void **state) {
    (void)state;
    Error error = {0};
    if (!recorded_published_config("text_encoder")) skip();
    // All that is wrong with the folder is that the weights are another model's.
    assert_null(clip_text_load(temporary_folder, case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "embeddings.token_embedding.weight' is missing"));
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vision_tower_equals_transformers),
        cmocka_unit_test(vision_tower_in_bfloat16_is_within_its_rounding),
        cmocka_unit_test(openclips_form_and_openais_weights_equal_openclip),
        cmocka_unit_test(text_tower_equals_transformers),
        cmocka_unit_test(frozen_towers_leave_nothing_on_the_tape_and_no_memory),
        cmocka_unit_test(a_directory_of_another_model_is_refused),
        IN_FOLDER(the_published_configuration_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run_all); }
