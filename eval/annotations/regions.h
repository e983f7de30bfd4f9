/// Regions that another model has proposed for images, kept in a file: what turns a point into a
/// mask without a segmenter of our own. [groundLMM, aas/res.py: masks of Co-DETR]
///
/// A region of a predicted panoptic map needs none of this: panoptic_map_at() tells what is under a
/// point, and panoptic_map_mask() gives its mask (eval/annotations/panoptic.h).
#pragma once
#include "data/coco_mask.h"

typedef struct Region {
    CocoMask mask;
    double score;
    /// which of its image's regions it is in the file, from 0 on
    int position;
} Region;

typedef struct ImageRegions {
    char *image_id;
    /// from the highest score down; those of equal score in the file's order
    Region *regions;
    int num_regions;
} ImageRegions;

typedef struct Regions {
    ImageRegions *images;
    int num_images;
    /// id -> index of the image, for regions_find()
    struct json_t *image_ids;
} Regions;

/// Reads regions from one of two kinds of file, told apart by the name's end:
///
/// - `.json`: COCO's results, a list of {"image_id", "segmentation", "score"}, of which others keys
///   do not matter;
/// - `.pkl`, `.pickle`, `.p`: a list with an entry per image, a list or tuple whose [1] are the
///   masks (runs as pycocotools encodes them) and whose [2] are their scores; read as data, without
///   executing it. Numbers may be numpy's.
///
/// `images_path` is a COCO file whose "images" give ids and sizes: a pickle has its entries in
/// their order, so it needs one; results need one only for polygons. With it the images are those,
/// a mask must have its image's size, and an image that it does not list is an error; without, the
/// images are those with results. Errors name the file, the image and the region.
bool regions_read(const char *path, const char *images_path, Regions *out, Error *error);
void regions_free(Regions *regions);

/// The regions of an image; NULL if the file does not know it.
const ImageRegions *regions_find(const Regions *regions, const char *image_id);
/// The region of the highest score that contains a pixel; NULL if none does.
const Region *regions_at(const ImageRegions *image, int row, int column);
