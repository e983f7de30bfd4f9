/// What is written of a grounded answer:
///
///   answer.json        picture, prompt, answer, segmenter, and of every phrase its bytes in the
///                      answer, its point, its mask as COCO's runs, the names of its pictures
///   overlay.png        the picture with everything that the answer names
///   mask-<n>.png       a phrase's mask, white on black
///   attention-<n>.png  where the phrase looked
///   explorer.html      with `page`: the same to be explored (eval/pages/explorer.h)
#pragma once
#include "train/ground/grounder.h"

typedef struct GroundFiles {
    const GroundedAnswer *answer;
    /// the picture's, for the record
    const char *picture_path;
    /// what made the masks, NULL: nothing
    const char *segmenter;
    GroundingOptions how;
    bool page;
} GroundFiles;

/// Makes the folder with everything in it, whole or not at all. It must not exist.
bool ground_files_make(const GroundFiles *files, const char *folder, Error *error);
/// The same into a folder that may exist: files of an earlier answer there give way, all at once
/// when the new ones are written. On failure they stay as they are.
bool ground_files_replace(const GroundFiles *files, const char *folder, Error *error);
