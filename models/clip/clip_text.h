/// CLIP's text tower as transformers' CLIPTextModel, frozen: the conditioning that Stable Diffusion
/// was trained with. Here it serves the empty prompt, which stands in for the implicit captioner
/// where that is switched off.
#pragma once
#include "models/clip/clip_encoder.h"

typedef struct ClipText {
    Device *device;
    DType dtype;
    int vocab_size, max_position_embeddings;
    int32_t bos, eos, pad;
    ClipEncoder encoder;
    /// [V,C]
    Tensor *token_embedding;
    /// [T,C]
    Tensor *position_embedding;
    Affine final_layer_norm;
} ClipText;

/// Reads the directory of a CLIPTextModel (Stable Diffusion's text_encoder) or of a whole
/// CLIPModel. The special tokens are those of the tokenizer beside it ("../tokenizer", or the
/// directory itself); without one, those of config.json. NULL on failure.
ClipText *clip_text_load(const char *directory, Device *device, DType dtype, Error *error);
void clip_text_free(ClipText *clip);

/// Token ids in [0, V), host array of `batch` prompts of `length` <= max_position_embeddings;
/// returns the last hidden state after the final norm, [batch,length,C].
Tensor *clip_text_hidden(const ClipText *clip, const int32_t *ids, int batch, int length);

/// The same for the empty prompt (bos, eos, then pad up to max_position_embeddings): [T,C].
Tensor *clip_text_empty_prompt(const ClipText *clip);
