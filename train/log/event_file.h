/// TensorBoard event files: scalars, text samples and images that TensorBoard shows while a run
/// goes on.
///
/// A file is a sequence of TFRecords, each an Event protocol buffer; TensorBoard reads the files of
/// a folder, which is one run to it, in the order of their names. Every record is written at once,
/// so a reader sees whole records only, but for the last one of a run that was killed, which
/// TensorBoard leaves out.
///
/// A tag ("train/loss") holds one kind of value and, at each step, one value: TensorBoard takes a
/// value whose step is not past the tag's last one for the beginning of a rerun, and forgets the
/// tag's values from that step on. What is not UTF-8 in a tag or a text becomes U+FFFD, for
/// TensorBoard would not read on past such a tag, nor show such a text.
///
/// One thread at a time may use a file.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct EventFile EventFile;

/// Begins a new file events.out.tfevents.<seconds>.<host>.<process>.<n> in the folder, which must
/// exist; its name sorts after those of all event files there. It tells TensorBoard to forget the
/// values of steps after `resumed_step` that the earlier files hold (its data server forgets those
/// of a tag when the tag's next value comes); a run that starts anew passes -1. NULL on failure.
EventFile *event_file_open(const char *folder, int64_t resumed_step, Error *error);
/// Owned by the file.
const char *event_file_path(const EventFile *file);

/// Each of these appends one value, with the time of the call. step >= 0. On failure (a full disk)
/// nothing of it stays in the file, and a later call may succeed.

/// Kept as float32, all that TensorBoard's scalars hold; may be infinite or NaN.
bool event_file_scalar(EventFile *file, const char *tag, int64_t step, double value, Error *error);
/// TensorBoard shows it as Markdown.
bool event_file_text(EventFile *file, const char *tag, int64_t step, const char *text,
                     Error *error);
/// png: a whole PNG file of `size` bytes, from whose header width, height and number of channels
/// are taken.
bool event_file_image_png(EventFile *file, const char *tag, int64_t step, const void *png,
                          size_t size, Error *error);

/// NULL is allowed.
void event_file_close(EventFile *file);
