/// COCO's instance annotations (instances_val2017.json and files like it): images, categories,
/// masks.
#pragma once
#include "autograd/error.h"
#include "data/coco_mask.h"

typedef struct CocoImage {
    /// as text, since some data sets use strings
    char *id;
    char *file_name;
    int height, width;
    /// into CocoAnnotations.annotations, sorted by image
    int first_annotation, num_annotations;
} CocoImage;

typedef struct CocoAnnotation {
    /// index into images
    int image;
    /// index into category_names
    int category;
    CocoMask mask;
} CocoAnnotation;

typedef struct CocoAnnotations {
    CocoImage *images;
    int num_images;
    char **category_names;
    int num_categories;
    CocoAnnotation *annotations;
    int num_annotations;
} CocoAnnotations;

/// Reads the whole file. A list of annotations may be missing. Sizes and ids may be written as
/// 128.0, iscrowd as true. Polygons, compressed and uncompressed runs are understood; crowd regions
/// are left out. Every reference must exist and every mask must have its image's size; the message
/// names the file and the annotation.
bool coco_annotations_read(const char *path, CocoAnnotations *out, Error *error);
void coco_annotations_free(CocoAnnotations *annotations);

/// The union of the masks of one category in one image, row-major height * width, 0 or 1. False if
/// the category does not occur.
bool coco_category_mask(const CocoAnnotations *annotations, int image, int category,
                        uint8_t *bitmap);
