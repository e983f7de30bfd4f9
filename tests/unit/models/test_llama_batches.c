// rooms: models ops checkpoints autograd
/// What a prompt is answered, and the attention of the answer, to the last bit whichever other
/// prompts are in the batch: every kernel level, both types, shapes that vectors do not divide.
#include "tests/unit/op_cases.h"

#include "models/language/llama_generate.h"
#include "models/language/lora.h"
#include "tests/random_llama.h"

enum { PROMPTS = 8, LAYERS = 2, MOST_TOKENS = 14 };

static const int lengths[PROMPTS] = {37, 1, 100, 5, 64, 18, 2, 33};

static const LlamaRope plain_rope = {
    .scaling = ROPE_DEFAULT, .theta = 1e4, .factor = 1.0, .rotation_factor = 1.0};

/// So many tokens end a text that some are ended while others go on.
static LlamaConfig config_of(int hidden, int intermediate, int heads, int kv_heads, int head_dim,
                             int vocabulary) {
    return (LlamaConfig){.hidden_size = hidden,
                         .intermediate_size = intermediate,
                         .num_hidden_layers = LAYERS,
                         .num_attention_heads = heads,
                         .num_key_value_heads = kv_heads,
                         .head_dim = head_dim,
                         .vocab_size = vocabulary,
                         .rms_norm_eps = 1e-5f,
                         .rope = plain_rope,
                         .eos_token_id = {3, 11, 40, 55, 76, 90, 93, 94},
                         .num_eos = LLAMA_MAX_EOS};
}

/// A model, what it is asked, and how.
typedef struct Batch {
    Llama *llama;
    LlamaLora *lora;
    ParameterSet parameters;
    /// [rows of all prompts,C]
    Tensor *embeddings;
    AttentionSelection selection;
    GenerationOptions options;
    /// answers that are ended by a token at least, so that others go on without them
    int least_ended;
} Batch;

static Batch batch_begin(LlamaConfig config, bool windows, bool lora, DType dtype) {
    Batch batch = {.options = {.max_new_tokens = MOST_TOKENS}, .least_ended = 1};
    config.windows = windows ? (int[LAYERS]){0, 24} : NULL;
    config.qkv_bias = windows;
    batch.llama = random_llama(&config, case_device(), dtype);
    LoraOptions options = {.r = 5, .alpha = 10.0f, .seed = 1};
    Error error;
    if (lora) {
        assert_true(
            lora_target_modules((const char *[]){"all-linear"}, 1, options.modules, &error));
        batch.lora = lora_new(batch.llama, &options, &batch.parameters);
        for (int i = 0; i < batch.parameters.count; i++) { // B is zero at first
            Tensor *x = batch.parameters.items[i].value;
            Tensor *values = case_normal_times(0.125, FLOAT32, x->rank, x->shape);
            case_write(x, case_host(values));
        }
    }
    int rows = 0;
    for (int p = 0; p < PROMPTS; p++) rows += lengths[p];
    batch.embeddings = case_normal(dtype, SHAPE(rows, config.hidden_size));
    return batch;
}

static void batch_end(Batch *batch) {
    lora_free(batch->lora);
    parameters_free(&batch->parameters);
    llama_free(batch->llama);
}

static GenerationPrompt prompt_of(int p) {
    return (GenerationPrompt){.length = lengths[p],
                              .index = (uint64_t)p,
                              .first_key = lengths[p] / 4,
                              .num_keys = lengths[p] / 2};
}

/// Asks `count` of the prompts, in the order given.
static void ask(Batch *batch, int count, const int *chosen, Generation *answers) {
    int32_t index[512];
    GenerationPrompt prompts[PROMPTS];
    int rows = 0;
    for (int i = 0; i < count; i++) {
        int first = 0, length = lengths[chosen[i]];
        for (int p = 0; p < chosen[i]; p++) first += lengths[p];
        for (int j = 0; j < length; j++) index[rows++] = first + j;
        prompts[i] = prompt_of(chosen[i]);
    }
    batch->options.attention = &batch->selection;
    Tensor *embeddings =
        gather_rows(batch->embeddings, tensor_from_host(case_device(), INT32, SHAPE(rows), index));
    llama_generate(batch->llama, batch->lora, embeddings, count, prompts, &batch->options, answers);
}

static void expect_same(const Generation *got, const Generation *want, int prompt, int companions) {
    const AttentionMaps *a = &got->attention, *b = &want->attention;
    size_t values = (size_t)b->rows * (size_t)b->layers * (size_t)b->heads * (size_t)b->keys;
    bool same = got->count == want->count && got->ended == want->ended && a->rows == b->rows &&
                !memcmp(got->tokens, want->tokens, (size_t)want->count * sizeof(int32_t));
    if (!same) fail_msg("prompt %d of %d is answered otherwise", prompt, companions);
    if (values && memcmp(a->values, b->values, values * sizeof(float)) != 0)
        fail_msg("prompt %d of %d has other attention", prompt, companions);
}

/// Several compositions of the batch, the whole in two orders, against every prompt alone.
static void check_compositions(Batch *batch) {
    static const int orders[][PROMPTS + 1] = {
        {8, 0, 1, 2, 3, 4, 5, 6, 7}, {8, 7, 4, 6, 5, 0, 3, 2, 1}, {3, 5, 0, 2}, {2, 1, 6}};
    Generation alone[PROMPTS], together[PROMPTS];
    int ended = 0;
    for (int p = 0; p < PROMPTS; p++) {
        ask(batch, 1, &p, &alone[p]);
        ended += alone[p].ended;
    }
    assert_true(ended >= batch->least_ended);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        const int count = orders[i][0], *chosen = orders[i] + 1;
        ask(batch, count, chosen, together);
        for (int j = 0; j < count; j++) {
            expect_same(&together[j], &alone[chosen[j]], chosen[j], count);
            generation_free(&together[j]);
        }
    }
    for (int p = 0; p < PROMPTS; p++) generation_free(&alone[p]);
}

static void check_shape(LlamaConfig config, bool windows, bool lora) {
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
        case_begin();
        Batch batch = batch_begin(config, windows, lora, dtype);
        check_compositions(&batch);
        batch_end(&batch);
        case_end();
    }
}

static void answers_do_not_depend_on_the_batch(void **state) {
    (void)state;
    check_shape(config_of(64, 160, 4, 4, 16, 96), false, false);
}

static void answers_with_odd_shapes_windows_shared_keys_biases_and_lora_do_not(void **state) {
    (void)state;
    check_shape(config_of(99, 171, 6, 2, 22, 101), true, true);
}

/// Large enough that a product of all prompts' rows is another kernel's than that of one's.
static void answers_of_wide_models_with_lora_do_not(void **state) {
    (void)state;
    if (!case_on_cpu()) return; // the library chooses by other rules there
    check_shape(config_of(256, 704, 4, 2, 64, 128), false, true);
}

static void drawn_answers_do_not(void **state) {
    (void)state;
    case_begin();
    Batch batch = batch_begin(config_of(64, 160, 4, 4, 16, 96), true, false, BFLOAT16);
    batch.options.sampling.temperature = 1.0;
    batch.options.sampling.top_p = 0.9;
    batch.least_ended = 0;
    check_compositions(&batch);
    batch_end(&batch);
    case_end();
}

/// Asks all prompts, `places` at a time: as an answer is complete, the next prompt takes its place.
/// Returns the steps.
static int ask_in_turn(Batch *batch, int places, Generation *answers) {
    int next = 0, first = 0, steps = 0;
    batch->options.attention = &batch->selection;
    LlamaWriting *writing = llama_writing_new(batch->llama, batch->lora, places, &batch->options);
    while (next < PROMPTS || llama_writing_count(writing)) {
        for (; next < PROMPTS && llama_writing_count(writing) < places; next++) {
            int32_t index[512];
            GenerationPrompt prompt = prompt_of(next);
            for (int j = 0; j < prompt.length; j++) index[j] = first + j;
            first += prompt.length;
            scope_begin();
            Tensor *rows = tensor_from_host(case_device(), INT32, SHAPE(prompt.length), index);
            llama_writing_add(writing, gather_rows(batch->embeddings, rows), &prompt,
                              &answers[next]);
            scope_end();
        }
        llama_writing_step(writing);
        steps++;
    }
    llama_writing_free(writing);
    return steps;
}

static void answers_whose_place_was_another_s_before_do_not(void **state) {
    (void)state;
    for (int places = 1; places <= 3; places++) {
        case_begin();
        Batch batch = batch_begin(config_of(64, 160, 4, 4, 16, 96), true, true, BFLOAT16);
        Generation alone[PROMPTS], in_turn[PROMPTS];
        int longest = 0, tokens = 0, ended = 0;
        for (int p = 0; p < PROMPTS; p++) {
            ask(&batch, 1, &p, &alone[p]);
            int count = alone[p].count + alone[p].ended;
            tokens += count;
            ended += alone[p].ended;
            if (count > longest) longest = count;
        }
        assert_true(ended >= 1 && ended < PROMPTS);
        int steps = ask_in_turn(&batch, places, in_turn);
        // A place is never empty while there are prompts.
        assert_true(steps <= tokens / places + longest);
        for (int p = 0; p < PROMPTS; p++) {
            assert_true(in_turn[p].complete);
            expect_same(&in_turn[p], &alone[p], p, places);
            generation_free(&in_turn[p]);
            generation_free(&alone[p]);
        }
        batch_end(&batch);
        case_end();
    }
}

/// Longer than what the cache has room for at first (a GPU's kernels that are executed on the
/// processor take their time); the mean of layers and heads.
static void answers_longer_than_the_first_room_of_the_cache_do_not(void **state) {
    (void)state;
    case_begin();
    LlamaConfig config = config_of(16, 24, 2, 1, 8, 96);
    config.num_eos = 1;
    Batch batch = batch_begin(config, true, false, BFLOAT16);
    batch.options.max_new_tokens = case_on_cpu() ? 260 : 132;
    batch.least_ended = 0;
    batch.selection.mean = ATTENTION_MEAN;
    check_compositions(&batch);
    batch_end(&batch);
    case_end();
}

static void nothing_is_left_in_memory(void **state) {
    (void)state;
    assert_int_equal(case_device()->bytes_in_use, 0);
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_do_not_depend_on_the_batch),
        cmocka_unit_test(answers_with_odd_shapes_windows_shared_keys_biases_and_lora_do_not),
        cmocka_unit_test(answers_of_wide_models_with_lora_do_not),
        cmocka_unit_test(drawn_answers_do_not),
        cmocka_unit_test(answers_whose_place_was_another_s_before_do_not),
        cmocka_unit_test(answers_longer_than_the_first_room_of_the_cache_do_not),
        cmocka_unit_test(nothing_is_left_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run_all); }
