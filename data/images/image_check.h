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

typedef struct ImageCheck ImageCheck;

ImageCheck *image_check_start(void);
/// A file to be looked at, in an archive or not. Waits while many are waiting already.
void image_check_put(ImageCheck *check, int64_t key, const char *path);
/// Waits until all were looked at, and frees the check. findings: NULL: not asked for.
void image_check_finish(ImageCheck *check, ImageFindings *findings);
