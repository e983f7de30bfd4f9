/// Files in a zip or tar archive, read in any order by any number of threads without unpacking it.
///
/// An archive is gone through once, when it is opened, and stays as it is: names, places and sizes
/// are kept (some 50 bytes a member and its name), the file itself is closed between two reads. One
/// that has changed since is an error. Nothing in it is trusted: what a member says of its size is
/// held against the archive's own, its checksum is verified, and no more than ARCHIVE_MOST_BYTES
/// are unpacked. [PKWARE APPNOTE 6.3; POSIX.1-2017 pax; GNU tar manual]
///
/// Read are zip with stored and deflated members, with 64-bit sizes, and tar (V7, ustar, pax, GNU).
/// Names are those of the files that unpacking would make: of two members of the same name the
/// later counts, names that lead out of the folder are left out.
#pragma once
#include "autograd/text/byte_buffer.h"

#include <stdint.h>

/// A member of more bytes is refused.
enum { ARCHIVE_MOST_BYTES = 1 << 30 };

typedef struct Archive Archive;
typedef struct ArchiveMember ArchiveMember;

/// Whether what begins with these bytes (512 are enough) is an archive that is read.
bool archive_begins(const void *bytes, size_t size);

/// NULL on failure: no archive, a packed one (.tar.gz has no order of its own to read in: it says
/// so), one that is cut off.
Archive *archive_open(const char *path, Error *error);
void archive_close(Archive *archive);

/// Files in it, by name.
int64_t archive_count(const Archive *archive);
const ArchiveMember *archive_member(const Archive *archive, int64_t index);

/// The member of that name; NULL if there is none. Where all files lie in one folder, the name may
/// be without it.
const ArchiveMember *archive_find(const Archive *archive, const char *name);

/// As it is in the archive.
const char *archive_member_name(const Archive *archive, const ArchiveMember *member);

/// Unpacks a member, or its first `most` bytes, into an empty buffer. Checksums are of whole
/// members.
bool archive_read(const Archive *archive, const ArchiveMember *member, size_t most,
                  ByteBuffer *bytes, Error *error);
