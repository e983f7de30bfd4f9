/// A file of JSON objects, one a sample: an array, or JSON Lines (a file that begins with '{': an
/// object, a line's end, the next). Which of the two is seen by the content; a byte-order mark,
/// blank lines and CRLF are passed over.
///
/// In an array nothing can be found behind a sample that is no JSON; in JSON Lines the next line is
/// a fresh start.
///
/// It is gone through once, an object at a time, and an object is read again when it is asked for:
/// memory is one object, MOST_SAMPLE_BYTES at most. Several threads may read again.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

struct json_t;

/// The longest conversations of published data sets have a few MB.
enum { MOST_SAMPLE_BYTES = 64 << 20 };

typedef struct SampleFile SampleFile;

/// Where an object is in its file, and what it was.
typedef struct SamplePlace {
    /// of its opening brace
    int64_t offset;
    int32_t bytes;
    /// of its bytes: a file that is rewritten in place may keep its length
    uint64_t checksum;
} SamplePlace;

/// NULL on failure, with the path in the message; an empty file is one.
SampleFile *sample_file_open(const char *path, Error *error);
void sample_file_close(SampleFile *file);

/// Called with each object in turn, `number` from 0 on; takes the reference. False, with the error,
/// ends the reading.
typedef bool SampleFunction(void *context, const SamplePlace *place, int64_t number,
                            struct json_t *json, Error *error);
/// False for what is not valid JSON (file, line, sample, what was expected), for a sample that is
/// too long, and if stopping was requested.
bool sample_file_scan(const SampleFile *file, SampleFunction *use, void *context, Error *error);

/// Called with each line of JSON Lines that is no sample, where it begins and why; it counts among
/// the samples. False, with the error, ends the reading.
typedef bool SpoiledLineFunction(void *context, int64_t offset, int64_t number, const Error *why,
                                 Error *error);
/// The same, but in JSON Lines a line that is not valid JSON, or too long, does not end it.
bool sample_file_scan_all(const SampleFile *file, SampleFunction *use, SpoiledLineFunction *spoiled,
                          void *context, Error *error);

/// The object's text as it was when the file was gone through, `bytes` long; NULL if the file was
/// changed. `number` is for the message. The caller frees it.
char *sample_file_text(const SampleFile *file, const SamplePlace *place, int64_t number,
                       Error *error);
/// The object as it was when the file was gone through; NULL if the file was changed. The caller
/// has the reference. `number` is for the message.
struct json_t *sample_file_read(const SampleFile *file, const SamplePlace *place, int64_t number,
                                Error *error);
/// The object of a text that is one; NULL if it is none. The caller has the reference.
struct json_t *sample_text_parse(const char *text, size_t bytes, Error *error);
/// Bytes of the file.
int64_t sample_file_size(const SampleFile *file);
/// How many lines further the byte at `end` is than that at `begin`.
int64_t sample_file_lines_between(const SampleFile *file, int64_t begin, int64_t end);
/// The line, from 1, of a byte: counted from the file's beginning, for messages.
int64_t sample_file_line(const SampleFile *file, int64_t offset);
