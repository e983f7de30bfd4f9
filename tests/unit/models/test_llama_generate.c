// rooms: models ops checkpoints autograd
/// Generation with the language model: greedy against transformers
/// (tests/parity/record_language.py), attention against a pass over the finished text, and the
/// story of a published model.
#include "tests/unit/recorded_llama.h"

#include "models/language/llama_generate.h"

#include <jansson.h>
#include <sys/stat.h>

static void set_prompts(const Recorded *recorded, GenerationPrompt prompts[3]) {
    int *lengths = recorded_ints(recorded_find(recorded->file, "prompts"));
    for (int i = 0; i < 3; i++)
        prompts[i] = (GenerationPrompt){
            .length = lengths[i], .index = (uint64_t)i, .first_key = 1, .num_keys = i == 1 ? 0 : 4};
    free(lengths);
}

/// The prompts' embeddings are the first rows of the recorded ones.
static Tensor *prompt_embeddings(const Recorded *recorded, const GenerationPrompt prompts[3]) {
    const StoredTensor *entry = recorded_find(recorded->file, "embeddings");
    float *values = recorded_floats(entry);
    int rows = prompts[0].length + prompts[1].length + prompts[2].length;
    Tensor *x = tensor_from_host(device, FLOAT32, SHAPE(rows, entry->shape[1]), values);
    free(values);
    return x;
}

static void greedy_continuations_of_a_batch_equal_transformers(void **state) {
    (void)state;
    for (int i = 0; i < NUM_CASES; i++) {
        Recorded recorded = recorded_begin(cases[i]);
        GenerationPrompt prompts[3];
        Generation generations[3];
        set_prompts(&recorded, prompts);
        llama_generate(recorded.llama, NULL, prompt_embeddings(&recorded, prompts), 3, prompts,
                       &(GenerationOptions){.max_new_tokens = 24}, generations);
        for (int s = 0; s < 3; s++) {
            const StoredTensor *entry = recorded_find(recorded.file, "greedy.%d", s);
            int *expected = recorded_ints(entry);
            bool ended = expected[entry->numel - 1] == 2;
            assert_int_equal(generations[s].ended, ended);
            assert_int_equal(generations[s].count, entry->numel - ended);
            assert_memory_equal(generations[s].tokens, expected,
                                (size_t)generations[s].count * sizeof(int));
            free(expected);
            generation_free(&generations[s]);
        }
        recorded_end(&recorded);
    }
}

/// Runs prompt and continuation of one sequence in a single pass and captures the producing rows.
static AttentionMaps teacher_forced(const Recorded *recorded, Tensor *embeddings, int first_row,
                                    const GenerationPrompt *prompt, const Generation *generation,
                                    const AttentionSelection *selection) {
    int32_t index[256];
    int count = 0, total = prompt->length + generation->count;
    for (int i = 0; i < prompt->length; i++) index[count++] = first_row + i;
    for (int i = 0; i < generation->count; i++) index[count++] = -1 - i;
    Tensor *x =
        merge_rows(embeddings, llama_embed(recorded->llama, generation->tokens, generation->count),
                   tensor_from_host(device, INT32, SHAPE(total), index));
    const LlamaConfig *config = &recorded->llama->config;
    AttentionMaps maps = attention_maps_new(selection, config->num_hidden_layers,
                                            config->num_attention_heads, prompt->num_keys);
    CaptureRow rows[64];
    for (int i = 0; i < generation->count; i++)
        rows[i] = (CaptureRow){prompt->length - 1 + i, prompt->first_key, &maps,
                               attention_maps_add_row(&maps)};
    LlamaCapture capture = {selection, generation->count, rows};
    llama_forward(recorded->llama, x, llama_rotations(recorded->llama, 1, NULL, &total, total),
                  llama_attention(recorded->llama, 1, &total),
                  &(LlamaOptions){.capture = &capture});
    return maps;
}

static void attention_while_generating_is_that_of_the_finished_text(void **state) {
    (void)state;
    for (int i = 0; i < NUM_CASES; i++) {
        Recorded recorded = recorded_begin(cases[i]);
        AttentionSelection selection = {0};
        GenerationPrompt prompts[3];
        Generation generations[3];
        set_prompts(&recorded, prompts);
        Tensor *embeddings = prompt_embeddings(&recorded, prompts);
        llama_generate(recorded.llama, NULL, embeddings, 3, prompts,
                       &(GenerationOptions){.max_new_tokens = 9, .attention = &selection},
                       generations);
        int first_row = 0;
        for (int s = 0; s < 3; first_row += prompts[s++].length) {
            const AttentionMaps *got = &generations[s].attention;
            if (prompts[s].num_keys > 0) {
                AttentionMaps expected = teacher_forced(&recorded, embeddings, first_row,
                                                        &prompts[s], &generations[s], &selection);
                assert_int_equal(got->rows, generations[s].count);
                assert_floats_near("attention", got->values, expected.values,
                                   (int64_t)got->rows * got->layers * got->heads * got->keys,
                                   recorded.tolerance);
                attention_maps_free(&expected);
            } else {
                assert_int_equal(got->rows, 0);
            }
            generation_free(&generations[s]);
        }
        recorded_end(&recorded);
    }
}

static void sampling_repeats_with_its_seed_whatever_else_is_in_the_batch(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    GenerationPrompt prompts[3];
    Generation together[3], alone, other;
    set_prompts(&recorded, prompts);
    Tensor *embeddings = prompt_embeddings(&recorded, prompts);
    GenerationOptions options = {.max_new_tokens = 12, .sampling = {1.0, 0.9, 5}};
    llama_generate(recorded.llama, NULL, embeddings, 3, prompts, &options, together);
    int32_t rows[] = {0, 1, 2, 3, 4, 5, 6};
    Tensor *first = gather_rows(embeddings, tensor_from_host(device, INT32, SHAPE(7), rows));
    llama_generate(recorded.llama, NULL, first, 1, prompts, &options, &alone);
    assert_int_equal(alone.count, together[0].count);
    assert_memory_equal(alone.tokens, together[0].tokens, (size_t)alone.count * sizeof(int32_t));
    options.sampling.seed = 6;
    llama_generate(recorded.llama, NULL, first, 1, prompts, &options, &other);
    assert_true(other.count != alone.count ||
                memcmp(other.tokens, alone.tokens, (size_t)alone.count * sizeof(int32_t)) != 0);
    for (int s = 0; s < 3; s++) generation_free(&together[s]);
    generation_free(&alone);
    generation_free(&other);
    recorded_end(&recorded);
}

/// What was told of a sequence: tokens, and how often.
typedef struct Told {
    int32_t tokens[3][32];
    int calls[3], last_of;
    bool ended[3];
} Told;

static bool listen(void *context, int sequence, const Generation *generation) {
    Told *told = context;
    told->calls[sequence]++;
    told->ended[sequence] = generation->ended;
    memcpy(told->tokens[sequence], generation->tokens, (size_t)generation->count * sizeof(int32_t));
    return sequence != told->last_of || generation->count < 4;
}

static void every_token_is_told_of_and_a_sequence_can_be_cut_off(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    GenerationPrompt prompts[3];
    Generation alone[3], heard[3];
    AttentionSelection selection = {0};
    Told told = {.last_of = 1};
    set_prompts(&recorded, prompts);
    Tensor *embeddings = prompt_embeddings(&recorded, prompts);
    GenerationOptions options = {.max_new_tokens = 12, .attention = &selection};
    llama_generate(recorded.llama, NULL, embeddings, 3, prompts, &options, alone);
    options.taken = listen;
    options.context = &told;
    llama_generate(recorded.llama, NULL, embeddings, 3, prompts, &options, heard);
    for (int s = 0; s < 3; s++) {
        int count = s == 1 ? 4 : alone[s].count;
        assert_int_equal(heard[s].count, count);
        assert_memory_equal(heard[s].tokens, alone[s].tokens, (size_t)count * sizeof(int32_t));
        assert_memory_equal(told.tokens[s], alone[s].tokens, (size_t)count * sizeof(int32_t));
        assert_int_equal(told.calls[s], count + heard[s].ended);
        assert_int_equal(told.ended[s], heard[s].ended);
        assert_int_equal(heard[s].attention.rows, prompts[s].num_keys ? count : 0);
    }
    for (int s = 0; s < 3; s++) {
        generation_free(&alone[s]);
        generation_free(&heard[s]);
    }
    recorded_end(&recorded);
}

static void a_sequence_ends_with_any_of_the_tokens_that_end_it(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    GenerationPrompt prompts[3];
    Generation whole[3], cut[3];
    AttentionSelection selection = {0};
    set_prompts(&recorded, prompts);
    Tensor *embeddings = prompt_embeddings(&recorded, prompts);
    GenerationOptions options = {.max_new_tokens = 12, .attention = &selection};
    llama_generate(recorded.llama, NULL, embeddings, 3, prompts, &options, whole);
    assert_true(whole[0].count > 5);
    const int32_t ends[] = {-1, whole[0].tokens[5]};
    options.end_tokens = ends;
    options.num_end_tokens = 2;
    llama_generate(recorded.llama, NULL, embeddings, 3, prompts, &options, cut);
    int first = 0;
    while (whole[0].tokens[first] != ends[1]) first++;
    assert_int_equal(cut[0].count, first);
    assert_true(cut[0].ended);
    assert_memory_equal(cut[0].tokens, whole[0].tokens, (size_t)first * sizeof(int32_t));
    assert_int_equal(cut[0].attention.rows, first);
    for (int s = 0; s < 3; s++) {
        generation_free(&whole[s]);
        generation_free(&cut[s]);
    }
    recorded_end(&recorded);
}

/// The folder of published material, or NULL.
static const char *shared_data(void) {
    const char *path = getenv("DIFFLMM_SHARED_DATA");
    if (!path) path = SOURCE_DIR "/../shared/data";
    struct stat found;
    return stat(path, &found) == 0 ? path : NULL;
}

static void a_published_model_tells_the_story_it_is_known_to_tell(void **state) {
    (void)state;
    char path[512];
    struct stat found;
    snprintf(path, sizeof path, "%s/public/llm/stories260K-hf", shared_data() ? shared_data() : "");
    if (stat(path, &found) != 0) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    Error error;
    Llama *llama = llama_load(path, device, FLOAT32, &error);
    if (!llama) fail_msg("%s", error.message);
    strncat(path, "/golden.json", sizeof path - strlen(path) - 1);
    json_t *golden = json_load_file(path, 0, NULL);
    json_t *ids = json_object_get(golden, "greedy_ids_after_bos");
    json_t *expected_logits = json_object_get(golden, "first_step_logits_float64");
    assert_int_equal(json_array_size(ids), 200);

    scope_begin();
    Tensor *bos = llama_embed(llama, &(int32_t){1}, 1);
    Tensor *hidden = llama_forward(llama, bos, llama_rotations(llama, 1, NULL, &(int){1}, 1),
                                   llama_attention(llama, 1, &(int){1}), &(LlamaOptions){0});
    float logits[512], expected[512];
    tensor_to_host_float(llama_logits(llama, hidden, NULL), logits);
    for (size_t i = 0; i < 512; i++)
        expected[i] = (float)json_real_value(json_array_get(expected_logits, i));
    assert_floats_near("logits", logits, expected, 512, float32_tolerance(172, 10.0 * 5 + 2));
    double worst = 0.0;
    for (int i = 0; i < 512; i++) worst = fmax(worst, fabs((double)logits[i] - expected[i]));
    print_message("logits off by at most %.1e\n", worst);
    assert_true(worst <= 1e-4);

    Generation generation;
    llama_generate(llama, NULL, bos, 1, &(GenerationPrompt){.length = 1},
                   &(GenerationOptions){.max_new_tokens = 200}, &generation);
    assert_int_equal(generation.count, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(generation.tokens[i], json_integer_value(json_array_get(ids, i)));
    generation_free(&generation);
    scope_end();
    json_decref(golden);
    llama_free(llama);
}

static void nothing_is_left_in_memory(void **state) {
    (void)state;
    assert_int_equal(device->bytes_in_use, 0);
}

static int run_all(void) {
    device = case_device();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_continuations_of_a_batch_equal_transformers),
        cmocka_unit_test(attention_while_generating_is_that_of_the_finished_text),
        cmocka_unit_test(every_token_is_told_of_and_a_sequence_can_be_cut_off),
        cmocka_unit_test(a_sequence_ends_with_any_of_the_tokens_that_end_it),
        cmocka_unit_test(sampling_repeats_with_its_seed_whatever_else_is_in_the_batch),
        cmocka_unit_test(a_published_model_tells_the_story_it_is_known_to_tell),
        cmocka_unit_test(nothing_is_left_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
