/// What the pack's writer and reader agree on.
#pragma once
#include "data/pack/pack.h"

#include "checkpoints/mapped_file.h"
#include "checkpoints/training_state.h"

enum {
    PACK_VERSION = 1,
    /// of arrays in the file, which are used where they are mapped
    PACK_ALIGNMENT = STATE_ALIGNMENT
};

/// A row of `samples`.
enum {
    PACK_NUMBER,
    PACK_CHECKSUM,
    PACK_LINE,
    PACK_WORDS,
    PACK_BEYOND_PLAIN,
    /// of the first byte in `texts`
    PACK_TEXT,
    PACK_TEXT_BYTES,
    /// of the first in `tokens`
    PACK_TOKENS,
    PACK_NUM_TOKENS,
    /// of the first in `supervised`
    PACK_SPANS,
    PACK_NUM_SPANS,
    /// CRC-32C of tokens and spans
    PACK_TOKENS_CHECKSUM,
    PACK_COLUMNS
};

/// A row of `images/index`.
enum {
    /// of the first byte in `images/names`; a zero ends the name
    PACK_IMAGE_NAME,
    PACK_IMAGE_NAME_BYTES,
    /// of the first byte in `images/bytes`
    PACK_IMAGE_BYTES,
    PACK_IMAGE_SIZE,
    /// CRC-32C of the bytes
    PACK_IMAGE_CHECKSUM,
    PACK_IMAGE_COLUMNS
};

/// An array in the mapped file.
typedef struct PackPart {
    const unsigned char *bytes;
    int64_t size;
    uint32_t checksum;
} PackPart;

struct Pack {
    MappedFile file;
    char *source, *tokens_of;
    int64_t numbers, samples, images;
    PackPart sample_rows, texts, tokens, spans, image_rows, names, image_bytes;
};

/// Whether what is read as a whole is intact, and every row names places within the arrays.
bool pack_check(const Pack *pack, Error *error);

/// CRC-32C of a sample's tokens and spans.
uint32_t pack_tokens_checksum(const PackSample *sample);
