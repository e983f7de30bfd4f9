/// Text files of any size, read in pieces as their bytes are asked for. Nothing is mapped: a file
/// that shrinks while it is in use is an error, not a bus error.
#pragma once
#include "autograd/text/byte_buffer.h"

#include <stdint.h>

typedef struct TextFile TextFile;

/// Opens a regular file. NULL on failure, with the path in the message.
TextFile *text_file_open(const char *path, Error *error);
void text_file_close(TextFile *file);
/// Bytes that it had when it was opened.
int64_t text_file_size(const TextFile *file);
/// Reads the bytes [begin, begin + size), which are in the file, into `to`. Several threads may do
/// so at once. Fails if the disk does, or if the file has become shorter: see text_file_changed().
bool text_file_read(const TextFile *file, int64_t begin, size_t size, char *to, Error *error);
/// False, with the message that the file was changed while it was in use, by what it was noticed,
/// and what to do.
bool text_file_changed(const TextFile *file, const char *what, Error *error);
/// Newlines among the bytes [begin, end).
int64_t text_file_newlines(const TextFile *file, int64_t begin, int64_t end);
/// The line, from 1, of a byte: for messages, for it is counted from the file's beginning.
int64_t text_file_line(const TextFile *file, int64_t offset);

/// Goes through a file once, from its beginning to its end. It keeps what lies between `mark` and
/// the place that it has come to, so that a piece can be had whole. Zeros but for `file`;
/// text_reader_free() at the end.
typedef struct TextReader {
    const TextFile *file;
    /// Of the next byte.
    int64_t at;
    /// Bytes from here on are kept. Not behind `at`.
    int64_t mark;
    /// The block holds the bytes from `begin` on.
    int64_t begin;
    ByteBuffer block;
    /// Reading failed; then there are no more bytes.
    bool has_failed;
    Error failure;
} TextReader;

/// The next byte, 0 to 255, or -1 at the file's end or after a failure.
int text_reader_peek(TextReader *reader);
/// Copies up to `size` of the next bytes, goes on behind them and returns their number; less only
/// at the file's end or after a failure. A json_load_callback_t.
size_t text_reader_take(void *to, size_t size, void *reader);
/// The kept bytes from `mark` on; as many as have been looked at.
const char *text_reader_marked(const TextReader *reader);
void text_reader_free(TextReader *reader);
