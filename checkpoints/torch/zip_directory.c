#include "checkpoints/torch/zip_directory.h"
#include "autograd/text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOCAL_HEADER = 30,
    CENTRAL_HEADER = 46,
    END_RECORD = 22,
    END_RECORD_64 = 56,
    LOCATOR_64 = 20,
    LONGEST_COMMENT = 65535,
    /// the id of the extra field with sizes of 64 bits
    EXTRA_64 = 1,
    /// a flag of a record
    ENCRYPTED = 1
};

typedef struct Archive {
    const unsigned char *bytes;
    size_t size;
    /// the central directory
    size_t directory, directory_bytes;
    uint64_t count;
    Error *error;
} Archive;

static uint64_t number(const unsigned char *bytes, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static bool is_signature(const unsigned char *bytes, int kind) {
    return bytes[0] == 'P' && bytes[1] == 'K' && bytes[2] == kind && bytes[3] == kind + 1;
}

enum { CENTRAL = 1, LOCAL = 3, END = 5 }; // 'P', 'K', kind, kind + 1

bool zip_begins(const unsigned char *bytes, size_t size) {
    return size >= END_RECORD && (is_signature(bytes, LOCAL) || is_signature(bytes, END));
}

// ---- the end of the file

static bool set_directory(Archive *archive, uint64_t offset, uint64_t bytes, uint64_t count,
                          size_t end) {
    if (offset > end || bytes > end - offset || count > bytes / CENTRAL_HEADER)
        return error_set(archive->error,
                         "the zip archive's directory (%llu records, %llu bytes at "
                         "%llu) does not fit the file",
                         (unsigned long long)count, (unsigned long long)bytes,
                         (unsigned long long)offset);
    archive->directory = (size_t)offset;
    archive->directory_bytes = (size_t)bytes;
    archive->count = count;
    return true;
}

static bool read_end_64(Archive *archive, const unsigned char *locator) {
    uint64_t at = number(locator + 8, 8), limit = (uint64_t)(locator - archive->bytes);
    if (limit < END_RECORD_64 || at > limit - END_RECORD_64 ||
        memcmp(archive->bytes + at, "PK\6\6", 4) != 0)
        return error_set(archive->error, "the zip archive's 64-bit end record is not where it "
                                         "should be");
    const unsigned char *end = archive->bytes + at;
    if (number(end + 24, 8) != number(end + 32, 8))
        return error_set(archive->error, "zip archives in several parts are not read");
    return set_directory(archive, number(end + 48, 8), number(end + 40, 8), number(end + 32, 8),
                         (size_t)at);
}

static bool read_end(Archive *archive) {
    size_t size = archive->size, at = size - END_RECORD;
    size_t first = at > LONGEST_COMMENT ? at - LONGEST_COMMENT : 0;
    const unsigned char *bytes = archive->bytes;
    // The record ends with a comment whose length must lead exactly to the file's end.
    while (!(is_signature(bytes + at, END) && number(bytes + at + 20, 2) == size - at - END_RECORD))
        if (at-- == first)
            return error_set(archive->error, "a zip archive without its end: cut off. Fetch the "
                                             "file again");
    const unsigned char *end = bytes + at;
    if (at >= LOCATOR_64 && memcmp(end - LOCATOR_64, "PK\6\7", 4) == 0)
        return read_end_64(archive, end - LOCATOR_64);
    if (number(end + 8, 2) != number(end + 10, 2))
        return error_set(archive->error, "zip archives in several parts are not read");
    return set_directory(archive, number(end + 16, 4), number(end + 12, 4), number(end + 10, 2),
                         at);
}

// ---- records

/// Replaces what did not fit 32 bits by the values of the 64-bit extra field.
static bool widen(const unsigned char *extra, size_t length, uint64_t *values[3]) {
    static const uint64_t ELSEWHERE = 0xffffffff;
    bool needed = false;
    for (int i = 0; i < 3; i++) needed = needed || *values[i] == ELSEWHERE;
    if (!needed) return true;
    while (length >= 4) {
        size_t id = (size_t)number(extra, 2), bytes = (size_t)number(extra + 2, 2);
        if (bytes > length - 4) return false;
        if (id == EXTRA_64) {
            const unsigned char *next = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*values[i] != ELSEWHERE) continue;
                if (bytes < 8) return false;
                *values[i] = number(next, 8);
                next += 8;
                bytes -= 8;
            }
            return true;
        }
        extra += 4 + bytes;
        length -= 4 + bytes;
    }
    return false;
}

/// Where the data begin according to the local header, which must name the same record.
static bool find_data(const Archive *archive, ZipRecord *record) {
    const size_t header = record->header;
    size_t limit = archive->directory, name_length = strlen(record->name);
    bool fits = header <= limit && limit - header >= LOCAL_HEADER;
    const unsigned char *local = archive->bytes + (fits ? header : 0);
    if (!fits || !is_signature(local, LOCAL))
        return error_set(archive->error,
                         "record '%s' of the zip archive does not begin where the "
                         "directory says",
                         record->name);
    size_t own_name = (size_t)number(local + 26, 2), extra = (size_t)number(local + 28, 2);
    size_t rest = limit - header - LOCAL_HEADER;
    if (own_name != name_length || rest < own_name + extra ||
        memcmp(local + LOCAL_HEADER, record->name, name_length) != 0)
        return error_set(archive->error,
                         "record '%s' of the zip archive has another name in its "
                         "own header",
                         record->name);
    if (rest - own_name - extra < record->bytes)
        return error_set(archive->error,
                         "record '%s' of the zip archive has %zu bytes, more than "
                         "the file holds. It is damaged; fetch it again",
                         record->name, record->bytes);
    record->data = local + LOCAL_HEADER + own_name + extra;
    return true;
}

/// Reads the central header at *at into a record, whose name goes to *names.
static bool read_record(const Archive *archive, size_t *at, ZipRecord *record, char **names) {
    size_t left = archive->directory + archive->directory_bytes - *at;
    const unsigned char *central = archive->bytes + *at;
    if (left < CENTRAL_HEADER || !is_signature(central, CENTRAL))
        return error_set(archive->error, "the zip archive's directory is damaged");
    size_t name = (size_t)number(central + 28, 2), extra = (size_t)number(central + 30, 2),
           comment = (size_t)number(central + 32, 2);
    if (left - CENTRAL_HEADER < name + extra + comment)
        return error_set(archive->error, "the zip archive's directory is damaged");
    const char *text = (const char *)central + CENTRAL_HEADER;
    if (memchr(text, '\0', name))
        return error_set(archive->error, "the zip archive has a record whose name has a zero byte");
    memcpy(*names, text, name);
    (*names)[name] = '\0';
    record->name = *names;
    *names += name + 1;
    record->crc32 = (uint32_t)number(central + 16, 4);
    uint64_t packed = number(central + 20, 4), bytes = number(central + 24, 4),
             header = number(central + 42, 4);
    uint64_t *values[] = {&bytes, &packed, &header}; // in the order of the extra field
    if (!widen(central + CENTRAL_HEADER + name, extra, values))
        return error_set(archive->error, "record '%s' of the zip archive lacks its 64-bit sizes",
                         record->name);
    record->is_encrypted = number(central + 8, 2) & ENCRYPTED;
    record->method = (int)number(central + 10, 2);
    record->bytes = (size_t)bytes;
    record->packed = (size_t)packed;
    record->header = (size_t)header;
    *at += CENTRAL_HEADER + name + extra + comment;
    return true;
}

/// Finds the data of a record that must be stored.
static bool find_stored(const Archive *archive, ZipRecord *record) {
    if (!is_utf8(record->name, strlen(record->name)))
        return error_set(archive->error, "the zip archive has a record whose name is not UTF-8");
    if (record->is_encrypted || record->method != 0 || record->packed != record->bytes)
        return error_set(archive->error,
                         "record '%s' of the zip archive is compressed or "
                         "encrypted; PyTorch's are not",
                         record->name);
    return find_data(archive, record);
}

static int compare_headers(const void *a, const void *b) {
    const ZipRecord *x = a, *y = b;
    return (x->header > y->header) - (x->header < y->header);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const ZipRecord *)a)->name, ((const ZipRecord *)b)->name);
}

static bool check_records(ZipDirectory *directory, const Archive *archive) {
    ZipRecord *records = directory->records;
    qsort(records, (size_t)directory->count, sizeof *records, compare_headers);
    for (int64_t i = 1; i < directory->count; i++)
        if (records[i - 1].data + records[i - 1].bytes > archive->bytes + records[i].header)
            return error_set(archive->error, "the records '%s' and '%s' of the zip archive overlap",
                             records[i - 1].name, records[i].name);
    qsort(records, (size_t)directory->count, sizeof *records, compare_names);
    for (int64_t i = 1; i < directory->count; i++)
        if (strcmp(records[i - 1].name, records[i].name) == 0)
            return error_set(archive->error, "the zip archive has two records '%s'",
                             records[i].name);
    return true;
}

static bool list_records(ZipDirectory *directory, Archive *archive) {
    *directory = (ZipDirectory){0};
    if (archive->size < END_RECORD)
        return error_set(archive->error, "a zip archive without its end: cut off");
    if (!read_end(archive)) return false;
    directory->records = checked_calloc(archive->count + 1, sizeof *directory->records);
    // Each name takes the place of its header of 46 bytes.
    directory->names = checked_malloc(archive->directory_bytes + 1);
    char *names = directory->names;
    size_t at = archive->directory;
    bool valid = true;
    for (uint64_t i = 0; valid && i < archive->count; i++)
        valid = read_record(archive, &at, &directory->records[directory->count++], &names);
    if (valid && at != archive->directory + archive->directory_bytes)
        valid = error_set(archive->error, "the zip archive's directory says another number of "
                                          "records than it has");
    if (!valid) zip_directory_free(directory);
    return valid;
}

bool zip_directory_list(ZipDirectory *directory, const unsigned char *bytes, size_t size,
                        Error *error) {
    return list_records(directory, &(Archive){.bytes = bytes, .size = size, .error = error});
}

bool zip_directory_read(ZipDirectory *directory, const unsigned char *bytes, size_t size,
                        Error *error) {
    Archive archive = {.bytes = bytes, .size = size, .error = error};
    if (!list_records(directory, &archive)) return false;
    bool valid = true;
    for (int64_t i = 0; valid && i < directory->count; i++)
        valid = find_stored(&archive, &directory->records[i]);
    valid = valid && check_records(directory, &archive);
    if (!valid) zip_directory_free(directory);
    return valid;
}

void zip_directory_free(ZipDirectory *directory) {
    free(directory->records);
    free(directory->names);
    *directory = (ZipDirectory){0};
}

const ZipRecord *zip_directory_find(const ZipDirectory *directory, const char *name) {
    const ZipRecord key = {.name = name};
    if (!directory->count) return NULL;
    return bsearch(&key, directory->records, (size_t)directory->count, sizeof *directory->records,
                   compare_names);
}
