#include "eval/phrases/chunk_command.h"
#include "eval/phrases/clean_text.h"
#include "eval/phrases/line_child.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONGEST_NAME = 200,
    LONGEST_VECTOR = 1 << 16,
    // An answer has some numbers for a byte of text, and a vector for a word.
    LEAST_ANSWER_BYTES = 1 << 16,
    ANSWER_BYTES_A_BYTE = 64,
    ANSWER_BYTES_A_WORD = 1 << 15,
};

struct ChunkCommand {
    LineChild *child;
    char *command, *name;
    double answer_seconds;
    json_int_t last_id;
    /// What it last answered wrongly; nothing is asked of it then.
    Error failure;
};

/// Puts the command before the message, keeps it and stops the program.
static bool give_up(ChunkCommand *command, Error *error, const Error *reason) {
    command->failure = *reason;
    error_context(&command->failure, "command '%s'", quote(command->command).text);
    line_child_stop(command->child);
    command->child = NULL;
    return error_set(error, "%s", command->failure.message);
}

/// One line, as an object. NULL after giving up.
static json_t *read_answer(ChunkCommand *command, const ByteBuffer *request, double seconds,
                           size_t most_bytes, Error *error) {
    ByteBuffer line = {0};
    Error reason = {0};
    json_error_t where;
    json_t *answer = NULL;
    if (!line_child_exchange(command->child, request, seconds, most_bytes, &line, &reason)) {
        give_up(command, error, &reason);
    } else {
        answer = json_loadb(line.data, line.size, JSON_REJECT_DUPLICATES, &where);
        if (!json_is_object(answer)) {
            json_decref(answer);
            answer = NULL;
            error_set(&reason, "its line '%s' is no JSON object", quote(line.data).text);
            give_up(command, error, &reason);
        }
    }
    byte_buffer_free(&line);
    return answer;
}

ChunkCommand *chunk_command_start(const char *command, double start_seconds, double answer_seconds,
                                  Error *error) {
    LineChild *child = line_child_start(command, error);
    if (!child) return NULL;
    ChunkCommand *started = checked_calloc(1, sizeof *started);
    started->child = child;
    started->command = checked_strdup(command);
    started->answer_seconds = answer_seconds;
    json_t *hello = read_answer(started, NULL, start_seconds, LEAST_ANSWER_BYTES, error);
    const char *name = json_string_value(json_object_get(hello, "name"));
    if (name && strlen(name) <= LONGEST_NAME) {
        started->name = checked_strdup(name);
    } else {
        Error reason;
        error_set(&reason,
                  "its first line has no \"name\" of at most %d bytes; expected {\"name\": TEXT}",
                  LONGEST_NAME);
        if (hello) give_up(started, error, &reason);
        chunk_command_stop(started);
        started = NULL;
    }
    json_decref(hello);
    return started;
}

void chunk_command_stop(ChunkCommand *command) {
    if (!command) return;
    line_child_stop(command->child);
    free(command->command);
    free(command->name);
    free(command);
}

const char *chunk_command_name(const ChunkCommand *command) { return command->name; }

/// Asks with the request's id added; returns the answer's member `key`, an array, with its object
/// in *answer for the caller to give back. NULL after giving up. Takes the request.
static const json_t *ask(ChunkCommand *command, json_t *request, size_t most_bytes, const char *key,
                         json_t **answer, Error *error) {
    *answer = NULL;
    if (!command->child) {
        json_decref(request);
        error_set(error, "%s", command->failure.message);
        return NULL;
    }
    json_object_set_new(request, "id", json_integer(++command->last_id));
    char *text = json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII);
    CHECK(text, "a request to '%s' cannot be written as JSON", command->command);
    json_decref(request);
    ByteBuffer line = {0};
    byte_buffer_put_text(&line, text);
    free(text);
    *answer = read_answer(command, &line, command->answer_seconds, most_bytes, error);
    byte_buffer_free(&line);
    if (!*answer) return NULL;
    Error reason = {0};
    const json_t *found = json_object_get(*answer, key), *id = json_object_get(*answer, "id");
    const char *message = json_string_value(json_object_get(*answer, "error"));
    if (message)
        error_set(&reason, "it says: %s", quote(message).text);
    else if (!json_is_integer(id) || json_integer_value(id) != command->last_id)
        error_set(&reason, "its answer has not the request's \"id\" %lld",
                  (long long)command->last_id);
    else if (!json_is_array(found))
        error_set(&reason, "its answer has no array \"%s\"", key);
    if (!reason.message[0]) return found;
    give_up(command, error, &reason);
    return NULL;
}

/// Whether bytes [0, at) of the text end with a character.
static bool is_boundary(const char *text, json_int_t at) { return (text[at] & 0xc0) != 0x80; }

static bool read_chunk(const json_t *value, const char *text, size_t length, size_t covered,
                       NounChunk *chunk) {
    json_int_t at[4];
    if (!json_is_array(value) || json_array_size(value) != 4) return false;
    for (size_t i = 0; i < 4; i++) {
        const json_t *number = json_array_get(value, i);
        if (!json_is_integer(number)) return false;
        at[i] = json_integer_value(number);
        if (at[i] < (json_int_t)covered || at[i] > (json_int_t)length) return false;
        if (!is_boundary(text, at[i])) return false;
    }
    *chunk = (NounChunk){(size_t)at[0], (size_t)at[1], (size_t)at[2], (size_t)at[3]};
    return at[0] <= at[2] && at[2] < at[3] && at[3] <= at[1];
}

bool chunk_command_chunks(ChunkCommand *command, const char *text, size_t length,
                          NounChunkList *list, Error *error) {
    *list = (NounChunkList){0};
    char *clean = clean_text(text, length);
    json_t *answer, *request = json_object();
    json_object_set_new(request, "text", json_stringn(clean, length));
    const json_t *chunks = ask(command, request, LEAST_ANSWER_BYTES + ANSWER_BYTES_A_BYTE * length,
                               "chunks", &answer, error);
    bool is_right = chunks != NULL;
    size_t covered = 0;
    for (size_t i = 0; is_right && i < json_array_size(chunks); i++) {
        NounChunk chunk;
        Error reason = {0};
        is_right = read_chunk(json_array_get(chunks, i), clean, length, covered, &chunk);
        if (!is_right) {
            error_set(
                &reason,
                "chunk %zu of its answer is no [begin, end, root_begin, root_end] in bytes of "
                "the text (%zu), between characters, behind the chunk before, its root within",
                i, length);
            give_up(command, error, &reason);
            break;
        }
        noun_chunks_append(list, chunk);
        covered = chunk.end;
    }
    if (!is_right) noun_chunks_free(list);
    json_decref(answer);
    free(clean);
    return is_right;
}

void word_vectors_free(WordVectors *vectors) {
    free(vectors->values);
    *vectors = (WordVectors){0};
}

/// Reads `count` vectors of one length.
static bool read_vectors(const json_t *array, int count, WordVectors *vectors, Error *reason) {
    if (json_array_size(array) != (size_t)count)
        return error_set(reason, "its answer has %zu vectors for %d words", json_array_size(array),
                         count);
    const size_t size = json_array_size(json_array_get(array, 0));
    if (count > 0 && (size == 0 || size > LONGEST_VECTOR))
        return error_set(reason, "its vectors have %zu numbers; expected 1 to %d", size,
                         LONGEST_VECTOR);
    vectors->values = checked_calloc((size_t)count * size + 1, sizeof *vectors->values);
    vectors->count = count;
    vectors->size = (int)size;
    for (int word = 0; word < count; word++) {
        const json_t *row = json_array_get(array, (size_t)word);
        if (json_array_size(row) != size)
            return error_set(reason, "vector %d of its answer has %zu numbers, the first %zu", word,
                             json_array_size(row), size);
        for (size_t i = 0; i < size; i++) {
            const json_t *number = json_array_get(row, i);
            const float value = (float)json_number_value(number);
            if (!json_is_number(number) || !isfinite(value))
                return error_set(reason, "vector %d of its answer has something else than numbers",
                                 word);
            vectors->values[(size_t)word * size + i] = value;
        }
    }
    return true;
}

bool chunk_command_vectors(ChunkCommand *command, const char *const *words, int count,
                           WordVectors *vectors, Error *error) {
    *vectors = (WordVectors){0};
    json_t *answer, *request = json_object(), *list = json_array();
    for (int i = 0; i < count; i++) {
        char *clean = clean_text(words[i], strlen(words[i]));
        json_array_append_new(list, json_string(clean));
        free(clean);
    }
    json_object_set_new(request, "words", list);
    const json_t *array =
        ask(command, request, LEAST_ANSWER_BYTES + ANSWER_BYTES_A_WORD * (size_t)count, "vectors",
            &answer, error);
    Error reason = {0};
    const bool is_right = array && read_vectors(array, count, vectors, &reason);
    if (array && !is_right) give_up(command, error, &reason);
    if (!is_right) word_vectors_free(vectors);
    json_decref(answer);
    return is_right;
}
