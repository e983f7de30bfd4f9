/// Binary masks in COCO's run-length encoding, as pycocotools reads and writes them: runs go down
/// the columns, and the first run counts zeros.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct CocoMask {
    int height, width;
    /// run lengths, zeros first; they add up to height * width
    uint32_t *counts;
    int num_counts;
} CocoMask;

void coco_mask_free(CocoMask *mask);

/// Nothing inside.
CocoMask coco_mask_empty(int height, int width);
CocoMask coco_mask_copy(const CocoMask *mask);
/// From a row-major bitmap (nonzero: inside).
CocoMask coco_mask_from_bitmap(const uint8_t *bitmap, int height, int width);
/// Writes 0 or 1 per pixel, row-major, height * width bytes.
void coco_mask_to_bitmap(const CocoMask *mask, uint8_t *bitmap);
/// Ors the mask into a row-major bitmap.
void coco_mask_paint(const CocoMask *mask, uint8_t *bitmap);
/// Pixels inside.
int64_t coco_mask_area(const CocoMask *mask);
/// Pixels inside both. Same size.
int64_t coco_mask_intersection(const CocoMask *a, const CocoMask *b);
/// What is inside one of them. Same size.
CocoMask coco_mask_union(const CocoMask *a, const CocoMask *b);
/// |a and b| / |a or b|; 0 for two empty masks. Same size.
double coco_mask_iou(const CocoMask *a, const CocoMask *b);
/// Whether pixel (row, column) is inside.
bool coco_mask_contains(const CocoMask *mask, int row, int column);
/// x, y, width, height of the bounding box; zeros for an empty mask.
void coco_mask_box(const CocoMask *mask, double box[4]);

/// COCO's compressed string ("counts" of an RLE). The caller frees it.
char *coco_mask_to_string(const CocoMask *mask);
/// Reads a compressed string; refuses runs that do not add up to height * width.
bool coco_mask_from_string(const char *text, int height, int width, CocoMask *mask, Error *error);
/// Takes uncompressed counts (copied); the same check.
bool coco_mask_from_counts(const uint32_t *counts, int num_counts, int height, int width,
                           CocoMask *mask, Error *error);
/// Rasterises one polygon (x0, y0, x1, y1, ... in pixels; at least three points) as pycocotools
/// does.
bool coco_mask_from_polygon(const double *points, int num_points, int height, int width,
                            CocoMask *mask, Error *error);
