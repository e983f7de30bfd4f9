// rooms: train models ops checkpoints autograd
/// DiffLMM, whole and with every switch, against stock diffusers, transformers, PEFT and torch.optim
/// (tests/parity/record_language.py); and what it promises by itself.
#include "recorded_language.h"

#include "models/difflmm.h"
#include "ops/kernels.h"
#include "train/optimizer.h"

#define FOLDER RECORDED_FOLDER "difflmm/"

enum { MAX_LENGTH = 23, NUM_TOKENS = 16, NUM_IMAGES = 2, IMAGE = PACKING_IMAGE_TOKEN };

static Device *device;
static SafetensorsFile *golden;

// Forward: VAE 30 operations, U-Net 70, projector 8, language model 24; backward the same again. Sums reach 3*3*32 terms.
static double forward_tolerance(void) { return float32_tolerance(288, 132); }
static double gradient_tolerance(void) { return float32_tolerance(288, 2 * 132); }

// ---- the recorded samples

static const int32_t ids_with_image_1[] = {1, 17, 23, IMAGE, 5, 9, 33, 2};
static const uint8_t supervised_with_image_1[] = {0, 0, 0, 0, 0, 1, 1, 1};
static const int32_t ids_text[] = {1, 40, 41, 8, 19, 2, 7, 12, 2};
static const uint8_t supervised_text[] = {0, 0, 0, 1, 1, 1, 0, 1, 1};
static const int32_t ids_with_image_0[] = {IMAGE, 13, 14, 15, 16, 17, 18, 19, 20, 21};
static const uint8_t supervised_with_image_0[] = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static const TokenSample samples[3] = {
    {ids_with_image_1, supervised_with_image_1, 8, 1},
    {ids_text, supervised_text, 9, -1},
    {ids_with_image_0, supervised_with_image_0, 10, 0},
};

// ---- a model and its parameters

typedef struct Model {
    DiffLMM *difflmm;
    ParameterSet parameters;
} Model;

static const LoraOptions recorded_lora = {
    .r = 4, .alpha = 8.0f, .modules = {true, true, true, true, true, true, true}, .seed = 2};

static DiffLMMOptions default_options(void) {
    return (DiffLMMOptions){.architecture = ADAPTERS_DIFFLMM,
                            .sd = FOLDER "sd",
                            .vision_tower = FOLDER "clip",
                            .llm = FOLDER "llm",
                            .implicit_captioner = true,
                            .positional_encodings = true,
                            .clip_concat = true,
                            .positional_encoding_std = 1.0,
                            .unet_feature_block = 1,
                            .timestep = 100,
                            .ensemble_size = 1,
                            .image_size = 64,
                            .model_max_length = MAX_LENGTH,
                            .dtype = FLOAT32,
                            .seed = 1};
}

static Model model_begin(const DiffLMMOptions *options) {
    Model model = {0};
    Error error;
    model.difflmm = difflmm_load(options, device, &model.parameters, &error);
    if (!model.difflmm) fail_msg("%s", error.message);
    scope_begin();
    return model;
}

static void model_end(Model *model) {
    scope_end();
    difflmm_free(model->difflmm);
    parameters_free(&model->parameters);
}

static Tensor *recorded_images(void) {
    return recorded_tensor(recorded_find(golden, "images"), device);
}

/// Noise [ensemble,B,h,w,4] as recorded, its first `ensemble` draws.
static Tensor *recorded_noise(const char *name, int ensemble) {
    const SafetensorsEntry *entry = recorded_find(golden, "noise.%s", name);
    float *values = recorded_floats(entry);
    Tensor *noise = tensor_from_host(
        device, FLOAT32,
        SHAPE(ensemble * entry->shape[1], entry->shape[2], entry->shape[3], entry->shape[4]),
        values);
    free(values);
    return noise;
}

typedef struct Pass {
    FrozenFeatures features;
    DiffusionNoise noise;
    Intermediates between;
    DiffLMMLoss loss;
} Pass;

/// The recorded batch with the recorded noise; the tape records, and the caller ends it.
static Pass recorded_pass(const Model *model) {
    int ensemble = model->difflmm->options.ensemble_size;
    Pass pass = {.features = difflmm_frozen_features(model->difflmm, recorded_images()),
                 .noise = {.vae = recorded_noise("vae", ensemble),
                           .diffusion = recorded_noise("diffusion", ensemble)}};
    tape_begin();
    DiffLMMBatch batch = {samples, 3, &pass.features, &pass.noise, .train = true};
    pass.loss = difflmm_loss(model->difflmm, &batch, &pass.between);
    return pass;
}

// ---- against the recorded steps

static double check_gradients(const Model *model, const char *name, double factor) {
    double worst = 0.0;
    for (int i = 0; i < model->parameters.count; i++) {
        const Parameter *parameter = &model->parameters.items[i];
        scope_begin();
        assert_non_null(grad(parameter->value));
        char what[256];
        snprintf(what, sizeof what, "%s: gradient of %s", name, parameter->name);
        Tensor *gradient = scale(grad(parameter->value), (float)factor);
        worst = fmax(
            worst, assert_near_recorded(what, gradient,
                                        recorded_find(golden, "%s.grad.%s", name, parameter->name),
                                        gradient_tolerance()));
        scope_end();
    }
    return worst;
}

static void check_intermediates(const Pass *pass, const char *name) {
    const struct {
        const char *name;
        const Tensor *value;
    } recorded[] = {
        {"clip", pass->features.clip},
        {"moments", pass->features.moments},
        {"latents", pass->between.latents},
        {"noisy_latents", pass->between.noisy_latents},
        {"context", pass->between.context},
        {"unet_feature", pass->between.unet_feature},
        {"visual_tokens", pass->between.visual_tokens},
        {"logits", pass->between.logits},
    };
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        double worst = assert_near_recorded(recorded[i].name, recorded[i].value,
                                            recorded_find(golden, "%s.%s", name, recorded[i].name),
                                            forward_tolerance());
        print_message("%s: %s off by %.1e\n", name, recorded[i].name, worst);
    }
}

/// The first AdamW update is rate * g / (|g| + epsilon): where g is known to within d, the update is to within rate * 2 d / (|g| + epsilon),
/// and never further off than twice the rate. The parameter itself rounds to 2^-23.
static void check_updated(const Model *model, const char *name, const double *rates,
                          double clipping) {
    for (int i = 0; i < model->parameters.count; i++) {
        const Parameter *parameter = &model->parameters.items[i];
        const SafetensorsEntry *entry = recorded_find(golden, "%s.after.%s", name, parameter->name);
        float *after = recorded_floats(entry);
        float *before =
            recorded_floats(recorded_find(golden, "%s.before.%s", name, parameter->name));
        float *gradient =
            recorded_floats(recorded_find(golden, "%s.grad.%s", name, parameter->name));
        const float *got = parameter->value->data;
        double rate = rates[parameter->group], largest = 0.0;
        for (int64_t k = 0; k < entry->numel; k++)
            largest = fmax(largest, fabs((double)gradient[k]));
        double deviation = gradient_tolerance() * largest * clipping;
        int64_t moved = 0;
        for (int64_t k = 0; k < entry->numel; k++) {
            double g = fabs((double)gradient[k]) * clipping;
            double allowed = 0x1p-22 * fabs((double)after[k]) +
                             rate * (1e-5 + fmin(2.0, 2.0 * deviation / (g + 1e-8)));
            if (!(fabs((double)got[k] - after[k]) <= allowed))
                fail_msg("%s[%lld]: %.9g, expected %.9g from %.9g", parameter->name, (long long)k,
                         got[k], after[k], before[k]);
            moved += got[k] != before[k];
        }
        assert_true(moved > entry->numel / 2);
        free(after);
        free(before);
        free(gradient);
    }
}

static void check_step(const char *name, const LoraOptions *lora, double adapter_rate,
                       double lora_rate) {
    DiffLMMOptions options = default_options();
    options.lora = lora;
    Model model = model_begin(&options);
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.before.", name);
    assert_int_equal(model.parameters.count, count_recorded(golden, prefix));
    set_recorded_parameters(&model.parameters, golden, prefix);
    Optimizer optimizer = optimizer_new(&model.parameters);

    Pass pass = recorded_pass(&model);
    check_intermediates(&pass, name);
    assert_int_equal(pass.loss.num_supervised, 15);
    assert_int_equal(pass.loss.num_tokens, 23 + 9 + 23);
    double loss_off = assert_near_recorded(
        "loss", pass.loss.sum, recorded_find(golden, "%s.loss_sum", name), forward_tolerance());
    backward(pass.loss.sum, NULL);
    tape_end();
    double per_token = 1.0 / (double)pass.loss.num_supervised;
    double grad_off = check_gradients(&model, name, per_token);

    OptimizerOptions update = {.learning_rate = {adapter_rate, lora_rate},
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .epsilon = 1e-8,
                               .weight_decay = 0.01,
                               .max_grad_norm = 1.0,
                               .gradient_scale = per_token};
    double norm = optimizer_gradient_norm(&optimizer, per_token);
    float expected_norm;
    float *recorded_norm = recorded_floats(recorded_find(golden, "%s.grad_norm", name));
    expected_norm = *recorded_norm;
    free(recorded_norm);
    assert_true(fabs(norm - expected_norm) <= gradient_tolerance() * expected_norm);
    optimizer_step(&optimizer, &update, norm);
    check_updated(&model, name, update.learning_rate, fmin(1.0, 1.0 / (expected_norm + 1e-6)));
    print_message("%s: loss off by %.1e (allowed %.1e), gradients %.1e (allowed %.1e), norm %g\n",
                  name, loss_off, forward_tolerance(), grad_off, gradient_tolerance(), norm);
    optimizer_free(&optimizer);
    model_end(&model);
}

static void a_stage_1_step_equals_pytorch(void **state) {
    (void)state;
    check_step("stage1", NULL, 1e-3, 0.0);
}

static void a_stage_2_step_equals_pytorch(void **state) {
    (void)state;
    check_step("stage2", &recorded_lora, 2e-5, 2e-4);
}

static void check_ablation(const char *name, const DiffLMMOptions *options) {
    Model model = model_begin(options);
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.before.", name);
    assert_int_equal(model.parameters.count, count_recorded(golden, prefix));
    set_recorded_parameters(&model.parameters, golden, prefix);
    Pass pass = recorded_pass(&model);
    double tokens_off =
        assert_near_recorded("visual tokens", pass.between.visual_tokens,
                             recorded_find(golden, "%s.visual_tokens", name), forward_tolerance());
    double loss_off = assert_near_recorded(
        "loss", pass.loss.sum, recorded_find(golden, "%s.loss_sum", name), forward_tolerance());
    backward(pass.loss.sum, NULL);
    tape_end();
    print_message("%s: visual tokens off by %.1e, loss %.1e, gradients %.1e\n", name, tokens_off,
                  loss_off, check_gradients(&model, name, 1.0));
    model_end(&model);
}

static void every_switch_equals_pytorch(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.implicit_captioner = false;
    check_ablation("no_captioner", &options);
    options = default_options();
    options.positional_encodings = false;
    check_ablation("no_encodings", &options);
    options = default_options();
    options.clip_concat = false;
    check_ablation("no_concat", &options);
    options = default_options();
    options.timestep = 261;
    check_ablation("timestep261", &options);
    options = default_options();
    options.ensemble_size = 2;
    check_ablation("ensemble2", &options);
    options = default_options();
    options.architecture = ADAPTERS_LLAVA;
    options.sd = NULL;
    check_ablation("llava", &options);
}

static void features_of_every_up_block_are_brought_to_clips_grid(void **state) {
    (void)state;
    const int blocks[] = {0, 2, 3};
    for (int i = 0; i < 3; i++) {
        DiffLMMOptions options = default_options();
        options.unet_feature_block = blocks[i];
        char name[16];
        snprintf(name, sizeof name, "block%d", blocks[i]);
        check_ablation(name, &options);
    }
}

// ---- generation and attention

static Tensor *recorded_visual_tokens(const Model *model) {
    FrozenFeatures features = difflmm_frozen_features(model->difflmm, recorded_images());
    DiffusionNoise noise = {.vae = recorded_noise("vae", 1),
                            .diffusion = recorded_noise("diffusion", 1)};
    return difflmm_visual_tokens(model->difflmm, &features, &noise, NULL);
}

static void a_continuation_and_its_attention_equal_transformers(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.model_max_length = 64;
    Model model = model_begin(&options);
    set_recorded_parameters(&model.parameters, golden, "stage1.before.");
    Tensor *visual = recorded_visual_tokens(&model);
    AttentionSelection selection = {0};
    GenerationOptions how = {.max_new_tokens = 12, .attention = &selection};
    // The recorded prompt between two others: what else is in the batch changes nothing.
    const TokenSample prompts[3] = {
        {ids_text, NULL, 5, -1}, {ids_with_image_1, NULL, 6, 1}, {ids_with_image_0, NULL, 2, 0}};
    Generation generations[3];
    difflmm_generate(model.difflmm, prompts, 3, (uint64_t[]){0, 1, 2}, visual, &how, generations);

    const SafetensorsEntry *entry = recorded_find(golden, "generate.ids");
    int *expected_ids = recorded_ints(entry);
    assert_int_equal(generations[1].count, entry->numel);
    assert_memory_equal(generations[1].tokens, expected_ids, entry->bytes);
    free(expected_ids);

    entry = recorded_find(golden, "generate.attention");
    float *expected = recorded_floats(entry);
    const AttentionMaps *got = &generations[1].attention;
    assert_int_equal((int64_t)got->rows * got->layers * got->heads * got->keys, entry->numel);
    double off =
        assert_floats_near("attention", got->values, expected, entry->numel, forward_tolerance());
    print_message("attention off by %.1e\n", off);

    // The finished text, read at once, with the rows that produced its last six tokens.
    int32_t ids[18];
    memcpy(ids, ids_with_image_1, 6 * sizeof *ids);
    memcpy(ids + 6, generations[1].tokens, 12 * sizeof *ids);
    TokenSample text = {ids, NULL, 18, 1};
    const int tokens[] = {12, 13, 14, 15, 16, 17};
    AttentionMaps read = difflmm_attention(model.difflmm, &text, visual, tokens, 6,
                                           ATTENTION_PRODUCING_ROW, &selection);
    assert_floats_near("attention of the finished text", read.values, attention_maps_row(got, 6),
                       6 * (int64_t)(got->layers * got->heads * got->keys), forward_tolerance());
    AttentionMaps own =
        difflmm_attention(model.difflmm, &text, visual, tokens, 5, ATTENTION_OWN_ROW, &selection);
    assert_memory_equal(own.values, attention_maps_row(&read, 1),
                        5 * (size_t)(own.layers * own.heads * own.keys) * sizeof(float));
    attention_maps_free(&read);
    attention_maps_free(&own);
    assert_int_equal(generations[0].attention.rows, 0);
    for (int s = 0; s < 3; s++) generation_free(&generations[s]);
    free(expected);
    model_end(&model);
}

// ---- packing

static void packing_puts_images_in_shifts_labels_and_cuts(void **state) {
    (void)state;
    PackedTokens packed = packed_tokens_new(samples, 3, NUM_TOKENS, MAX_LENGTH);
    assert_int_equal(packed.total, 23 + 9 + 23);
    assert_int_equal(packed.first_rows[1], 23);
    assert_int_equal(packed.first_rows[2], 32);
    assert_int_equal(packed.first_visual[0], 3);
    assert_int_equal(packed.first_visual[1], -1);
    assert_int_equal(packed.first_visual[2], 0);
    assert_int_equal(packed.num_visual[2], NUM_TOKENS);
    for (int i = 0; i < NUM_TOKENS; i++) {
        assert_int_equal(packed.merge[3 + i], -1 - (NUM_TOKENS + i));
        assert_int_equal(packed.merge[32 + i], -1 - i);
    }
    // The first sample's supervised tokens 9, 33, 2 stand at 20, 21, 22; those before them predict them.
    const int32_t rows[] = {19, 20, 21, 25, 26, 27, 29, 30, 47, 48, 49, 50, 51, 52, 53};
    const int32_t targets[] = {9, 33, 2, 8, 19, 2, 12, 2, 13, 14, 15, 16, 17, 18, 19};
    assert_int_equal(packed.num_supervised, 15);
    assert_memory_equal(packed.rows, rows, sizeof rows);
    assert_memory_equal(packed.targets, targets, sizeof targets);
    assert_int_equal(packed.positions[22], 22);
    assert_int_equal(packed.positions[23], 0);
    packed_tokens_fill(&packed); // 55 rows become 64; the samples' rows stay as they are
    assert_int_equal(packed.total, 64);
    assert_int_equal(packed.num_supervised, 15);
    assert_int_equal(packed.lengths[2], 23);
    assert_memory_equal(packed.rows, rows, sizeof rows);
    packed_tokens_free(&packed);

    // Cut within the image; and a supervised first token, which nothing predicts.
    const uint8_t first[] = {1, 0, 0, 0, 0, 0, 0, 0};
    const TokenSample cut = {ids_with_image_1, first, 8, 0};
    packed = packed_tokens_new(&cut, 1, NUM_TOKENS, 10);
    assert_int_equal(packed.total, 10);
    assert_int_equal(packed.num_visual[0], 7);
    assert_int_equal(packed.num_supervised, 0);
    packed_tokens_free(&packed);
}

// ---- promises

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
        if (stage == 2) backward(loss.sum, NULL);
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
    const TokenSample prompt = {ids_text, NULL, 9, -1};
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
        backward(pass.loss.sum, NULL);
        tape_end();
        float *got =
            checked_malloc((size_t)parameters_count_elements(&model.parameters) * sizeof *got);
        float *at = got;
        for (int i = 0; i < model.parameters.count; i++) {
            tensor_to_host_float(grad(model.parameters.items[i].value), at);
            at += tensor_numel(model.parameters.items[i].value);
        }
        if (expected) assert_memory_equal(got, expected, (size_t)(at - got) * sizeof *got);
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

static double largest_difference(const Tensor *a, const Tensor *b) {
    const float *x = a->data, *y = b->data;
    double largest = 0.0;
    for (int64_t i = 0; i < tensor_numel(a); i++)
        largest = fmax(largest, fabs((double)x[i] - y[i]));
    return largest;
}

/// The noise that a pass drew for the latents' sample and for the timestep, recovered from what came of it.
static void recover_noise(const DiffLMM *model, const FrozenFeatures *features,
                          const Intermediates *between, double *sample_noise,
                          double *timestep_noise) {
    double kept = model->schedule->alphas_cumprod[model->options.timestep];
    const float *latents = between->latents->data, *noisy = between->noisy_latents->data;
    for (int64_t i = 0; i < tensor_numel(between->latents); i++) {
        const float *moments = (float *)features->moments->data + i / 4 * 8 + i % 4;
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
    Tensor *last = unet_features(model.difflmm->unet, between.noisy_latents, options.timestep,
                                 between.context);
    assert_true(largest_difference(last, between.unet_feature) > 1e-2);
    model_end(&model);
}

static void parameters_are_initialised_as_pytorch_does(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.positional_encoding_std = 0.02;
    Model model = model_begin(&options);
    const ParameterSet *set = &model.parameters;
    const Tensor *weight = parameters_find(set, "mm_projector.linear.0.weight")->value;
    double bound = 1.0 / sqrt(8 + 28), sum_squares = 0.0;
    for (int64_t i = 0; i < tensor_numel(weight); i++) {
        assert_true(fabs(((float *)weight->data)[i]) <= bound);
        sum_squares += pow(((float *)weight->data)[i], 2);
    }
    assert_true(fabs(sum_squares / (double)tensor_numel(weight) / (bound * bound / 3.0) - 1.0) <
                0.15);
    const Tensor *encoding = parameters_find(set, "mm_projector.vt_pe")->value;
    sum_squares = 0.0;
    for (int64_t i = 0; i < tensor_numel(encoding); i++)
        sum_squares += pow(((float *)encoding->data)[i], 2);
    assert_true(fabs(sqrt(sum_squares / (double)tensor_numel(encoding)) / 0.02 - 1.0) < 0.15);
    const Tensor *norm = parameters_find(set, "mm_projector.sd_norm_layer.weight")->value;
    for (int i = 0; i < 16; i++) assert_true(((float *)norm->data)[i] == 1.0f);

    Model same = model_begin(&options);
    options.seed = 2;
    Model other = model_begin(&options);
    for (int i = 0; i < set->count; i++) {
        const char *name = set->items[i].name;
        size_t bytes = (size_t)tensor_numel(set->items[i].value) * sizeof(float);
        assert_memory_equal(set->items[i].value->data, same.parameters.items[i].value->data, bytes);
        if (!strstr(name, "sd_norm_layer"))
            assert_true(memcmp(set->items[i].value->data, other.parameters.items[i].value->data,
                               bytes) != 0);
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
    backward(pass.loss.sum, NULL);
    tape_end();
    double dot = 0.0, got_squares = 0.0, recorded_squares = 0.0;
    for (int i = 0; i < model.parameters.count; i++) {
        const Parameter *parameter = &model.parameters.items[i];
        assert_int_equal(grad(parameter->value)->dtype, FLOAT32);
        const float *got = grad(parameter->value)->data;
        float *recorded = recorded_floats(recorded_find(golden, "stage2.grad.%s", parameter->name));
        for (int64_t k = 0; k < tensor_numel(parameter->value); k++) {
            dot += (double)got[k] * recorded[k];
            got_squares += (double)got[k] * got[k];
            recorded_squares += (double)recorded[k] * recorded[k];
        }
        free(recorded);
    }
    // An error of 0.07 of the gradient's length turns it by as much: cosine 1 - 0.07^2/2.
    assert_true(dot / sqrt(got_squares * recorded_squares) > 1.0 - 0.07 * 0.07 / 2.0);
    model_end(&model);
}

static void refuse(const DiffLMMOptions *options, const char *expected) {
    ParameterSet parameters = {0};
    Error error = {""};
    assert_null(difflmm_load(options, device, &parameters, &error));
    if (!strstr(error.message, expected)) fail_msg("no '%s' in: %s", expected, error.message);
    assert_int_equal(parameters.count, 0);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    DiffLMMOptions options = default_options();
    options.image_size = 96;
    refuse(&options, "set image_size to 64");
    options = default_options();
    options.timestep = 1000;
    refuse(&options, "timestep is 1000");
    options = default_options();
    options.ensemble_size = 0;
    refuse(&options, "ensemble_size");
    options = default_options();
    options.unet_feature_block = 4;
    refuse(&options, "block");
    options = default_options();
    options.sd = FOLDER "nowhere";
    refuse(&options, "nowhere");
    options = default_options();
    options.llm = FOLDER "clip";
    refuse(&options, "model_type");
}

static void nothing_is_left_in_memory(void **state) {
    (void)state;
    assert_int_equal(device->bytes_in_use, 0);
}

int main(void) {
    device = ops_cpu_open(0);
    golden = recorded_open(FOLDER "golden.safetensors");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_puts_images_in_shifts_labels_and_cuts),
        cmocka_unit_test(a_stage_1_step_equals_pytorch),
        cmocka_unit_test(a_stage_2_step_equals_pytorch),
        cmocka_unit_test(every_switch_equals_pytorch),
        cmocka_unit_test(features_of_every_up_block_are_brought_to_clips_grid),
        cmocka_unit_test(a_continuation_and_its_attention_equal_transformers),
        cmocka_unit_test(text_alone_gives_adapters_no_gradient),
        cmocka_unit_test(a_batch_without_supervised_tokens_has_logits_and_no_loss),
        cmocka_unit_test(recompute_changes_no_gradient),
        cmocka_unit_test(drawn_noise_depends_on_the_pass_and_not_on_the_batch),
        cmocka_unit_test(drawn_noises_are_normal_and_independent),
        cmocka_unit_test(parameters_are_initialised_as_pytorch_does),
        cmocka_unit_test(bfloat16_trains_near_float32),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(nothing_is_left_in_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safetensors_close(golden);
    return failed;
}
