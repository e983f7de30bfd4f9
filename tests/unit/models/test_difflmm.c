// rooms: train models ops checkpoints autograd
/// DiffLMM, whole and with every switch, against stock diffusers, transformers, PEFT and
/// torch.optim (tests/parity/record_language.py).
#include "tests/unit/recorded_difflmm.h"

#include "train/trainer/optimizer.h"

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
    // Training fills the rows up to a round number; those of the samples come first.
    int32_t rows[64];
    assert_true(pass->loss.num_tokens <= 64);
    for (int i = 0; i < pass->loss.num_tokens; i++) rows[i] = i;
    Tensor *logits = gather_rows(
        pass->between.logits, tensor_from_host(device, INT32, SHAPE(pass->loss.num_tokens), rows));
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
        {"logits", logits},
    };
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        double worst = assert_near_recorded(recorded[i].name, recorded[i].value,
                                            recorded_find(golden, "%s.%s", name, recorded[i].name),
                                            forward_tolerance());
        print_message("%s: %s off by %.1e\n", name, recorded[i].name, worst);
    }
}

/// The first AdamW update is rate * g / (|g| + epsilon): where g is known to within d, the update
/// is to within rate * 2 d / (|g| + epsilon), and never further off than twice the rate. The
/// parameter itself rounds to 2^-23.
static void check_updated(const Model *model, const char *name, const double *rates,
                          double clipping) {
    for (int i = 0; i < model->parameters.count; i++) {
        const Parameter *parameter = &model->parameters.items[i];
        const StoredTensor *entry = recorded_find(golden, "%s.after.%s", name, parameter->name);
        float *after = recorded_floats(entry);
        float *before =
            recorded_floats(recorded_find(golden, "%s.before.%s", name, parameter->name));
        float *gradient =
            recorded_floats(recorded_find(golden, "%s.grad.%s", name, parameter->name));
        const float *got = case_host(parameter->value);
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
    Optimizer optimizer = optimizer_new(&model.parameters, NULL, 0);

    Pass pass = recorded_pass(&model);
    check_intermediates(&pass, name);
    assert_int_equal(pass.loss.num_supervised, 15);
    assert_int_equal(pass.loss.num_tokens, 23 + 9 + 23);
    double loss_off = assert_near_recorded(
        "loss", pass.loss.sum, recorded_find(golden, "%s.loss_sum", name), forward_tolerance());
    backward(pass.loss.sum, NULL, NULL);
    tape_end();
    double per_token = 1.0 / (double)pass.loss.num_supervised;
    double grad_off = check_gradients(&model, name, per_token);

    OptimizerOptions update = {.learning_rate = {adapter_rate, lora_rate},
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .epsilon = 1e-8,
                               .weight_decay = 0.01,
                               .gradient_scale = per_token};
    double norm = per_token * sqrt(optimizer_sum_squares(&optimizer));
    update.gradient_scale *= optimizer_clip_factor(norm, 1.0);
    float expected_norm;
    float *recorded_norm = recorded_floats(recorded_find(golden, "%s.grad_norm", name));
    expected_norm = *recorded_norm;
    free(recorded_norm);
    assert_true(fabs(norm - expected_norm) <= gradient_tolerance() * expected_norm);
    optimizer_step(&optimizer, &update);
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
    backward(pass.loss.sum, NULL, NULL);
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
    const TokenSample prompts[3] = {{ids_text, NULL, 5, -1, 0},
                                    {ids_with_image_1, NULL, 6, 1, 1},
                                    {ids_with_image_0, NULL, 2, 0, 2}};
    Generation generations[3];
    LlamaWriting *writing = llama_writing_new(model.difflmm->llama, model.difflmm->lora, 3, &how);
    for (int i = 0; i < 3; i++)
        difflmm_writing_add(model.difflmm, writing, &prompts[i], (uint64_t)i, visual,
                            &generations[i]);
    while (llama_writing_count(writing)) llama_writing_step(writing);
    llama_writing_free(writing);

    const StoredTensor *entry = recorded_find(golden, "generate.ids");
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
    TokenSample text = {ids, NULL, 18, 1, 0};
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
    // The first sample's supervised tokens 9, 33, 2 stand at 20, 21, 22; those before them predict
    // them.
    const int32_t rows[] = {19, 20, 21, 25, 26, 27, 29, 30, 47, 48, 49, 50, 51, 52, 53};
    const int32_t targets[] = {9, 33, 2, 8, 19, 2, 12, 2, 13, 14, 15, 16, 17, 18, 19};
    assert_int_equal(packed.num_supervised, 15);
    assert_memory_equal(packed.rows, rows, sizeof rows);
    assert_memory_equal(packed.targets, targets, sizeof targets);
    // The ends that predict something: of 4, 7 and 8 rows.
    PackedTail tail = packed_tail_new(&packed);
    assert_int_equal(tail.total, 19);
    assert_int_equal(tail.lengths[1], 7);
    assert_int_equal(tail.rows[0], 19);
    assert_int_equal(tail.rows[4], 25);
    assert_int_equal(tail.rows[18], 54);
    for (int i = 0; i < 15; i++) assert_int_equal(tail.rows[tail.supervised[i]], rows[i]);
    for (int i = 0; i < 19; i++)
        assert_memory_equal(tail.dropout_rows[i], packed.dropout_rows[tail.rows[i]], 8);
    packed_tail_free(&tail);
    packed_tokens_fill(&packed); // 55 rows become 56; the samples' rows stay as they are
    assert_int_equal(packed.total, 56);
    assert_int_equal(packed.num_supervised, 15);
    assert_int_equal(packed.lengths[2], 23);
    assert_memory_equal(packed.rows, rows, sizeof rows);
    packed_tokens_free(&packed);

    // Cut within the image; and a supervised first token, which nothing predicts.
    const uint8_t first[] = {1, 0, 0, 0, 0, 0, 0, 0};
    const TokenSample cut = {ids_with_image_1, first, 8, 0, 0};
    packed = packed_tokens_new(&cut, 1, NUM_TOKENS, 10);
    assert_int_equal(packed.total, 10);
    assert_int_equal(packed.num_visual[0], 7);
    assert_int_equal(packed.num_supervised, 0);
    packed_tokens_free(&packed);
}

static void nothing_is_left_in_memory(void **state) {
    (void)state;
    assert_int_equal(device->bytes_in_use, 0);
}

static int run_all(void) {
    device = case_device();
    golden = recorded_open(FOLDER "golden.safetensors");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_puts_images_in_shifts_labels_and_cuts),
        cmocka_unit_test(a_stage_1_step_equals_pytorch),
        cmocka_unit_test(a_stage_2_step_equals_pytorch),
        cmocka_unit_test(every_switch_equals_pytorch),
        cmocka_unit_test(features_of_every_up_block_are_brought_to_clips_grid),
        cmocka_unit_test(a_continuation_and_its_attention_equal_transformers),
        cmocka_unit_test(nothing_is_left_in_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safetensors_close(golden);
    return failed;
}

int main(void) { return case_run_devices(run_all); }
