#include "data/llava_dataset.h"
#include "autograd/file_content.h"
#include "autograd/fnv.h"
#include "autograd/stop_request.h"
#include "data/text.h"
#include "data/text_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// Numbers mean nothing here, and an id may have more digits than an integer holds.
enum { SAMPLE_FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL };

typedef struct Record {
    /// of the sample's opening brace in the file
    int64_t offset;
    int32_t bytes;
    /// negative: text only (LLaVA's convention, one word at least)
    int32_t words;
    int64_t position;
    /// of its bytes: a file that is rewritten in place may keep its length
    uint64_t checksum;
} Record;

_Static_assert(sizeof(Record) == DATASET_BYTES_PER_SAMPLE, "what the header promises");

struct Dataset {
    char *path;
    char *image_folder;
    MissingImage missing_image;
    TextFile *file;
    Record *records;
    int64_t count;
    int64_t capacity;
    int64_t skipped;
    /// dataset_first_dialogue()
    int64_t first_dialogue;
};

static const char *describe(const Dataset *dataset, const Record *record, const char *id,
                            char *buffer, size_t size) {
    snprintf(buffer, size, "%s: sample %lld (id '%s', line %lld)", dataset->path,
             (long long)record->position, quote(id).text,
             (long long)text_file_line(dataset->file, record->offset));
    return buffer;
}

const char *dataset_describe(const Dataset *dataset, int64_t index, const char *id, char *buffer,
                             size_t size) {
    return describe(dataset, &dataset->records[index], id, buffer, size);
}

static char *id_text(const json_t *json) {
    const json_t *id = json_object_get(json, "id");
    if (json_is_string(id)) return checked_strdup(json_string_value(id));
    if (json_is_number(id)) return format_string("%.15g", json_number_value(id));
    return checked_strdup("");
}

static bool read_turn(const json_t *json, int number, Turn *turn, Error *error) {
    const char *from = json_string_value(json_object_get(json, "from"));
    turn->text = json_string_value(json_object_get(json, "value"));
    if (!from || !turn->text)
        return error_set(
            error, "turn %d: expected {\"from\": ..., \"value\": ...} with two strings", number);
    turn->role = strcmp(from, "human") == 0 ? ROLE_HUMAN : ROLE_GPT;
    if (turn->role == ROLE_GPT && strcmp(from, "gpt") != 0)
        return error_set(error, "turn %d is from '%s'; expected 'human' or 'gpt'", number,
                         quote(from).text);
    return true;
}

static bool refuse_image(const json_t *image, Error *error) {
    const char *name = json_string_value(image);
    const char *is = !name                        ? "no text"
                     : !*name                     ? "empty"
                     : !strncmp(name, "data:", 5) ? "a picture in base64"
                                                  : "an address in the web";
    if (json_is_array(image))
        return error_set(error,
                         "\"image\" is a list of %zu; expected the name of one image file: each "
                         "sample is about one picture",
                         json_array_size(image));
    return error_set(error, "\"image\" is %s; expected the name of one image file", is);
}

/// Other data sets keep their pictures under other keys, which would be lost.
static bool check_other_keys(const json_t *json, Error *error) {
    static const char *const keys[] = {"images", "video", "videos"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(json, keys[i]);
        if (!value || json_is_null(value) || (json_is_array(value) && !json_array_size(value)))
            continue;
        return error_set(error,
                         "the key \"%s\" is not known; expected \"image\" with the name of one "
                         "image file",
                         keys[i]);
    }
    return true;
}

/// Sets the path of the image, NULL without one.
static bool read_image(const Dataset *dataset, const json_t *json, Sample *sample, Error *error) {
    const json_t *image = json_object_get(json, "image");
    if (!check_other_keys(json, error)) return false;
    if (!image || json_is_null(image)) return true;
    const char *name = json_string_value(image);
    if (!name || !*name || !strncmp(name, "data:", 5) || strstr(name, "://"))
        return refuse_image(image, error);
    sample->image_path =
        name[0] == '/' ? checked_strdup(name) : format_string("%s/%s", dataset->image_folder, name);
    return true;
}

/// The conversation's own check is of a sample with an image. Without one a mark would be read as
/// text: most likely the image is lost.
static bool check_image_marks(const Sample *sample, Error *error) {
    for (int i = 0; i < sample->turn_count && !sample->image_path; i++)
        if (strstr(sample->turns[i].text, "<image>"))
            return error_set(error,
                             "turn %d has <image>, but the sample names no image; expected "
                             "\"image\" with the name of one image file, or no mark",
                             i + 1);
    return true;
}

/// Fills the sample from its JSON object, of which it takes ownership whatever happens.
static bool read_sample(const Dataset *dataset, json_t *json, Sample *sample, Error *error) {
    *sample = (Sample){.json = json, .id = id_text(json)};
    const json_t *conversations = json_object_get(json, "conversations");
    if (!read_image(dataset, json, sample, error)) return false;
    if (!json_is_array(conversations))
        return error_set(error, "\"conversations\" is missing; expected an array of turns");
    if (json_array_size(conversations) > INT32_MAX / 2) return error_set(error, "too many turns");
    sample->turn_count = (int)json_array_size(conversations);
    sample->turns = checked_calloc((size_t)sample->turn_count + 1, sizeof *sample->turns);
    for (int i = 0; i < sample->turn_count; i++) {
        if (!read_turn(json_array_get(conversations, (size_t)i), i + 1, &sample->turns[i], error))
            return false;
    }
    return check_image_marks(sample, error) &&
           conversation_check(sample->turns, sample->turn_count, sample->image_path != NULL, error);
}

void sample_free(Sample *sample) {
    json_decref(sample->json);
    free(sample->id);
    free(sample->image_path);
    free(sample->turns);
    *sample = (Sample){0};
}

static void keep(Dataset *dataset, Record record) {
    if (dataset->count == dataset->capacity) {
        dataset->capacity = dataset->capacity ? 2 * dataset->capacity : 1024;
        dataset->records =
            checked_realloc(dataset->records, (size_t)dataset->capacity * sizeof *dataset->records);
    }
    dataset->records[dataset->count++] = record;
}

/// Checks one sample and keeps it, or counts it as skipped.
static bool add_sample(Dataset *dataset, Record record, json_t *json, Error *error) {
    Sample sample;
    bool valid = read_sample(dataset, json, &sample, error), found = true;
    if (valid && sample.image_path) {
        found = access(sample.image_path, R_OK) == 0;
        if (!found && dataset->missing_image == MISSING_IMAGE_FAIL)
            valid =
                error_set(error,
                          "its image %s cannot be read: %s. Put the file there, correct the image "
                          "folder, or set missing_image to skip",
                          sample.image_path, strerror(errno));
    }
    if (!valid) {
        char where[1024];
        error_context(error, "%s", describe(dataset, &record, sample.id, where, sizeof where));
    } else if (!found) {
        dataset->skipped++;
    } else {
        int64_t words = 1;
        for (int i = 0; i < sample.turn_count; i++) words += word_count(sample.turns[i].text);
        if (words > INT32_MAX) words = INT32_MAX;
        record.words = (int32_t)(sample.image_path ? words : -words);
        // A leading turn of the model is passed over.
        const int turns = sample.turn_count - (sample.turns[0].role == ROLE_GPT);
        if (turns != 2 && dataset->first_dialogue < 0) dataset->first_dialogue = dataset->count;
        keep(dataset, record);
    }
    sample_free(&sample);
    return valid;
}

/// The first byte that is not white space, or -1; nothing before it is kept.
static int skip_space(TextReader *reader) {
    int byte;
    while ((byte = text_reader_peek(reader)) == ' ' || byte == '\t' || byte == '\r' || byte == '\n')
        reader->at++;
    reader->mark = reader->at;
    return byte;
}

static bool syntax_error(const Dataset *dataset, const TextReader *reader, const char *expected,
                         Error *error) {
    if (reader->has_failed) return error_set(error, "%s", reader->failure.message);
    return error_set(
        error, "%s:%lld: not valid JSON: expected %s%s", dataset->path,
        (long long)text_file_line(dataset->file, reader->at), expected,
        reader->at >= text_file_size(dataset->file) ? ", but the file ends here (cut off?)" : "");
}

/// Reads the object that begins at the reader's place, and goes on behind it.
static bool scan_sample(Dataset *dataset, TextReader *reader, int64_t position, Error *error) {
    json_error_t json_error;
    if (text_reader_peek(reader) != '{')
        return syntax_error(dataset, reader, "a sample, { ... }", error);
    Record record = {.offset = reader->at, .position = position};
    json_t *json = json_load_callback(text_reader_take, reader,
                                      JSON_DISABLE_EOF_CHECK | SAMPLE_FLAGS, &json_error);
    if (!json && reader->has_failed) return error_set(error, "%s", reader->failure.message);
    if (!json)
        return error_set(error, "%s:%lld: not valid JSON, in sample %lld: %s", dataset->path,
                         (long long)text_file_line(dataset->file, record.offset) + json_error.line -
                             1,
                         (long long)position, json_error.text);
    record.bytes = json_error.position; // jansson reads ahead
    record.checksum = fnv1a_words(text_reader_marked(reader), (size_t)record.bytes);
    reader->at = record.offset + record.bytes;
    return add_sample(dataset, record, json, error);
}

static bool scan_samples(Dataset *dataset, TextReader *reader, Error *error) {
    char first[64];
    const char *begin = first;
    size_t count = text_reader_take(first, sizeof first, reader);
    if (!file_begin_text(dataset->path, &begin, &count, error)) return false;
    reader->at = begin - first;
    int byte = skip_space(reader);
    if (byte == '{')
        return syntax_error(dataset, reader,
                            "an array of samples, [ { ... }, ... ]; the file begins with one "
                            "object, as JSON Lines do, which are not read",
                            error);
    if (byte != '[') return syntax_error(dataset, reader, "an array of samples, [ ... ]", error);
    reader->at++;
    bool more = skip_space(reader) != ']';
    for (int64_t position = 0; more; position++) {
        if (stop_requested()) return stop_request_error(error);
        if (!scan_sample(dataset, reader, position, error)) return false;
        more = skip_space(reader) == ',';
        if (more) reader->at++;
        if (more) skip_space(reader);
    }
    if (text_reader_peek(reader) != ']')
        return syntax_error(dataset, reader, "',' or ']' after a sample", error);
    reader->at++;
    return (skip_space(reader) < 0 && !reader->has_failed) ||
           syntax_error(dataset, reader, "nothing after the array", error);
}

static bool scan(Dataset *dataset, Error *error) {
    // A little less than what fits into jansson's and a record's numbers.
    TextReader reader = {.file = dataset->file,
                         .block = {.limit = INT32_MAX - (1 << 21), .name = "a sample"}};
    bool valid = scan_samples(dataset, &reader, error);
    text_reader_free(&reader);
    return valid;
}

static bool open_file(Dataset *dataset, Error *error) {
    dataset->file = text_file_open(dataset->path, error);
    if (!dataset->file) return error_context(error, "the data set, a JSON file in LLaVA's format");
    return text_file_size(dataset->file) > 0 ||
           error_set(error, "%s: the file is empty; expected a JSON file in LLaVA's format",
                     dataset->path);
}

static bool check_not_empty(const Dataset *dataset, Error *error) {
    if (dataset->count > 0) return true;
    if (dataset->skipped > 0)
        return error_set(
            error, "%s: the images of all %lld samples are missing; is %s the right image folder?",
            dataset->path, (long long)dataset->skipped, dataset->image_folder);
    return error_set(error, "%s: the data set has no samples", dataset->path);
}

Dataset *dataset_open(const DatasetOptions *options, Error *error) {
    // jansson seeds its hash tables at first use; here, before threads parse samples.
    json_object_seed(0);
    Dataset *dataset = checked_calloc(1, sizeof *dataset);
    dataset->path = checked_strdup(options->annotations);
    dataset->image_folder = checked_strdup(options->image_folder ? options->image_folder : ".");
    dataset->missing_image = options->missing_image;
    dataset->first_dialogue = -1;
    if (open_file(dataset, error) && scan(dataset, error) && check_not_empty(dataset, error))
        return dataset;
    dataset_close(dataset);
    return NULL;
}

void dataset_close(Dataset *dataset) {
    if (!dataset) return;
    text_file_close(dataset->file);
    free(dataset->records);
    free(dataset->image_folder);
    free(dataset->path);
    free(dataset);
}

const char *dataset_path(const Dataset *dataset) { return dataset->path; }

uint64_t dataset_checksum(const Dataset *dataset) {
    uint64_t hash = (uint64_t)dataset->count;
    for (int64_t i = 0; i < dataset->count; i++) {
        const Record *record = &dataset->records[i];
        uint64_t words[] = {hash, (uint64_t)record->position, record->checksum};
        hash = fnv1a_words(words, sizeof words);
    }
    return hash;
}

int64_t dataset_count(const Dataset *dataset) { return dataset->count; }
int64_t dataset_skipped(const Dataset *dataset) { return dataset->skipped; }
int64_t dataset_first_dialogue(const Dataset *dataset) { return dataset->first_dialogue; }

static const Record *record_at(const Dataset *dataset, int64_t index) {
    CHECK(index >= 0 && index < dataset->count, "data set: sample %lld of %lld", (long long)index,
          (long long)dataset->count);
    return &dataset->records[index];
}

bool dataset_has_image(const Dataset *dataset, int64_t index) {
    return record_at(dataset, index)->words > 0;
}

int32_t dataset_word_count(const Dataset *dataset, int64_t index) {
    return abs(record_at(dataset, index)->words) - 1;
}

void dataset_modality_lengths(const Dataset *dataset, int32_t *out) {
    for (int64_t i = 0; i < dataset->count; i++) out[i] = dataset->records[i].words;
}

int64_t dataset_position_in_file(const Dataset *dataset, int64_t index) {
    return record_at(dataset, index)->position;
}

/// The sample's JSON object as it was when the data set was opened, or NULL.
static json_t *read_again(const Dataset *dataset, const Record *record, Error *error) {
    json_error_t json_error;
    const size_t bytes = (size_t)record->bytes;
    json_t *json = NULL;
    char *text = checked_malloc(bytes);
    if (text_file_read(dataset->file, record->offset, bytes, text, error)) {
        if (fnv1a_words(text, bytes) == record->checksum)
            json = json_loadb(text, bytes, SAMPLE_FLAGS, &json_error);
        char what[64];
        snprintf(what, sizeof what, "sample %lld is no longer what it was",
                 (long long)record->position);
        if (!json) text_file_changed(dataset->file, what, error);
    }
    free(text);
    return json;
}

bool dataset_sample(const Dataset *dataset, int64_t index, Sample *sample, Error *error) {
    const Record *record = record_at(dataset, index);
    *sample = (Sample){0};
    json_t *json = read_again(dataset, record, error);
    if (!json) return false;
    if (read_sample(dataset, json, sample, error)) return true;
    char where[1024];
    error_context(error, "%s", describe(dataset, record, sample->id, where, sizeof where));
    sample_free(sample);
    return false;
}
