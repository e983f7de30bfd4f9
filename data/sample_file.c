#include "data/sample_file.h"
#include "autograd/file_content.h"
#include "autograd/fnv.h"
#include "autograd/stop_request.h"
#include "data/text_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/// Numbers mean nothing here, and an id may have more digits than an integer holds.
enum { SAMPLE_FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL };

struct SampleFile {
    char *path;
    TextFile *text;
};

/// On its way through the file.
typedef struct Scan {
    const SampleFile *file;
    TextReader reader;
    SampleFunction *use;
    /// NULL: a spoiled line ends the reading
    SpoiledLineFunction *spoiled;
    void *context;
} Scan;

/// A sample as it was found.
typedef struct FoundSample {
    SamplePlace place;
    json_t *json;
} FoundSample;

SampleFile *sample_file_open(const char *path, Error *error) {
    // jansson seeds its hash tables at first use; here, before threads parse samples.
    json_object_seed(0);
    SampleFile *file = checked_calloc(1, sizeof *file);
    file->path = checked_strdup(path);
    file->text = text_file_open(path, error);
    if (!file->text)
        error_context(error, "the data set, a JSON file");
    else if (text_file_size(file->text) > 0)
        return file;
    else
        error_set(error, "%s: the file is empty; expected samples as JSON", path);
    sample_file_close(file);
    return NULL;
}

void sample_file_close(SampleFile *file) {
    if (!file) return;
    text_file_close(file->text);
    free(file->path);
    free(file);
}

int64_t sample_file_line(const SampleFile *file, int64_t offset) {
    return text_file_line(file->text, offset);
}

/// The first byte that is not white space, or -1; nothing before it is kept.
static int skip_space(TextReader *reader) {
    int byte;
    while ((byte = text_reader_peek(reader)) == ' ' || byte == '\t' || byte == '\r' || byte == '\n')
        reader->mark = ++reader->at;
    reader->mark = reader->at;
    return byte;
}

static bool syntax_error(const Scan *scan, const char *expected, Error *error) {
    const TextReader *reader = &scan->reader;
    if (reader->has_failed) return error_set(error, "%s", reader->failure.message);
    return error_set(error, "%s:%lld: not valid JSON: expected %s%s", scan->file->path,
                     (long long)sample_file_line(scan->file, reader->at), expected,
                     reader->at >= text_file_size(scan->file->text)
                         ? ", but the file ends here (cut off?)"
                         : "");
}

static bool sample_error(const Scan *scan, int64_t offset, int64_t number,
                         const json_error_t *json_error, Error *error) {
    const TextReader *reader = &scan->reader;
    const long long line = (long long)sample_file_line(scan->file, offset);
    if (reader->block.is_over)
        return error_set(error, "%s:%lld: sample %lld has more than %d MiB", scan->file->path, line,
                         (long long)number, MOST_SAMPLE_BYTES >> 20);
    if (reader->has_failed) return error_set(error, "%s", reader->failure.message);
    const bool is_cut = json_error_code(json_error) == json_error_premature_end_of_input;
    const bool is_nul = json_error_code(json_error) == json_error_null_character;
    char begins[48] = "";
    if (json_error->line > 1) snprintf(begins, sizeof begins, " (from line %lld on)", line);
    return error_set(error, "%s:%lld: not valid JSON, in sample %lld%s: %s%s", scan->file->path,
                     line + json_error->line - 1, (long long)number, begins,
                     is_nul ? "a NUL character (\\u0000), which texts do not have"
                            : json_error->text,
                     is_cut ? ": the file ends within it (cut off?)" : "");
}

/// Reads the object that begins at the reader's place, and goes on behind it.
static bool find_sample(Scan *scan, int64_t number, FoundSample *found, Error *error) {
    TextReader *reader = &scan->reader;
    json_error_t json_error;
    if (text_reader_peek(reader) != '{') return syntax_error(scan, "a sample, { ... }", error);
    SamplePlace *place = &found->place;
    place->offset = reader->at;
    found->json = json_load_callback(text_reader_take, reader,
                                     JSON_DISABLE_EOF_CHECK | SAMPLE_FLAGS, &json_error);
    if (!found->json) return sample_error(scan, place->offset, number, &json_error, error);
    place->bytes = json_error.position; // jansson reads ahead
    place->checksum = fnv1a_words(text_reader_marked(reader), (size_t)place->bytes);
    reader->at = place->offset + place->bytes;
    return true;
}

static bool use_sample(const Scan *scan, const FoundSample *found, int64_t number, Error *error) {
    return scan->use(scan->context, &found->place, number, found->json, error);
}

/// Nothing can be found behind sample `number`, which is no JSON.
static bool lose_the_rest(int64_t number, Error *error) {
    const Error why = *error;
    return error_set(error,
                     "%s; %lld sample%s before it could be read, and what stands behind it in the "
                     "array cannot be found until it is mended",
                     why.message, (long long)number, number == 1 ? "" : "s");
}

/// The reader is at the bracket.
static bool scan_array(Scan *scan, Error *error) {
    TextReader *reader = &scan->reader;
    int64_t number = 0;
    reader->at++;
    for (bool more = skip_space(reader) != ']'; more; number++) {
        FoundSample found;
        if (stop_requested()) return stop_request_error(error);
        if (!find_sample(scan, number, &found, error)) return lose_the_rest(number, error);
        if (!use_sample(scan, &found, number, error)) return false;
        more = skip_space(reader) == ',';
        if (more) reader->at++;
        if (more) skip_space(reader);
    }
    if (text_reader_peek(reader) != ']') {
        syntax_error(scan, "',' or ']' after a sample", error);
        return lose_the_rest(number, error);
    }
    reader->at++;
    return (skip_space(reader) < 0 && !reader->has_failed) ||
           syntax_error(scan, "nothing after the array", error);
}

/// Passes over what is left of the line, if that is blank; true at its end, and at the file's.
static bool line_ends(TextReader *reader) {
    int byte;
    while ((byte = text_reader_peek(reader)) == ' ' || byte == '\t' || byte == '\r')
        reader->mark = ++reader->at;
    return byte == '\n' || byte < 0;
}

/// A sample that is alone on its line, or on its lines.
static bool find_line(Scan *scan, int64_t number, FoundSample *found, Error *error) {
    if (!find_sample(scan, number, found, error)) return false;
    if (line_ends(&scan->reader)) return true;
    json_decref(found->json);
    return syntax_error(scan, "the line's end after a sample, as in JSON Lines", error);
}

/// Goes back to `mark`, on a line that is no sample, and on to its end; false if the disk fails.
static bool pass_line(TextReader *reader) {
    int byte;
    if (reader->has_failed && !reader->block.is_over) return false;
    reader->has_failed = reader->block.is_over = false;
    reader->at = reader->mark;
    while ((byte = text_reader_peek(reader)) >= 0 && byte != '\n') reader->mark = ++reader->at;
    return !reader->has_failed;
}

/// Goes on behind a line that is no sample, if such lines do not end the reading.
static bool pass_spoiled(Scan *scan, int64_t offset, int64_t number, Error *error) {
    const Error why = *error;
    if (!scan->spoiled) return false;
    if (!pass_line(&scan->reader)) return error_set(error, "%s", scan->reader.failure.message);
    return scan->spoiled(scan->context, offset, number, &why, error);
}

/// The reader is at the first brace.
static bool scan_lines(Scan *scan, Error *error) {
    TextReader *reader = &scan->reader;
    for (int64_t number = 0; skip_space(reader) >= 0; number++) {
        FoundSample found;
        const int64_t offset = reader->at;
        if (stop_requested()) return stop_request_error(error);
        const bool ok = find_line(scan, number, &found, error)
                            ? use_sample(scan, &found, number, error)
                            : pass_spoiled(scan, offset, number, error);
        if (!ok) return false;
    }
    return !reader->has_failed || syntax_error(scan, "a sample", error);
}

static bool scan_text(Scan *scan, Error *error) {
    char first[64];
    const char *begin = first;
    TextReader *reader = &scan->reader;
    size_t count = text_reader_take(first, sizeof first, reader);
    if (!file_begin_text(scan->file->path, &begin, &count, error)) return false;
    reader->at = begin - first;
    const int byte = skip_space(reader);
    if (byte == '[') return scan_array(scan, error);
    if (byte == '{') return scan_lines(scan, error);
    return syntax_error(scan, "an array of samples, [ ... ], or a sample a line, { ... }", error);
}

bool sample_file_scan_all(const SampleFile *file, SampleFunction *use, SpoiledLineFunction *spoiled,
                          void *context, Error *error) {
    Scan scan = {
        .file = file,
        .reader = {.file = file->text, .block = {.limit = MOST_SAMPLE_BYTES, .name = "a sample"}},
        .use = use,
        .spoiled = spoiled,
        .context = context};
    bool valid = scan_text(&scan, error);
    text_reader_free(&scan.reader);
    return valid;
}

bool sample_file_scan(const SampleFile *file, SampleFunction *use, void *context, Error *error) {
    return sample_file_scan_all(file, use, NULL, context, error);
}

int64_t sample_file_size(const SampleFile *file) { return text_file_size(file->text); }

int64_t sample_file_lines_between(const SampleFile *file, int64_t begin, int64_t end) {
    return text_file_newlines(file->text, begin, end);
}

json_t *sample_text_parse(const char *text, size_t bytes, Error *error) {
    json_error_t json_error;
    json_t *json = json_loadb(text, bytes, SAMPLE_FLAGS, &json_error);
    if (!json) error_set(error, "not valid JSON: %s", json_error.text);
    return json;
}

static bool refuse_changed(const SampleFile *file, int64_t number, Error *error) {
    char what[64];
    snprintf(what, sizeof what, "sample %lld is no longer what it was", (long long)number);
    return text_file_changed(file->text, what, error);
}

char *sample_file_text(const SampleFile *file, const SamplePlace *place, int64_t number,
                       Error *error) {
    const size_t bytes = (size_t)place->bytes;
    char *text = checked_malloc(bytes + 1);
    if (text_file_read(file->text, place->offset, bytes, text, error) &&
        (fnv1a_words(text, bytes) == place->checksum || refuse_changed(file, number, error)))
        return text;
    free(text);
    return NULL;
}

json_t *sample_file_read(const SampleFile *file, const SamplePlace *place, int64_t number,
                         Error *error) {
    char *text = sample_file_text(file, place, number, error);
    if (!text) return NULL;
    json_error_t json_error;
    json_t *json = json_loadb(text, (size_t)place->bytes, SAMPLE_FLAGS, &json_error);
    if (!json) refuse_changed(file, number, error);
    free(text);
    return json;
}
