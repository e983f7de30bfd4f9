#include "eval/segmenters/segmenter.h"

#include "eval/segmenters/region_growing.h"

#include <stdlib.h>

void segments_free(Segments *segments) {
    for (int i = 0; i < segments->count; i++) coco_mask_free(&segments->items[i].mask);
    *segments = (Segments){0};
}

// ---- region growing

typedef struct RegionGrowing {
    Segmenter base;
    /// the caller's, of the last see()
    const Image *picture;
    /// of that picture; NULL until something is grown in it
    float *colours;
} RegionGrowing;

static bool see_picture(Segmenter *segmenter, const Image *picture, const char *image_id,
                        Error *error) {
    (void)image_id, (void)error;
    RegionGrowing *self = (RegionGrowing *)segmenter;
    free(self->colours);
    self->colours = NULL;
    self->picture = picture;
    return true;
}

static bool grow(Segmenter *segmenter, const SegmentPrompt *prompt, Segments *segments,
                 Error *error) {
    (void)error;
    RegionGrowing *self = (RegionGrowing *)segmenter;
    const Image *picture = self->picture;
    if (!self->colours)
        self->colours = region_colours(picture->pixels, picture->height, picture->width);
    uint8_t *mask = checked_malloc((size_t)picture->height * (size_t)picture->width);
    region_growing(self->colours, picture->height, picture->width, prompt->point.row,
                   prompt->point.column, mask);
    *segments = (Segments){
        .items = {{coco_mask_from_bitmap(mask, picture->height, picture->width), 1}}, .count = 1};
    free(mask);
    return true;
}

static void close_region_growing(Segmenter *segmenter) {
    free(((RegionGrowing *)segmenter)->colours);
    free(segmenter);
}

Segmenter *segmenter_region_growing(void) {
    RegionGrowing *segmenter = checked_calloc(1, sizeof *segmenter);
    segmenter->base = (Segmenter){"region_growing", see_picture, grow, close_region_growing};
    return &segmenter->base;
}

// ---- the truth

static bool see_nothing(Segmenter *segmenter, const Image *picture, const char *image_id,
                        Error *error) {
    (void)segmenter, (void)picture, (void)image_id, (void)error;
    return true;
}

static bool take_true_mask(Segmenter *segmenter, const SegmentPrompt *prompt, Segments *segments,
                           Error *error) {
    (void)segmenter, (void)error;
    const CocoMask *best = NULL;
    for (int i = 0; i < prompt->num_truth; i++) {
        const CocoMask *mask = &prompt->truth[i];
        if (coco_mask_contains(mask, prompt->point.row, prompt->point.column) &&
            (!best || coco_mask_area(mask) < coco_mask_area(best)))
            best = mask;
    }
    *segments = (Segments){0};
    if (best) {
        segments->items[0] = (SegmentMask){coco_mask_copy(best), 1};
        segments->count = 1;
    }
    return true;
}

static void close_simple(Segmenter *segmenter) { free(segmenter); }

Segmenter *segmenter_truth(void) {
    Segmenter *segmenter = checked_calloc(1, sizeof *segmenter);
    *segmenter = (Segmenter){"truth", see_nothing, take_true_mask, close_simple};
    return segmenter;
}
