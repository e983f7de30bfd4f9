// What the shell cannot make of the files at hand: pictures of every kind, noise, answers, and a
// language model for the tiny world's tokenizer, as small as the recorded one.
#include "checkpoints/safetensors.h"
#include "data/tokenizers/tokenizer.h"
#include "eval/attention/answer_store.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 640, LATENT = 8, LATENT_CHANNELS = 4, MOST_TENSORS = 64 };

static int fail(const Error *error) {
    fprintf(stderr, "make_seeds: %s\n", error->message);
    return 1;
}

/// What the language model is to say: names of things, so that there is something to be found in
/// pictures.
static const char *const NOUNS[] = {"\xe2\x96\x81ring", "\xe2\x96\x81star",
                                    "\xe2\x96\x81"
                                    "disc",
                                    "\xe2\x96\x81square"};
enum { NUM_NOUNS = sizeof NOUNS / sizeof *NOUNS };

/// [rows, columns] bfloat16 of about the size that an initialisation gives; rows of the ids in
/// `large` are 50 times as large.
static void *random_matrix(int64_t rows, int64_t columns, const int32_t *large) {
    Random random = {1};
    uint16_t *values = checked_malloc((size_t)(rows * columns) * sizeof *values);
    for (int64_t i = 0; i < rows * columns; i++) {
        float value = ((float)random_below(&random, 2001) - 1000) / 20000;
        for (int k = 0; large && k < NUM_NOUNS; k++)
            if (i / columns == large[k]) value *= 50;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        values[i] = (uint16_t)(bits >> 16);
    }
    return values;
}

/// The same language model with a vocabulary of VOCABULARY.
static bool widen_vocabulary(const char *from, const char *to, const int32_t *nouns, Error *error) {
    SafetensorsFile *file = safetensors_open(from, error);
    if (!file) return false;
    SafetensorsTensor tensors[MOST_TENSORS];
    int64_t count = safetensors_count(file), shape[2] = {VOCABULARY, 0};
    void *embeddings = NULL, *head = NULL;
    for (int64_t i = 0; i < count && i < MOST_TENSORS; i++) {
        const StoredTensor *entry = safetensors_entry(file, i);
        tensors[i] =
            (SafetensorsTensor){entry->name, entry->type, entry->rank, entry->shape, entry->data};
        bool is_head = strstr(entry->name, "lm_head");
        if (!is_head && !strstr(entry->name, "embed_tokens")) continue;
        shape[1] = entry->shape[1];
        void *matrix = random_matrix(VOCABULARY, shape[1], is_head ? nouns : NULL);
        tensors[i].shape = shape;
        tensors[i].data = matrix;
        *(is_head ? &head : &embeddings) = matrix;
    }
    bool ok = safetensors_write(to, tensors, count, NULL, 0, error);
    free(embeddings);
    free(head);
    safetensors_close(file);
    return ok;
}

/// The recorded images whose name has the form (one conversion of at most 63 characters, then
/// `end`) become files of that name.
static bool write_pictures(const char *recorded, const char *form, const char *end,
                           const char *folder, Error *error) {
    SafetensorsFile *file = safetensors_open(recorded, error);
    bool ok = file != NULL;
    for (int64_t i = 0; ok && i < safetensors_count(file); i++) {
        const StoredTensor *entry = safetensors_entry(file, i);
        char name[64];
        if (sscanf(entry->name, form, name) != 1 || !strstr(entry->name, end)) continue;
        char *path = format_string("%s/%s", folder, name);
        ByteBuffer bytes = bytes_copy(entry->data, (size_t)entry->numel);
        ok = bytes_write(&bytes, path) || error_set(error, "%s cannot be written", path);
        byte_buffer_free(&bytes);
        free(path);
    }
    safetensors_close(file);
    return ok;
}

static bool write_noise(const char *path, Error *error) {
    static const int64_t shape[4] = {1, LATENT, LATENT, LATENT_CHANNELS};
    float values[LATENT * LATENT * LATENT_CHANNELS];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) values[i] = (float)(i % 7) - 3;
    SafetensorsTensor tensors[] = {{"vae", ELEMENT_F32, 4, shape, values},
                                   {"diffusion", ELEMENT_F32, 4, shape, values}};
    return safetensors_write(path, tensors, 2, NULL, 0, error);
}

/// Answers with and without maps, and to a given text: a journal of a store of answers.
static bool write_answers(const char *folder, Error *error) {
    enum { TOKENS = 3, CELLS = 6 };
    int32_t ids[TOKENS] = {5, 6, 2}, begin[TOKENS] = {0, 1, 6}, end[TOKENS] = {1, 6, 6};
    float maps[TOKENS * 2 * CELLS];
    TokenRange utterances[] = {{0, 1}, {1, 3}};
    for (int i = 0; i < TOKENS * 2 * CELLS; i++) maps[i] = (float)(i % 5) / 4;
    char text[] = "A ring";
    Answer answer = {.text = text,
                     .num_tokens = TOKENS,
                     .ids = ids,
                     .token_begin = begin,
                     .token_end = end,
                     .grid = {2, 3},
                     .layers = 2,
                     .heads = 1,
                     .maps = maps,
                     .frame = {8, 8, -1, 0},
                     .image_height = 6,
                     .image_width = 8,
                     .ended = true};
    json_t *asked_with = json_pack("{s:s, s:[i, i]}", "checkpoint", "abc", "eval.layers", 0, 1);
    AnswerWriter *writer = answer_writer_open(folder, 0, 0, asked_with, error);
    bool ok = writer && answer_writer_put(writer, "1", &answer, error);
    answer.utterances = utterances;
    answer.num_utterances = 2;
    ok = ok && answer_writer_put(writer, "given", &answer, error);
    answer.maps = NULL;
    ok = ok && answer_writer_put(writer, "without maps", &answer, error);
    answer_writer_close(writer);
    json_decref(asked_with);
    return ok;
}

int main(int argc, char **argv) {
    Error error = {0};
    if (argc != 3) {
        fputs("usage: make_seeds SOURCE_DIR SEEDS\n", stderr);
        return 2;
    }
    char *folder = format_string("%s/llm", argv[2]);
    int32_t nouns[NUM_NOUNS];
    Tokenizer *tokenizer = tokenizer_open(folder, &error);
    free(folder);
    if (!tokenizer) return fail(&error);
    for (int i = 0; i < NUM_NOUNS; i++) nouns[i] = tokenizer_piece_id(tokenizer, NOUNS[i]);
    tokenizer_close(tokenizer);
    char *llm = format_string("%s/tests/parity/data/difflmm/llm/model.safetensors", argv[1]),
         *wide = format_string("%s/llm/model.safetensors", argv[2]),
         *images = format_string("%s/tests/parity/data/images.safetensors", argv[1]),
         *formats = format_string("%s/tests/parity/data/image_formats.safetensors", argv[1]),
         *packed = format_string("%s/tests/parity/data/image_archives.safetensors", argv[1]),
         *pictures = format_string("%s/pictures", argv[2]),
         *answers = format_string("%s/answers", argv[2]),
         *stored = format_string("%s/answers_hdf5", argv[2]),
         *noise = format_string("%s/noise.safetensors", argv[2]);
    bool ok = widen_vocabulary(llm, wide, nouns, &error) &&
              write_pictures(images, "decode/%63[^/]/file", "/file", pictures, &error) &&
              write_pictures(formats, "%63s", "", pictures, &error) &&
              write_pictures(packed, "%63s", "", pictures, &error) && write_noise(noise, &error) &&
              write_answers(answers, &error) && write_answers(stored, &error) &&
              answer_store_pack(stored, 0, 1, &error);
    free(llm);
    free(wide);
    free(images);
    free(formats);
    free(packed);
    free(pictures);
    free(noise);
    free(answers);
    free(stored);
    return ok ? 0 : fail(&error);
}
