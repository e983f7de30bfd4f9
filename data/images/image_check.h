/// Looks at the first bytes of many image files, in threads of its own while the files' names are
/// still being read: whether they are there, and what they are.
#pragma once
#include "data/images/image.h"

/// Looks at one file now: the number of its format, or -1 with the message.
int image_look(const char *path, Error *error);

typedef struct ImageProblem {
    /// from image_check_put()
    int64_t key;
    /// begins with the path; the receiver of the findings frees it
    char *message;
} ImageProblem;

typedef struct ImageFindings {
    /// files that are what they should be, by format
    int64_t formats[IMAGE_FORMAT_COUNT];
    /// the others, by key
    ImageProblem *problems;
    int64_t problem_count;
} ImageFindings;

void image_findings_free(ImageFindings *findings);
/// "12 JPEG, 3 GIF"; "none". The caller frees it.
char *image_formats_text(const int64_t *formats);

/// Processes that are given the same files and look at a share of them each.
typedef struct ImageSharers {
    /// this one, among those that see the same disks
    int index, count;
    /// Adds what all others have found to the findings: image_findings_add(). Every process calls
    /// it once for every look, also where something else has failed (`ok`); fails alike everywhere,
    /// as where the processes do not have as many samples.
    bool (*exchange)(void *context, bool ok, int64_t samples, ImageFindings *findings,
                     Error *error);
    void *context;
} ImageSharers;

/// Moves the problems of `from`, which is empty then, to `findings`, by key; of two with one key
/// the first stays. Formats are left alone.
void image_findings_add(ImageFindings *findings, ImageFindings *from);

typedef struct ImageCheck ImageCheck;

/// sharers: only files of this process are looked at; NULL: it is alone.
ImageCheck *image_check_start(const ImageSharers *sharers);
/// Whether a file with that key is this process's to look at.
bool image_check_is_own(const ImageCheck *check, int64_t key);
/// A file to be looked at, in an archive or not, if it is this process's. Waits while many are
/// waiting already.
void image_check_put(ImageCheck *check, int64_t key, const char *path);
/// Waits until all were looked at, and frees the check. findings: NULL: not asked for.
void image_check_finish(ImageCheck *check, ImageFindings *findings);
