/// What turns a point into masks: one interface for all.
#pragma once
#include "autograd/device.h"
#include "data/coco_mask.h"
#include "data/images/image.h"
#include "eval/attention/attention_map.h"

/// A point in a picture, and where it comes from.
typedef struct SegmentPrompt {
    Point point;
    /// [height * width of the picture] the map whose largest value is at the point
    const float *heat;
    /// the group's map in cells, and the part of the picture that it covers
    const float *map;
    CellGrid grid;
    TokenFrame frame;
    /// the picture's true masks, for the segmenter that takes the true one
    const CocoMask *truth;
    int num_truth;
} SegmentPrompt;

typedef struct SegmentMask {
    CocoMask mask;
    /// how good it is by the segmenter's own word, 0 to 1
    double score;
} SegmentMask;

enum { MOST_SEGMENTS = 4 };

/// From the one that counts on; none if the segmenter finds nothing at the point. Free with
/// segments_free().
typedef struct Segments {
    SegmentMask items[MOST_SEGMENTS];
    int count;
} Segments;

void segments_free(Segments *segments);

typedef struct Segmenter Segmenter;
struct Segmenter {
    const char *name;
    /// Prepares for a picture; image_id: as the annotations call it. Called once per picture,
    /// before any prompt in it.
    bool (*see)(Segmenter *segmenter, const Image *picture, const char *image_id, Error *error);
    bool (*segment)(Segmenter *segmenter, const SegmentPrompt *prompt, Segments *segments,
                    Error *error);
    void (*close)(Segmenter *segmenter);
};

/// Region growing from the point (eval/segmenters/region_growing.h): needs no weights.
Segmenter *segmenter_region_growing(void);
/// The smallest true mask that contains the point, so that pointing is measured apart from
/// segmenting: an upper bound for any segmenter that takes points.
Segmenter *segmenter_truth(void);

/// What Segment Anything is shown.
typedef enum SamPromptKind {
    /// the point
    SAM_PROMPT_POINT,
    /// the attention map as a mask, and the box around what is high in it
    SAM_PROMPT_MASK
} SamPromptKind;

/// Segment Anything from `path` (models/sam/sam.h). Of its three masks the last (largest) counts,
/// the others follow; scores are its predicted IoU. NULL on failure.
Segmenter *segmenter_sam(const char *path, Device *device, SamPromptKind kind, Error *error);

/// Regions that were found beforehand: the first, by score, that contains the point, or none.
/// path: COCO results JSON or a detector's pickle (eval/annotations/regions.h), of the images of
/// the COCO file images_path (NULL: not needed by JSON); or a folder of panoptic PNGs, named as the
/// images with .png, where the segment under the point is taken, void as well. NULL on failure.
Segmenter *segmenter_regions(const char *path, const char *images_path, Error *error);
