/// All pictures of a folder, asked the same, eval.batch_size at a time: of picture NAME.jpg
/// DIR/NAME/ receives what train/ground/ground_files.h says, whole or not at all. Where two
/// pictures are called alike but for their ending, DIR/NAME.jpg/ and DIR/NAME.png/ do.
///
/// A run that was stopped or killed goes on with the pictures that have no folder yet; ground.json
/// in DIR says what was asked with, and a run that asks otherwise is refused. An answer does not
/// depend on the other pictures. A picture that cannot be read is said at the end, when all others
/// are done.
#pragma once
#include "train/ground/grounder.h"

typedef struct FolderOptions {
    /// with pictures in it, known by the endings of their names
    const char *pictures;
    const char *out;
    const char *prompt;
    /// to be looked for, NULL: none; as the grounder has them
    const char *words;
    bool page;
} FolderOptions;

/// grounder: prepared; it is loaded if there is something to be done.
bool ground_folder(Grounder *grounder, const FolderOptions *options, Error *error);
