#include "eval/attention/answers.h"

#include "autograd/stop_request.h"

#include <stdlib.h>
#include <string.h>

/// Noise of evaluation never meets that of training: its pass numbers have the highest bit set.
static const uint64_t EVALUATION_PASS = 1ull << 63;

/// Questions of one batch, as the model wants them.
typedef struct Batch {
    const AnswerOptions *options;
    const Question *questions;
    int count, num_images;
    /// [count]
    TokenSequence *prompts;
    TokenSample *samples;
    uint64_t *numbers;
    /// [count], tokens of given answers
    TokenList *given_tokens;
    /// [num_images,N,d] what the language model sees of the images
    Tensor *visual;
} Batch;

static void batch_free(Batch *batch) {
    for (int i = 0; i < batch->count; i++) {
        token_sequence_free(&batch->prompts[i]);
        token_list_free(&batch->given_tokens[i]);
    }
    free(batch->prompts);
    free(batch->samples);
    free(batch->numbers);
    free(batch->given_tokens);
}

// ---- what is seen

/// Whether question i is about the same picture, with the same noise, as the one before it.
static bool is_seen_already(const Batch *batch, int i) {
    const Question *one = &batch->questions[i], *before = one - 1;
    return i > 0 && one->image == before->image && one->index == before->index;
}

static Tensor *see(const AnswerOptions *options, const float *pixels, uint64_t index) {
    const DiffLMM *model = options->model;
    int64_t side = model->options.image_size;
    uint64_t pass = EVALUATION_PASS | index;
    DiffusionNoise noise = {.passes = &pass};
    scope_begin();
    FrozenFeatures features = difflmm_frozen_features(
        model, tensor_from_host(model->device, FLOAT32, SHAPE(1, side, side, 3), pixels));
    return scope_end_returning(difflmm_visual_tokens(model, &features, &noise, NULL));
}

/// a and b [.,N,d], one behind the other.
static Tensor *append_images(Tensor *a, Tensor *b) {
    if (!a) return b;
    int64_t tokens = a->shape[1], width = a->shape[2], of_a = a->shape[0] * tokens,
            total = of_a + b->shape[0] * tokens;
    int32_t *order = checked_malloc((size_t)total * sizeof *order);
    for (int64_t i = 0; i < total; i++) order[i] = (int32_t)(i < of_a ? i : of_a - 1 - i);
    scope_begin();
    Tensor *rows = merge_rows(reshape(a, 2, (int64_t[]){of_a, width}),
                              reshape(b, 2, (int64_t[]){total - of_a, width}),
                              tensor_from_host(a->device, INT32, SHAPE(total), order));
    free(order);
    return scope_end_returning(reshape(rows, 3, (int64_t[]){total / tokens, tokens, width}));
}

static void frame_answer(const ImageGeometry *geometry, int grid, Answer *answer) {
    answer->grid = (CellGrid){grid, grid};
    answer->frame = token_frame(geometry);
    answer->image_height = geometry->original_height;
    answer->image_width = geometry->original_width;
}

static bool see_images(Batch *batch, Answer *answers, Error *error) {
    const AnswerOptions *options = batch->options;
    int side = (int)options->model->options.image_size;
    float *pixels = checked_malloc((size_t)side * (size_t)side * 3 * sizeof *pixels);
    ImageGeometry geometry;
    bool ok = true;
    for (int i = 0; ok && i < batch->count; i++) {
        if (!is_seen_already(batch, i)) {
            Image square;
            ok = image_preprocess(batch->questions[i].image, options->image_aspect,
                                  options->image_normalization, side, &square, &geometry, error);
            if (!ok) break;
            image_to_float(&square, options->image_normalization, pixels);
            image_free(&square);
            batch->visual =
                append_images(batch->visual, see(options, pixels, batch->questions[i].index));
            batch->num_images++;
        }
        batch->samples[i].image = batch->num_images - 1;
        frame_answer(&geometry, options->model->grid, &answers[i]);
    }
    free(pixels);
    return ok;
}

// ---- what is asked

static bool tokenize_question(Batch *batch, int i, Error *error) {
    const Question *question = &batch->questions[i];
    int count = question->num_earlier;
    Turn *turns = checked_malloc(((size_t)count + 1) * sizeof *turns);
    for (int t = 0; t < count; t++) turns[t] = question->earlier[t];
    turns[count] = (Turn){ROLE_HUMAN, question->text};
    bool ok = conversation_prompt(batch->options->tokenizer, &batch->options->format, turns,
                                  count + 1, true, &batch->prompts[i], error);
    free(turns);
    if (!ok) return false;
    batch->samples[i].ids = batch->prompts[i].ids;
    batch->samples[i].count = batch->prompts[i].count;
    batch->numbers[i] = batch->questions[i].number;
    return true;
}

/// The given answer's tokens, with their places in the whole text, and the utterances' ranges.
static bool tokenize_given(Batch *batch, int i, Answer *answer, Error *error) {
    const Question *question = &batch->questions[i];
    TokenList *list = &batch->given_tokens[i];
    int offset = 0;
    answer->num_utterances = question->num_utterances;
    answer->utterances =
        checked_calloc((size_t)question->num_utterances + 1, sizeof *answer->utterances);
    answer->text = checked_calloc(1, 1);
    for (int u = 0; u < question->num_utterances; u++) {
        const char *text = question->utterances[u];
        size_t length = strlen(text);
        int first = list->count;
        if (!tokenizer_encode(batch->options->tokenizer, text, length, list, error)) return false;
        for (int t = first; t < list->count; t++) {
            list->begin[t] += offset;
            list->end[t] += offset;
        }
        answer->utterances[u] = (TokenRange){first, list->count};
        answer->text = checked_realloc(answer->text, (size_t)offset + length + 1);
        memcpy(answer->text + offset, text, length + 1);
        offset += (int)length;
    }
    return true;
}

// ---- what is answered

static void copy_tokens(Answer *answer, int count, const int32_t *ids, const int32_t *begin,
                        const int32_t *end) {
    size_t bytes = (size_t)count * sizeof(int32_t);
    answer->num_tokens = count;
    answer->ids = checked_malloc(bytes + 1);
    answer->token_begin = checked_malloc(bytes + 1);
    answer->token_end = checked_malloc(bytes + 1);
    if (!count) return;
    memcpy(answer->ids, ids, bytes);
    memcpy(answer->token_begin, begin, bytes);
    memcpy(answer->token_end, end, bytes);
}

/// Takes the maps over.
static void take_maps(const AnswerOptions *options, AttentionMaps *maps, Answer *answer) {
    int cells = answer->grid.rows * answer->grid.columns;
    answer->layers = answer->heads = 1;
    if (!options->generation.attention) return;
    CHECK(maps->rows == answer->num_tokens && (maps->rows == 0 || maps->keys == cells),
          "attention of %d tokens to %d cells, for %d tokens and %d cells", maps->rows, maps->keys,
          answer->num_tokens, cells);
    answer->layers = maps->layers;
    answer->heads = maps->heads;
    answer->maps = maps->values;
    *maps = (AttentionMaps){0};
}

/// The attention of the prompt's continuation `ids`, read once more behind it.
static AttentionMaps attend(const Batch *batch, int i, const int32_t *ids, int count) {
    const TokenSample *prompt = &batch->samples[i];
    const AnswerOptions *options = batch->options;
    int total = prompt->count + count;
    int32_t *whole = checked_malloc((size_t)total * sizeof *whole);
    int *tokens = checked_malloc(((size_t)count + 1) * sizeof *tokens);
    memcpy(whole, prompt->ids, (size_t)prompt->count * sizeof *whole);
    for (int t = 0; t < count; t++) {
        whole[prompt->count + t] = ids[t];
        tokens[t] = prompt->count + t;
    }
    TokenSample sample = {.ids = whole, .count = total, .image = prompt->image};
    AttentionMaps maps = difflmm_attention(options->model, &sample, batch->visual, tokens, count,
                                           options->row, options->generation.attention);
    free(whole);
    free(tokens);
    return maps;
}

static void read_given(const Batch *batch, int i, Answer *answer) {
    const TokenList *list = &batch->given_tokens[i];
    copy_tokens(answer, list->count, list->ids, list->begin, list->end);
    int positions = batch->prompts[i].length + list->count;
    answer->ended = positions <= batch->options->model->options.model_max_length;
    if (!batch->options->generation.attention) return;
    AttentionMaps maps = attend(batch, i, list->ids, list->count);
    take_maps(batch->options, &maps, answer);
    attention_maps_free(&maps);
}

static void take_generation(const Batch *batch, int i, Generation *generation, Answer *answer) {
    const AnswerOptions *options = batch->options;
    if (options->row == ATTENTION_OWN_ROW && options->generation.attention) {
        attention_maps_free(&generation->attention);
        generation->attention = attend(batch, i, generation->tokens, generation->count);
    }
    DecodedText decoded =
        tokenizer_decode(options->tokenizer, generation->tokens, generation->count);
    answer->text = decoded.text;
    decoded.text = NULL;
    int length = (int)strlen(answer->text); // a token of byte 0 ends it early
    for (int t = 0; t < decoded.count; t++) {
        if (decoded.begin[t] > length) decoded.begin[t] = length;
        if (decoded.end[t] > length) decoded.end[t] = length;
    }
    copy_tokens(answer, generation->count, generation->tokens, decoded.begin, decoded.end);
    decoded_text_free(&decoded);
    answer->ended = generation->ended;
    take_maps(options, &generation->attention, answer);
}

/// The questions that the model answers itself, as one batch.
static void generate(const Batch *batch, Answer *answers) {
    size_t n = (size_t)batch->count;
    TokenSample *samples = checked_malloc(n * sizeof *samples);
    uint64_t *numbers = checked_malloc(n * sizeof *numbers);
    int *of = checked_malloc(n * sizeof *of), asked = 0;
    Generation *generations = checked_calloc(n, sizeof *generations);
    const AnswerOptions *options = batch->options;
    GenerationOptions generation = options->generation;
    AnswerStream *stream = NULL;
    for (int i = 0; i < batch->count; i++) {
        if (batch->questions[i].utterances) continue;
        samples[asked] = batch->samples[i];
        numbers[asked] = batch->numbers[i];
        of[asked++] = i;
    }
    if (options->listener) {
        stream = answer_stream_new(options->tokenizer, options->listener, of, asked);
        generation.taken = answer_stream_take;
        generation.context = stream;
    }
    if (asked)
        difflmm_generate(options->model, samples, asked, numbers, batch->visual, &generation,
                         generations);
    for (int g = 0; g < asked; g++) {
        take_generation(batch, of[g], &generations[g], &answers[of[g]]);
        if (stream) answer_stream_end(stream, g, answers[of[g]].text);
        generation_free(&generations[g]);
    }
    if (stream) answer_stream_free(stream);
    free(samples);
    free(numbers);
    free(of);
    free(generations);
}

bool answer_questions(const AnswerOptions *options, const Question *questions, int count,
                      Answer *answers, Error *error) {
    size_t n = (size_t)count;
    Batch batch = {.options = options,
                   .questions = questions,
                   .count = count,
                   .prompts = checked_calloc(n, sizeof(TokenSequence)),
                   .samples = checked_calloc(n, sizeof(TokenSample)),
                   .numbers = checked_calloc(n, sizeof(uint64_t)),
                   .given_tokens = checked_calloc(n, sizeof(TokenList))};
    memset(answers, 0, n * sizeof *answers);
    bool ok = true;
    for (int i = 0; ok && i < count; i++)
        ok = tokenize_question(&batch, i, error) &&
             (!questions[i].utterances || tokenize_given(&batch, i, &answers[i], error));
    tape_pause();
    scope_begin();
    ok = ok && see_images(&batch, answers, error);
    if (ok) generate(&batch, answers);
    for (int i = 0; ok && i < count; i++)
        if (questions[i].utterances) read_given(&batch, i, &answers[i]);
    scope_end();
    tape_resume();
    if (ok && stop_requested()) ok = stop_request_error(error); // perhaps in the middle of one
    for (int i = 0; !ok && i < count; i++) answer_free(&answers[i]);
    batch_free(&batch);
    return ok;
}
