/// Captions of images in COCO's form: captions_val2014.json and files like it.
/// [Chen et al. 2015, arXiv 1504.00325]
#pragma once
#include "autograd/error.h"

typedef struct CaptionedImage {
    /// as text
    char *id;
    char *file_name;
    /// in the file's order; at least one
    char **captions;
    int num_captions;
} CaptionedImage;

typedef struct Captions {
    /// in the file's order, those that have a caption
    CaptionedImage *images;
    int count;
} Captions;

/// Reads "images" ("id", "file_name") and "annotations" ("image_id", "caption"). Errors name the
/// file and the annotation: images that are not listed, ids that occur twice, captions that are no
/// text, a file without any.
bool captions_read(const char *path, Captions *out, Error *error);
void captions_free(Captions *captions);
