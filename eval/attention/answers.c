#include "eval/attention/answers.h"

#include <stdlib.h>
#include <string.h>

/// Noise of evaluation never meets that of training: its pass numbers have the highest bit set.
static const uint64_t EVALUATION_PASS = 1ull << 63;

/// A batch of prompts with their images, as the model wants them.
typedef struct Prompts {
    int count;
    float *images;
    TokenSequence *sequences;
    TokenSample *samples;
    uint64_t *passes, *indices;
} Prompts;

static void prompts_free(Prompts *prompts) {
    for (int i = 0; i < prompts->count; i++) token_sequence_free(&prompts->sequences[i]);
    free(prompts->images);
    free(prompts->sequences);
    free(prompts->samples);
    free(prompts->passes);
    free(prompts->indices);
}

static bool add_prompt(const AnswerOptions *options, const Question *question, Prompts *prompts,
                       ImageGeometry *geometry, Error *error) {
    int64_t side = options->model->options.image_size;
    int i = prompts->count;
    Image square;
    if (!image_preprocess(question->image, options->image_aspect, (int)side, &square, geometry,
                          error))
        return false;
    image_to_float(&square, prompts->images + i * side * side * 3);
    image_free(&square);
    Turn turn = {ROLE_HUMAN, question->text};
    if (!conversation_prompt(options->tokenizer, &options->format, &turn, 1, true,
                             &prompts->sequences[i], error))
        return false;
    prompts->samples[i] = (TokenSample){
        .ids = prompts->sequences[i].ids, .count = prompts->sequences[i].count, .image = i};
    prompts->passes[i] = EVALUATION_PASS | question->index;
    prompts->indices[i] = question->index;
    prompts->count++;
    return true;
}

static bool make_prompts(const AnswerOptions *options, const Question *questions, int count,
                         ImageAnswer *answers, Prompts *prompts, Error *error) {
    int64_t side = options->model->options.image_size;
    size_t n = (size_t)count;
    *prompts = (Prompts){0,
                         checked_malloc(n * (size_t)(side * side * 3) * sizeof(float)),
                         checked_calloc(n, sizeof(TokenSequence)),
                         checked_calloc(n, sizeof(TokenSample)),
                         checked_calloc(n, sizeof(uint64_t)),
                         checked_calloc(n, sizeof(uint64_t))};
    for (int i = 0; i < count; i++)
        if (!add_prompt(options, &questions[i], prompts, &answers[i].geometry, error)) return false;
    return true;
}

/// The answer's own rows: it is read once more behind its prompt.
static void attend_with_own_rows(const AnswerOptions *options, const TokenSample *prompt,
                                 Tensor *visual, Generation *generation) {
    int total = prompt->count + generation->count;
    int32_t *ids = checked_malloc((size_t)total * sizeof *ids);
    int *tokens = checked_malloc(((size_t)generation->count + 1) * sizeof *tokens);
    memcpy(ids, prompt->ids, (size_t)prompt->count * sizeof *ids);
    for (int i = 0; i < generation->count; i++) {
        ids[prompt->count + i] = generation->tokens[i];
        tokens[i] = prompt->count + i;
    }
    TokenSample whole = {.ids = ids, .count = total, .image = prompt->image};
    attention_maps_free(&generation->attention);
    generation->attention =
        difflmm_attention(options->model, &whole, visual, tokens, generation->count, options->row,
                          options->generation.attention);
    free(ids);
    free(tokens);
}

static void take_answer(const AnswerOptions *options, Generation *generation, ImageAnswer *out) {
    DecodedText decoded =
        tokenizer_decode(options->tokenizer, generation->tokens, generation->count);
    int cells = options->model->num_visual_tokens, grid = options->model->grid;
    CHECK(generation->attention.layers == 1 && generation->attention.heads == 1,
          "attention is to be averaged");
    size_t bytes = (size_t)generation->count * (size_t)cells * sizeof(float);
    out->ended = generation->ended;
    out->answer = (Answer){decoded.text,  generation->count,
                           decoded.begin, decoded.end,
                           grid,          checked_malloc(bytes + sizeof(float))};
    if (bytes) memcpy(out->answer.maps, generation->attention.values, bytes);
}

bool answer_questions(const AnswerOptions *options, const Question *questions, int count,
                      ImageAnswer *answers, Error *error) {
    const DiffLMM *model = options->model;
    int64_t side = model->options.image_size;
    Prompts prompts;
    bool ok = make_prompts(options, questions, count, answers, &prompts, error);
    if (ok) {
        Generation *generations = checked_calloc((size_t)count, sizeof *generations);
        scope_begin();
        FrozenFeatures features = difflmm_frozen_features(
            model,
            tensor_from_host(model->device, FLOAT32, SHAPE(count, side, side, 3), prompts.images));
        DiffusionNoise noise = {.passes = prompts.passes};
        Tensor *visual = difflmm_visual_tokens(model, &features, &noise, NULL);
        difflmm_generate(model, prompts.samples, count, prompts.indices, visual,
                         &options->generation, generations);
        for (int i = 0; i < count; i++) {
            if (options->row == ATTENTION_OWN_ROW)
                attend_with_own_rows(options, &prompts.samples[i], visual, &generations[i]);
            take_answer(options, &generations[i], &answers[i]);
            generation_free(&generations[i]);
        }
        scope_end();
        free(generations);
    }
    prompts_free(&prompts);
    return ok;
}
