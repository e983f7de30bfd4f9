#include "eval/attention/answer_record_internal.h"

#include "autograd/text/byte_buffer.h"
#include "data/images/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// What an answer may have at most: bounds for sizes that a file claims.
enum { MOST_TOKENS = 1 << 20, MOST_MAPS = 1 << 16, MOST_CELLS = 1 << 20, MOST_SIDE = 1 << 20 };
static const double MOST_FLOATS = 1e12;

// ---- about

json_t *answer_about(const char *id, const Answer *answer) {
    return json_pack("{s:s, s:s, s:[i, i], s:[i, i], s:[f, f, f, f], s:i, s:i, s:b, s:i, s:i}",
                     "id", id, "text", answer->text, "grid", answer->grid.rows,
                     answer->grid.columns, "image", answer->image_height, answer->image_width,
                     "frame", answer->frame.height, answer->frame.width, answer->frame.top,
                     answer->frame.left, "layers", answer->layers, "heads", answer->heads, "ended",
                     answer->ended, "tokens", answer->num_tokens, "utterances",
                     answer->utterances ? answer->num_utterances : -1);
}

static bool in(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }

/// Visual tokens cover the picture, or a square around it or in it.
static bool frame_is_possible(const Answer *answer) {
    const TokenFrame *frame = &answer->frame;
    const double most = 2.0 * (answer->image_height > answer->image_width ? answer->image_height
                                                                          : answer->image_width);
    return frame->height >= 0 && frame->height <= most && frame->width >= 0 &&
           frame->width <= most && fabs(frame->top) <= most && fabs(frame->left) <= most;
}

static bool sizes_are_possible(const Answer *answer) {
    return in(answer->grid.rows, 0, MOST_SIDE) && in(answer->grid.columns, 0, MOST_SIDE) &&
           in((int64_t)answer->grid.rows * answer->grid.columns, 0, MOST_CELLS) &&
           in(answer->layers, 1, MOST_MAPS) && in(answer->heads, 1, MOST_MAPS) &&
           in(answer->image_height, 0, MOST_SIDE) && in(answer->image_width, 0, MOST_SIDE) &&
           in((int64_t)answer->image_height * answer->image_width, 0, IMAGE_MAX_PIXELS) &&
           in(answer->num_tokens, 0, MOST_TOKENS) && in(answer->num_utterances, -1, MOST_TOKENS) &&
           (double)answer->num_tokens * answer->layers * answer->heads * answer->grid.rows *
                   answer->grid.columns <
               MOST_FLOATS &&
           frame_is_possible(answer);
}

bool answer_understand(const char *name, const char *text, size_t size, char **id, Answer *answer,
                       Error *error) {
    json_error_t reason;
    json_t *about = json_loadb(text, size, 0, &reason);
    const char *words, *said;
    int ended, utterances;
    *answer = (Answer){0};
    bool ok =
        about && json_unpack_ex(about, &reason, 0,
                                "{s:s, s:s, s:[i, i], s:[i, i], s:[F, F, F, F], s:i, s:i, "
                                "s:b, s:i, s:i}",
                                "id", &said, "text", &words, "grid", &answer->grid.rows,
                                &answer->grid.columns, "image", &answer->image_height,
                                &answer->image_width, "frame", &answer->frame.height,
                                &answer->frame.width, &answer->frame.top, &answer->frame.left,
                                "layers", &answer->layers, "heads", &answer->heads, "ended", &ended,
                                "tokens", &answer->num_tokens, "utterances", &utterances) == 0;
    if (ok) {
        answer->num_utterances = utterances;
        ok = sizes_are_possible(answer);
    }
    if (ok) {
        answer->ended = ended;
        answer->text = format_string("%s", words);
        if (id) *id = format_string("%s", said);
    } else {
        error_set(error, "%s: an answer is damaged: %s", name,
                  about && reason.text[0] ? reason.text : "its sizes cannot be");
    }
    json_decref(about);
    return ok;
}

size_t answer_floats(const Answer *answer) {
    return (size_t)answer->num_tokens * (size_t)answer->layers * (size_t)answer->heads *
           (size_t)answer->grid.rows * (size_t)answer->grid.columns;
}

// ---- records

static void put_numbers(ByteBuffer *buffer, const int32_t *values, int count) {
    for (int i = 0; i < count; i++)
        byte_buffer_put_little_endian(buffer, (uint32_t)values[i], sizeof *values);
}

char *answer_to_record(const char *id, const Answer *answer, size_t *size) {
    json_t *about = answer_about(id, answer);
    CHECK(about, "an answer that cannot be described");
    char *text = json_dumps(about, JSON_COMPACT);
    ByteBuffer record = {0};
    byte_buffer_put_little_endian(&record, strlen(text), 4);
    byte_buffer_put_text(&record, text);
    put_numbers(&record, answer->ids, answer->num_tokens);
    put_numbers(&record, answer->token_begin, answer->num_tokens);
    put_numbers(&record, answer->token_end, answer->num_tokens);
    for (int u = 0; answer->utterances && u < answer->num_utterances; u++)
        put_numbers(&record, (int32_t[]){answer->utterances[u].begin, answer->utterances[u].end},
                    2);
    byte_buffer_put_byte(&record, answer->maps != NULL);
    if (answer->maps) byte_buffer_put(&record, answer->maps, answer_floats(answer) * sizeof(float));
    free(text);
    json_decref(about);
    *size = record.size;
    return byte_buffer_take(&record);
}

/// What is left of a record.
typedef struct Reading {
    const uint8_t *at;
    size_t left;
} Reading;

static const void *take(Reading *reading, size_t bytes) {
    if (bytes > reading->left) return NULL;
    const void *taken = reading->at;
    reading->at += bytes;
    reading->left -= bytes;
    return taken;
}

static bool take_numbers(Reading *reading, int count, int32_t **values) {
    const void *bytes = take(reading, (size_t)count * sizeof **values);
    *values = checked_malloc((size_t)count * sizeof **values + 1);
    if (bytes && count) memcpy(*values, bytes, (size_t)count * sizeof **values);
    return bytes != NULL;
}

static const char *about_of(Reading *reading, size_t *size) {
    const uint8_t *head = take(reading, 4);
    if (!head) return NULL;
    *size = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    return take(reading, *size);
}

char *answer_record_id(const char *name, const char *record, size_t size, Error *error) {
    Reading reading = {(const uint8_t *)record, size};
    size_t length = 0;
    const char *about = about_of(&reading, &length);
    Answer answer;
    char *id = NULL;
    if (!about)
        error_set(error, "%s: an answer is damaged: it ends early", name);
    else if (answer_understand(name, about, length, &id, &answer, error))
        free(answer.text);
    return id;
}

static bool take_utterances(Reading *reading, Answer *answer) {
    if (answer->num_utterances < 0) {
        answer->num_utterances = 0;
        return true;
    }
    int32_t *numbers;
    bool ok = take_numbers(reading, 2 * answer->num_utterances, &numbers);
    answer->utterances =
        checked_calloc((size_t)answer->num_utterances + 1, sizeof *answer->utterances);
    for (int u = 0; ok && u < answer->num_utterances; u++)
        answer->utterances[u] = (TokenRange){numbers[2 * u], numbers[2 * u + 1]};
    free(numbers);
    return ok;
}

bool answer_is_consistent(const Answer *answer) {
    // Maps are of cells, and are looked at in the pixels of a picture.
    if (answer->maps &&
        (answer->grid.rows < 1 || answer->grid.columns < 1 || answer->image_height < 1 ||
         answer->image_width < 1 || answer->frame.height < 1 || answer->frame.width < 1))
        return false;
    int length = (int)strlen(answer->text);
    for (int t = 0; t < answer->num_tokens; t++)
        if (answer->token_begin[t] < 0 || answer->token_begin[t] > answer->token_end[t] ||
            answer->token_end[t] > length)
            return false;
    for (int u = 0; u < answer->num_utterances; u++)
        if (answer->utterances[u].begin < 0 ||
            answer->utterances[u].begin > answer->utterances[u].end ||
            answer->utterances[u].end > answer->num_tokens)
            return false;
    return true;
}

static bool take_maps(Reading *reading, Answer *answer) {
    const uint8_t *has_maps = take(reading, 1);
    if (!has_maps || !*has_maps) return has_maps && reading->left == 0;
    size_t bytes = answer_floats(answer) * sizeof(float);
    const void *maps = bytes == reading->left ? take(reading, bytes) : NULL;
    if (!maps) return false;
    answer->maps = checked_malloc(bytes + 1);
    memcpy(answer->maps, maps, bytes);
    return true;
}

bool answer_from_record(const char *name, const char *record, size_t size, char **id,
                        Answer *answer, Error *error) {
    Reading reading = {(const uint8_t *)record, size};
    size_t length = 0;
    const char *about = about_of(&reading, &length);
    if (!about) return error_set(error, "%s: an answer is damaged: it ends early", name);
    char *said = NULL;
    if (!answer_understand(name, about, length, &said, answer, error)) return false;
    int n = answer->num_tokens;
    bool ok = take_numbers(&reading, n, &answer->ids) &&
              take_numbers(&reading, n, &answer->token_begin) &&
              take_numbers(&reading, n, &answer->token_end) && take_utterances(&reading, answer) &&
              take_maps(&reading, answer) && answer_is_consistent(answer);
    if (ok && id)
        *id = said;
    else
        free(said);
    if (!ok) {
        answer_free(answer);
        error_set(error, "%s: an answer is damaged: its parts do not fit each other", name);
    }
    return ok;
}
