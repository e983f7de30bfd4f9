/// The parts of an archive (archive*.c). Not for use elsewhere.
#pragma once
#include "data/archive/archive.h"

#include <time.h>

typedef enum MemberKind {
    MEMBER_STORED,
    MEMBER_DEFLATED,
    /// tar: its data are those of the member that `link` names
    MEMBER_HARD_LINK,
    /// the rest cannot be read
    MEMBER_SYMBOLIC_LINK,
    MEMBER_SPARSE,
    MEMBER_ENCRYPTED,
    MEMBER_OTHER_METHOD,
} MemberKind;

struct ArchiveMember {
    /// in Archive.names; link: 0 for none
    size_t name, link;
    /// in the file: tar: of the data; zip: of the local header
    uint64_t offset;
    /// unpacked, and in the file
    uint64_t bytes, packed;
    uint32_t crc32;
    uint8_t kind, method;
};

struct Archive {
    char *path;
    bool is_zip;
    /// as it was when it was opened
    uint64_t size;
    struct timespec changed;
    /// by name when it is open
    ArchiveMember *members;
    int64_t count, capacity;
    ByteBuffer names;
    /// "folder/" if all lie in it, or NULL
    char *folder;
};

/// Adds a file under the name that unpacking would give it; one that has none is left out. The
/// texts need no end.
void archive_add(Archive *archive, ArchiveMember member, const char *name, size_t name_length,
                 const char *link, size_t link_length);

/// Reads exactly `size` bytes of the archive.
bool archive_read_at(const Archive *archive, int descriptor, uint64_t offset, void *bytes,
                     size_t size, Error *error);

bool archive_list_zip(Archive *archive, Error *error);
bool archive_list_tar(Archive *archive, int descriptor, Error *error);

/// Reads a zip archive's member, or its first `most` bytes.
bool archive_read_zip(const Archive *archive, int descriptor, const ArchiveMember *member,
                      size_t most, ByteBuffer *bytes, Error *error);
