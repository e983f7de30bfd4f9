#include "data/llava_dataset.h"
#include "data/text.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Record {
    int64_t offset; ///< of the sample's opening brace in the file
    int32_t bytes;
    int32_t words; ///< negative: text only (LLaVA's convention, one word at least)
    int64_t position;
} Record;

struct Dataset {
    char *path;
    char *image_folder;
    MissingImage missing_image;
    const char *text; ///< the mapped file
    size_t bytes;
    Record *records;
    int64_t count;
    int64_t capacity;
    int64_t skipped;
};

/// Line of a byte; only for messages, so counting from the start each time is good enough.
static int64_t line_at(const Dataset *dataset, int64_t offset) {
    int64_t line = 1;
    for (int64_t i = 0; i < offset; i++) line += dataset->text[i] == '\n';
    return line;
}

static const char *describe(const Dataset *dataset, const Record *record, const char *id,
                            char *buffer, size_t size) {
    snprintf(buffer, size, "%s: sample %lld (id '%.100s', line %lld)", dataset->path,
             (long long)record->position, id ? id : "",
             (long long)line_at(dataset, record->offset));
    return buffer;
}

const char *dataset_describe(const Dataset *dataset, int64_t index, const char *id, char *buffer,
                             size_t size) {
    return describe(dataset, &dataset->records[index], id, buffer, size);
}

static char *id_text(const json_t *json) {
    const json_t *id = json_object_get(json, "id");
    if (json_is_string(id)) return checked_strdup(json_string_value(id));
    if (json_is_integer(id)) return format_string("%lld", (long long)json_integer_value(id));
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
        return error_set(error, "turn %d is from '%.50s'; expected 'human' or 'gpt'", number, from);
    return true;
}

/// Fills the sample from its JSON object, of which it takes ownership whatever happens.
static bool read_sample(const Dataset *dataset, json_t *json, Sample *sample, Error *error) {
    *sample = (Sample){.json = json, .id = id_text(json)};
    const json_t *image = json_object_get(json, "image");
    const json_t *conversations = json_object_get(json, "conversations");
    if (image && !json_is_null(image)) {
        const char *name = json_string_value(image);
        if (!name || !*name)
            return error_set(error, "\"image\" must be the name of one image file");
        sample->image_path = name[0] == '/' ? checked_strdup(name)
                                            : format_string("%s/%s", dataset->image_folder, name);
    }
    if (!json_is_array(conversations))
        return error_set(error, "\"conversations\" is missing; expected an array of turns");
    if (json_array_size(conversations) > INT32_MAX / 2) return error_set(error, "too many turns");
    sample->turn_count = (int)json_array_size(conversations);
    sample->turns = checked_calloc((size_t)sample->turn_count + 1, sizeof *sample->turns);
    for (int i = 0; i < sample->turn_count; i++) {
        if (!read_turn(json_array_get(conversations, (size_t)i), i + 1, &sample->turns[i], error))
            return false;
    }
    return conversation_check(sample->turns, sample->turn_count, sample->image_path != NULL, error);
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
        keep(dataset, record);
    }
    sample_free(&sample);
    return valid;
}

static size_t skip_space(const Dataset *dataset, size_t i) {
    while (i < dataset->bytes && strchr(" \t\r\n", dataset->text[i]) && dataset->text[i]) i++;
    return i;
}

static bool syntax_error(const Dataset *dataset, size_t offset, const char *expected,
                         Error *error) {
    return error_set(error, "%s:%lld: not valid JSON: expected %s%s", dataset->path,
                     (long long)line_at(dataset, (int64_t)offset), expected,
                     offset >= dataset->bytes ? ", but the file ends here (cut off?)" : "");
}

/// Reads the object at `offset`; *end receives the offset behind it.
static bool scan_sample(Dataset *dataset, size_t offset, int64_t position, size_t *end,
                        Error *error) {
    json_error_t json_error;
    if (offset >= dataset->bytes || dataset->text[offset] != '{')
        return syntax_error(dataset, offset, "a sample, { ... }", error);
    json_t *json = json_loadb(dataset->text + offset, dataset->bytes - offset,
                              JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &json_error);
    if (!json)
        return error_set(error, "%s:%lld: not valid JSON, in sample %lld: %s", dataset->path,
                         (long long)line_at(dataset, (int64_t)offset) + json_error.line - 1,
                         (long long)position, json_error.text);
    *end = offset + (size_t)json_error.position;
    if (*end - offset > INT32_MAX) {
        json_decref(json);
        return syntax_error(dataset, offset, "a sample of at most 2 GB", error);
    }
    return add_sample(dataset,
                      (Record){.offset = (int64_t)offset,
                               .bytes = (int32_t)(*end - offset),
                               .position = position},
                      json, error);
}

static bool scan(Dataset *dataset, Error *error) {
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    size_t i = dataset->bytes >= 3 && memcmp(dataset->text, byte_order_mark, 3) == 0 ? 3 : 0;
    int64_t position = 0;
    i = skip_space(dataset, i);
    if (i >= dataset->bytes || dataset->text[i] != '[')
        return syntax_error(dataset, i, "an array of samples, [ ... ]", error);
    i = skip_space(dataset, i + 1);
    bool more = !(i < dataset->bytes && dataset->text[i] == ']');
    while (more) {
        if (!scan_sample(dataset, i, position++, &i, error)) return false;
        i = skip_space(dataset, i);
        more = i < dataset->bytes && dataset->text[i] == ',';
        if (more) i = skip_space(dataset, i + 1);
    }
    if (i >= dataset->bytes || dataset->text[i] != ']')
        return syntax_error(dataset, i, "',' or ']' after a sample", error);
    i = skip_space(dataset, i + 1);
    if (i < dataset->bytes) return syntax_error(dataset, i, "nothing after the array", error);
    return true;
}

static bool map_file(Dataset *dataset, Error *error) {
    bool mapped = false;
    struct stat status;
    int descriptor = open(dataset->path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &status) != 0) {
        error_set(error, "%s: the data set cannot be read: %s", dataset->path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        error_set(error, "%s: not a file; expected a JSON file in LLaVA's format", dataset->path);
    } else if (status.st_size == 0) {
        error_set(error, "%s: the file is empty; expected a JSON file in LLaVA's format",
                  dataset->path);
    } else {
        void *mapping = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        mapped = mapping != MAP_FAILED;
        if (mapped) {
            dataset->text = mapping;
            dataset->bytes = (size_t)status.st_size;
        } else {
            error_set(error, "%s: the data set cannot be mapped: %s", dataset->path,
                      strerror(errno));
        }
    }
    if (descriptor >= 0) close(descriptor);
    return mapped;
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
    if (map_file(dataset, error) && scan(dataset, error) && check_not_empty(dataset, error))
        return dataset;
    dataset_close(dataset);
    return NULL;
}

void dataset_close(Dataset *dataset) {
    if (!dataset) return;
    if (dataset->text) munmap((void *)dataset->text, dataset->bytes);
    free(dataset->records);
    free(dataset->image_folder);
    free(dataset->path);
    free(dataset);
}

const char *dataset_path(const Dataset *dataset) { return dataset->path; }
/// FNV-1a on words: to find differences that nobody made on purpose.
uint64_t dataset_checksum(const Dataset *dataset) {
    uint64_t hash = 0xcbf29ce484222325ull ^ (uint64_t)dataset->count, word = 0;
    for (size_t i = 0; i < dataset->bytes; i += sizeof word, word = 0) {
        size_t rest = dataset->bytes - i;
        memcpy(&word, dataset->text + i, rest < sizeof word ? rest : sizeof word);
        hash = (hash ^ word) * 0x100000001b3ull;
        hash ^= hash >> 29;
    }
    return hash;
}

int64_t dataset_count(const Dataset *dataset) { return dataset->count; }
int64_t dataset_skipped(const Dataset *dataset) { return dataset->skipped; }

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

bool dataset_sample(const Dataset *dataset, int64_t index, Sample *sample, Error *error) {
    const Record *record = record_at(dataset, index);
    json_error_t json_error;
    json_t *json = json_loadb(dataset->text + record->offset, (size_t)record->bytes,
                              JSON_REJECT_DUPLICATES, &json_error);
    *sample = (Sample){0};
    if (!json)
        return error_set(error, "%s: sample %lld is no longer there: the file was changed",
                         dataset->path, (long long)record->position);
    if (read_sample(dataset, json, sample, error)) return true;
    char where[1024];
    error_context(error, "%s", describe(dataset, record, sample->id, where, sizeof where));
    sample_free(sample);
    return false;
}
