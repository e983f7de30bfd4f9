/// Models with LoRA merged in; tests/parity/check_export.py is the same at the size of whole
/// programs. Recorded by tests/parity/record_adapters.py.
#include "tests/unit/recorded_adapters.h"

#include "checkpoints/model_directory.h"
#include "train/saved/export.h"

/// A source with LoRA of rank 2 on the recorded Llama of 3 layers, 48 wide; the caller frees config
/// and parameters.
static ExportSource source_new(const char *llm) {
    Error error = {0};
    char setting[256];
    snprintf(setting, sizeof setting, "model.llm=%s", llm);
    const char *overrides[] = {setting};
    ExportSource source = {.config = config_load(NULL, overrides, 1, &error), .has_lora = true};
    assert_non_null(source.config);
    source.lora = (LoraOptions){.r = 2, .alpha = 3};
    source.lora.modules[Q_PROJ] = source.lora.modules[DOWN_PROJ] = true;
    AdapterOptions sizes = recorded_sizes;
    adapters_new(&sizes, &source.parameters, device);
    add_lora(&source.parameters, 3, 48, 80);
    return source;
}

static void source_free(ExportSource *source) {
    config_free((Config *)source->config);
    parameters_free(&source->parameters);
}

/// W + scale B A of the weight, in double.
static double merged_value(const ExportSource *source, const char *weight, const float *w,
                           int64_t row, int64_t column, int64_t columns) {
    double sum = (double)w[row * columns + column];
    char name[128];
    const Tensor *x[2];
    for (int letter = 0; letter < 2; letter++) {
        snprintf(name, sizeof name, "base_model.model.%.*s.lora_%c.weight",
                 (int)(strlen(weight) - strlen(".weight")), weight, letter ? 'B' : 'A');
        const Parameter *parameter = parameters_find(&source->parameters, name);
        if (!parameter) return sum;
        x[letter] = parameter->value;
    }
    const float *a = x[0]->data, *b = x[1]->data;
    for (int k = 0; k < 2; k++)
        sum += 1.5 * (double)b[row * 2 + k] * (double)a[k * columns + column];
    return sum;
}

/// Values of the merged tensor against the exact ones: those without LoRA must be the same, the
/// others rounded to 8 bits, once.
static int64_t check_merged_tensor(const ExportSource *source, const StoredTensor *base,
                                   const StoredTensor *merged) {
    assert_int_equal(base->type, merged->type);
    assert_int_equal(base->numel, merged->numel);
    float *w = checked_malloc((size_t)base->numel * sizeof *w),
          *got = checked_malloc((size_t)base->numel * sizeof *got);
    stored_tensor_read_float32(base, 0, base->numel, w);
    stored_tensor_read_float32(merged, 0, base->numel, got);
    int64_t columns = base->shape[base->rank - 1], changed = 0;
    for (int64_t i = 0; i < base->numel; i++) {
        double exact = merged_value(source, base->name, w, i / columns, i % columns, columns);
        changed += got[i] != w[i];
        // Half a unit of bfloat16, and what the float32 sum errs by.
        double half_unit = exact != 0.0 ? ldexp(1.0, ilogb(exact) - 8) : 0.0;
        if (!(fabs((double)got[i] - exact) <= half_unit + 1e-6))
            fail_msg("%s[%lld] is %g, expected %g", base->name, (long long)i, (double)got[i],
                     exact);
    }
    free(w);
    free(got);
    return changed;
}

static void a_merged_model_has_w_plus_scale_b_a_rounded_once_in_shards(void **state) {
    (void)state;
    Error error = {0};
    const char *llm = recorded_path("llama/gqa");
    for (int64_t shard_bytes = 20000; shard_bytes <= 10000000; shard_bytes *= 500) {
        make_temporary_folder(NULL);
        ExportSource source = source_new(llm);
        if (!export_merged(&source, temporary_folder, PUBLISHED_BIN, shard_bytes, &error))
            fail_msg("%s", error.message);
        bool sharded = shard_bytes == 20000;
        assert_int_equal(access(in_folder("model.safetensors.index.json"), F_OK), sharded ? 0 : -1);
        assert_int_equal(access(in_folder("mm_projector.bin"), F_OK), 0);
        assert_int_equal(access(in_folder("generation_config.json"), F_OK), 0);
        ModelDirectory *base = model_directory_open(llm, &error),
                       *merged = model_directory_open(temporary_folder, &error);
        if (!merged) fail_msg("%s", error.message);
        assert_int_equal(model_directory_count(base), model_directory_count(merged));
        int64_t changed = 0;
        for (int64_t i = 0; i < model_directory_count(base); i++) {
            const StoredTensor *stored = model_directory_entry(base, i);
            changed +=
                check_merged_tensor(&source, stored, model_directory_find(merged, stored->name));
        }
        assert_true(changed > 3 * (48 * 48 + 48 * 80) / 2);
        model_directory_close(base);
        model_directory_close(merged);
        source_free(&source);
        remove_temporary_folder(NULL);
    }
}

static void an_adapter_of_another_model_is_not_merged(void **state) {
    (void)state;
    Error error = {0};
    ExportSource source = source_new(recorded_path("llama/gqa"));
    Tensor *x = parameters_add(&source.parameters,
                               "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight",
                               GROUP_LORA, device, SHAPE(2, 48));
    initialize_constant(x, 0);
    assert_false(export_merged(&source, temporary_folder, PUBLISHED_BIN, 1 << 30, &error));
    expect_message(&error, "llama/gqa", (const char *const[3]){"6 of the 7"});
    source.lora.r = 3;
    assert_false(export_merged(&source, temporary_folder, PUBLISHED_BIN, 1 << 30, &error));
    expect_message(&error, "llama/gqa",
                   (const char *const[3]){"down_proj.weight' [48, 80]", "rank 3"});
    source.has_lora = false;
    assert_false(export_merged(&source, temporary_folder, PUBLISHED_BIN, 1 << 30, &error));
    expect_message(&error, "no LoRA", (const char *const[3]){NULL});
    source_free(&source);
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merged_model_has_w_plus_scale_b_a_rounded_once_in_shards),
        IN_FOLDER(an_adapter_of_another_model_is_not_merged),
    };
    return cmocka_run_group_tests(tests, open_device, NULL);
}
