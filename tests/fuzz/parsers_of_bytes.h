/// Parsers of bytes, for fuzz_bytes.c.
#pragma once
#include "data/instruction_sample.h"
#include "tests/fuzz/pack_layout.h"

#include <sys/types.h>

/// The undamaged file that bytes were made of.
typedef struct SeedFile {
    const char *path;
    ByteBuffer bytes;
    /// NULL where it is no pack, and where it is no other HDF5 file; owned
    PackLayout *pack;
    Hdf5Layout *hdf5;
} SeedFile;

/// Whether the bytes were read as a whole; else why not.
typedef bool ByteParser(const ByteBuffer *bytes, const SeedFile *seed, Error *error);

/// "image", "archive", "samples" (a file of conversations, whose samples are tokenized as well),
/// "config" (which must read back what it writes), "pack" (opened by HDF5 and read as training
/// reads it), "pack_arrays" (the same of its arrays where they lie, without HDF5, several times as
/// fast), "answers" (a journal of a store of answers, which are looked at as judging does),
/// "answers_hdf5" (the same of a store's HDF5 file), "features" (a file of a feature folder) or
/// "parts" (a journal of a preparation); NULL for another name.
ByteParser *byte_parser_named(const char *name);

/// Removes what a process that ended within a parser may have left.
void byte_parser_clean_up(pid_t process);

/// parsers_of_journals.c
ByteParser parse_answers, parse_answers_hdf5, parse_parts;
void journal_clean_up(pid_t process);
/// parsers_of_hdf5.c
ByteParser parse_pack, parse_pack_arrays, parse_features;
/// A file of memory, made at the first call and kept for the next bytes: a new one costs more than
/// to read it. *descriptor: -1 before the first call.
void put_file(const ByteBuffer *bytes, const char *path, int *descriptor);
/// Tokenizes a sample as `plain` writes it where it can, and as two other templates do.
bool tokenize_as_trained(const Sample *sample, Error *error);
/// Into an open file.
void put_bytes(int descriptor, const ByteBuffer *bytes);
