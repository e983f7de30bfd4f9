/// Parsers of bytes, for fuzz_bytes.c.
#pragma once
#include "tests/fuzz/bytes.h"

/// Whether the bytes were read as a whole; else why not.
typedef bool ByteParser(const ByteBuffer *bytes, Error *error);

/// "image", "archive", "samples" (a file of conversations, whose samples are tokenized as well) or
/// "config" (which must read back what it writes); NULL for another name.
ByteParser *byte_parser_named(const char *name);
