// The central directory is read through a mapping, which is gone before any member is read.
#include "checkpoints/mapped_file.h"
#include "checkpoints/torch/zip_directory.h"
#include "data/archive/archive_internal.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    LOCAL_HEADER = 30,
    STORED = 0,
    DEFLATED = 8,
    /// deflate makes at most so many bytes of one
    MOST_RATIO = 1032,
    PIECE = 1 << 16
};

static ArchiveMember member_of(const ZipRecord *record) {
    ArchiveMember member = {.offset = record->header,
                            .bytes = record->bytes,
                            .packed = record->packed,
                            .crc32 = record->crc32,
                            .method = (uint8_t)record->method,
                            .kind = MEMBER_OTHER_METHOD};
    if (record->is_encrypted)
        member.kind = MEMBER_ENCRYPTED;
    else if (record->method == STORED)
        member.kind = MEMBER_STORED;
    else if (record->method == DEFLATED)
        member.kind = MEMBER_DEFLATED;
    return member;
}

bool archive_list_zip(Archive *archive, Error *error) {
    MappedFile file;
    ZipDirectory directory;
    if (!mapped_file_open(&file, archive->path, error)) return false;
    const bool done = zip_directory_list(&directory, file.bytes, file.size, error);
    mapped_file_close(&file);
    if (!done) return error_context(error, "%s", archive->path);
    for (int64_t i = 0; i < directory.count; i++) {
        const ZipRecord *record = &directory.records[i];
        const size_t length = strlen(record->name);
        const bool is_folder = length && strchr("/\\", record->name[length - 1]);
        if (length && !is_folder)
            archive_add(archive, member_of(record), record->name, length, NULL, 0);
    }
    zip_directory_free(&directory);
    return true;
}

// ---- members

static bool damaged(const Archive *archive, const ArchiveMember *member, const char *what,
                    Error *error) {
    return error_set(error, "%s: '%s' is damaged: %s. Fetch the archive again", archive->path,
                     quote(archive_member_name(archive, member)).text, what);
}

static unsigned two_bytes(const unsigned char *bytes) { return bytes[0] | (unsigned)bytes[1] << 8; }

/// Where the data begin: behind the local header, whose name and extra fields have lengths of their
/// own.
static bool find_data(const Archive *archive, int descriptor, const ArchiveMember *member,
                      uint64_t *offset, Error *error) {
    unsigned char header[LOCAL_HEADER];
    if (member->offset > archive->size || archive->size - member->offset < LOCAL_HEADER)
        return damaged(archive, member, "it lies outside of the archive", error);
    if (!archive_read_at(archive, descriptor, member->offset, header, LOCAL_HEADER, error))
        return false;
    if (memcmp(header, "PK\3\4", 4) != 0 || two_bytes(header + 8) != member->method)
        return damaged(archive, member, "it does not begin where the directory says", error);
    const uint64_t skipped = LOCAL_HEADER + two_bytes(header + 26) + two_bytes(header + 28),
                   left = archive->size - member->offset;
    if (skipped > left || left - skipped < member->packed)
        return damaged(archive, member, "it lies outside of the archive", error);
    *offset = member->offset + skipped;
    return true;
}

/// Unpacks up to `wanted` bytes. Whatever the member says, memory grows with what comes out.
static bool inflate_member(const Archive *archive, int descriptor, const ArchiveMember *member,
                           uint64_t offset, size_t wanted, ByteBuffer *bytes, Error *error) {
    z_stream stream = {0};
    unsigned char *piece = checked_malloc(PIECE);
    uint64_t read = 0;
    int code = inflateInit2(&stream, -MAX_WBITS);
    bool done = true;
    while (done && code == Z_OK && bytes->size < wanted) {
        if (stream.avail_in == 0) {
            const uint64_t left = member->packed - read;
            const size_t size = left < PIECE ? (size_t)left : PIECE;
            if (size == 0) break;
            done = archive_read_at(archive, descriptor, offset + read, piece, size, error);
            read += size;
            stream.next_in = piece;
            stream.avail_in = (uInt)size;
            continue;
        }
        const size_t room = wanted - bytes->size < PIECE ? wanted - bytes->size : PIECE;
        stream.next_out = (Bytef *)byte_buffer_reserve(bytes, room + 1);
        stream.avail_out = (uInt)room;
        code = inflate(&stream, Z_NO_FLUSH);
        bytes->size += room - stream.avail_out;
    }
    inflateEnd(&stream);
    free(piece);
    if (done && code != Z_OK && code != Z_STREAM_END)
        return damaged(archive, member, "it cannot be unpacked", error);
    return done;
}

bool archive_read_zip(const Archive *archive, int descriptor, const ArchiveMember *member,
                      size_t most, ByteBuffer *bytes, Error *error) {
    const size_t size = (size_t)member->bytes, wanted = size < most ? size : most;
    const bool is_stored = member->kind == MEMBER_STORED;
    uint64_t offset = 0;
    if (is_stored ? member->packed != size : size / MOST_RATIO > member->packed)
        return damaged(archive, member, "its sizes do not fit each other", error);
    if (!find_data(archive, descriptor, member, &offset, error)) return false;
    if (is_stored) {
        char *place = byte_buffer_reserve(bytes, wanted + 1);
        if (!archive_read_at(archive, descriptor, offset, place, wanted, error)) return false;
        bytes->size += wanted;
    } else if (!inflate_member(archive, descriptor, member, offset, wanted, bytes, error)) {
        return false;
    }
    if (bytes->size != wanted) return damaged(archive, member, "it is shorter than it says", error);
    if (wanted < size) return true;
    const uLong sum = crc32_z(0, (const Bytef *)(bytes->data ? bytes->data : ""), bytes->size);
    return sum == member->crc32 || damaged(archive, member, "its checksum is wrong", error);
}
