#include "models/packing.h"

#include <stdlib.h>
#include <string.h>

/// Rows that a sample becomes, uncut.
static int64_t rows_of(const TokenSample *sample, int tokens_per_image) {
    int64_t rows = sample->count;
    for (int i = 0; i < sample->count; i++)
        if (sample->ids[i] == PACKING_IMAGE_TOKEN) rows += tokens_per_image - 1;
    return rows;
}

static PackedTokens allocate(const TokenSample *samples, int count, int tokens_per_image) {
    int64_t rows = 0;
    for (int s = 0; s < count; s++) rows += rows_of(&samples[s], tokens_per_image);
    CHECK(rows <= INT32_MAX, "a batch of %lld tokens", (long long)rows);
    size_t sequences = (size_t)count, bytes = (size_t)(rows + PACKING_MULTIPLE) * sizeof(int32_t);
    return (PackedTokens){.num_sequences = count,
                          .lengths = checked_malloc(sequences * sizeof(int)),
                          .first_rows = checked_malloc(sequences * sizeof(int)),
                          .first_visual = checked_malloc(sequences * sizeof(int)),
                          .num_visual = checked_malloc(sequences * sizeof(int)),
                          .text_ids = checked_malloc(bytes),
                          .merge = checked_malloc(bytes),
                          .dropout_rows = checked_malloc(2 * bytes),
                          .rows = checked_malloc(bytes),
                          .targets = checked_malloc(bytes)};
}

/// A sequence that is being packed.
typedef struct Sequence {
    PackedTokens *packed;
    int index, limit, length;
    int32_t number;
} Sequence;

/// Appends a row unless the sequence is full.
static bool append(Sequence *sequence, int32_t merge) {
    PackedTokens *packed = sequence->packed;
    if (sequence->length == sequence->limit) return false;
    packed->dropout_rows[packed->total][0] = sequence->number;
    packed->dropout_rows[packed->total][1] = sequence->length++;
    packed->merge[packed->total++] = merge;
    return true;
}

static void append_text(Sequence *sequence, int32_t id, bool supervised) {
    PackedTokens *packed = sequence->packed;
    if (!append(sequence, packed->num_text)) return;
    packed->text_ids[packed->num_text++] = id;
    if (!supervised || sequence->length == 1) return; // nothing comes before the first token
    packed->rows[packed->num_supervised] = packed->total - 2;
    packed->targets[packed->num_supervised++] = id;
}

static void append_image(Sequence *sequence, int image, int tokens_per_image) {
    PackedTokens *packed = sequence->packed;
    CHECK(image >= 0, "an image token in a sample without an image");
    CHECK(packed->num_visual[sequence->index] == 0, "two image tokens in one sample");
    int first = sequence->length;
    for (int i = 0; i < tokens_per_image; i++)
        if (append(sequence, -1 - (image * tokens_per_image + i)))
            packed->num_visual[sequence->index]++;
    if (packed->num_visual[sequence->index]) packed->first_visual[sequence->index] = first;
}

PackedTokens packed_tokens_new(const TokenSample *samples, int count, int tokens_per_image,
                               int max_length) {
    PackedTokens packed = allocate(samples, count, tokens_per_image);
    for (int s = 0; s < count; s++) {
        const TokenSample *sample = &samples[s];
        Sequence sequence = {&packed, s, max_length, 0, sample->number};
        packed.first_rows[s] = packed.total;
        packed.first_visual[s] = -1;
        packed.num_visual[s] = 0;
        for (int i = 0; i < sample->count; i++)
            if (sample->ids[i] == PACKING_IMAGE_TOKEN)
                append_image(&sequence, sample->image, tokens_per_image);
            else
                append_text(&sequence, sample->ids[i], sample->supervised && sample->supervised[i]);
        packed.lengths[s] = sequence.length;
    }
    return packed;
}

/// What the number of so many rows is brought to a multiple of: at most every 24th row is one too
/// many.
static int multiple_for(int rows) {
    int multiple = PACKING_MULTIPLE;
    while (multiple > 1 && multiple * 24 > rows) multiple /= 2;
    return multiple;
}

void packed_tokens_fill(PackedTokens *packed) {
    for (int multiple = multiple_for(packed->total); packed->total % multiple;) {
        memset(packed->dropout_rows[packed->total], 0, sizeof packed->dropout_rows[0]);
        packed->merge[packed->total++] = packed->num_text;
        packed->text_ids[packed->num_text++] = 0;
    }
}

void packed_tokens_free(PackedTokens *packed) {
    free(packed->lengths);
    free(packed->first_rows);
    free(packed->first_visual);
    free(packed->num_visual);
    free(packed->text_ids);
    free(packed->merge);
    free(packed->dropout_rows);
    free(packed->rows);
    free(packed->targets);
    *packed = (PackedTokens){0};
}

// ---- ends of sequences

/// From each sequence's first row that predicts something supervised to its end; 0 where there is
/// none.
static void tail_lengths(const PackedTokens *packed, int *lengths) {
    int next = 0;
    for (int s = 0; s < packed->num_sequences; s++) {
        int end = packed->first_rows[s] + packed->lengths[s];
        bool any = next < packed->num_supervised && packed->rows[next] < end;
        lengths[s] = any ? end - packed->rows[next] : 0;
        while (next < packed->num_supervised && packed->rows[next] < end) next++;
    }
}

/// Lets the tails begin earlier until they have `wanted` rows together, or all there are; returns
/// how many they have.
static int lengthen(const PackedTokens *packed, int total, int wanted, int *lengths) {
    for (int s = 0; s < packed->num_sequences && total < wanted; s++) {
        int more = packed->lengths[s] - lengths[s];
        if (more > wanted - total) more = wanted - total;
        lengths[s] += more;
        total += more;
    }
    return total;
}

PackedTail packed_tail_new(const PackedTokens *packed) {
    PackedTail tail = {.lengths = checked_calloc((size_t)packed->num_sequences + 1, sizeof(int))};
    tail_lengths(packed, tail.lengths);
    int total = 0;
    for (int s = 0; s < packed->num_sequences; s++) total += tail.lengths[s];
    int multiple = multiple_for(total);
    tail.total =
        lengthen(packed, total, (total + multiple - 1) / multiple * multiple, tail.lengths);
    size_t rows = (size_t)tail.total + 1;
    tail.rows = checked_malloc(rows * sizeof *tail.rows);
    tail.dropout_rows = checked_malloc(rows * sizeof *tail.dropout_rows);
    tail.supervised =
        checked_malloc(((size_t)packed->num_supervised + 1) * sizeof *tail.supervised);
    int place = 0, supervised = 0;
    for (int s = 0; s < packed->num_sequences; s++) {
        int end = packed->first_rows[s] + packed->lengths[s];
        for (int row = end - tail.lengths[s]; row < end; row++, place++) {
            tail.rows[place] = row;
            memcpy(tail.dropout_rows[place], packed->dropout_rows[row],
                   sizeof tail.dropout_rows[place]);
            if (supervised < packed->num_supervised && packed->rows[supervised] == row)
                tail.supervised[supervised++] = place;
        }
    }
    return tail;
}

void packed_tail_free(PackedTail *tail) {
    free(tail->lengths);
    free(tail->rows);
    free(tail->dropout_rows);
    free(tail->supervised);
    *tail = (PackedTail){0};
}

Tensor *packed_embeddings(const PackedTokens *packed, const Llama *llama, Tensor *visual) {
    Tensor *text = llama_embed(llama, packed->text_ids, packed->num_text);
    if (packed->num_text == packed->total) return text;
    CHECK(visual, "samples with images, but no visual tokens");
    return merge_rows(text, reshape(visual, SHAPE(tensor_rows(visual), tensor_columns(visual))),
                      tensor_from_host(llama->device, INT32, SHAPE(packed->total), packed->merge));
}
