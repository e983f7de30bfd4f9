/// What stands under "segmentation" in files of COCO's form.
#pragma once
#include "data/coco_mask.h"
#include "data/json_values.h"

/// The longest side of an image with masks: a mask's positions then fit into 32 bits.
enum { COCO_LARGEST_SIDE = 32768 };

/// A "height" or "width", 1 to COCO_LARGEST_SIDE; `what` names its owner: "image 42".
bool coco_side_read(const json_t *item, const char *key, const char *what, int *side, Error *error);

/// The mask of an image of that size: polygons, which are united, or runs, compressed or not, which
/// must have the image's size. The message does not say whose segmentation it is.
bool coco_segmentation_read(const json_t *segmentation, int height, int width, CocoMask *mask,
                            Error *error);

/// Runs alone, of whatever size they say.
bool coco_runs_read(const json_t *runs, CocoMask *mask, Error *error);

/// The mask as an object of "size" and compressed "counts"; the caller has the reference.
json_t *coco_runs_write(const CocoMask *mask);
