// CLIP's towers, the VAE's encoder and the U-Net.
//
//   clip_vision   pixels                          features, blocks
//   clip_text     ids                             hidden, blocks
//   vae           image                           moments, blocks
//   unet          latents, context, [direction]   feature, blocks; with a direction the gradients
//   of <feature, direction>:
//                 options block, timestep         context_grad, and latents_grad unless
//                 frozen_latents=1
#include "autograd/tape.h"
#include "models/clip/clip_text.h"
#include "models/clip/clip_vision.h"
#include "models/diffusion/unet.h"
#include "models/diffusion/vae.h"
#include "tests/parity/programs/network_outputs.h"

static void *load_clip_vision(Run *run, const char *folder, Device *device, DType dtype,
                              Error *error) {
    (void)run;
    return clip_vision_load(folder, device, dtype, error);
}

static void run_clip_vision(Run *run, void *network) {
    const ClipVision *clip = network;
    Tensor *features = clip_vision_features(clip, run_input(run, clip->device, "pixels"));
    run_phase(run, clip->device, RUN_FORWARD);
    run_output(run, "features", features);
}

static void release_clip_vision(void *network) { clip_vision_free(network); }

static void *load_clip_text(Run *run, const char *folder, Device *device, DType dtype,
                            Error *error) {
    (void)run;
    return clip_text_load(folder, device, dtype, error);
}

static void run_clip_text(Run *run, void *network) {
    const ClipText *clip = network;
    int64_t batch, length;
    const int32_t *ids = run_input_ids(run, "ids", &batch, &length);
    Tensor *hidden = clip_text_hidden(clip, ids, (int)batch, (int)length);
    run_phase(run, clip->device, RUN_FORWARD);
    run_output(run, "hidden", hidden);
}

static void release_clip_text(void *network) { clip_text_free(network); }

static void *load_vae(Run *run, const char *folder, Device *device, DType dtype, Error *error) {
    (void)run;
    return vae_encoder_load(folder, device, dtype, error);
}

static void run_vae(Run *run, void *network) {
    const VaeEncoder *vae = network;
    Tensor *moments = vae_encode(vae, run_input(run, vae->device, "image"));
    run_phase(run, vae->device, RUN_FORWARD);
    run_output(run, "moments", moments);
}

static void release_vae(void *network) { vae_encoder_free(network); }

static void *load_unet(Run *run, const char *folder, Device *device, DType dtype, Error *error) {
    UNet *unet = unet_load(folder, run_option_int(run, "block", 1), device, dtype, error);
    if (unet) unet_set_timestep(unet, run_option_int(run, "timestep", 100));
    return unet;
}

static void run_unet(Run *run, void *network) {
    const UNet *unet = network;
    Tensor *latents = run_input(run, unet->device, "latents");
    Tensor *context = run_input(run, unet->device, "context");
    bool backwards = run_has_input(run, "direction");
    bool latents_too = backwards && !run_option_int(run, "frozen_latents", 0);
    if (backwards) require_grad(context);
    if (latents_too) require_grad(latents);
    tape_begin();
    Tensor *feature = unet_features(unet, latents, context);
    run_phase(run, unet->device, RUN_FORWARD);
    if (backwards) {
        backward(feature, convert(run_input(run, unet->device, "direction"), unet->dtype), NULL);
        run_phase(run, unet->device, RUN_BACKWARD);
        run_output(run, "context_grad", grad(context));
        if (latents_too) run_output(run, "latents_grad", grad(latents));
    }
    tape_end();
    run_output(run, "feature", feature);
}

static void release_unet(void *network) { unet_free(network); }

const NetworkKind vision_networks[] = {
    {"clip_vision", load_clip_vision, run_clip_vision, release_clip_vision},
    {"clip_text", load_clip_text, run_clip_text, release_clip_text},
    {"vae", load_vae, run_vae, release_vae},
    {"unet", load_unet, run_unet, release_unet},
    {NULL, NULL, NULL, NULL},
};
