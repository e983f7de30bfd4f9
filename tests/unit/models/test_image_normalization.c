// rooms: data models ops checkpoints autograd
/// Pictures on their way to visual tokens, normalised as DiffLMM's published code does it and by
/// 0.5, against CLIPImageProcessor, transformers and diffusers
/// (tests/parity/record_image_normalization.py).
#include "tests/unit/recorded_difflmm.h"

#include "data/images/preprocess.h"

/// Of the tokens' largest value. Independent roundings of 132 operations, each a sum of up to 288
/// products, come to 2 * 2^-24 * sqrt(288 * 132) = 2.3e-5 where every sum is the longest.
#define TOKENS_TOLERANCE 1e-5

static SafetensorsFile *recorded;

/// Recorded picture i in the square that the networks see.
static void prepare(int i, ImageAspect aspect, ImageNormalization normalization, float *out) {
    const StoredTensor *entry = recorded_find(recorded, "picture/%d", i);
    assert_non_null(entry);
    const Image picture = {(int)entry->shape[1], (int)entry->shape[0], (uint8_t *)entry->data};
    const ImageView view = {aspect, normalization, (int)default_options().image_size};
    ImageGeometry geometry;
    Error error = {0};
    if (!image_preprocess(&picture, &view, out, &geometry, &error)) fail_msg("%s", error.message);
}

static Tensor *images_of(ImageAspect aspect, ImageNormalization normalization) {
    const int64_t side = default_options().image_size, numel = side * side * 3;
    float *values = checked_malloc((size_t)(NUM_IMAGES * numel) * sizeof *values);
    for (int i = 0; i < NUM_IMAGES; i++) prepare(i, aspect, normalization, values + i * numel);
    Tensor *images = tensor_from_host(device, FLOAT32, SHAPE(NUM_IMAGES, side, side, 3), values);
    free(values);
    return images;
}

static Tensor *noise_of(const char *name) {
    const StoredTensor *entry = recorded_find(recorded, "noise.%s", name);
    assert_non_null(entry);
    return recorded_tensor(entry, device);
}

typedef struct Seen {
    FrozenFeatures features;
    Tensor *visual_tokens;
} Seen;

static Seen see(const Model *model, ImageAspect aspect, ImageNormalization normalization) {
    const DiffusionNoise noise = {.vae = noise_of("vae"), .diffusion = noise_of("diffusion")};
    Seen seen = {difflmm_frozen_features(model->difflmm, images_of(aspect, normalization)), NULL};
    seen.visual_tokens = difflmm_visual_tokens(model->difflmm, &seen.features, &noise, NULL);
    return seen;
}

static void expect_recorded(const char *name, const char *part, const Tensor *got,
                            double tolerance) {
    char what[64];
    snprintf(what, sizeof what, "%s/%s", name, part);
    double worst = assert_near_recorded(what, got, recorded_find(recorded, "%s", what), tolerance);
    print_message("%s off by %.1e\n", what, worst);
}

static void visual_tokens_equal_those_of_the_published_way_and_of_half(void **state) {
    (void)state;
    static const struct {
        const char *name;
        ImageNormalization normalization;
        ImageAspect aspect;
    } cases[] = {
        {"half/square", IMAGE_NORMALIZATION_HALF, IMAGE_CENTER_CROP},
        {"half/pad", IMAGE_NORMALIZATION_HALF, IMAGE_PAD},
        {"clip_twice/square", IMAGE_NORMALIZATION_CLIP_TWICE, IMAGE_CENTER_CROP},
        {"clip_twice/pad", IMAGE_NORMALIZATION_CLIP_TWICE, IMAGE_PAD},
    };
    const DiffLMMOptions options = default_options();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Model model = model_begin(&options);
        set_recorded_parameters(&model.parameters, golden, "stage1.before.");
        Seen seen = see(&model, cases[i].aspect, cases[i].normalization);
        expect_recorded(cases[i].name, "clip", seen.features.clip, forward_tolerance());
        expect_recorded(cases[i].name, "moments", seen.features.moments, forward_tolerance());
        expect_recorded(cases[i].name, "visual_tokens", seen.visual_tokens, TOKENS_TOLERANCE);
        model_end(&model);
    }
}

static int run_all(void) {
    device = case_device();
    golden = recorded_open(FOLDER "golden.safetensors");
    recorded = recorded_open(RECORDED_FOLDER "image_normalization.safetensors");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(visual_tokens_equal_those_of_the_published_way_and_of_half),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safetensors_close(recorded);
    safetensors_close(golden);
    return failed;
}

int main(void) { return case_run_devices(run_all); }
