#include "checkpoints/torch/torch_archive.h"
#include "autograd/file_content.h"
#include "checkpoints/torch/torch_archive_internal.h"

#include <stdlib.h>
#include <string.h>

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const TorchStorage *)a)->key, ((const TorchStorage *)b)->key);
}

// ---- the zip form

/// "<folder>/": the folder that holds data.pkl, as all records do. The caller frees it. NULL if
/// there is none.
static char *archive_folder(const TorchArchive *archive) {
    static const char suffix[] = "/data.pkl";
    for (int64_t i = 0; i < archive->zip.count; i++) {
        const char *name = archive->zip.records[i].name, *slash = strchr(name, '/');
        if (slash && strcmp(slash, suffix) == 0)
            return format_string("%.*s/", (int)(slash - name), name);
    }
    return NULL;
}

static const ZipRecord *record_in(const TorchArchive *archive, const char *folder,
                                  const char *name) {
    char *path = format_string("%s%s", folder, name);
    const ZipRecord *record = zip_directory_find(&archive->zip, path);
    free(path);
    return record;
}

/// Records "<folder>/data/<key>" are the storages; they are sorted by name, and so by key.
static void list_records(TorchArchive *archive, const char *folder) {
    char *prefix = format_string("%sdata/", folder);
    size_t length = strlen(prefix);
    archive->storages = checked_calloc((size_t)archive->zip.count + 1, sizeof *archive->storages);
    for (int64_t i = 0; i < archive->zip.count; i++) {
        const ZipRecord *record = &archive->zip.records[i];
        if (strncmp(record->name, prefix, length) != 0) continue;
        archive->storages[archive->storage_count++] =
            (TorchStorage){record->name + length, record->data, record->bytes};
    }
    free(prefix);
}

static bool read_records(TorchArchive *archive, const char *folder, Error *error) {
    const ZipRecord *order = record_in(archive, folder, "byteorder");
    if (order && (order->bytes != 6 || memcmp(order->data, "little", 6) != 0))
        return error_set(error, "its numbers are big-endian; only little-endian files are read");
    if (record_in(archive, folder, "constants.pkl"))
        return error_set(error, "a TorchScript program (torch.jit.save), which is not executed; "
                                "expected tensors as torch.save() writes them");
    const ZipRecord *pickle = record_in(archive, folder, "data.pkl");
    size_t used;
    archive->pickle = pickle_read(pickle->data, pickle->bytes, torch_globals, &used, error);
    if (!archive->pickle) return false;
    if (used != pickle->bytes)
        return error_set(error, "%zu bytes follow the end of data.pkl's pickle",
                         pickle->bytes - used);
    list_records(archive, folder);
    return true;
}

static bool open_zip(TorchArchive *archive, Error *error) {
    if (!zip_directory_read(&archive->zip, archive->file.bytes, archive->file.size, error))
        return false;
    char *folder = archive_folder(archive);
    bool valid = folder ? read_records(archive, folder, error)
                        : error_set(error, "a zip archive, but not PyTorch's: it has no data.pkl");
    free(folder);
    return valid;
}

// ---- the form before PyTorch 1.6: pickles one after the other (magic number, version, the
// machine, the object, keys), then the storages

/// Bytes of the pickled magic number 0x1950a86a20f9469cfc6c, in any protocol from 2; 0 if the file
/// does not begin with it.
static size_t magic_bytes(const MappedFile *file) {
    static const unsigned char number[] = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    enum { NUMBER = sizeof number - 1, PROTOCOL = 2, FRAME = 9 };
    size_t at = PROTOCOL;
    if (file->size < PROTOCOL + FRAME + NUMBER || file->bytes[0] != 0x80) return 0;
    if (file->bytes[at] == 0x95) at += FRAME;
    return memcmp(file->bytes + at, number, NUMBER) == 0 ? at + NUMBER : 0;
}

/// The pickle at *at, which is moved behind it.
static Pickle *next_pickle(const TorchArchive *archive, size_t *at, Error *error) {
    size_t used;
    Pickle *pickle = pickle_read(archive->file.bytes + *at, archive->file.size - *at, torch_globals,
                                 &used, error);
    if (!pickle) error_context(error, "from byte %zu on", *at);
    if (pickle) *at += used;
    return pickle;
}

/// Version and machine.
static bool check_origin(const TorchArchive *archive, size_t *at, Error *error) {
    static const int64_t VERSION = 1001;
    Pickle *version = next_pickle(archive, at, error);
    Pickle *machine = version ? next_pickle(archive, at, error) : NULL;
    bool valid = machine != NULL;
    if (valid) {
        const PickleValue *number = pickle_root(version);
        const PickleValue *order = pickle_get(pickle_root(machine), "little_endian");
        if (number->kind != PICKLE_INT || number->integer != VERSION)
            valid = error_set(error, "another version of PyTorch's legacy format than %lld",
                              (long long)VERSION);
        else if (!order || order->kind != PICKLE_BOOL || !order->truth)
            valid =
                error_set(error, "its numbers are big-endian; only little-endian files are read");
    }
    pickle_close(version);
    pickle_close(machine);
    return valid;
}

static bool open_legacy(TorchArchive *archive, size_t at, Error *error) {
    archive->is_legacy = true;
    if (!check_origin(archive, &at, error)) return false;
    archive->pickle = next_pickle(archive, &at, error);
    archive->keys = archive->pickle ? next_pickle(archive, &at, error) : NULL;
    return archive->keys && torch_legacy_storages(archive, at, error);
}

// ---- either

static bool refuse_beginning(const MappedFile *file, Error *error) {
    const char *content = file_content(file->bytes, file->size);
    return content
               ? error_set(error, "%s, not a file of torch.save()", content)
               : error_set(error, "not a file of torch.save(), or cut off within its first bytes");
}

static bool open_archive(TorchArchive *archive, Error *error) {
    const MappedFile *file = &archive->file;
    size_t magic = magic_bytes(file);
    bool valid;
    if (zip_begins(file->bytes, file->size))
        valid = open_zip(archive, error);
    else if (magic)
        valid = open_legacy(archive, magic, error);
    else if (file->size > 262 && memcmp(file->bytes + 257, "ustar", 5) == 0)
        valid =
            error_set(error, "the tar form of PyTorch before 0.2; load and save it with a newer "
                             "PyTorch");
    else
        valid = refuse_beginning(file, error);
    if (!valid) return error_context(error, "%s", file->path);
    qsort(archive->storages, (size_t)archive->storage_count, sizeof *archive->storages,
          compare_keys);
    return torch_collect_tensors(archive, error) || error_context(error, "%s", file->path);
}

TorchArchive *torch_archive_open(const char *path, Error *error) {
    TorchArchive *archive = checked_calloc(1, sizeof *archive);
    if (mapped_file_open(&archive->file, path, error) && open_archive(archive, error))
        return archive;
    torch_archive_close(archive);
    return NULL;
}

void torch_archive_close(TorchArchive *archive) {
    if (!archive) return;
    pickle_close(archive->pickle);
    pickle_close(archive->keys);
    zip_directory_free(&archive->zip);
    mapped_file_close(&archive->file);
    free(archive->storages);
    for (int64_t i = 0; i < archive->count; i++) free((char *)archive->tensors[i].name);
    free(archive->tensors);
    free(archive->by_name);
    free(archive);
}

const char *torch_archive_path(const TorchArchive *archive) { return archive->file.path; }
bool torch_archive_is_legacy(const TorchArchive *archive) { return archive->is_legacy; }
int64_t torch_archive_count(const TorchArchive *archive) { return archive->count; }
const char *torch_archive_wrapper(const TorchArchive *archive) { return archive->wrapper; }

const PickleValue *torch_archive_root(const TorchArchive *archive) {
    return pickle_root(archive->pickle);
}

const StoredTensor *torch_archive_tensor(const TorchArchive *archive, int64_t index) {
    CHECK(index >= 0 && index < archive->count, "torch_archive_tensor: index %lld of %lld",
          (long long)index, (long long)archive->count);
    return &archive->tensors[index];
}

const StoredTensor *torch_archive_find(const TorchArchive *archive, const char *name) {
    int64_t low = 0, high = archive->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(archive->by_name[middle]->name, name);
        if (order == 0) return archive->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
