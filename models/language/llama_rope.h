/// The angles of a decoder's rotary embedding: how each published scaling stretches the
/// frequencies, and the cosines and sines of packed rows.
#pragma once
#include "models/weights.h"

typedef enum RopeScaling {
    /// frequency i of head_dim/2 is theta^(-2i/head_dim)
    ROPE_DEFAULT,
    /// divided by the factor (Chen et al. 2023, arXiv 2306.15595)
    ROPE_LINEAR,
    /// "NTK": past the original length theta grows with the sequence, as transformers' "dynamic"
    ROPE_DYNAMIC,
    /// long wavelengths divided by the factor, short ones kept (Llama Team 2024, arXiv 2407.21783)
    ROPE_LLAMA3,
    /// the same by number of rotations, and scores sharpened (Peng et al. 2023, arXiv 2309.00071)
    ROPE_YARN,
} RopeScaling;

typedef struct LlamaRope {
    RopeScaling scaling;
    double theta;
    double factor;
    /// the context that the model was trained with first
    int original_length;
    /// llama3: low_freq_factor, high_freq_factor; yarn: beta_slow, beta_fast
    double low, high;
    /// yarn: its range of pairs is widened to whole ones
    bool truncate;
    /// yarn's attention_factor: cosines and sines are multiplied by it; otherwise 1
    double rotation_factor;
} LlamaRope;

/// Reads `rope_scaling` with `rope_theta` (transformers 4) or `rope_parameters` (5). An unsupported
/// type or key is refused by name.
LlamaRope llama_rope_read(Weights *weights, int head_dim);

/// The head_dim/2 frequencies, in radians per position, for a sequence of that length.
void llama_rope_frequencies(const LlamaRope *rope, int head_dim, int length, double *frequencies);

/// Cosines and sines for rope() that have been asked for before, by position. Safe from several
/// threads.
typedef struct RotationTable RotationTable;
RotationTable *rotation_table_new(const LlamaRope *rope, int head_dim);
void rotation_table_free(RotationTable *table);
/// Rotations of one sequence's rows at positions first .. first+count; `length` is the sequence's
/// as far as it is known. Fills [count][head_dim].
void rotation_table_rows(RotationTable *table, int first, int count, int length, float *rotations);
