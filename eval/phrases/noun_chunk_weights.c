// Layout, little-endian: "NCHUNKS1"; int32 width, hidden, blocks, 8 dilations, 4 numbers of rows;
// five texts (special cases, prefix, suffix, infix, address), each int32 size, bytes, a zero; zeros
// to a multiple of 4; row scales and the small tensors as float32, the blocks' matrices as
// bfloat16; at last the table.
#include "eval/phrases/noun_chunk_weights.h"
#include "autograd/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the weights are little-endian");

// Unlike a C array, this costs the compiler nothing.
__asm__(".section .rodata\n"
        ".balign 64\n"
        ".global noun_chunk_data\n"
        "noun_chunk_data:\n"
        ".incbin \"" NOUN_CHUNK_FILE "\"\n"
        ".global noun_chunk_data_end\n"
        "noun_chunk_data_end:\n"
        ".byte 0\n"
        ".text\n");

typedef struct Reading {
    const char *at, *end;
    const char *begin;
} Reading;

static const void *take(Reading *reading, size_t size) {
    CHECK(size <= (size_t)(reading->end - reading->at), "the noun chunker's weights are cut off");
    const void *taken = reading->at;
    reading->at += size;
    return taken;
}

static int take_int(Reading *reading, int least, int most) {
    int32_t value;
    memcpy(&value, take(reading, sizeof value), sizeof value);
    CHECK(value >= least && value <= most, "the noun chunker's weights: %d is not in [%d, %d]",
          value, least, most);
    return value;
}

static const char *take_text(Reading *reading, size_t *size) {
    const int count = take_int(reading, 0, 1 << 20);
    const char *text = take(reading, (size_t)count + 1);
    CHECK(text[count] == '\0', "the noun chunker's weights: a text without an end");
    if (size) *size = (size_t)count;
    return text;
}

static float *take_floats(Reading *reading, size_t count) {
    float *values = checked_malloc(count * sizeof *values);
    memcpy(values, take(reading, count * sizeof *values), count * sizeof *values);
    return values;
}

static float *take_bfloat16(Reading *reading, size_t count) {
    float *values = checked_malloc(count * sizeof *values);
    const char *bytes = take(reading, count * 2);
    for (size_t i = 0; i < count; i++) {
        uint16_t high;
        memcpy(&high, bytes + 2 * i, sizeof high);
        const uint32_t bits = (uint32_t)high << 16;
        memcpy(values + i, &bits, sizeof bits);
    }
    return values;
}

static void read_sizes(NounChunkWeights *weights, Reading *reading) {
    CHECK(!memcmp(take(reading, 8), "NCHUNKS1", 8), "these are no weights of the noun chunker");
    weights->width = take_int(reading, 32, 1024);
    weights->hidden = take_int(reading, 32, 1024);
    CHECK(weights->width % 32 == 0 && weights->hidden % 32 == 0, "widths of %d and %d",
          weights->width, weights->hidden);
    weights->num_blocks = take_int(reading, 1, MOST_BLOCKS);
    for (int i = 0; i < MOST_BLOCKS; i++) weights->blocks[i].dilation = take_int(reading, 0, 16);
    for (int i = 0; i < 4; i++) weights->rows[i] = (uint32_t)take_int(reading, 1, 1 << 20);
}

void noun_chunk_weights_read(NounChunkWeights *weights, const char *data, size_t size) {
    Reading reading = {.at = data, .end = data + size, .begin = data};
    *weights = (NounChunkWeights){0};
    read_sizes(weights, &reading);
    EnglishRules *rules = &weights->rules;
    rules->special_cases = take_text(&reading, &rules->special_cases_size);
    rules->prefix = take_text(&reading, NULL);
    rules->suffix = take_text(&reading, NULL);
    rules->infix = take_text(&reading, NULL);
    rules->address = take_text(&reading, NULL);
    take(&reading, (size_t)(reading.begin - reading.at) & 3);
    const size_t width = (size_t)weights->width, hidden = (size_t)weights->hidden;
    size_t rows = 0;
    for (int i = 0; i < 4; i++) rows += weights->rows[i];
    weights->row_scale = take_floats(&reading, rows);
    for (int i = 0; i < weights->num_blocks; i++) {
        ConvolutionBlock *block = &weights->blocks[i];
        block->scale = take_floats(&reading, width);
        block->up_bias = take_floats(&reading, hidden);
        block->up = take_bfloat16(&reading, 3 * width * hidden);
        block->down = take_bfloat16(&reading, hidden * width);
    }
    weights->scale_out = take_floats(&reading, width);
    weights->out = take_floats(&reading, width * NUM_LABELS);
    weights->out_bias = take_floats(&reading, NUM_LABELS);
    weights->table = take(&reading, rows * width);
    CHECK(reading.at == reading.end, "the noun chunker's weights: %td bytes too many",
          reading.end - reading.at);
}

void noun_chunk_weights_free(NounChunkWeights *weights) {
    for (int i = 0; i < weights->num_blocks; i++) {
        ConvolutionBlock *block = &weights->blocks[i];
        free(block->scale);
        free(block->up);
        free(block->up_bias);
        free(block->down);
    }
    free((void *)weights->row_scale);
    free(weights->scale_out);
    free(weights->out);
    free(weights->out_bias);
    *weights = (NounChunkWeights){0};
}
