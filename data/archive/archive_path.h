/// Paths that may lead into an archive: in "images.zip/0001/a.jpg", images.zip is a file and
/// 0001/a.jpg one in it.
///
/// An archive is opened when a path first leads into it and stays so (data/archive/archive.h), for
/// all threads, until archives_forget(); so does the failure to open it.
#pragma once
#include "data/archive/archive.h"

/// Reads a file or a member, or its first `most` bytes, into an empty buffer; more than
/// ARCHIVE_MOST_BYTES are refused. Messages begin with the path or the
/// archive's. errno is ENOENT or ENOTDIR where there is no such file.
bool archive_path_read(const char *path, size_t most, ByteBuffer *bytes, Error *error);

/// Whether the path is a folder, or an archive that is read. Opens it.
bool archive_path_is_folder(const char *path, Error *error);

/// Closes them all. No thread may be reading.
void archives_forget(void);
