// rooms: models ops checkpoints data autograd
// Segment Anything against segment-anything and transformers (tests/parity/record_sam.py).
#include "data/images/preprocess.h"
#include "models/block_output.h"
#include "models/sam/sam.h"
#include "tests/unit/recorded.h"

static const char *const models[] = {"sam_original", "sam_transformers"};

/// The prompts of record_sam.py.
typedef struct RecordedPrompt {
    const char *name;
    int num_points;
    float points[3][2];
    int labels[3];
    float box[4];
    bool has_box, has_mask, multimask;
} RecordedPrompt;

static const RecordedPrompt prompts[] = {
    {.name = "point",
     .num_points = 1,
     .points = {{31.25f, 20.5f}},
     .labels = {1},
     .multimask = true},
    {.name = "points_box",
     .num_points = 3,
     .points = {{10, 33}, {25, 12.75f}, {3, 2}},
     .labels = {1, 0, -1},
     .box = {4, 6.5f, 30, 44},
     .has_box = true},
    {.name = "box", .box = {2, 3, 33, 50}, .has_box = true, .multimask = true},
    {.name = "mask",
     .num_points = 2,
     .points = {{12, 40}, {20, 8}},
     .labels = {0, 1},
     .has_mask = true,
     .multimask = true},
    {.name = "mask_box", .box = {1.5f, 2.5f, 28, 31}, .has_box = true, .has_mask = true},
};
enum { PROMPTS = sizeof prompts / sizeof *prompts };

static Sam *open_sam(const char *name, DType dtype) {
    Error error = {0};
    block_output_listen(NULL, NULL); // a test that failed may have left its own
    bool is_file =
        !strcmp(name, "sam_original"); // segment-anything publishes a file, transformers a folder
    const char *path = recorded_path(is_file ? "sam_original/model.pth" : name);
    Sam *sam = sam_load(path, case_device(), dtype, &error);
    if (!sam) fail_msg("%s", error.message);
    return sam;
}

static Image read_image(const char *name, const char *file) {
    char path[256];
    Error error = {0};
    Image image;
    snprintf(path, sizeof path, "%s/%s", name, file);
    if (!image_read(recorded_path(path), &image, &error)) fail_msg("%s", error.message);
    return image;
}

static SamImage *encode(const Sam *sam, const char *name) {
    Error error = {0};
    Image image = read_image(name, "image.png"), resized;
    assert_true(image_resize_longest_side(&image, sam->config.image_size, &resized, &error));
    SamImage *encoded = sam_encode(sam, resized.pixels, sam_frame(sam, image.width, image.height));
    image_free(&image);
    image_free(&resized);
    return encoded;
}

/// Bound on the relative error of what was recorded as `key`. record_sam.py measured how large its
/// error is when the output of every module is rounded, by relative errors uniform within a unit.
/// Here about twice as many values are rounded (sums and attention too), which is a factor of
/// sqrt(2) at most; rounding to nearest errs by half a unit at most; and three times the standard
/// deviation is allowed.
static double bound_of(const char *name, const Sam *sam, const char *key) {
    char noise[128];
    snprintf(noise, sizeof noise, "%s.noise", key);
    return 3 * tensor_item(recorded("sam", name, noise)) *
           recorded_bound(sam->dtype, 1, sam->config.mlp_dim);
}

/// What listens while a model runs.
typedef struct Listening {
    const char *name;
    const Sam *sam;
    int heard;
} Listening;

static void compare_block(const char *block, const Tensor *x, void *context) {
    Listening *listening = context;
    recorded_expect(listening->name, block, x, recorded("sam", listening->name, block),
                    bound_of(listening->name, listening->sam, block));
    listening->heard++;
}

// ---- parity

static void check_blocks(const char *name, DType dtype) {
    case_begin();
    Sam *sam = open_sam(name, dtype);
    Listening listening = {name, sam, 0};
    block_output_listen(compare_block, &listening);
    SamImage *image = encode(sam, name);
    recorded_expect(name, "embedding", image->embedding, recorded("sam", name, "embedding"),
                    bound_of(name, sam, "embedding"));
    const RecordedPrompt *point = &prompts[0];
    SamMasks masks = sam_predict(
        sam, image, &(SamPrompt){.num_points = 1, .points = point->points, .labels = point->labels},
        true);
    block_output_listen(NULL, NULL);
    assert_int_equal(listening.heard, sam->config.num_layers + 2 * sam->config.decoder_layers);
    sam_masks_free(&masks);
    sam_image_free(image);
    sam_free(sam);
    case_end();
}

static void every_block_equals_the_reference(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) check_blocks(models[i], FLOAT32);
}

static void every_block_in_bfloat16_is_within_its_rounding(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) check_blocks(models[i], BFLOAT16);
}

/// Host floats beside a recording.
static void expect_floats(const char *name, const Sam *sam, const char *prompt, const char *part,
                          const float *got) {
    char key[64];
    snprintf(key, sizeof key, "%s/%s", prompt, part);
    Tensor *want = recorded("sam", name, key);
    Tensor *x = tensor_from_host(case_device(), FLOAT32, want->rank, want->shape, got);
    printf("# a model in %s: ", dtype_name(sam->dtype));
    recorded_expect(name, key, x, want, bound_of(name, sam, key));
}

static SamMasks run_prompt(const Sam *sam, const SamImage *image, const RecordedPrompt *p,
                           const float *mask_input) {
    SamPrompt prompt = {.num_points = p->num_points,
                        .points = p->points,
                        .labels = p->labels,
                        .box = p->has_box ? p->box : NULL,
                        .mask_input = p->has_mask ? mask_input : NULL};
    return sam_predict(sam, image, &prompt, p->multimask);
}

static void check_prompts(const char *name, DType dtype) {
    case_begin();
    Sam *sam = open_sam(name, dtype);
    SamImage *image = encode(sam, name);
    const float *mask_input = case_host(recorded("sam", name, "mask_input"));
    for (int i = 0; i < PROMPTS; i++) {
        const RecordedPrompt *p = &prompts[i];
        SamMasks masks = run_prompt(sam, image, p, mask_input);
        assert_int_equal(masks.count, p->multimask ? sam->config.num_masks - 1 : 1);
        expect_floats(name, sam, p->name, "logits", masks.logits);
        expect_floats(name, sam, p->name, "iou", masks.iou);
        sam_masks_free(&masks);
    }
    sam_image_free(image);
    sam_free(sam);
    case_end();
}

static void every_kind_of_prompt_gives_the_references_logits_and_quality(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) check_prompts(models[i], FLOAT32);
}

static void prompts_in_bfloat16_are_within_their_rounding(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) check_prompts(models[i], BFLOAT16);
}

/// Logits, once at the picture's size, are means of logits: the same relative error. A mask may
/// differ from the reference's where that is no farther from zero.
static void masks_are_those_of_the_reference_at_the_pictures_size(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        case_begin();
        Sam *sam = open_sam(models[i], FLOAT32);
        SamImage *image = encode(sam, models[i]);
        SamMasks masks = run_prompt(sam, image, &prompts[0], NULL);
        Tensor *want = recorded("sam", models[i], "point/upscaled");
        assert_int_equal(masks.height, want->shape[0]);
        assert_int_equal(masks.width, want->shape[1]);
        int64_t pixels = tensor_numel(want), last = masks.count - 1, inside = 0;
        float *upscaled = case_memory(pixels, sizeof *upscaled);
        sam_upscale_logits(masks.logits + last * masks.side * masks.side, masks.side,
                           sam->config.image_size, image->frame, upscaled);
        double bound = bound_of(models[i], sam, "point/upscaled");
        expect_floats(models[i], sam, "point", "upscaled", upscaled);
        const double *logits = case_doubles(want);
        double size = 0;
        for (int64_t j = 0; j < pixels; j++) size += logits[j] * logits[j];
        for (int64_t j = 0; j < pixels; j++) {
            inside += masks.masks[last * pixels + j];
            if (fabs(logits[j]) > bound * sqrt(size))
                assert_int_equal(masks.masks[last * pixels + j], logits[j] > 0);
        }
        assert_in_range(inside, 1, pixels - 1);
        sam_masks_free(&masks);
        sam_image_free(image);
        sam_free(sam);
        case_end();
    }
}

// ---- pictures

static void pictures_are_resized_as_the_reference_resizes_them(void **state) {
    (void)state;
    const int sizes[] = {48, 40};
    for (int i = 0; i < 2; i++) {
        Error error = {0};
        Image image = read_image(models[i], "image.png"), resized;
        Image want = read_image(models[i], "resized.png");
        assert_true(image_resize_longest_side(&image, sizes[i], &resized, &error));
        assert_int_equal(resized.width, want.width);
        assert_int_equal(resized.height, want.height);
        assert_memory_equal(resized.pixels, want.pixels,
                            3 * (size_t)want.width * (size_t)want.height);
        image_free(&image);
        image_free(&resized);
        image_free(&want);
    }
}

static void a_picture_that_is_nothing_but_long_is_refused(void **state) {
    (void)state;
    Error error = {0};
    Image thin = image_new(3000, 1), resized;
    memset(thin.pixels, 0, 9000);
    assert_false(image_resize_longest_side(&thin, 1024, &resized, &error));
    assert_non_null(strstr(error.message, "3000 x 1"));
    image_free(&thin);
}

// ---- promises

static void one_embedding_serves_prompts_in_any_order(void **state) {
    (void)state;
    case_begin();
    Sam *sam = open_sam(models[0], FLOAT32);
    SamImage *image = encode(sam, models[0]);
    SamMasks first = run_prompt(sam, image, &prompts[0], NULL);
    SamMasks other = run_prompt(sam, image, &prompts[1], NULL);
    SamMasks again = run_prompt(sam, image, &prompts[0], NULL);
    size_t bytes = (size_t)(first.count * first.side * first.side) * sizeof(float);
    assert_memory_equal(first.logits, again.logits, bytes);
    assert_memory_not_equal(first.logits, other.logits, (size_t)(first.side * first.side) * 4);
    sam_masks_free(&first);
    sam_masks_free(&other);
    sam_masks_free(&again);
    sam_image_free(image);
    sam_free(sam);
    case_end();
}

static void the_frozen_model_leaves_nothing_on_the_tape_and_no_memory(void **state) {
    (void)state;
    int64_t before = case_device()->bytes_in_use;
    case_begin();
    tape_begin();
    Sam *sam = open_sam(models[0], FLOAT32);
    SamImage *image = encode(sam, models[0]);
    SamMasks masks = run_prompt(sam, image, &prompts[2], NULL);
    assert_int_equal(tape_length(), 0);
    tape_end();
    sam_masks_free(&masks);
    sam_image_free(image);
    sam_free(sam);
    case_end();
    assert_int_equal(case_device()->bytes_in_use, before);
}

// ---- files

static void sizes_are_read_from_shapes_or_from_the_configuration(void **state) {
    (void)state;
    Sam *original = open_sam(models[0], FLOAT32), *other = open_sam(models[1], FLOAT32);
    assert_true(original->config.original_names && !other->config.original_names);
    assert_int_equal(original->config.image_size, 48);
    assert_int_equal(original->config.num_heads, 2);
    assert_int_equal(original->config.window_size, 5);
    assert_true(original->config.is_global[1] && !original->config.is_global[0]);
    assert_int_equal(original->config.attention_downsample_rate, 2);
    assert_int_equal(other->config.num_masks, 3);
    assert_int_equal(other->config.iou_head_depth, 4);
    assert_float_equal(other->config.decoder_norm_eps, 1e-2, 1e-8);
    sam_free(original);
    sam_free(other);
}

static void a_directory_of_another_model_is_refused(void **state) {
    (void)state;
    Error error = {0};
    assert_null(sam_load(recorded_path("clip_vision"), case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "clip_vision/config.json"));
    assert_non_null(strstr(error.message, "model_type"));
    assert_null(sam_load(recorded_path("vae_old"), case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "model_type"));
    const char *file = recorded_path("clip_vision/model.safetensors");
    assert_null(sam_load(file, case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "clip_vision/model.safetensors"));
    assert_non_null(strstr(error.message, "neither segment-anything's tensors"));
}

/// Writes the transformers folder's configuration with `from` replaced by `to` beside its weights.
static void with_configuration(const char *from, const char *to, const char *expected) {
    Error error = {0};
    char text[8192];
    FILE *file = fopen(recorded_path("sam_transformers/config.json"), "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    char *at = strstr(text, from);
    if (!at) fail_msg("the configuration has no %s", from);
    file = fopen(in_folder("config.json"), "w");
    fprintf(file, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    fclose(file);
    assert_null(sam_load(temporary_folder, case_device(), FLOAT32, &error));
    if (!strstr(error.message, expected))
        fail_msg("%s for %s: '%s' does not say %s", to, from, error.message, expected);
}

static void what_is_not_supported_is_refused_by_name(void **state) {
    (void)state;
    assert_int_equal(symlink(recorded_path("sam_transformers/model.safetensors"),
                             in_folder("model.safetensors")),
                     0);
    with_configuration("\"use_rel_pos\": true", "\"use_rel_pos\": false", "use_rel_pos");
    with_configuration("\"qkv_bias\": true", "\"qkv_bias\": false", "qkv_bias");
    with_configuration("\"num_attention_heads\": 2", "\"num_attention_heads\": 7", "heads");
    with_configuration("\"image_size\": 40", "\"image_size\": 44", "image_size");
    with_configuration("\"num_multimask_outputs\": 2", "\"num_multimask_outputs\": 3",
                       "mask_decoder.mask_tokens.weight");
    with_configuration("\"mlp_dim\": 28", "\"mlp_dim\": -1", "mlp_dim");
}

static void the_published_configuration_is_understood(void **state) {
    (void)state;
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    char config[1024];
    snprintf(config, sizeof config, "%s/public/configs/sam-vit-huge.json",
             shared ? shared : SOURCE_DIR "/../shared/data");
    if (access(config, R_OK) != 0) {
        printf("# %s is not there: skipped\n", config);
        skip();
    }
    Error error = {0};
    assert_int_equal(symlink(config, in_folder("config.json")), 0);
    assert_int_equal(symlink(recorded_path("sam_transformers/model.safetensors"),
                             in_folder("model.safetensors")),
                     0);
    // All that is wrong with the folder is that the weights are a smaller model's.
    assert_null(sam_load(temporary_folder, case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "vision_encoder.pos_embed"));
    assert_non_null(strstr(error.message, "1280"));
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_equals_the_reference),
        cmocka_unit_test(every_block_in_bfloat16_is_within_its_rounding),
        cmocka_unit_test(every_kind_of_prompt_gives_the_references_logits_and_quality),
        cmocka_unit_test(prompts_in_bfloat16_are_within_their_rounding),
        cmocka_unit_test(masks_are_those_of_the_reference_at_the_pictures_size),
        cmocka_unit_test(pictures_are_resized_as_the_reference_resizes_them),
        cmocka_unit_test(a_picture_that_is_nothing_but_long_is_refused),
        cmocka_unit_test(one_embedding_serves_prompts_in_any_order),
        cmocka_unit_test(the_frozen_model_leaves_nothing_on_the_tape_and_no_memory),
        cmocka_unit_test(sizes_are_read_from_shapes_or_from_the_configuration),
        cmocka_unit_test(a_directory_of_another_model_is_refused),
        IN_FOLDER(what_is_not_supported_is_refused_by_name),
        IN_FOLDER(the_published_configuration_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
