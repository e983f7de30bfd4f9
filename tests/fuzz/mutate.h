/// Changes of what a verb reads and of what it is told.
#pragma once
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/pack_layout.h"
#include "tests/fuzz/random.h"

/// Changes a file's content, by its name's form: JSON, YAML and safetensors by their structure or
/// as bytes, checksums of PNG and zip mended after most changes, journals by their records, all
/// else as bytes. `donor`:
/// another file's content, to take pieces from.
void mutate_file(ByteBuffer *bytes, const char *name, const ByteBuffer *donor, Random *random);

/// Flips, overwrites, cuts, repeats, inserts, moves bytes; numbers and words of text become others.
void mutate_bytes(ByteBuffer *bytes, const ByteBuffer *donor, Random *random);
/// Changes values, keys and order of JSON; as bytes where it is none.
void mutate_json(ByteBuffer *bytes, Random *random);
/// Changes records of a journal (autograd/output/journal.h) as JSON, as numbers or as bytes, their
/// sizes and mostly their checksums mended.
void mutate_journal(ByteBuffer *bytes, const ByteBuffer *donor, Random *random);
/// Changes lines, keys and values of a configuration, by its schema.
void mutate_yaml(ByteBuffer *bytes, Random *random);

/// Changes what a pack's arrays hold, and numbers that HDF5 keeps about them, mostly with all
/// checksums mended. The pack keeps its size; `layout`: of the undamaged one. through_hdf5: HDF5's
/// numbers in more than half of them, for nothing else reads those.
void mutate_pack(const PackLayout *layout, bool through_hdf5, ByteBuffer *bytes, Random *random);
/// Changes what the arrays and texts of an HDF5 file hold, and numbers that HDF5 keeps about them,
/// mostly with all checksums mended. The file keeps its size; `layout`: of the undamaged one.
void mutate_hdf5(const Hdf5Layout *layout, ByteBuffer *bytes, Random *random);
/// One of its numbers.
void mutate_hdf5_number(const Hdf5Layout *layout, ByteBuffer *bytes, Random *random);
/// A number of eight bytes becomes one at the edge of something, or near what it was. `array`:
/// whose size is such an edge.
void mutate_number(ByteBuffer *bytes, size_t at, const Hdf5Array *array, Random *random);
/// Bytes of an array, which keeps its size.
void mutate_array(const Hdf5Array *array, ByteBuffer *bytes, Random *random);

/// Recomputes the checksums of a PNG or of a zip archive whose members are stored, as far as its
/// structure still stands.
void mend_checksums(ByteBuffer *bytes);

/// Appends text: of printable, control or other bytes, from empty to very long.
void append_text(ByteBuffer *out, Random *random);
/// A number as text, mostly extreme or malformed.
const char *random_number(Random *random);
/// A value for a key of the configuration, right or wrong. `field`: index into CONFIG_FIELDS.
void append_value(ByteBuffer *out, int field, Random *random);
/// "section.key=value", right or wrong.
void append_setting(ByteBuffer *out, Random *random);
/// "section.key=value" of the right type, in range.
void append_valid_setting(ByteBuffer *out, Random *random);
