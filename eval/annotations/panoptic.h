/// Panoptic segmentations in COCO's form: a JSON file with the segments of every image, and a
/// folder of PNG files whose colour is the segment under a pixel, R + 256 G + 65536 B; 0 is void.
/// [Kirillov et al. 2019, arXiv 1801.00868; cocodataset.org, "panoptic segmentation"]
#pragma once
#include "data/coco_mask.h"

typedef struct PanopticCategory {
    char *id;
    char *name;
    /// something that can be counted; otherwise stuff
    bool is_thing;
} PanopticCategory;

typedef struct PanopticSegment {
    /// 1 to 2^24 - 1, within its image
    uint32_t id;
    /// index into categories
    int category;
    bool is_crowd;
    /// pixels, as the file says; -1 if it does not
    int64_t area;
} PanopticSegment;

typedef struct PanopticImage {
    char *id;
    /// of the picture
    char *file_name;
    /// of the PNG with the segments; NULL for an image without annotation
    char *map_name;
    int height, width;
    PanopticSegment *segments;
    int num_segments;
} PanopticImage;

typedef struct PanopticAnnotations {
    PanopticCategory *categories;
    int num_categories;
    /// in the file's order
    PanopticImage *images;
    int num_images;
    /// id -> index of the image, for panoptic_find_image()
    struct json_t *image_ids;
} PanopticAnnotations;

/// Reads the JSON file. Errors name the file, the image and the segment: ids that occur twice or
/// are none, unknown images and categories, a second annotation of an image.
bool panoptic_annotations_read(const char *path, PanopticAnnotations *out, Error *error);
void panoptic_annotations_free(PanopticAnnotations *annotations);
/// Index of the image with that id; -1 if there is none.
int panoptic_find_image(const PanopticAnnotations *annotations, const char *id);
/// The segment of that id in an image; NULL if it has none.
const PanopticSegment *panoptic_find_segment(const PanopticImage *image, uint32_t id);

/// Which segment lies under each pixel, annotated or predicted.
typedef struct PanopticMap {
    int height, width;
    /// [height, width]
    uint32_t *ids;
} PanopticMap;

/// Reads a PNG of 8 bits per channel. It must have that size.
bool panoptic_map_read(const char *path, int height, int width, PanopticMap *map, Error *error);
void panoptic_map_free(PanopticMap *map);
/// The image's map from the folder, with exactly the segments that the JSON file lists: an id that
/// only one of them has is an error.
bool panoptic_map_read_annotated(const char *folder, const PanopticImage *image, PanopticMap *map,
                                 Error *error);
/// The id under a pixel, which must be inside.
uint32_t panoptic_map_at(const PanopticMap *map, int row, int column);
/// The union of the segments of these ids; 0 is void, an id like others.
CocoMask panoptic_map_mask(const PanopticMap *map, const uint32_t *ids, int num_ids);
