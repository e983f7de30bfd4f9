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
    /// a region of many, not one object
    bool is_crowd;
    /// pixels, as the file says; the mask's where it does not
    double area;
    /// x, y, width, height, as the file says; the mask's where it does not
    double box[4];
    CocoMask mask;
} CocoAnnotation;

typedef struct CocoAnnotations {
    CocoImage *images;
    int num_images;
    char **category_names;
    /// [num_categories] as text
    char **category_ids;
    int num_categories;
    CocoAnnotation *annotations;
    int num_annotations;
} CocoAnnotations;

/// Reads the whole file, without its crowd regions. A list of annotations may be missing. Sizes and
/// ids may be written as 128.0, iscrowd as true. Polygons, compressed and uncompressed runs are
/// understood. Every reference must exist and every mask must have its image's size; the message
/// names the file and the annotation. An image's annotations stay in the file's order.
bool coco_annotations_read(const char *path, CocoAnnotations *out, Error *error);
/// The same with crowd regions.
bool coco_annotations_read_all(const char *path, CocoAnnotations *out, Error *error);
void coco_annotations_free(CocoAnnotations *annotations);

/// The union of the masks of one category in one image, row-major height * width, 0 or 1. False if
/// the category does not occur.
bool coco_category_mask(const CocoAnnotations *annotations, int image, int category,
                        uint8_t *bitmap);

/// places[i]: which image i is by ascending id, of numbers if all ids are such, otherwise of
/// strings: the order in which COCO's tools go through images (eval/metrics/coco_evaluation.h).
void coco_order_images(const CocoAnnotations *annotations, int *places);
