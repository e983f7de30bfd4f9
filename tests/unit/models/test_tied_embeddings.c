// rooms: models ops checkpoints autograd
// Configurations that tie lm_head to the embeddings, over files that have both, one, or none of the
// two.
#include "tests/unit/op_cases.h"

#include "models/language/llama.h"
#include "models/weights.h"
#include "tests/unit/temporary_folder.h"

enum { WIDTH = 4, VOCABULARY = 6, MOST_TENSORS = 16 };

static char heard[1024];

static void hear(const char *message) { snprintf(heard, sizeof heard, "%s", message); }

typedef struct Model {
    SafetensorsTensor tensors[MOST_TENSORS];
    int count;
} Model;

static const int64_t matrix[] = {WIDTH, WIDTH}, vector[] = {WIDTH}, table[] = {VOCABULARY, WIDTH};

static void put(Model *model, const char *name, int rank, const int64_t *shape, const float *data) {
    model->tensors[model->count++] = (SafetensorsTensor){name, ELEMENT_F32, rank, shape, data};
}

/// A decoder of one layer with these embeddings and this head (NULL: not in the file), tied by its
/// configuration.
static Llama *load_tied(const float *embeddings, const float *head, Error *error) {
    static const float values[WIDTH * WIDTH];
    static const char *const linears[] = {
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
    static char names[7][80];
    Model model = {0};
    if (embeddings) put(&model, "model.embed_tokens.weight", 2, table, embeddings);
    if (head) put(&model, "lm_head.weight", 2, table, head);
    put(&model, "model.norm.weight", 1, vector, values);
    put(&model, "model.layers.0.input_layernorm.weight", 1, vector, values);
    put(&model, "model.layers.0.post_attention_layernorm.weight", 1, vector, values);
    for (int i = 0; i < 7; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.0.%s.weight", linears[i]);
        put(&model, names[i], 2, matrix, values);
    }
    write_text("config.json",
               "{\"model_type\": \"llama\", \"hidden_size\": 4, \"intermediate_size\": 4, "
               "\"num_hidden_layers\": 1, \"num_attention_heads\": 1, \"vocab_size\": "
               "6, \"tie_word_embeddings\": true}");
    assert_true(safetensors_write(in_folder("model.safetensors"), model.tensors, model.count, NULL,
                                  0, error));
    heard[0] = 0;
    weights_on_warning(hear);
    Llama *llama = llama_load(temporary_folder, case_device(), FLOAT32, error);
    weights_on_warning(NULL);
    return llama;
}

static void expect_values(const Tensor *x, const float *expected) {
    float values[VOCABULARY * WIDTH];
    tensor_to_host_float(x, values);
    assert_memory_equal(values, expected, sizeof values);
}

static void a_head_that_differs_from_the_embeddings_is_used_and_told(void **state) {
    (void)state;
    Error error;
    float embeddings[VOCABULARY * WIDTH] = {1, 2, 3}, head[VOCABULARY * WIDTH] = {1, 2, 3};
    head[VOCABULARY * WIDTH - 1] = 0.5f;
    Llama *llama = load_tied(embeddings, head, &error);
    if (!llama) fail_msg("%s", error.message);
    expect_values(llama->lm_head, head);
    expect_values(llama->embed_tokens, embeddings);
    assert_non_null(strstr(heard, "tie_word_embeddings is true, but lm_head.weight is another"));
    assert_non_null(strstr(heard, temporary_folder));
    llama_free(llama);
}

static void a_head_that_equals_the_embeddings_is_tied_in_silence(void **state) {
    (void)state;
    Error error;
    const float embeddings[VOCABULARY * WIDTH] = {1, 2, 3};
    Llama *llama = load_tied(embeddings, embeddings, &error);
    if (!llama) fail_msg("%s", error.message);
    assert_ptr_equal(llama->lm_head, llama->embed_tokens);
    assert_string_equal(heard, "");
    llama_free(llama);
}

static void the_one_of_the_two_that_is_there_is_both(void **state) {
    (void)state;
    Error error;
    const float values[VOCABULARY * WIDTH] = {1, 2, 3};
    for (int i = 0; i < 2; i++) {
        Llama *llama = load_tied(i ? values : NULL, i ? NULL : values, &error);
        if (!llama) fail_msg("%s", error.message);
        assert_ptr_equal(llama->lm_head, llama->embed_tokens);
        expect_values(llama->lm_head, values);
        assert_string_equal(heard, "");
        llama_free(llama);
    }
    assert_null(load_tied(NULL, NULL, &error));
    assert_non_null(strstr(error.message, "model.embed_tokens.weight"));
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_that_differs_from_the_embeddings_is_used_and_told),
        cmocka_unit_test(a_head_that_equals_the_embeddings_is_tied_in_silence),
        cmocka_unit_test(the_one_of_the_two_that_is_there_is_both),
    };
    return cmocka_run_group_tests(tests, make_temporary_folder, remove_temporary_folder);
}

int main(void) { return case_run_levels(run_all); }
