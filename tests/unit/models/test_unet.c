// rooms: models ops checkpoints autograd
// The U-Net and its noise schedule against diffusers (tests/parity/record_vision.py), forward and
// backward.
#include "models/diffusion/noise_schedule.h"
#include "models/diffusion/unet.h"
#include "tests/unit/recorded.h"

/// Rounded values on the way: a residual block, a transformer layer, the projections around it.
enum { BLOCK_ROUNDINGS = 5, LAYER_ROUNDINGS = 14, PROJECTION_ROUNDINGS = 4 };

typedef struct UNetCase {
    const char *name;
    int block, timestep;
} UNetCase;

static const UNetCase cases[] = {{"unet_sd1", 1, 100}, {"unet_sd2", 0, 0}, {"unet_last", 1, 999}};
enum { CASES = sizeof cases / sizeof *cases };

static UNet *open_unet(const UNetCase *test, DType dtype) {
    Error error = {0};
    UNet *unet = unet_load(recorded_path(test->name), test->block, case_device(), dtype, &error);
    if (!unet) fail_msg("%s", error.message);
    unet_set_timestep(unet, test->timestep);
    return unet;
}

static double block_roundings(const UNetBlock *block) {
    double roundings = block->resample.weight ? 1 : 0;
    for (int i = 0; i < block->num_layers; i++) {
        const SpatialTransformer *attention = block->layers[i].attention;
        roundings += BLOCK_ROUNDINGS;
        if (attention) roundings += PROJECTION_ROUNDINGS + LAYER_ROUNDINGS * attention->num_layers;
    }
    return roundings;
}

static double bound(const UNet *unet, DType dtype) {
    double roundings = 4 + block_roundings(&unet->mid);
    for (int i = 0; i < UNET_MAX_LEVELS; i++)
        roundings += block_roundings(&unet->down[i]) + block_roundings(&unet->up[i]);
    int widest = unet->config.block_out_channels[unet->config.num_levels - 1];
    return recorded_bound(dtype, roundings, 9 * 2 * widest);
}

static void check(const UNetCase *test, DType dtype) {
    case_begin();
    const char *name = test->name;
    UNet *unet = open_unet(test, dtype);
    Tensor *latents = recorded("unet", name, "latents"),
           *context = recorded("unet", name, "context");
    Tensor *want = recorded("unet", name, "feature");
    require_grad(latents);
    require_grad(context);
    tape_begin();
    Tensor *feature = unet_features(unet, latents, context);
    recorded_expect(name, "feature", feature, want, bound(unet, dtype));
    backward(feature, convert(recorded("unet", name, "direction"), dtype), NULL);
    tape_end();
    assert_int_equal(feature->shape[3], unet_feature_channels(unet));
    assert_int_equal(feature->shape[1], unet_feature_size(unet, (int)latents->shape[1]));
    assert_int_equal(feature->shape[2], unet_feature_size(unet, (int)latents->shape[2]));
    // A gradient depends on the way forward and the way back, and the backward of norms and of
    // softmax subtracts projections from it, which costs about a bit.
    double gradient_bound = 2 * sqrt(2) * bound(unet, dtype);
    Tensor *context_grad = reshape(grad(context), context->rank, context->shape);
    recorded_expect(name, "context_grad", context_grad, recorded("unet", name, "context_grad"),
                    gradient_bound);
    recorded_expect(name, "latents_grad", grad(latents), recorded("unet", name, "latents_grad"),
                    gradient_bound);
    unet_free(unet);
    case_end();
}

static void feature_and_gradients_equal_diffusers(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) check(&cases[i], FLOAT32);
}

static void feature_and_gradients_in_bfloat16_are_within_its_rounding(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) check(&cases[i], BFLOAT16);
}

static int recorded_nodes(const UNet *unet, const UNetCase *test, bool train_context) {
    case_begin();
    Tensor *context = recorded("unet", test->name, "context");
    if (train_context) require_grad(context);
    tape_begin();
    unet_features(unet, recorded("unet", test->name, "latents"), context);
    int nodes = tape_length();
    tape_end();
    case_end();
    return nodes;
}

static void only_what_follows_a_trained_context_is_on_the_tape(void **state) {
    (void)state;
    int64_t before = case_device()->bytes_in_use;
    const UNetCase *test = &cases[0];
    UNet *unet = open_unet(test, FLOAT32);
    assert_int_equal(recorded_nodes(unet, test, false), 0);
    int trained = recorded_nodes(unet, test, true);
    assert_true(trained > 0);
    // Everything before the first cross-attention: conv_in, a residual block (six ops), and of the
    // transformer norm, proj_in and self-attention with its norm and sum (nine), the norm and query
    // of the cross-attention.
    case_begin();
    Tensor *latents = recorded("unet", test->name, "latents");
    Tensor *context = recorded("unet", test->name, "context");
    require_grad(latents);
    require_grad(context);
    tape_begin();
    unet_features(unet, latents, context);
    assert_true(tape_length() >= trained + 17);
    tape_end();
    case_end();
    unet_free(unet);
    assert_int_equal(case_device()->bytes_in_use, before);
}

// ---- configurations that are not supported

/// Writes unet_sd1's config.json with `key` set (in place of its value, or in addition) into the
/// temporary folder, with its weights.
static void changed_configuration(const char *key, const char *value) {
    FILE *from = fopen(recorded_path("unet_sd1/config.json"), "rb");
    assert_non_null(from);
    char text[8192], quoted[128];
    text[fread(text, 1, sizeof text - 1, from)] = '\0';
    fclose(from);
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    char *line = strstr(text, quoted);
    FILE *to = fopen(in_folder("config.json"), "wb");
    assert_non_null(to);
    fprintf(to, "{\n %s %s,\n", quoted, value);
    // The keys stand one a line, sorted; a value that is a list goes to its closing bracket.
    char *rest = text + 1;
    if (line) {
        fwrite(rest, 1, (size_t)(line - rest), to);
        char *end = strchr(line, '\n');
        if (end[-1] == '[') end = strchr(strchr(line, ']'), '\n');
        rest = end;
    }
    fputs(rest, to);
    fclose(to);
    const char *weights = in_folder("diffusion_pytorch_model.safetensors");
    unlink(weights);
    assert_int_equal(
        symlink(recorded_path("unet_sd1/diffusion_pytorch_model.safetensors"), weights), 0);
}

/// Loading unet_sd1 with the changed key fails with a message that has both texts in it.
static void expect_message(const char *key, const char *value, const char *first,
                           const char *second) {
    Error error = {0};
    changed_configuration(key, value);
    UNet *unet = unet_load(temporary_folder, 1, case_device(), FLOAT32, &error);
    if (unet) fail_msg("%s: %s was taken", key, value);
    if (!strstr(error.message, first) || !strstr(error.message, second))
        fail_msg("%s: %s gives the message: %s", key, value, error.message);
}

static void expect_refusal(const char *key, const char *value, const char *expected) {
    expect_message(key, value, key, expected);
}

static void what_is_not_supported_is_refused_by_key_and_value(void **state) {
    (void)state;
    expect_refusal("class_embed_type", "\"timestep\"", "timestep");
    expect_refusal("addition_embed_type", "\"text_time\"", "expected null");
    expect_refusal("dual_cross_attention", "true", "expected false");
    expect_refusal("act_fn", "\"gelu\"", "expected silu");
    expect_refusal("mid_block_type", "\"UNetMidBlock2D\"", "UNetMidBlock2DCrossAttn");
    expect_refusal("up_block_types", "[\"UpBlock2D\", \"AttnUpBlock2D\", \"UpBlock2D\"]",
                   "CrossAttnUpBlock2D");
    expect_refusal("down_block_types", "[\"DownBlock2D\"]", "one for each");
    expect_refusal("attention_head_dim", "3", "divisors");
    expect_refusal("attention_head_dim", "0", "integers from 1");
    expect_refusal("norm_num_groups", "5", "does not divide");
    expect_refusal("layers_per_block", "\"two\"", "integers");
    expect_refusal("freq_shift", "4", "less than half");
}

static void a_configuration_that_the_weights_do_not_fit_is_refused_by_tensor(void **state) {
    (void)state;
    expect_message("cross_attention_dim", "24", "attn2.to_k.weight", "[8, 12]");
    expect_message("block_out_channels", "[8, 16, 32]", "down_blocks.2.resnets.0.conv1.weight",
                   "[32, 16, 3, 3]");
}

static void weights_beyond_the_feature_block_are_not_read(void **state) {
    (void)state;
    Error error = {0};
    // The recorded directory ends with up block 1.
    assert_null(unet_load(recorded_path("unet_sd1"), 2, case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "up_blocks.2"));
    assert_null(unet_load(recorded_path("unet_sd1"), 3, case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "up blocks 0 to 2"));
}

// ---- noise schedule

static void check_schedule(const char *name) {
    Error error = {0};
    NoiseSchedule *schedule = noise_schedule_load(recorded_path(name), &error);
    if (!schedule) fail_msg("%s", error.message);
    case_begin();
    Tensor *want = recorded("unet", name, "alphas_cumprod");
    assert_int_equal(schedule->num_train_timesteps, want->shape[0]);
    const double *values = case_doubles(want);
    // diffusers multiplies in float32: as many roundings as timesteps.
    double allowed = 4 * case_unit(FLOAT32) * sqrt((double)want->shape[0]);
    for (int t = 0; t < schedule->num_train_timesteps; t++)
        assert_true(fabs(schedule->alphas_cumprod[t] - values[t]) <= allowed);
    Tensor *noised =
        q_sample(schedule, recorded("unet", name, "z"), recorded("unet", name, "noise"), 40);
    recorded_expect(name, "noised", noised, recorded("unet", name, "noised"), allowed);
    case_end();
    noise_schedule_free(schedule);
}

static void noise_schedules_equal_diffusers(void **state) {
    (void)state;
    check_schedule("schedule_scaled_linear");
    check_schedule("schedule_linear");
}

static void the_published_configuration_is_understood(void **state) {
    (void)state;
    Error error = {0};
    if (!recorded_published_config("unet")) skip();
    // All that is wrong with the folder is that the weights are another model's.
    assert_null(unet_load(temporary_folder, 1, case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "tensors are missing: conv_in.weight, "));
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(feature_and_gradients_equal_diffusers),
        cmocka_unit_test(feature_and_gradients_in_bfloat16_are_within_its_rounding),
        cmocka_unit_test(only_what_follows_a_trained_context_is_on_the_tape),
        IN_FOLDER(what_is_not_supported_is_refused_by_key_and_value),
        IN_FOLDER(a_configuration_that_the_weights_do_not_fit_is_refused_by_tensor),
        cmocka_unit_test(weights_beyond_the_feature_block_are_not_read),
        cmocka_unit_test(noise_schedules_equal_diffusers),
        IN_FOLDER(the_published_configuration_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run_all); }
