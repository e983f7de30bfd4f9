/// Records that survive a kill: appended to one file, each of them there whole or not at all.
///
/// A record is its size, its CRC-32C and its bytes. What a kill or a full disk cut short at the end
/// of the file is found when the journal is opened and passed over; a journal that is opened for
/// appending loses it. Records in front of it are never touched.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Journal Journal;

/// Opens a journal for reading, or for reading and appending (then it is made where it is not
/// there, and nobody else may append to it meanwhile). NULL on failure, as when the file is no
/// journal.
Journal *journal_open(const char *path, bool append, Error *error);
/// NULL is allowed.
void journal_close(Journal *journal);

int64_t journal_count(const Journal *journal);
/// Record `index`, counted from 0, with a zero behind it that *size does not count; the caller
/// frees it. NULL, with the reason, if the file has changed behind our back.
char *journal_read(const Journal *journal, int64_t index, size_t *size, Error *error);
/// Appends a record. On failure (a full disk) the journal is as it was before.
bool journal_append(Journal *journal, const void *bytes, size_t size, Error *error);
