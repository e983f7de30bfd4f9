// The archive is not compressed, and every tensor's bytes begin at a multiple of 64, so that
// PyTorch can map them. The pickle is of protocol 2 and uses the few opcodes that describe a dict
// of tensors:
//
//   {name: torch._utils._rebuild_tensor_v2(storage, offset 0, sizes, strides, requires_grad False,
//   OrderedDict()), ...}
//
// where a storage is the persistent id ('storage', torch.FloatStorage, "<record>", 'cpu', numel).
// Zip: [PKWARE APPNOTE 6.3].
#include "checkpoints/torch/torch_archive_write.h"

#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ALIGNMENT = 64, LOCAL_HEADER = 30, EXTRA_HEADER = 4, PADDING_ID = 0x4246 };
static const uint64_t LARGEST_ARCHIVE = 0xfffffffe; // more would need zip64

// ---- the pickle

static const char *storage_class(ElementType type) {
    switch (type) {
    case ELEMENT_F16:
        return "HalfStorage";
    case ELEMENT_BF16:
        return "BFloat16Storage";
    case ELEMENT_F32:
        return "FloatStorage";
    case ELEMENT_F64:
        return "DoubleStorage";
    case ELEMENT_BOOL:
        return "BoolStorage";
    case ELEMENT_U8:
        return "ByteStorage";
    case ELEMENT_I8:
        return "CharStorage";
    case ELEMENT_I16:
        return "ShortStorage";
    case ELEMENT_I32:
        return "IntStorage";
    case ELEMENT_I64:
        return "LongStorage";
    default:
        return NULL;
    }
}

static void pickle_integer(ByteBuffer *pickle, int64_t value) {
    if (value <= INT32_MAX) {
        byte_buffer_put_byte(pickle, 'J'); // BININT
        byte_buffer_put_little_endian(pickle, (uint64_t)value, 4);
    } else {
        byte_buffer_put(pickle, "\x8a\x08", 2); // LONG1 of 8 bytes
        byte_buffer_put_little_endian(pickle, (uint64_t)value, 8);
    }
}

static void pickle_string(ByteBuffer *pickle, const char *text) {
    byte_buffer_put_byte(pickle, 'X'); // BINUNICODE
    byte_buffer_put_little_endian(pickle, strlen(text), 4);
    byte_buffer_put_text(pickle, text);
}

static void pickle_tuple(ByteBuffer *pickle, const int64_t *values, int count) {
    byte_buffer_put_byte(pickle, '('); // MARK
    for (int i = 0; i < count; i++) pickle_integer(pickle, values[i]);
    byte_buffer_put_byte(pickle, 't'); // TUPLE
}

static int64_t numel_of(const SafetensorsTensor *tensor) {
    int64_t numel = 1;
    for (int i = 0; i < tensor->rank; i++) numel *= tensor->shape[i];
    return numel;
}

static size_t bytes_of(const SafetensorsTensor *tensor) {
    return (size_t)numel_of(tensor) * element_size(tensor->type);
}

static void pickle_tensor(ByteBuffer *pickle, const SafetensorsTensor *tensor, const char *record) {
    int64_t strides[STORED_MAX_RANK], stride = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= tensor->shape[i] > 0 ? tensor->shape[i] : 1;
    }
    byte_buffer_put_text(pickle, "ctorch._utils\n_rebuild_tensor_v2\n(("); // GLOBAL, MARK, MARK
    pickle_string(pickle, "storage");
    byte_buffer_put_text(pickle, "ctorch\n");
    byte_buffer_put_text(pickle, storage_class(tensor->type));
    byte_buffer_put_byte(pickle, '\n');
    pickle_string(pickle, record);
    pickle_string(pickle, "cpu");
    pickle_integer(pickle, numel_of(tensor));
    byte_buffer_put_text(pickle, "tQ"); // TUPLE, BINPERSID
    pickle_integer(pickle, 0);
    pickle_tuple(pickle, tensor->shape, tensor->rank);
    pickle_tuple(pickle, strides, tensor->rank);
    byte_buffer_put_text(
        pickle,
        "\x89"
        "ccollections\nOrderedDict\n)RtR"); // NEWFALSE, an empty OrderedDict; TUPLE, REDUCE
}

static ByteBuffer pickle_dict(const SafetensorsTensor *tensors, int64_t count) {
    ByteBuffer pickle = {0};
    byte_buffer_put_text(&pickle, "\x80\x02}("); // PROTO 2, EMPTY_DICT, MARK
    for (int64_t i = 0; i < count; i++) {
        char *record = format_string("%lld", (long long)i);
        pickle_string(&pickle, tensors[i].name);
        pickle_tensor(&pickle, &tensors[i], record);
        free(record);
    }
    byte_buffer_put_text(&pickle, "u."); // SETITEMS, STOP
    return pickle;
}

// ---- the zip archive

typedef struct Archive {
    OutputFile *file;
    /// all records lie in it: PyTorch names it after the file
    char *folder;
    uint64_t offset;
    ByteBuffer central_directory;
    int records;
} Archive;

static bool append(Archive *archive, const void *data, size_t size, Error *error) {
    archive->offset += size;
    return output_write(archive->file, data, size, error);
}

/// What the local and the central header of a record have in common. Stored, made on 1 January
/// 1980, names in UTF-8.
static void put_description(ByteBuffer *header, uint32_t checksum, size_t size, size_t name_length,
                            size_t extra) {
    byte_buffer_put_little_endian(header, 0, 2);      // version needed
    byte_buffer_put_little_endian(header, 0x0800, 2); // names are UTF-8
    byte_buffer_put_little_endian(header, 0, 2);      // stored
    byte_buffer_put_little_endian(header, 0, 2);      // time
    byte_buffer_put_little_endian(header, 0x0021, 2); // date
    byte_buffer_put_little_endian(header, checksum, 4);
    byte_buffer_put_little_endian(header, size, 4);
    byte_buffer_put_little_endian(header, size, 4);
    byte_buffer_put_little_endian(header, name_length, 2);
    byte_buffer_put_little_endian(header, extra, 2);
}

static void put_central_header(Archive *archive, const char *name, uint32_t checksum, size_t size) {
    ByteBuffer *directory = &archive->central_directory;
    byte_buffer_put_text(directory, "PK\x01\x02");
    byte_buffer_put_little_endian(directory, 0, 2); // made by
    put_description(directory, checksum, size, strlen(name), 0);
    byte_buffer_put_little_endian(directory, 0, 6); // comment, disk, internal attributes
    byte_buffer_put_little_endian(directory, 0, 4); // external attributes
    byte_buffer_put_little_endian(directory, archive->offset, 4);
    byte_buffer_put_text(directory, name);
    archive->records++;
}

/// ByteBuffer of the extra field that moves a record, whose local header begins at `offset`, to a
/// multiple of ALIGNMENT.
static size_t extra_length(uint64_t offset, size_t name_length) {
    uint64_t start = offset + LOCAL_HEADER + name_length + EXTRA_HEADER;
    return EXTRA_HEADER + (size_t)((ALIGNMENT - start % ALIGNMENT) % ALIGNMENT);
}

static void put_extra(ByteBuffer *header, size_t length) {
    byte_buffer_put_little_endian(header, PADDING_ID, 2);
    byte_buffer_put_little_endian(header, length - EXTRA_HEADER, 2);
    for (size_t i = EXTRA_HEADER; i < length; i++) byte_buffer_put_byte(header, 'Z');
}

static uint32_t checksum_of(const void *data, size_t size) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), data, size);
}

static bool add_record(Archive *archive, const char *record, const void *data, size_t size,
                       Error *error) {
    char *name = format_string("%s/%s", archive->folder, record);
    size_t name_length = strlen(name), extra = extra_length(archive->offset, name_length);
    uint32_t checksum = checksum_of(data, size);
    ByteBuffer header = {0};
    byte_buffer_put_text(&header, "PK\x03\x04");
    put_description(&header, checksum, size, name_length, extra);
    byte_buffer_put_text(&header, name);
    put_extra(&header, extra);
    put_central_header(archive, name, checksum, size);
    bool written =
        append(archive, header.data, header.size, error) && append(archive, data, size, error);
    byte_buffer_free(&header);
    free(name);
    return written;
}

static bool write_end(Archive *archive, Error *error) {
    ByteBuffer *directory = &archive->central_directory;
    uint64_t start = archive->offset, size = directory->size;
    byte_buffer_put_text(directory, "PK\x05\x06");
    byte_buffer_put_little_endian(directory, 0, 4); // disks
    byte_buffer_put_little_endian(directory, (uint64_t)archive->records, 2);
    byte_buffer_put_little_endian(directory, (uint64_t)archive->records, 2);
    byte_buffer_put_little_endian(directory, size, 4);
    byte_buffer_put_little_endian(directory, start, 4);
    byte_buffer_put_little_endian(directory, 0, 2); // comment
    return append(archive, directory->data, directory->size, error);
}

static bool write_archive(Archive *archive, const SafetensorsTensor *tensors, int64_t count,
                          Error *error) {
    ByteBuffer pickle = pickle_dict(tensors, count);
    bool written = add_record(archive, "data.pkl", pickle.data, pickle.size, error) &&
                   add_record(archive, "byteorder", "little", 6, error);
    for (int64_t i = 0; written && i < count; i++) {
        char *record = format_string("data/%lld", (long long)i);
        written = add_record(archive, record, tensors[i].data, bytes_of(&tensors[i]), error);
        free(record);
    }
    byte_buffer_free(&pickle);
    return written && add_record(archive, "version", "3\n", 2, error) && write_end(archive, error);
}

static bool check(const char *path, const SafetensorsTensor *tensors, int64_t count, Error *error) {
    uint64_t bytes = 0;
    if (count >= UINT16_MAX - 8)
        return error_set(error, "%s: %lld tensors are more than a PyTorch archive can list here",
                         path, (long long)count);
    for (int64_t i = 0; i < count; i++) {
        CHECK(tensors[i].rank >= 0 && tensors[i].rank <= STORED_MAX_RANK, "'%s' has rank %d",
              tensors[i].name, tensors[i].rank);
        CHECK(storage_class(tensors[i].type), "'%s': PyTorch has no storage of %s", tensors[i].name,
              element_name(tensors[i].type));
        // Names and headers, four times the names' length with the pickle, are generously counted.
        bytes += bytes_of(&tensors[i]) + 4 * strlen(tensors[i].name) + 1024;
    }
    return bytes < LARGEST_ARCHIVE ||
           error_set(error,
                     "%s: %llu MB are more than the 4 GB that a PyTorch archive may have here; "
                     "safetensors has no limit",
                     path, (unsigned long long)(bytes / 1000000));
}

/// "mm_projector" of "runs/mm_projector.bin".
static char *stem_of(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t length = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    return format_string("%.*s", (int)length, name);
}

bool torch_archive_write(const char *path, const SafetensorsTensor *tensors, int64_t count,
                         Error *error) {
    if (!check(path, tensors, count, error)) return false;
    Archive archive = {.file = output_create(path, error)};
    if (!archive.file) return false;
    archive.folder = stem_of(path);
    bool written = write_archive(&archive, tensors, count, error);
    if (written)
        written = output_commit(archive.file, error);
    else
        output_abandon(archive.file);
    free(archive.folder);
    byte_buffer_free(&archive.central_directory);
    return written;
}
