#include "eval/attention/asked.h"

#include <stdlib.h>
#include <string.h>

/// Noise of evaluation never meets that of training: its pass numbers have the highest bit set.
static const uint64_t EVALUATION_PASS = 1ull << 63;

void asked_free(Asked *asked) {
    token_sequence_free(&asked->prompt);
    generation_free(&asked->generation);
    answer_free(&asked->answer);
    if (asked->visual) tensor_release(asked->visual);
    *asked = (Asked){0};
}

void seen_picture_free(SeenPicture *seen) {
    if (seen->visual) tensor_release(seen->visual);
    *seen = (SeenPicture){0};
}

// ---- what is seen

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

static void frame_answer(const ImageGeometry *geometry, int grid, Answer *answer) {
    answer->grid = (CellGrid){grid, grid};
    answer->frame = token_frame(geometry);
    answer->image_height = geometry->original_height;
    answer->image_width = geometry->original_width;
}

/// Sees a question's picture, unless it is the one before's.
static bool see_picture(const AnswerOptions *options, const Question *question, SeenPicture *seen,
                        Error *error) {
    if (seen->visual && question->image == seen->image && question->index == seen->index)
        return true;
    const ImageView view = {options->image_aspect, options->image_normalization,
                            (int)options->model->options.image_size};
    const size_t side = (size_t)view.size;
    seen_picture_free(seen);
    float *pixels = checked_malloc(side * side * 3 * sizeof *pixels);
    const bool ok = image_preprocess(question->image, &view, pixels, &seen->geometry, error);
    if (ok) {
        scope_begin();
        seen->visual = tensor_retain(see(options, pixels, question->index));
        scope_end();
        seen->image = question->image;
        seen->index = question->index;
    }
    free(pixels);
    return ok;
}

// ---- what is asked

static bool tokenize_question(const AnswerOptions *options, const Question *question, Asked *asked,
                              Error *error) {
    int count = question->num_earlier;
    Turn *turns = checked_malloc(((size_t)count + 1) * sizeof *turns);
    for (int t = 0; t < count; t++) turns[t] = question->earlier[t];
    turns[count] = (Turn){ROLE_HUMAN, question->text};
    bool ok = conversation_prompt(options->tokenizer, &options->format, turns, count + 1, true,
                                  &asked->prompt, error);
    free(turns);
    asked->sample = (TokenSample){.ids = asked->prompt.ids, .count = asked->prompt.count};
    return ok;
}

bool asked_begin(const AnswerOptions *options, const Question *question, SeenPicture *seen,
                 Asked *asked, Error *error) {
    if (question->seen) seen = question->seen;
    if (!tokenize_question(options, question, asked, error) ||
        !see_picture(options, question, seen, error))
        return false;
    asked->visual = tensor_retain(seen->visual);
    frame_answer(&seen->geometry, options->model->grid, &asked->answer);
    return true;
}

/// The given answer's tokens, with their places in the whole text, and the utterances' ranges.
static bool tokenize_given(const AnswerOptions *options, const Question *question, TokenList *list,
                           Answer *answer, Error *error) {
    int offset = 0;
    answer->num_utterances = question->num_utterances;
    answer->utterances =
        checked_calloc((size_t)question->num_utterances + 1, sizeof *answer->utterances);
    answer->text = checked_calloc(1, 1);
    for (int u = 0; u < question->num_utterances; u++) {
        const char *text = question->utterances[u];
        size_t length = strlen(text);
        int first = list->count;
        if (!tokenizer_encode(options->tokenizer, text, length, list, error)) return false;
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
static AttentionMaps attend(const AnswerOptions *options, const Asked *asked, const int32_t *ids,
                            int count) {
    const TokenSample *prompt = &asked->sample;
    int total = prompt->count + count;
    int32_t *whole = checked_malloc((size_t)total * sizeof *whole);
    int *tokens = checked_malloc(((size_t)count + 1) * sizeof *tokens);
    memcpy(whole, prompt->ids, (size_t)prompt->count * sizeof *whole);
    for (int t = 0; t < count; t++) {
        whole[prompt->count + t] = ids[t];
        tokens[t] = prompt->count + t;
    }
    TokenSample sample = {.ids = whole, .count = total, .image = prompt->image};
    AttentionMaps maps = difflmm_attention(options->model, &sample, asked->visual, tokens, count,
                                           options->row, options->generation.attention);
    free(whole);
    free(tokens);
    return maps;
}

bool asked_read_given(const AnswerOptions *options, const Question *question, Asked *asked,
                      Error *error) {
    Answer *answer = &asked->answer;
    TokenList list = {0};
    bool ok = tokenize_given(options, question, &list, answer, error);
    if (ok) {
        copy_tokens(answer, list.count, list.ids, list.begin, list.end);
        answer->ended =
            asked->prompt.length + list.count <= options->model->options.model_max_length;
    }
    if (ok && options->generation.attention) {
        AttentionMaps maps = attend(options, asked, list.ids, list.count);
        take_maps(options, &maps, answer);
        attention_maps_free(&maps);
    }
    token_list_free(&list);
    return ok;
}

void asked_take_generation(const AnswerOptions *options, Asked *asked) {
    Generation *generation = &asked->generation;
    Answer *answer = &asked->answer;
    if (options->row == ATTENTION_OWN_ROW && options->generation.attention) {
        attention_maps_free(&generation->attention);
        generation->attention = attend(options, asked, generation->tokens, generation->count);
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
