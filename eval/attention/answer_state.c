// An answer as arrays of an HDF5 file.
#include "eval/attention/answer_record_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *part(char *name, size_t size, int64_t number, const char *what) {
    snprintf(name, size, "answers/%lld/%s", (long long)number, what);
    return name;
}

bool answer_to_state(StateWriter *writer, int64_t number, const char *id, const Answer *answer,
                     Error *error) {
    char name[64];
    json_t *about = answer_about(id, answer);
    char *text = json_dumps(about, JSON_COMPACT);
    int64_t n = answer->num_tokens, length = (int64_t)strlen(text), given = answer->num_utterances;
    int64_t *numbers = checked_malloc((size_t)(3 * n + 2 * given + 1) * sizeof *numbers);
    for (int t = 0; t < n; t++) {
        numbers[3 * t] = answer->ids[t];
        numbers[3 * t + 1] = answer->token_begin[t];
        numbers[3 * t + 2] = answer->token_end[t];
    }
    bool ok = state_write_array(writer, part(name, sizeof name, number, "about"), STATE_BYTES, 1,
                                &length, text, error) &&
              state_write_array(writer, part(name, sizeof name, number, "tokens"), STATE_INT64, 2,
                                (int64_t[]){n, 3}, numbers, error);
    if (ok && answer->utterances) {
        for (int u = 0; u < given; u++) {
            numbers[2 * u] = answer->utterances[u].begin;
            numbers[2 * u + 1] = answer->utterances[u].end;
        }
        ok = state_write_array(writer, part(name, sizeof name, number, "utterances"), STATE_INT64,
                               2, (int64_t[]){given, 2}, numbers, error);
    }
    int64_t cells = (int64_t)answer->grid.rows * answer->grid.columns;
    if (ok && answer->maps)
        ok = state_write_array(writer, part(name, sizeof name, number, "maps"), STATE_FLOAT32, 4,
                               (int64_t[]){n, answer->layers, answer->heads, cells}, answer->maps,
                               error);
    free(numbers);
    free(text);
    json_decref(about);
    return ok;
}

static bool read_about(const StateFile *file, int64_t number, char **id, Answer *answer,
                       Error *error) {
    char name[64];
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK];
    part(name, sizeof name, number, "about");
    if (!state_describe_array(file, name, &type, &rank, shape, error)) return false;
    if (rank != 1 || shape[0] > INT32_MAX)
        return error_set(error, "%s: '%s' is no text", state_path(file), name);
    char *text = checked_malloc((size_t)shape[0] + 1);
    bool ok = state_read_array(file, name, STATE_BYTES, 1, shape, text, error) &&
              answer_understand(state_path(file), text, (size_t)shape[0], id, answer, error);
    free(text);
    return ok;
}

char *answer_state_id(const StateFile *file, int64_t number, Error *error) {
    char *id = NULL;
    Answer answer;
    if (read_about(file, number, &id, &answer, error)) free(answer.text);
    return id;
}

static bool read_tokens(const StateFile *file, int64_t number, Answer *answer, Error *error) {
    char name[64];
    size_t n = (size_t)answer->num_tokens;
    int64_t *numbers = checked_malloc(3 * n * sizeof *numbers + 1);
    bool ok = state_read_array(file, part(name, sizeof name, number, "tokens"), STATE_INT64, 2,
                               (int64_t[]){answer->num_tokens, 3}, numbers, error);
    answer->ids = checked_malloc(n * sizeof(int32_t) + 1);
    answer->token_begin = checked_malloc(n * sizeof(int32_t) + 1);
    answer->token_end = checked_malloc(n * sizeof(int32_t) + 1);
    for (size_t t = 0; ok && t < n; t++) {
        answer->ids[t] = (int32_t)numbers[3 * t];
        answer->token_begin[t] = (int32_t)numbers[3 * t + 1];
        answer->token_end[t] = (int32_t)numbers[3 * t + 2];
    }
    free(numbers);
    return ok;
}

static bool read_utterances(const StateFile *file, int64_t number, Answer *answer, Error *error) {
    char name[64];
    int count = answer->num_utterances;
    if (count < 0) {
        answer->num_utterances = 0;
        return true;
    }
    int64_t *numbers = checked_malloc(2 * (size_t)count * sizeof *numbers + 1);
    bool ok = state_read_array(file, part(name, sizeof name, number, "utterances"), STATE_INT64, 2,
                               (int64_t[]){count, 2}, numbers, error);
    answer->utterances = checked_calloc((size_t)count + 1, sizeof *answer->utterances);
    for (int u = 0; ok && u < count; u++)
        answer->utterances[u] = (TokenRange){(int)numbers[2 * u], (int)numbers[2 * u + 1]};
    free(numbers);
    return ok;
}

static bool read_maps(const StateFile *file, int64_t number, Answer *answer, Error *error) {
    char name[64];
    if (!state_has_array(file, part(name, sizeof name, number, "maps"))) return true;
    const int64_t shape[] = {answer->num_tokens, answer->layers, answer->heads,
                             (int64_t)answer->grid.rows * answer->grid.columns};
    StateType type;
    int rank;
    int64_t stored[STATE_MAX_RANK];
    if (!state_describe_array(file, name, &type, &rank, stored, error)) return false;
    if (rank != 4 || memcmp(stored, shape, sizeof shape) != 0)
        return error_set(error, "%s: '%s' has not the shape that its answer has", state_path(file),
                         name);
    answer->maps = checked_malloc(answer_floats(answer) * sizeof(float) + 1);
    return state_read_array(file, name, STATE_FLOAT32, 4, shape, answer->maps, error);
}

bool answer_from_state(const StateFile *file, int64_t number, Answer *answer, Error *error) {
    if (!read_about(file, number, NULL, answer, error)) return false;
    bool ok = read_tokens(file, number, answer, error) &&
              read_utterances(file, number, answer, error) &&
              read_maps(file, number, answer, error);
    if (ok && !answer_is_consistent(answer))
        ok = error_set(error, "%s: an answer is damaged: its parts do not fit each other",
                       state_path(file));
    if (!ok) answer_free(answer);
    return ok;
}
