// Segment Anything.
//
//   sam   pixels (normalised), point [1,2] in the square   embedding, logits [num_masks,4G,4G], iou
//   [1,num_masks], blocks
#include "models/sam/sam.h"
#include "ops/ops.h"
#include "tests/parity/programs/network_outputs.h"

#include <stdlib.h>

static void *load_sam(Run *run, const char *folder, Device *device, DType dtype, Error *error) {
    (void)run;
    return sam_load(folder, device, dtype, error);
}

/// [pixels,masks] to [masks,side,side].
static Tensor *masks_first(const Tensor *logits, int64_t side) {
    int64_t masks = tensor_columns(logits), pixels = tensor_rows(logits);
    float *from = checked_malloc(2 * (size_t)(masks * pixels) * sizeof *from);
    float *to = from + masks * pixels;
    tensor_to_host_float(logits, from);
    for (int64_t m = 0; m < masks; m++)
        for (int64_t i = 0; i < pixels; i++) to[m * pixels + i] = from[i * masks + m];
    Tensor *x = tensor_from_host(logits->device, FLOAT32, SHAPE(masks, side, side), to);
    free(from);
    return x;
}

static void run_sam(Run *run, void *network) {
    const Sam *sam = network;
    const SamPromptEncoder *prompts = &sam->prompt_encoder;
    int64_t grid = sam->config.grid, places = grid * grid;
    float point[1][2];
    tensor_to_host_float(run_input(run, sam->device, "point"), point[0]);
    Tensor *embedding =
        sam_image_encoder(&sam->image_encoder, run_input(run, sam->device, "pixels"));
    Tensor *tokens = sam_prompt_tokens(
        prompts, &(SamPrompt){.num_points = 1, .points = point, .labels = &(int){1}}, 1, 1);
    Tensor *x = add(reshape(embedding, SHAPE(places, sam->config.embed_dim)),
                    sam_prompt_map(prompts, NULL));
    SamPrediction prediction =
        sam_mask_decoder(&sam->mask_decoder, x, prompts->grid_places, tokens);
    run_phase(run, sam->device, RUN_FORWARD);
    run_output(run, "embedding", embedding);
    run_output(run, "logits", masks_first(prediction.logits, 4 * grid));
    run_output(run, "iou", prediction.iou);
}

static void release_sam(void *network) { sam_free(network); }

const NetworkKind sam_networks[] = {
    {"sam", load_sam, run_sam, release_sam},
    {NULL, NULL, NULL, NULL},
};
