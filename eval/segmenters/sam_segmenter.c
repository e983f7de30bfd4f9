// Segment Anything behind a point, or behind the attention map itself.
#include "data/images/preprocess.h"
#include "data/images/resize.h"
#include "eval/segmenters/segmenter.h"
#include "models/sam/sam.h"

#include <math.h>
#include <stdlib.h>

// groundLMM's constants for maps as prompts: what an attention counts as certain, how far a
// certainty may go, and from where on it belongs to the box.
static const float ATTENTION_SCALE = 0.0002f, LEAST = 1e-3f, BOX_FROM = 0.75f;

typedef struct SamSegmenter {
    Segmenter base;
    Sam *sam;
    SamImage *image;
    SamPromptKind kind;
} SamSegmenter;

static bool see(Segmenter *segmenter, const Image *picture, const char *image_id, Error *error) {
    SamSegmenter *self = (SamSegmenter *)segmenter;
    Image resized;
    (void)image_id;
    if (self->image) sam_image_free(self->image);
    self->image = NULL;
    if (!image_resize_longest_side(picture, self->sam->config.image_size, &resized, error))
        return false;
    self->image = sam_encode(self->sam, resized.pixels,
                             sam_frame(self->sam, picture->width, picture->height));
    image_free(&resized);
    return true;
}

/// The map as logits [side,side], its longer side filling the square and the rest 0.
static float *map_logits(const float *heat, int height, int width, int side) {
    float *logits = checked_malloc((size_t)height * (size_t)width * sizeof *logits),
          *square = checked_calloc((size_t)side * (size_t)side, sizeof *square);
    for (int64_t i = 0; i < (int64_t)height * width; i++) {
        float p = fminf(fmaxf(heat[i] / ATTENTION_SCALE, LEAST), 1 - LEAST);
        logits[i] = logf(p / (1 - p));
    }
    int rows = height >= width ? side : (int)((double)height / width * side),
        columns = width >= height ? side : (int)((double)width / height * side);
    if (rows > 0 && columns > 0) {
        float *resized = checked_malloc((size_t)rows * (size_t)columns * sizeof *resized);
        resize_bicubic_float(logits, height, width, resized, rows, columns);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++)
                square[y * side + x] = resized[(int64_t)y * columns + x];
        free(resized);
    }
    free(logits);
    return square;
}

/// Left, top, right, bottom of what is high in the map; zeros if nothing is.
static void map_box(const float *heat, int height, int width, float box[4]) {
    int left = width, top = height, right = -1, bottom = -1;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            if (!(heat[(int64_t)y * width + x] / ATTENTION_SCALE > BOX_FROM)) continue;
            left = x < left ? x : left;
            right = x > right ? x : right;
            top = y < top ? y : top;
            bottom = y;
        }
    bool is_empty = right < 0;
    box[0] = is_empty ? 0 : (float)left;
    box[1] = is_empty ? 0 : (float)top;
    box[2] = is_empty ? 0 : (float)(right + 1);
    box[3] = is_empty ? 0 : (float)(bottom + 1);
}

static SamMasks predict(const SamSegmenter *self, const SegmentPrompt *prompt) {
    if (self->kind == SAM_PROMPT_POINT) {
        const float point[1][2] = {{(float)prompt->point.column, (float)prompt->point.row}};
        const int label = 1;
        const SamPrompt shown = {.num_points = 1, .points = point, .labels = &label};
        return sam_predict(self->sam, self->image, &shown, true);
    }
    const SamFrame *frame = &self->image->frame;
    float box[4];
    map_box(prompt->heat, frame->original_height, frame->original_width, box);
    float *logits = map_logits(prompt->heat, frame->original_height, frame->original_width,
                               4 * self->sam->config.grid);
    const SamPrompt shown = {.box = box, .mask_input = logits};
    SamMasks masks = sam_predict(self->sam, self->image, &shown, true);
    free(logits);
    return masks;
}

static bool segment(Segmenter *segmenter, const SegmentPrompt *prompt, Segments *segments,
                    Error *error) {
    const SamSegmenter *self = (const SamSegmenter *)segmenter;
    (void)error;
    SamMasks masks = predict(self, prompt);
    size_t pixels = (size_t)masks.height * (size_t)masks.width;
    *segments = (Segments){0};
    for (int i = masks.count - 1; i >= 0 && segments->count < MOST_SEGMENTS; i--)
        segments->items[segments->count++] = (SegmentMask){
            coco_mask_from_bitmap(masks.masks + (size_t)i * pixels, masks.height, masks.width),
            (double)masks.iou[i]};
    sam_masks_free(&masks);
    return true;
}

static void close_sam(Segmenter *segmenter) {
    SamSegmenter *self = (SamSegmenter *)segmenter;
    if (self->image) sam_image_free(self->image);
    sam_free(self->sam);
    free(self);
}

Segmenter *segmenter_sam(const char *path, Device *device, SamPromptKind kind, Error *error) {
    Sam *sam = sam_load(path, device, FLOAT32, error);
    if (!sam) return NULL;
    SamSegmenter *self = checked_calloc(1, sizeof *self);
    *self = (SamSegmenter){{"sam", see, segment, close_sam}, sam, NULL, kind};
    return &self->base;
}
