#include "tests/fuzz/parsers.h"

#include "checkpoints/torch/pickle.h"
#include "checkpoints/training_state.h"
#include "checkpoints/weight_file.h"
#include "data/coco_annotations.h"
#include "data/images/image.h"
#include "data/llava_dataset.h"
#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/word_piece.h"
#include "train/command.h"
#include "train/report/inspection.h"
#include "train/saved/peft_config.h"
#include "train/sweep/sweep_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// More than this is read in no execution: what a file claims costs it nothing.
enum { MOST_VALUES = 1 << 20 };

static const char TEXT[] =
    "A red ring, 12 stars; \xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 don't\n\n  x<image>";

static int ended(bool ok, const char *name, const Error *error) {
    return ok ? EXIT_DONE : command_refuse(name, error, EXIT_FAILED);
}

int parse_image(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    Image image = {0};
    bool ok = image_read(argv[1], &image, &error);
    image_free(&image);
    return ended(ok, argv[0], &error);
}

int parse_tokenizer(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    TokenList list = {0};
    Tokenizer *tokenizer = tokenizer_open(argv[1], &error);
    bool ok = tokenizer && tokenizer_encode(tokenizer, TEXT, strlen(TEXT), &list, &error);
    if (ok) {
        int32_t ends[] = {0, tokenizer_vocabulary_size(tokenizer) - 1};
        DecodedText again = tokenizer_decode(tokenizer, list.ids, list.count),
                    odd = tokenizer_decode(tokenizer, ends, 2);
        decoded_text_free(&again);
        decoded_text_free(&odd);
    }
    token_list_free(&list);
    tokenizer_close(tokenizer);
    return ended(ok, argv[0], &error);
}

int parse_word_piece(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    TokenList list = {0};
    WordPiece *tokenizer = word_piece_open(argv[1], true, &error);
    bool ok = tokenizer && word_piece_encode(tokenizer, TEXT, strlen(TEXT), &list, &error);
    token_list_free(&list);
    word_piece_close(tokenizer);
    return ended(ok, argv[0], &error);
}

/// As both templates of the recipe write the sample; `plain` has no place for every one.
static bool tokenize_sample(const Sample *sample, Error *error) {
    static Tokenizer *tokenizer;
    if (!tokenizer && !(tokenizer = tokenizer_open("llm/tokenizer.model", error))) return false;
    ConversationFormat format = {
        .kind = TEMPLATE_VICUNA_V1, .visual_tokens = 64, .model_max_length = 128};
    TokenSequence sequence = {0};
    bool ok = sample_tokenize(sample, tokenizer, &format, &sequence, error);
    token_sequence_free(&sequence);
    format.kind = TEMPLATE_PLAIN;
    if (ok && !sample_is_beyond_plain(sample))
        ok = sample_tokenize(sample, tokenizer, &format, &sequence, error);
    token_sequence_free(&sequence);
    return ok;
}

int parse_conversations(int argc, char **argv) {
    Error error = {0};
    DatasetOptions options = {argv[1], argc > 2 ? argv[2] : ".", MISSING_IMAGE_SKIP};
    Dataset *dataset = dataset_open(&options, &error);
    bool ok = dataset != NULL;
    for (int64_t i = 0; ok && i < dataset_count(dataset); i++) {
        Sample sample;
        char place[256];
        dataset_has_image(dataset, i);
        ok = dataset_sample(dataset, i, &sample, &error);
        if (!ok) break;
        dataset_describe(dataset, i, sample.id, place, sizeof place);
        ok = tokenize_sample(&sample, &error);
        sample_free(&sample);
    }
    dataset_close(dataset);
    return ended(ok, argv[0], &error);
}

int parse_coco(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    CocoAnnotations annotations;
    bool ok = coco_annotations_read(argv[1], &annotations, &error);
    for (int i = 0; ok && i < annotations.num_images; i++) {
        const CocoImage *image = &annotations.images[i];
        int64_t pixels = (int64_t)image->width * image->height;
        if (pixels > MOST_VALUES) continue;
        uint8_t *bitmap = checked_calloc((size_t)pixels + 1, 1);
        for (int c = 0; c < annotations.num_categories; c++)
            coco_category_mask(&annotations, i, c, bitmap);
        free(bitmap);
    }
    if (ok) coco_annotations_free(&annotations);
    return ended(ok, argv[0], &error);
}

int parse_weights(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    WeightFile *file = weight_file_open(argv[1], &error);
    for (int64_t i = 0; file && i < weight_file_count(file); i++) {
        const StoredTensor *entry = weight_file_tensor(file, i);
        if (entry->numel > MOST_VALUES) continue;
        float *values = checked_malloc((size_t)entry->numel * sizeof *values + 1);
        stored_tensor_read_float32(entry, 0, entry->numel, values);
        free(values);
    }
    weight_file_close(file);
    return ended(file != NULL, argv[0], &error);
}

int parse_pickle(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    Pickle *pickle = pickle_open(argv[1], &error);
    if (pickle) json_decref(inspect_value(pickle_root(pickle)));
    pickle_close(pickle);
    return ended(pickle != NULL, argv[0], &error);
}

int parse_state(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    StateFile *file = state_open(argv[1], &error);
    bool ok = file && state_verify(file, &error);
    for (int64_t i = 0; ok && i < state_array_count(file); i++) {
        const char *name = state_array_name(file, i);
        int64_t shape[STATE_MAX_RANK], numel = 1;
        StateType type;
        int rank;
        ok = state_describe_array(file, name, &type, &rank, shape, &error);
        for (int d = 0; ok && d < rank; d++) numel *= shape[d];
        if (!ok || numel > MOST_VALUES) continue;
        void *values = checked_malloc((size_t)numel * 8 + 1);
        ok = state_read_array(file, name, type, rank, shape, values, &error);
        free(values);
    }
    state_close(file);
    return ended(ok, argv[0], &error);
}

int parse_peft(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    LoraOptions options = {0};
    bool ok = peft_config_read(argv[1], 2, &options, &error);
    return ended(ok, argv[0], &error);
}

int parse_sweep(int argc, char **argv) {
    Error error = {0};
    SweepJobs jobs = {0};
    const char *const *settings = (const char *const *)argv + 2;
    SweepSection *section = sweep_section_read(argv[1], settings, argc - 2, &error);
    SweepCells *cells = section ? sweep_cells_make(section, &error) : NULL;
    bool ok = cells && sweep_jobs_make(&jobs, section, cells, settings, argc - 2, &error);
    sweep_jobs_free(&jobs);
    sweep_cells_free(cells);
    sweep_section_free(section);
    return ended(ok, argv[0], &error);
}
