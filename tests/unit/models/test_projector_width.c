// rooms: models ops checkpoints autograd
/// The projector with a width of its own between its two layers, in both architectures: how many
/// parameters, how they begin, and what PyTorch computes with them
/// (tests/parity/record_projector_width.py).
#include "tests/unit/recorded.h"

#include "checkpoints/projector_width.h"
#include "checkpoints/published_adapters.h"
#include "models/adapters.h"

enum { TOKENS = 4, CLIP = 6, CONTEXT = 5, UNET = 7, LLM = 8 };

typedef struct Model {
    ParameterSet parameters;
    Adapters adapters;
} Model;

static Model model_new(AdapterKind kind, int width, bool clip_concat) {
    Model model = {0};
    AdapterOptions options = {.kind = kind,
                              .implicit_captioner = true,
                              .positional_encodings = true,
                              .clip_concat = clip_concat,
                              .num_tokens = TOKENS,
                              .clip_width = CLIP,
                              .context_width = CONTEXT,
                              .unet_width = UNET,
                              .llm_width = LLM,
                              .projector_width = width,
                              .positional_encoding_std = 1,
                              .seed = 3};
    model.adapters = adapters_new(&options, &model.parameters, case_device());
    return model;
}

static int linear_count(int in, int out) { return out * in + out; }

static void parameters_are_as_many_as_the_widths_say(void **state) {
    (void)state;
    const int widths[] = {0, 1, 3, 8, 291};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        int w = widths[i] ? widths[i] : LLM;
        Model llava = model_new(ADAPTERS_LLAVA, widths[i], true);
        assert_int_equal(parameters_count_elements(&llava.parameters),
                         linear_count(CLIP, w) + linear_count(w, LLM));
        parameters_free(&llava.parameters);
        for (int concat = 0; concat < 2; concat++) {
            Model difflmm = model_new(ADAPTERS_DIFFLMM, widths[i], concat);
            int others = linear_count(CLIP, CONTEXT) + linear_count(CONTEXT, CONTEXT) +
                         TOKENS * CONTEXT + 2 * UNET + linear_count(UNET, LLM / 4) + TOKENS * LLM;
            int in = LLM / 4 + (concat ? CLIP : 0);
            assert_int_equal(parameters_count_elements(&difflmm.parameters),
                             others + linear_count(in, w) + linear_count(w, LLM));
            parameters_free(&difflmm.parameters);
        }
    }
}

static void the_published_width_begins_with_the_same_bits_whether_it_is_said(void **state) {
    (void)state;
    for (AdapterKind kind = ADAPTERS_DIFFLMM; kind <= ADAPTERS_LLAVA; kind++) {
        Model silent = model_new(kind, 0, true), told = model_new(kind, LLM, true);
        assert_int_equal(silent.parameters.count, told.parameters.count);
        case_begin();
        for (int i = 0; i < silent.parameters.count; i++) {
            const Tensor *a = silent.parameters.items[i].value, *b = told.parameters.items[i].value;
            assert_string_equal(silent.parameters.items[i].name, told.parameters.items[i].name);
            assert_true(same_shape(a, b));
            assert_memory_equal(case_host(a), case_host(b),
                                (size_t)tensor_numel(a) * sizeof(float));
        }
        case_end();
        parameters_free(&silent.parameters);
        parameters_free(&told.parameters);
    }
}

/// Uniform within 1/sqrt(fan_in): of thousands of values some come near the bound.
static void expect_uniform(const Tensor *x, double fan_in) {
    double largest = 0, bound = 1 / sqrt(fan_in);
    case_begin();
    const double *values = case_doubles(x);
    for (int64_t i = 0; i < tensor_numel(x); i++) largest = fmax(largest, fabs(values[i]));
    case_end();
    assert_true(largest <= bound * (1 + 1e-6) && largest > 0.95 * bound);
}

static void layers_begin_uniform_within_what_they_take(void **state) {
    (void)state;
    Model model = model_new(ADAPTERS_LLAVA, 400, true);
    expect_uniform(model.adapters.linears[0].weight, CLIP);
    expect_uniform(model.adapters.linears[0].bias, CLIP);
    expect_uniform(model.adapters.linears[1].weight, 400);
    parameters_free(&model.parameters);
}

static Tensor *input(const SafetensorsFile *file, const char *name) {
    const StoredTensor *stored = safetensors_find(file, name);
    if (!stored) fail_msg("no tensor '%s'", name);
    return tensor_from_host(case_device(), FLOAT32, stored->rank, stored->shape, stored->data);
}

static void expect_recorded(AdapterKind kind, int width) {
    char name[64], path[256];
    Error error = {0};
    snprintf(name, sizeof name, "projector_width/%s-%d",
             kind == ADAPTERS_LLAVA ? "llava" : "difflmm", width);
    snprintf(path, sizeof path, "%s/outputs.safetensors", recorded_path(name));
    Model model = model_new(kind, width, true);
    SafetensorsFile *file = safetensors_open(path, &error);
    PublishedAdapters *published = published_adapters_open(recorded_path(name), &error);
    if (!file || !published ||
        !published_adapters_load(published, &model.parameters, false, &error))
        fail_msg("%s", error.message);
    case_begin();
    tape_begin();
    Tensor *tokens = adapters_project(&model.adapters, input(file, "clip"),
                                      kind == ADAPTERS_LLAVA ? NULL : input(file, "unet"));
    // Some eight values on the way, and back, each of sums of at most 13 products.
    recorded_expect(name, "visual_tokens", tokens, input(file, "visual_tokens"),
                    recorded_bound(FLOAT32, 8, 13));
    backward(tokens, input(file, "grad"), NULL);
    tape_end();
    int compared = 0;
    for (int i = 0; i < model.parameters.count; i++) {
        const Parameter *parameter = &model.parameters.items[i];
        if (!safetensors_find(file, parameter->name)) {
            assert_null(grad(parameter->value)); // the captioner's
            continue;
        }
        recorded_expect(name, parameter->name, grad(parameter->value), input(file, parameter->name),
                        recorded_bound(FLOAT32, 16, 13));
        compared++;
    }
    assert_int_equal(compared, kind == ADAPTERS_LLAVA ? 4 : 9);
    case_end();
    published_adapters_close(published);
    safetensors_close(file);
    parameters_free(&model.parameters);
}

static void tokens_and_gradients_are_those_of_pytorch(void **state) {
    (void)state;
    for (AdapterKind kind = ADAPTERS_DIFFLMM; kind <= ADAPTERS_LLAVA; kind++) {
        expect_recorded(kind, 3);
        expect_recorded(kind, 13);
    }
}

// ---- stored widths

static void a_stored_width_is_told_by_its_shapes_where_it_is_not_the_published_one(void **state) {
    (void)state;
    for (int width = 3; width <= LLM; width += LLM - 3)
        for (AdapterKind kind = ADAPTERS_DIFFLMM; kind <= ADAPTERS_LLAVA; kind++) {
            Error error = {0};
            make_temporary_folder(NULL);
            Model model = model_new(kind, width, true);
            assert_true(published_adapters_write(temporary_folder, &model.parameters, false,
                                                 PUBLISHED_BIN, &error));
            PublishedAdapters *published = published_adapters_open(temporary_folder, &error);
            bool is_llava = kind == ADAPTERS_LLAVA;
            assert_int_equal(published_adapters_projector_width(published, is_llava),
                             width == LLM ? 0 : width);
            assert_int_equal(published_adapters_projector_width(published, !is_llava), 0);
            published_adapters_close(published);
            parameters_free(&model.parameters);
            remove_temporary_folder(NULL);
        }
}

static void a_width_that_differs_is_one_error_with_both_and_the_key(void **state) {
    (void)state;
    for (AdapterKind kind = ADAPTERS_DIFFLMM; kind <= ADAPTERS_LLAVA; kind++) {
        Error error = {0};
        make_temporary_folder(NULL);
        Model three = model_new(kind, 3, true), published_width = model_new(kind, 0, true);
        assert_true(published_adapters_write(temporary_folder, &three.parameters, false,
                                             PUBLISHED_SAFETENSORS, &error));
        PublishedAdapters *published = published_adapters_open(temporary_folder, &error);
        assert_false(
            published_adapters_load(published, &published_width.parameters, false, &error));
        if (!strstr(error.message, temporary_folder) ||
            !strstr(error.message, "3 wide between its two layers, that of the configured model 8; "
                                   "set model.projector_width to 3"))
            fail_msg("%s", error.message);
        published_adapters_close(published);
        parameters_free(&three.parameters);
        parameters_free(&published_width.parameters);
        remove_temporary_folder(NULL);
    }
}

/// Of another language model, whose width the published one would follow, the width is not at
/// fault.
static void another_language_model_is_no_matter_of_the_width(void **state) {
    (void)state;
    Error error = {0};
    make_temporary_folder(NULL);
    Model model = model_new(ADAPTERS_LLAVA, 0, true);
    AdapterOptions wider = model.adapters.options;
    wider.llm_width = 12;
    Model other = {0};
    other.adapters = adapters_new(&wider, &other.parameters, case_device());
    assert_true(published_adapters_write(temporary_folder, &model.parameters, false, PUBLISHED_BIN,
                                         &error));
    PublishedAdapters *published = published_adapters_open(temporary_folder, &error);
    assert_false(published_adapters_load(published, &other.parameters, false, &error));
    assert_null(strstr(error.message, "projector_width"));
    assert_non_null(strstr(error.message, "of another shape: 'model.mm_projector.0.weight'"));
    published_adapters_close(published);
    parameters_free(&model.parameters);
    parameters_free(&other.parameters);
    remove_temporary_folder(NULL);
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_as_many_as_the_widths_say),
        cmocka_unit_test(the_published_width_begins_with_the_same_bits_whether_it_is_said),
        cmocka_unit_test(layers_begin_uniform_within_what_they_take),
        cmocka_unit_test(tokens_and_gradients_are_those_of_pytorch),
        cmocka_unit_test(a_stored_width_is_told_by_its_shapes_where_it_is_not_the_published_one),
        cmocka_unit_test(a_width_that_differs_is_one_error_with_both_and_the_key),
        cmocka_unit_test(another_language_model_is_no_matter_of_the_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
