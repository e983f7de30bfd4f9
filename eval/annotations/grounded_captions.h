/// Captions whose phrases have masks: GranD-f's annotations for grounded conversation generation,
/// and predictions in the form that GLaMM's evaluation reads. [Rasheed et al. 2024, arXiv
/// 2311.03356; mbzuai-oryx/groundingLMM, eval/gcg]
#pragma once
#include "data/coco_mask.h"

/// x, y: column and row.
typedef struct MaskPoint {
    int x, y;
} MaskPoint;

/// One image's caption. Mask i is phrase i's: nothing else links them, so with different numbers of
/// both nobody knows whose each mask is.
typedef struct GroundedCaption {
    char *image_id;
    /// the annotated captions, of which the first has the phrases; a prediction has one
    char **captions;
    int num_captions;
    char **phrases;
    int num_phrases;
    /// all of one size
    CocoMask *masks;
    int num_masks;
    /// where the attention pointed, of a prediction; none, or one per mask
    MaskPoint *points;
    int num_points;
} GroundedCaption;

typedef struct GroundedCaptions {
    /// in the order of the captions' "images"
    GroundedCaption *items;
    int count;
} GroundedCaptions;

void grounded_caption_free(GroundedCaption *caption);
void grounded_captions_free(GroundedCaptions *captions);

/// Reads `{val,test}_gcg_coco_caption_gt.json` and `{val,test}_gcg_coco_mask_gt.json`; the picture
/// of an image is `<image_id>.jpg`. Ids are strings; numbers are accepted and become their text.
/// Heights and widths are those of the masks: in the files they may be missing or strings, and only
/// polygons need them. Errors name the file and the id: images without a caption, masks of images
/// that have none, masks of different sizes in one image, masks that are none, ids that occur
/// twice. Different numbers of phrases and masks are left to whoever scores them.
bool grounded_captions_read(const char *caption_path, const char *mask_path, GroundedCaptions *out,
                            Error *error);

/// Reads the prediction of one image, `<image_id>.json`: "caption", "phrases", "pred_masks" and,
/// where there are any, "image_id" and "points"; also all that nested under one key. Without
/// "image_id" it is the file's name. Of an image without any phrase the lists are empty, or absent.
bool grounded_caption_read(const char *path, GroundedCaption *out, Error *error);
/// Writes it in that form, with its first caption: whole, or not at all.
bool grounded_caption_write(const char *path, const GroundedCaption *caption, Error *error);
