#include "train/prepare/prepare_block.h"

#include "data/images/image.h"
#include "data/instruction_sample.h"
#include "train/prepare/prepare_image.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_MARK = 0x4c4c4250, SPANS_AT_FIRST = 16, RECORD_ALIGNMENT = 8 };

void raw_block_free(RawBlock *block) {
    for (int i = 0; i < block->count; i++) {
        free(block->texts[i]);
        free(block->reasons[i]);
    }
    block->count = 0;
}

void block_images_free(BlockImage *images, int count) {
    for (int i = 0; i < count; i++) {
        free(images[i].name);
        free(images[i].bytes);
    }
}

// ---- one sample

/// Of a record: how long everything behind it is.
typedef struct SampleHeader {
    int64_t number, line;
    uint64_t checksum;
    int32_t words, beyond_plain, text_bytes, num_tokens, num_spans, padding;
} SampleHeader;

typedef struct BlockHeader {
    int32_t mark, looked_at;
    int64_t number;
    int32_t num_samples, num_problems;
} BlockHeader;

/// A sample that is looked at.
typedef struct Looking {
    const Preparing *preparing;
    const RawBlock *block;
    /// in the block
    int index;
    Sample sample;
    ProblemList *problems;
} Looking;

static void note(Looking *looking, ProblemKind kind, const char *message) {
    problems_add(looking->problems, kind, looking->block->first + looking->index,
                 looking->block->lines[looking->index], looking->sample.id, message);
}

/// Whether training takes the sample in spite of its problem; false for what is none.
static bool is_taken(const Looking *looking, ProblemKind kind) {
    return !problem_is_refused(kind, looking->preparing->skips);
}

/// What tokenizing without a limit makes of the sample, and notes on what the limit cuts off.
static bool tokenize(Looking *looking, TokenSequence *whole) {
    const Preparing *preparing = looking->preparing;
    ConversationFormat unlimited = preparing->format;
    TokenSequence cut;
    Error error = {0};
    unlimited.model_max_length = INT_MAX / 2;
    if (!sample_tokenize(&looking->sample, preparing->tokenizer, &unlimited, whole, &error) ||
        !conversation_cut(whole->ids, whole->supervised, whole->count, &preparing->format, &cut,
                          &error)) {
        note(looking, PROBLEM_TOKENS, error.message);
        return false;
    }
    char message[128];
    snprintf(message, sizeof message, "%d tokens; data.model_max_length is %d", whole->length,
             preparing->format.model_max_length);
    if (cut.answer_is_cut_off)
        note(looking, NOTE_ANSWER_CUT, message);
    else if (cut.truncated)
        note(looking, NOTE_CUT, message);
    token_sequence_free(&cut);
    return true;
}

/// The runs of supervised tokens; the caller frees them.
static PackSpan *find_spans(const TokenSequence *sequence, int32_t *count) {
    int32_t capacity = SPANS_AT_FIRST;
    PackSpan *spans = checked_malloc((size_t)capacity * sizeof *spans);
    *count = 0;
    for (int32_t i = 0; i < sequence->count; i++) {
        if (!sequence->supervised[i]) continue;
        if (*count && spans[*count - 1].end == i) {
            spans[*count - 1].end++;
            continue;
        }
        if (*count == capacity)
            spans = checked_realloc(spans, (size_t)(capacity *= 2) * sizeof *spans);
        spans[(*count)++] = (PackSpan){i, i + 1};
    }
    return spans;
}

/// Numbers in a record lie where they can be used.
static void align(ByteBuffer *record) {
    while (record->size % RECORD_ALIGNMENT) byte_buffer_put_byte(record, 0);
}

static void put_sample(const Looking *looking, const TokenSequence *tokens, ByteBuffer *record) {
    const SamplePlace *place = &looking->block->places[looking->index];
    SampleHeader header = {.number = looking->block->first + looking->index,
                           .line = looking->block->lines[looking->index],
                           .checksum = place->checksum,
                           .words = sample_words(&looking->sample),
                           .beyond_plain = sample_is_beyond_plain(&looking->sample),
                           .text_bytes = place->bytes,
                           .num_tokens = tokens->count};
    PackSpan *spans = find_spans(tokens, &header.num_spans);
    byte_buffer_put(record, &header, sizeof header);
    byte_buffer_put(record, looking->block->texts[looking->index], (size_t)place->bytes);
    align(record);
    byte_buffer_put(record, tokens->ids, (size_t)tokens->count * sizeof *tokens->ids);
    byte_buffer_put(record, spans, (size_t)header.num_spans * sizeof *spans);
    align(record);
    free(spans);
}

/// False if the sample is left out because of its picture.
static bool look_at_image(Looking *looking, BlockImage *image) {
    PreparedImage found;
    const Sample *sample = &looking->sample;
    image_prepare(sample->image_path, &found);
    bool ok = true;
    if (found.problem[0]) {
        const ProblemKind kind = found.is_missing ? PROBLEM_IMAGE_MISSING
                                 : found.is_none  ? PROBLEM_IMAGE_NONE
                                                  : PROBLEM_IMAGE_UNREADABLE;
        note(looking, kind, found.problem);
        // What begins as a picture and is none is noticed again when it is to be trained on.
        ok = is_taken(looking, kind) && kind == PROBLEM_IMAGE_UNREADABLE;
    }
    if (found.name_note[0]) note(looking, NOTE_IMAGE_NAME, found.name_note);
    if (found.warning[0]) note(looking, NOTE_IMAGE_WARNING, found.warning);
    if (looking->preparing->with_images && !found.problem[0]) {
        *image = (BlockImage){checked_strdup(sample->image_name), found.bytes, found.size};
        found.bytes = NULL;
    }
    free(found.bytes);
    return ok;
}

/// Whether the sample goes into the pack. image: its picture is to be kept if it has a name then.
static bool look_at(Looking *looking, ByteBuffer *record, BlockImage *image) {
    Error error = {0};
    TokenSequence tokens = {0};
    const RawBlock *block = looking->block;
    if (!block->texts[looking->index]) {
        note(looking, PROBLEM_JSON, block->reasons[looking->index]);
        return false;
    }
    struct json_t *json = sample_text_parse(block->texts[looking->index],
                                            (size_t)block->places[looking->index].bytes, &error);
    if (!json || !sample_read(json, looking->preparing->image_folder, &looking->sample, &error)) {
        note(looking, PROBLEM_SAMPLE, error.message);
        return false;
    }
    bool ok = tokenize(looking, &tokens);
    if (looking->sample.image_path) ok = look_at_image(looking, image) && ok;
    if (ok) put_sample(looking, &tokens, record);
    token_sequence_free(&tokens);
    return ok;
}

// ---- records

static void put_problem(ByteBuffer *record, const Problem *problem) {
    byte_buffer_put(record, &problem->kind, sizeof problem->kind);
    byte_buffer_put(record, &problem->number, sizeof problem->number);
    byte_buffer_put(record, &problem->line, sizeof problem->line);
    byte_buffer_put(record, problem->id, strlen(problem->id) + 1);
    byte_buffer_put(record, problem->message, strlen(problem->message) + 1);
}

void block_prepare(const Preparing *preparing, const RawBlock *block, ByteBuffer *record,
                   BlockImage *images, int *num_images) {
    ProblemList problems = {0};
    BlockHeader header = {.mark = BLOCK_MARK, .looked_at = block->count, .number = block->number};
    *num_images = 0;
    byte_buffer_clear(record);
    byte_buffer_put(record, &header, sizeof header);
    for (int i = 0; i < block->count; i++) {
        Looking looking = {preparing, block, i, {0}, &problems};
        BlockImage image = {0};
        header.num_samples += look_at(&looking, record, &image);
        if (image.name) images[(*num_images)++] = image;
        sample_free(&looking.sample);
    }
    for (int64_t i = 0; i < problems.count; i++) put_problem(record, &problems.items[i]);
    header.num_problems = (int32_t)problems.count;
    memcpy(record->data, &header, sizeof header);
    problems_free(&problems);
}

/// What is left to be read of a record.
typedef struct Reading {
    const char *begin, *at, *end;
} Reading;

static bool take(Reading *reading, void *to, size_t size) {
    if ((size_t)(reading->end - reading->at) < size) return false;
    memcpy(to, reading->at, size);
    reading->at += size;
    return true;
}

/// Where the next `size` bytes are, or NULL.
static const char *pass(Reading *reading, int64_t size) {
    const char *here = reading->at;
    if (size < 0 || reading->end - reading->at < size) return NULL;
    reading->at += size;
    return here;
}

static bool pass_padding(Reading *reading) {
    const size_t behind = (size_t)(reading->at - reading->begin) % RECORD_ALIGNMENT;
    return !behind || pass(reading, (int64_t)(RECORD_ALIGNMENT - behind));
}

static bool read_sample(Reading *reading, PackSample *sample) {
    SampleHeader header;
    if (!take(reading, &header, sizeof header)) return false;
    const char *text = pass(reading, header.text_bytes), *tokens = NULL, *spans = NULL;
    if (text && pass_padding(reading)) {
        tokens = pass(reading, (int64_t)header.num_tokens * (int64_t)sizeof(int32_t));
        spans = pass(reading, (int64_t)header.num_spans * (int64_t)sizeof(PackSpan));
    }
    *sample = (PackSample){.number = header.number,
                           .checksum = header.checksum,
                           .line = header.line,
                           .words = header.words,
                           .beyond_plain = header.beyond_plain != 0,
                           .text = text,
                           .text_bytes = header.text_bytes,
                           .tokens = (const int32_t *)(const void *)tokens,
                           .num_tokens = header.num_tokens,
                           .spans = (const PackSpan *)(const void *)spans,
                           .num_spans = header.num_spans};
    return tokens && spans && pass_padding(reading);
}

static bool read_problem(Reading *reading, ProblemList *problems) {
    ProblemKind kind;
    int64_t number, line;
    if (!take(reading, &kind, sizeof kind) || !take(reading, &number, sizeof number) ||
        !take(reading, &line, sizeof line) || kind >= NUM_PROBLEM_KINDS)
        return false;
    const char *texts[2];
    for (int i = 0; i < 2; i++) {
        const char *zero = memchr(reading->at, 0, (size_t)(reading->end - reading->at));
        if (!zero) return false;
        texts[i] = reading->at;
        reading->at = zero + 1;
    }
    problems_add(problems, kind, number, line, texts[0], texts[1]);
    return true;
}

bool prepared_block_read(const void *record, size_t size, PreparedBlock *block) {
    BlockHeader header;
    Reading reading = {record, record, (const char *)record + size};
    *block = (PreparedBlock){0};
    if (!take(&reading, &header, sizeof header) || header.mark != BLOCK_MARK || header.number < 0 ||
        header.number > INT32_MAX / PREPARE_BLOCK || header.looked_at < 0 ||
        header.looked_at > PREPARE_BLOCK || header.num_samples < 0 ||
        header.num_samples > header.looked_at)
        return false;
    block->number = header.number;
    block->looked_at = header.looked_at;
    block->num_samples = header.num_samples;
    for (int i = 0; i < header.num_samples; i++)
        if (!read_sample(&reading, &block->samples[i])) return false;
    for (int i = 0; i < header.num_problems; i++)
        if (!read_problem(&reading, &block->problems)) return false;
    return reading.at == reading.end;
}

void prepared_block_free(PreparedBlock *block) { problems_free(&block->problems); }
