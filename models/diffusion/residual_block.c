#include "models/diffusion/residual_block.h"

ResidualBlock residual_block_load(Weights *weights, int in, int out, int time_channels, int groups,
                                  float eps) {
    ResidualBlock block = {.groups = groups, .eps = eps};
    block.norm1 = affine_group_norm(weights, "norm1", in, groups);
    block.conv1 = affine_conv(weights, "conv1", out, in, 3);
    if (time_channels)
        block.time_emb_proj = affine_linear(weights, "time_emb_proj", out, time_channels);
    block.norm2 = affine_group_norm(weights, "norm2", out, groups);
    block.conv2 = affine_conv(weights, "conv2", out, out, 3);
    if (in != out) block.conv_shortcut = affine_linear(weights, "conv_shortcut", out, in);
    return block;
}

void residual_block_release(ResidualBlock *block) {
    affine_release(&block->norm1);
    affine_release(&block->conv1);
    affine_release(&block->time_emb_proj);
    affine_release(&block->norm2);
    affine_release(&block->conv2);
    affine_release(&block->conv_shortcut);
}

/// conv1's bias. The time is one for the whole batch, so what it adds to every pixel is a vector,
/// and folds into the bias.
static Tensor *conv1_bias(const ResidualBlock *block, Tensor *time) {
    if (!block->time_emb_proj.weight) return block->conv1.bias;
    Tensor *shift = convert(apply_linear(&block->time_emb_proj, time), FLOAT32);
    return reshape(add(shift, block->conv1.bias), SHAPE(tensor_columns(shift)));
}

Tensor *residual_block(const ResidualBlock *block, Tensor *x, Tensor *time) {
    scope_begin();
    Affine conv1 = {block->conv1.weight, conv1_bias(block, time)};
    Tensor *h = apply_group_norm(&block->norm1, x, block->groups, block->eps, true);
    h = apply_conv3x3(&conv1, h);
    h = apply_group_norm(&block->norm2, h, block->groups, block->eps, true);
    h = apply_conv3x3(&block->conv2, h);
    if (block->conv_shortcut.weight) x = apply_linear(&block->conv_shortcut, x);
    return scope_end_returning(add(x, h));
}
