// rooms: models ops checkpoints autograd
// The VAE's encoder against diffusers (tests/parity/record_vision.py).
#include "models/diffusion/vae.h"
#include "tests/unit/recorded.h"

/// Rounded values on the way: five in a residual block, six in the attention.
enum { BLOCK_ROUNDINGS = 5, ATTENTION_ROUNDINGS = 6 };

static VaeEncoder *open_vae(const char *name, DType dtype) {
    Error error = {0};
    VaeEncoder *vae = vae_encoder_load(recorded_path(name), case_device(), dtype, &error);
    if (!vae) fail_msg("%s", error.message);
    return vae;
}

static void check(const char *name, DType dtype) {
    case_begin();
    VaeEncoder *vae = open_vae(name, dtype);
    Tensor *image = recorded("vae", name, "image");
    Tensor *moments = vae_encode(vae, image);
    int blocks = vae->num_levels * vae->layers_per_block + 2;
    double roundings = BLOCK_ROUNDINGS * blocks + vae->num_levels + ATTENTION_ROUNDINGS + 4;
    double terms = 9 * vae->block_out_channels[vae->num_levels - 1];
    recorded_expect(name, "moments", moments, recorded("vae", name, "moments"),
                    recorded_bound(dtype, roundings, terms));
    assert_int_equal(moments->shape[1], vae_latent_size(vae, (int)image->shape[1]));
    assert_int_equal(moments->shape[2], vae_latent_size(vae, (int)image->shape[2]));
    vae_encoder_free(vae);
    case_end();
}

static void encoder_equals_diffusers(void **state) {
    (void)state;
    check("vae_old", FLOAT32);
    check("vae_odd", FLOAT32);
    check("vae_shards", FLOAT32);
}

static void encoder_in_bfloat16_is_within_its_rounding(void **state) {
    (void)state;
    check("vae_old", BFLOAT16);
    check("vae_odd", BFLOAT16);
    check("vae_shards", BFLOAT16);
}

static void the_scaling_factor_is_the_configurations_or_stable_diffusions(void **state) {
    (void)state;
    VaeEncoder *old = open_vae("vae_old", FLOAT32), *odd = open_vae("vae_odd", FLOAT32);
    assert_float_equal(old->scaling_factor, 0.18215, 1e-8);
    assert_float_equal(odd->scaling_factor, 0.5, 0);
    vae_encoder_free(old);
    vae_encoder_free(odd);
}

static void the_frozen_encoder_leaves_nothing_on_the_tape_and_no_memory(void **state) {
    (void)state;
    int64_t before = case_device()->bytes_in_use;
    case_begin();
    tape_begin();
    VaeEncoder *vae = open_vae("vae_old", FLOAT32);
    vae_encode(vae, recorded("vae", "vae_old", "image"));
    assert_int_equal(tape_length(), 0);
    tape_end();
    vae_encoder_free(vae);
    case_end();
    assert_int_equal(case_device()->bytes_in_use, before);
}

static void a_directory_of_another_model_is_refused(void **state) {
    (void)state;
    Error error = {0};
    assert_null(vae_encoder_load(recorded_path("unet_sd1"), case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "unet_sd1/config.json"));
    assert_non_null(strstr(error.message, "down_block_types"));
    assert_non_null(strstr(error.message, "DownEncoderBlock2D"));
}

static void the_published_configuration_is_understood(void **state) {
    (void)state;
    Error error = {0};
    if (!recorded_published_config("vae")) skip();
    // All that is wrong with the folder is that the weights are another model's.
    assert_null(vae_encoder_load(temporary_folder, case_device(), FLOAT32, &error));
    assert_non_null(strstr(error.message, "tensors are missing: encoder.conv_in.weight, "));
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoder_equals_diffusers),
        cmocka_unit_test(encoder_in_bfloat16_is_within_its_rounding),
        cmocka_unit_test(the_scaling_factor_is_the_configurations_or_stable_diffusions),
        cmocka_unit_test(the_frozen_encoder_leaves_nothing_on_the_tape_and_no_memory),
        cmocka_unit_test(a_directory_of_another_model_is_refused),
        IN_FOLDER(the_published_configuration_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run_all); }
