// rooms: models ops checkpoints autograd
/// What DiffLMM promises by itself: which parameters a batch reaches, what noise is drawn, how
/// parameters begin, that BFLOAT16 trains like FLOAT32, and what is refused.
#include "tests/unit/recorded_difflmm.h"

#include "models/block_output.h"

static void text_alone_gives_adapters_no_gradient(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    for (int stage = 1; stage <= 2; stage++) {
        options.lora = stage == 2 ? &recorded_lora : NULL;
        options.recompute = 1;
        Model model = model_begin(&options);
        tape_begin();
        DiffLMMBatch batch = {.samples = &samples[1], .num_samples = 1, .train = true};
        DiffLMMLoss loss = difflmm_loss(model.difflmm, &batch, NULL);
        assert_int_equal(loss.num_supervised, 5);
        assert_int_equal(requires_grad(loss.sum), stage == 2);
        if (stage == 2) backward(loss.sum, NULL, NULL);
        tape_end();
        for (int i = 0; i < model.parameters.count; i++) {
            const Parameter *parameter = &model.parameters.items[i];
            if (parameter->group == GROUP_ADAPTERS) assert_null(grad(parameter->value));
            if (stage == 2 && parameter->group == GROUP_LORA)
                assert_non_null(grad(parameter->value));
        }
        model_end(&model);
    }
}

static void a_batch_without_supervised_tokens_has_logits_and_no_loss(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    Model model = model_begin(&options);
    const TokenSample prompt = {ids_text, NULL, 9, -1, 0};
    DiffLMMLoss loss =
        difflmm_loss(model.difflmm, &(DiffLMMBatch){.samples = &prompt, .num_samples = 1}, NULL);
    assert_null(loss.sum);
    assert_int_equal(loss.num_supervised, 0);
    Intermediates between = {0};
    loss = difflmm_loss(model.difflmm, &(DiffLMMBatch){.samples = &prompt, .num_samples = 1},
                        &between);
    assert_null(loss.sum);
    assert_int_equal(tensor_rows(between.logits), 9);
    model_end(&model);
}

/// Every parameter's gradient, one behind the other; the caller frees it.
static float *all_gradients(const ParameterSet *parameters) {
    float *all = checked_malloc((size_t)parameters_count_elements(parameters) * sizeof *all);
    float *at = all;
    for (int i = 0; i < parameters->count; i++) {
        tensor_to_host_float(grad(parameters->items[i].value), at);
        at += tensor_numel(parameters->items[i].value);
    }
    return all;
}

/// The last layer of a loss alone is computed for the ends of the sequences. Sums over rows are in
/// another order then.
static void a_loss_alone_has_the_gradients_of_the_whole_pass(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    LoraOptions lora = recorded_lora;
    lora.dropout = 0.25f;
    options.lora = &lora;
    for (int recompute = 0; recompute <= 1; recompute++) {
        options.recompute = recompute;
        Model model = model_begin(&options);
        set_recorded_parameters(&model.parameters, golden, "stage2.before.");
        FrozenFeatures features = difflmm_frozen_features(model.difflmm, recorded_images());
        DiffusionNoise noise = {.vae = recorded_noise("vae", 1),
                                .diffusion = recorded_noise("diffusion", 1)};
        DiffLMMBatch batch = {samples, 3, &features, &noise, .train = true};
        Intermediates between = {0};
        float *gradients[2], losses[2];
        for (int whole = 0; whole < 2; whole++) {
            parameters_clear_grad(&model.parameters);
            tape_begin();
            DiffLMMLoss loss = difflmm_loss(model.difflmm, &batch, whole ? &between : NULL);
            losses[whole] = tensor_item(loss.sum);
            backward(loss.sum, NULL, NULL);
            tape_end();
            gradients[whole] = all_gradients(&model.parameters);
        }
        double difference = 0, squares = 0;
        for (int64_t i = 0; i < parameters_count_elements(&model.parameters); i++) {
            difference += pow((double)gradients[0][i] - (double)gradients[1][i], 2);
            squares += pow(gradients[1][i], 2);
        }
        assert_true(squares > 0);
        // A few dozen roundings one after another, in float32.
        assert_true(fabsf(losses[0] - losses[1]) <= 16 * 0x1p-24f * losses[1]);
        assert_true(sqrt(difference / squares) <= 64 * 0x1p-24);
        free(gradients[0]);
        free(gradients[1]);
        model_end(&model);
    }
}

static void recompute_changes_no_gradient(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.lora = &recorded_lora;
    float *expected = NULL;
    for (int every = 0; every <= 2; every++) {
        options.recompute = every;
        Model model = model_begin(&options);
        set_recorded_parameters(&model.parameters, golden, "stage2.before.");
        Pass pass = recorded_pass(&model);
        backward(pass.loss.sum, NULL, NULL);
        tape_end();
        float *got = all_gradients(&model.parameters);
        if (expected)
            assert_memory_equal(got, expected,
                                (size_t)parameters_count_elements(&model.parameters) * sizeof *got);
        if (expected) free(got);
        expected = expected ? expected : got;
        model_end(&model);
    }
    free(expected);
}

/// Visual tokens of one image by drawn noise.
static void draw(const Model *model, const FrozenFeatures *features, const uint64_t *passes,
                 float *out) {
    DiffusionNoise noise = {.passes = passes};
    tensor_to_host_float(difflmm_visual_tokens(model->difflmm, features, &noise, NULL), out);
}

static void drawn_noise_depends_on_the_pass_and_not_on_the_batch(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.ensemble_size = 2;
    Model model = model_begin(&options);
    FrozenFeatures both = difflmm_frozen_features(model.difflmm, recorded_images());
    int32_t second[] = {1};
    Tensor *index = tensor_from_host(device, INT32, SHAPE(1), second);
    int64_t clip = tensor_numel(both.clip) / 2, moments = tensor_numel(both.moments) / 2;
    FrozenFeatures alone = {
        reshape(gather_rows(reshape(both.clip, SHAPE(2, clip)), index), SHAPE(1, NUM_TOKENS, 28)),
        reshape(gather_rows(reshape(both.moments, SHAPE(2, moments)), index), SHAPE(1, 8, 8, 8))};
    enum { NUMEL = NUM_TOKENS * 32 };
    float together[2 * NUMEL], single[NUMEL], again[NUMEL], other[NUMEL];
    draw(&model, &both, (uint64_t[]){7, 8}, together);
    draw(&model, &alone, (uint64_t[]){8}, single);
    draw(&model, &alone, (uint64_t[]){8}, again);
    draw(&model, &alone, (uint64_t[]){9}, other);
    assert_memory_equal(single, again, sizeof single);
    assert_floats_near("image alone", single, together + NUMEL, NUMEL, forward_tolerance());
    double distance = 0.0;
    for (int i = 0; i < NUMEL; i++) distance = fmax(distance, fabs(single[i] - other[i]));
    assert_true(distance > 1e-3);
    model_end(&model);
}

/// Signs of life of a pass, and blocks of networks between which there was none.
typedef struct Signs {
    int all, since_block, blocks, silent_blocks;
    const Tensor *last; // a block's output may be that of its last layer
} Signs;

static void note_op(void *context) {
    Signs *signs = context;
    signs->all++;
    signs->since_block++;
}

static void note_block(const char *name, const Tensor *x, void *context) {
    (void)name;
    Signs *signs = context;
    signs->blocks++;
    signs->silent_blocks += signs->since_block == 0 && x != signs->last;
    signs->last = x;
    signs->since_block = 0;
}

static void every_layer_forward_and_backward_is_a_sign_of_life(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.lora = &recorded_lora;
    int layers, backward_signs[2], forward_signs[2];
    for (options.recompute = 0; options.recompute <= 1; options.recompute++) {
        Model model = model_begin(&options);
        layers = model.difflmm->llama->config.num_hidden_layers;
        Signs forward = {0}, walk = {0};
        block_output_listen(note_block, &forward);
        tape_on_op(note_op, &forward);
        Pass pass = recorded_pass(&model); // CLIP, VAE, U-Net and the language model
        block_output_listen(NULL, NULL);
        tape_on_op(note_op, &walk);
        backward(pass.loss.sum, NULL, NULL);
        tape_on_op(NULL, NULL);
        tape_end();
        assert_true(forward.blocks > 3 * layers);
        assert_int_equal(forward.silent_blocks, 0);
        forward_signs[options.recompute] = forward.all;
        backward_signs[options.recompute] = walk.all;
        model_end(&model);
    }
    assert_int_equal(forward_signs[0], forward_signs[1]);
    enum { PRODUCTS = 7 }; // of a layer of the language model, all with LoRA
    assert_true(backward_signs[0] > PRODUCTS * layers);
    assert_true(backward_signs[1] > backward_signs[0] + PRODUCTS * (layers - 1));
}

static double largest_difference(const Tensor *a, const Tensor *b) {
    const float *x = case_host(a), *y = case_host(b);
    double largest = 0.0;
    for (int64_t i = 0; i < tensor_numel(a); i++)
        largest = fmax(largest, fabs((double)x[i] - y[i]));
    return largest;
}

/// The noise that a pass drew for the latents' sample and for the timestep, recovered from what
/// came of it.
static void recover_noise(const DiffLMM *model, const FrozenFeatures *features,
                          const Intermediates *between, double *sample_noise,
                          double *timestep_noise) {
    double kept = model->schedule->alphas_cumprod[model->options.timestep];
    const float *latents = case_host(between->latents);
    const float *noisy = case_host(between->noisy_latents);
    const float *all_moments = case_host(features->moments);
    for (int64_t i = 0; i < tensor_numel(between->latents); i++) {
        const float *moments = all_moments + i / 4 * 8 + i % 4;
        double sample = latents[i] / model->vae->scaling_factor;
        sample_noise[i] = (sample - moments[0]) / exp(moments[4] / 2.0);
        timestep_noise[i] = (noisy[i] - sqrt(kept) * latents[i]) / sqrt(1.0 - kept);
    }
}

static void drawn_noises_are_normal_and_independent(void **state) {
    (void)state;
    enum { NUMEL = NUM_IMAGES * 8 * 8 * 4 };
    DiffLMMOptions options = default_options();
    options.ensemble_size = 2;
    Model model = model_begin(&options);
    FrozenFeatures features = difflmm_frozen_features(model.difflmm, recorded_images());
    Intermediates between = {0};
    difflmm_visual_tokens(model.difflmm, &features, &(DiffusionNoise){.passes = (uint64_t[]){3, 4}},
                          &between);
    double a[NUMEL], b[NUMEL], aa = 0.0, bb = 0.0, ab = 0.0;
    recover_noise(model.difflmm, &features, &between, a, b);
    for (int i = 0; i < NUMEL; i++) {
        aa += a[i] * a[i] / NUMEL;
        bb += b[i] * b[i] / NUMEL;
        ab += a[i] * b[i] / NUMEL;
    }
    // Five standard deviations of a mean of squares (variance 2) and of products (variance 1).
    assert_true(fabs(aa - 1.0) < 5.0 * sqrt(2.0 / NUMEL));
    assert_true(fabs(bb - 1.0) < 5.0 * sqrt(2.0 / NUMEL));
    assert_true(fabs(ab) < 5.0 * sqrt(1.0 / NUMEL));
    // Were the draws of the ensemble one and the same, their mean would be the last one's feature.
    Tensor *last = unet_features(model.difflmm->unet, between.noisy_latents, between.context);
    assert_true(largest_difference(last, between.unet_feature) > 1e-2);
    model_end(&model);
}

/// A number of each draw of the last member of a pass's ensemble.
static void noise_of_pass(const Model *model, const FrozenFeatures *features, uint64_t pass,
                          double *sample_noise, double *timestep_noise) {
    enum { NUMEL = NUM_IMAGES * 8 * 8 * 4 };
    Intermediates between = {0};
    double sample[NUMEL], timestep[NUMEL];
    difflmm_visual_tokens(model->difflmm, features,
                          &(DiffusionNoise){.passes = (uint64_t[]){pass, pass}}, &between);
    recover_noise(model->difflmm, features, &between, sample, timestep);
    *sample_noise = sample[0];
    *timestep_noise = timestep[0];
}

static void every_bit_of_a_pass_decides_the_noise_of_every_ensemble(void **state) {
    (void)state;
    const double TOLERANCE = 1e-3;
    const uint64_t FIRST_STEP = 5, EVALUATION = 1ull << 63 | FIRST_STEP;
    DiffLMMOptions options = default_options();
    for (options.ensemble_size = 1; options.ensemble_size <= 4; options.ensemble_size++) {
        Model model = model_begin(&options);
        FrozenFeatures features = difflmm_frozen_features(model.difflmm, recorded_images());
        double of_step[2], of_evaluation[2];
        noise_of_pass(&model, &features, FIRST_STEP, &of_step[0], &of_step[1]);
        noise_of_pass(&model, &features, EVALUATION, &of_evaluation[0], &of_evaluation[1]);
        assert_true(fabs(of_step[0] - of_evaluation[0]) > TOLERANCE);
        assert_true(fabs(of_step[1] - of_evaluation[1]) > TOLERANCE);
        model_end(&model);
    }
}

static void a_single_draw_is_the_stream_of_its_pass(void **state) {
    (void)state;
    enum { PASS = 77 };
    DiffLMMOptions options = default_options();
    Model model = model_begin(&options);
    FrozenFeatures features = difflmm_frozen_features(model.difflmm, recorded_images());
    double noise[2];
    noise_of_pass(&model, &features, PASS, &noise[0], &noise[1]);
    const RandomPurpose purposes[] = {RANDOM_VAE_SAMPLE, RANDOM_DIFFUSION_NOISE};
    for (int i = 0; i < 2; i++) {
        RandomStream stream = random_stream(options.seed, purposes[i], PASS);
        float expected;
        philox_normal(stream.key, stream.index, 0, &expected, 1);
        assert_true(fabs(noise[i] - expected) < 1e-4);
    }
    model_end(&model);
}

static void the_mean_of_an_ensemble_in_bfloat16_is_rounded_once(void **state) {
    (void)state;
    enum { MEMBERS = 8 };
    DiffLMMOptions options = default_options();
    options.dtype = BFLOAT16;
    options.ensemble_size = MEMBERS;
    Model model = model_begin(&options);
    FrozenFeatures features = difflmm_frozen_features(model.difflmm, recorded_images());
    const int64_t shape[] = {MEMBERS * NUM_IMAGES, 8, 8, 4};
    const int64_t one[] = {NUM_IMAGES, 8, 8, 4}, numel = NUM_IMAGES * 8 * 8 * 4;
    Tensor *vae = case_normal(FLOAT32, 4, shape), *diffusion = case_normal(FLOAT32, 4, shape);
    Intermediates between = {0};
    difflmm_visual_tokens(model.difflmm, &features, &(DiffusionNoise){NULL, vae, diffusion},
                          &between);
    const int64_t features_numel = tensor_numel(between.unet_feature);
    const double *got = case_doubles(between.unet_feature);
    const float *vaes = case_host(vae), *diffusions = case_host(diffusion);
    double *mean = checked_calloc((size_t)features_numel, sizeof *mean);
    model.difflmm->options.ensemble_size = 1;
    for (int member = 0; member < MEMBERS; member++) {
        DiffusionNoise noise = {
            NULL, tensor_from_host(device, FLOAT32, 4, one, vaes + member * numel),
            tensor_from_host(device, FLOAT32, 4, one, diffusions + member * numel)};
        difflmm_visual_tokens(model.difflmm, &features, &noise, &between);
        const double *feature = case_doubles(between.unet_feature);
        for (int64_t i = 0; i < features_numel; i++) mean[i] += feature[i] / MEMBERS;
    }
    for (int64_t i = 0; i < features_numel; i++) {
        const double OF_FLOAT32 = 0x1p-24 * MEMBERS * 8; // features are below 8
        assert_true(fabs(got[i] - mean[i]) <= 0x1p-8 * fabs(mean[i]) + OF_FLOAT32);
    }
    free(mean);
    model_end(&model);
}

static void parameters_are_initialised_as_pytorch_does(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.positional_encoding_std = 0.02;
    Model model = model_begin(&options);
    const ParameterSet *set = &model.parameters;
    const Tensor *weight = parameters_find(set, "mm_projector.linear.0.weight")->value;
    const float *values = case_host(weight);
    double bound = 1.0 / sqrt(8 + 28), sum_squares = 0.0;
    for (int64_t i = 0; i < tensor_numel(weight); i++) {
        assert_true(fabs(values[i]) <= bound);
        sum_squares += pow(values[i], 2);
    }
    assert_true(fabs(sum_squares / (double)tensor_numel(weight) / (bound * bound / 3.0) - 1.0) <
                0.15);
    const Tensor *encoding = parameters_find(set, "mm_projector.vt_pe")->value;
    values = case_host(encoding);
    sum_squares = 0.0;
    for (int64_t i = 0; i < tensor_numel(encoding); i++) sum_squares += pow(values[i], 2);
    assert_true(fabs(sqrt(sum_squares / (double)tensor_numel(encoding)) / 0.02 - 1.0) < 0.15);
    const Tensor *norm = parameters_find(set, "mm_projector.sd_norm_layer.weight")->value;
    values = case_host(norm);
    for (int i = 0; i < 16; i++) assert_true(values[i] == 1.0f);

    Model same = model_begin(&options);
    options.seed = 2;
    Model other = model_begin(&options);
    for (int i = 0; i < set->count; i++) {
        const char *name = set->items[i].name;
        size_t bytes = (size_t)tensor_numel(set->items[i].value) * sizeof(float);
        const void *value = case_host(set->items[i].value);
        assert_memory_equal(value, case_host(same.parameters.items[i].value), bytes);
        if (!strstr(name, "sd_norm_layer"))
            assert_true(memcmp(value, case_host(other.parameters.items[i].value), bytes) != 0);
    }
    model_end(&other);
    model_end(&same);
    model_end(&model);
}

static void bfloat16_trains_near_float32(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.dtype = BFLOAT16;
    options.lora = &recorded_lora;
    Model model = model_begin(&options);
    set_recorded_parameters(&model.parameters, golden, "stage2.before.");
    Pass pass = recorded_pass(&model);
    assert_int_equal(pass.between.visual_tokens->dtype, BFLOAT16);
    // 2^-9 a rounding, about 132 of them like a random walk: 0.02; three deviations.
    assert_near_recorded("loss", pass.loss.sum, recorded_find(golden, "stage2.loss_sum"),
                         3.0 * 0x1p-9 * sqrt(132.0));
    backward(pass.loss.sum, NULL, NULL);
    tape_end();
    double dot = 0.0, got_squares = 0.0, recorded_squares = 0.0;
    for (int i = 0; i < model.parameters.count; i++) {
        const Parameter *parameter = &model.parameters.items[i];
        assert_int_equal(grad(parameter->value)->dtype, FLOAT32);
        const float *got = case_host(grad(parameter->value));
        float *recorded = recorded_floats(recorded_find(golden, "stage2.grad.%s", parameter->name));
        for (int64_t k = 0; k < tensor_numel(parameter->value); k++) {
            dot += (double)got[k] * recorded[k];
            got_squares += (double)got[k] * got[k];
            recorded_squares += (double)recorded[k] * recorded[k];
        }
        free(recorded);
    }
    // The gradient has gone through the roundings of the forward pass and through as many on the
    // way back. An error of that part of its length turns it by as much: cosine 1 - error^2 / 2.
    double cosine = dot / sqrt(got_squares * recorded_squares),
           allowed = 3.0 * 0x1p-9 * sqrt(264.0);
    print_message("bfloat16 turns the gradient by %.3f (allowed %.3f)\n",
                  sqrt(2.0 * (1.0 - cosine)), allowed);
    assert_true(cosine > 1.0 - allowed * allowed / 2.0);
    model_end(&model);
}

/// `option`: the one that is to blame; NULL: none is.
static void refuse(const DiffLMMOptions *options, const char *option, const char *expected) {
    ParameterSet parameters = {0};
    Error error = {0};
    const char *blamed;
    assert_null(difflmm_load(options, device, &parameters, &blamed, &error));
    if (option)
        assert_string_equal(blamed, option);
    else
        assert_null(blamed);
    if (!strstr(error.message, expected)) fail_msg("no '%s' in: %s", expected, error.message);
    assert_int_equal(parameters.count, 0);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.image_size = 96;
    refuse(&options, "image_size", "set image_size to 64");
    options = default_options();
    options.timestep = 1000;
    refuse(&options, "timestep", "timestep is 1000");
    options = default_options();
    options.ensemble_size = 0;
    refuse(&options, "ensemble_size", "ensemble_size");
    options = default_options();
    options.unet_feature_block = 4;
    refuse(&options, "unet_feature_block", "block");
    options = default_options();
    options.sd = FOLDER "nowhere";
    refuse(&options, NULL, "nowhere");
    options = default_options();
    options.llm = FOLDER "clip";
    refuse(&options, NULL, "model_type");
}

static void nothing_is_left_in_memory(void **state) {
    (void)state;
    assert_int_equal(device->bytes_in_use, 0);
}

static int run_all(void) {
    device = case_device();
    golden = recorded_open(FOLDER "golden.safetensors");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_alone_gives_adapters_no_gradient),
        cmocka_unit_test(a_batch_without_supervised_tokens_has_logits_and_no_loss),
        cmocka_unit_test(a_loss_alone_has_the_gradients_of_the_whole_pass),
        cmocka_unit_test(recompute_changes_no_gradient),
        cmocka_unit_test(drawn_noise_depends_on_the_pass_and_not_on_the_batch),
        cmocka_unit_test(drawn_noises_are_normal_and_independent),
        cmocka_unit_test(every_layer_forward_and_backward_is_a_sign_of_life),
        cmocka_unit_test(every_bit_of_a_pass_decides_the_noise_of_every_ensemble),
        cmocka_unit_test(a_single_draw_is_the_stream_of_its_pass),
        cmocka_unit_test(the_mean_of_an_ensemble_in_bfloat16_is_rounded_once),
        cmocka_unit_test(parameters_are_initialised_as_pytorch_does),
        cmocka_unit_test(bfloat16_trains_near_float32),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(nothing_is_left_in_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safetensors_close(golden);
    return failed;
}

int main(void) { return case_run_devices(run_all); }
