// rooms: train eval models ops checkpoints tiny_world data autograd
// Memory that is planned of what cannot be run here: many processes, a GPU, seven billion
// parameters.
#include "tests/unit/planned_training.h"
#include "train/plan/plan_device.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void every_activation_of_a_vision_tower_can_be_planned(void **state) {
    (void)state;
    static const char *const activations[] = {"gelu", "gelu_new", "gelu_pytorch_tanh",
                                              "quick_gelu"};
    static char tower[300];
    char command[1200];
    snprintf(tower, sizeof tower, "model.vision_tower=%s", in_folder("clip"));
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        snprintf(command, sizeof command,
                 "rm -rf %s/clip && cp -r %s/clip %s/ && sed -i 's/\"quick_gelu\"/\"%s\"/' "
                 "%s/clip/config.json",
                 temporary_folder, TINY, temporary_folder, activations[i], temporary_folder);
        assert_int_equal(system(command), 0);
        Config *config = configure(SETTINGS(tower));
        Plan *plan = plan_of(config);
        assert_true(plan->memory.known);
        plan_free(plan);
        config_free(config);
    }
}

static void a_sharded_optimizer_takes_a_share_of_the_memory(void **state) {
    (void)state;
    const char *const *settings[] = {
        SETTINGS("lora.lora_enable=true", "lora.lora_r=128"),
        SETTINGS("lora.lora_enable=true", "lora.lora_r=128", "training.shard_optimizer=true")};
    int64_t bytes[2];
    for (int sharded = 0; sharded < 2; sharded++) {
        Config *config = configure(settings[sharded]);
        Plan *plan = plan_make(config, &(PlanOptions){.processes = 4});
        bytes[sharded] = plan->memory.by_kind[MEMORY_OPTIMIZER];
        assert_int_equal(plan->schedule.global_batch, 32);
        plan_free(plan);
        config_free(config);
    }
    // Blocks are rounded up by as much as an eighth.
    assert_true(fabs((double)bytes[0] / (double)bytes[1] / 4 - 1) < 0.125);
}

/// What one product asks for on a GPU that is planned.
static int64_t bytes_of_product(bool has_bias) {
    Device *device = plan_device_open(&(PlanDeviceOptions){.cuda = true, .threads = 1});
    scope_begin();
    Tensor *x = tensor_new(device, BFLOAT16, SHAPE(4096, 1024));
    Tensor *weight = tensor_new(device, BFLOAT16, SHAPE(1024, 1024));
    Tensor *bias = tensor_new(device, FLOAT32, SHAPE(1024)), *y = tensor_like(x);
    int64_t before = plan_device_requested(device);
    kernels(x)->linear(x, weight, has_bias ? bias : NULL, false, y);
    int64_t bytes = plan_device_requested(device) - before;
    scope_end();
    plan_device_close(device);
    return bytes;
}

static void a_bias_takes_no_working_memory_of_a_gpu(void **state) {
    (void)state;
    assert_true(bytes_of_product(false) > 0);
    assert_true(bytes_of_product(true) == bytes_of_product(false));
}

// ---- a large model, of which there are headers only

static int64_t add_tensor(json_t *header, const char *name, int64_t rows, int64_t columns,
                          int64_t offset) {
    int64_t end = offset + 2 * rows * (columns ? columns : 1);
    json_t *shape = columns ? json_pack("[I, I]", (json_int_t)rows, (json_int_t)columns)
                            : json_pack("[I]", (json_int_t)rows);
    json_object_set_new(header, name,
                        json_pack("{s:s, s:o, s:[I, I]}", "dtype", "BF16", "shape", shape,
                                  "data_offsets", (json_int_t)offset, (json_int_t)end));
    return end;
}

enum { LAYERS = 32, WIDTH = 4096, INNER = 11008, WORDS = 32000 };

/// A safetensors file with Llama-7B's header, and a hole where the weights would be.
static void write_llama_7b(const char *path) {
    static const char *const squares[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    json_t *header = json_object();
    char name[96];
    int64_t end = add_tensor(header, "model.embed_tokens.weight", WORDS, WIDTH, 0);
    end = add_tensor(header, "lm_head.weight", WORDS, WIDTH, end);
    end = add_tensor(header, "model.norm.weight", WIDTH, 0, end);
    for (int i = 0; i < LAYERS; i++) {
        for (int k = 0; k < 4; k++) {
            snprintf(name, sizeof name, "model.layers.%d.self_attn.%s.weight", i, squares[k]);
            end = add_tensor(header, name, WIDTH, WIDTH, end);
        }
        snprintf(name, sizeof name, "model.layers.%d.mlp.gate_proj.weight", i);
        end = add_tensor(header, name, INNER, WIDTH, end);
        snprintf(name, sizeof name, "model.layers.%d.mlp.up_proj.weight", i);
        end = add_tensor(header, name, INNER, WIDTH, end);
        snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight", i);
        end = add_tensor(header, name, WIDTH, INNER, end);
        snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", i);
        end = add_tensor(header, name, WIDTH, 0, end);
        snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight", i);
        end = add_tensor(header, name, WIDTH, 0, end);
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    uint64_t length = strlen(text);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&length, sizeof length, 1, file), 1);
    assert_int_equal(fwrite(text, 1, length, file), length);
    free(text);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, (off_t)(8 + length) + end), 0);
}

/// One byte for a weight of the layers, and four for each of their rows.
static void expect_half_the_memory(const char *llm) {
    Config *config = configure(SETTINGS(llm, "model.frozen_dtype=fp8"));
    Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
    assert_true(plan->memory.known);
    double layers = LAYERS * (4.0 * WIDTH * WIDTH + 3.0 * WIDTH * INNER);
    double rows = LAYERS * (5.0 * WIDTH + 2.0 * INNER);
    double weights = (double)plan->memory.by_kind[MEMORY_WEIGHTS] /
                     (layers + 4 * rows + 2.0 * 2.0 * WIDTH * WORDS);
    assert_true(weights > 1 && weights < 1.125);
    plan_free(plan);
    config_free(config);
}

static void a_model_of_seven_billion_parameters_is_planned_from_its_header(void **state) {
    (void)state;
    static char llm[300];
    char command[1200];
    assert_int_equal(mkdir(in_folder("7b"), 0777), 0);
    snprintf(llm, sizeof llm, "model.llm=%s", in_folder("7b"));
    snprintf(command, sizeof command, "cp %s/llm/tokenizer.model %s/7b/", TINY, temporary_folder);
    assert_int_equal(system(command), 0);
    write_text("7b/config.json",
               "{\"model_type\": \"llama\", \"hidden_size\": 4096, \"intermediate_size\": 11008, "
               "\"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"vocab_size\": 32000}");
    write_llama_7b(in_folder("7b/model.safetensors"));
    double all[2], activations[2];
    for (int recompute = 0; recompute < 2; recompute++) {
        Config *config =
            configure(SETTINGS(llm, "lora.lora_enable=true", "lora.lora_r=128",
                               recompute ? "model.recompute=all" : "model.recompute=none"));
        Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
        assert_true(plan->memory.known);
        int64_t frozen = 0, lora = 0;
        for (int i = 0; i < plan->part_count; i++) {
            if (!strcmp(plan->parts[i].name, "language model")) frozen = plan->parts[i].parameters;
            if (!strcmp(plan->parts[i].name, "LoRA")) lora = plan->parts[i].parameters;
        }
        assert_int_equal(frozen, 6738415616);
        assert_int_equal(lora, 319815680);
        all[recompute] = (double)plan->memory.peak;
        activations[recompute] = (double)plan->memory.by_kind[MEMORY_ACTIVATIONS];
        // Two bytes for a frozen weight, four for a trained one; blocks are up to an eighth larger.
        double weights = (double)plan->memory.by_kind[MEMORY_WEIGHTS] /
                         (2.0 * (double)frozen + 4.0 * (double)lora);
        assert_true(weights > 1 && weights < 1.125);
        plan_free(plan);
        config_free(config);
    }
    // The inputs of 32 layers are kept in place of some thirteen tensors of each.
    assert_true(activations[1] < activations[0] / 4 && all[1] < all[0]);
    expect_half_the_memory(llm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_activation_of_a_vision_tower_can_be_planned),
        cmocka_unit_test(a_sharded_optimizer_takes_a_share_of_the_memory),
        cmocka_unit_test(a_bias_takes_no_working_memory_of_a_gpu),
        cmocka_unit_test(a_model_of_seven_billion_parameters_is_planned_from_its_header),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
