#!/usr/bin/env python3
"""Writes model directories of exactly the published shapes with random bfloat16 weights: what the full-size recipe is measured on.

    make_official_weights.py OUT --tokenizer TOKENIZER.MODEL [--layers 32] [--part sd --part vision_tower --part llm]

OUT/stable-diffusion-v1-5         unet, vae, text_encoder, scheduler
OUT/clip-vit-large-patch14-336    CLIPModel
OUT/vicuna-7b-v1.5                LlamaForCausalLM in shards of 5 GB, and TOKENIZER.MODEL (Llama 2's 32,000 pieces)

16 GB in all with 32 layers. Matrices are normal with variance 1 / fan-in, so that activations keep their size; norms are one, biases zero.
Needs torch, transformers, diffusers and safetensors; one tensor at a time is in memory beside a shard.
"""
import argparse
import json
import math
import os
import shutil

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaForCausalLM

SHARD_BYTES = 5 * 10**9


def random_tensor(name, shape):
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.bfloat16)
    if len(shape) < 2:
        return torch.ones(shape, dtype=torch.bfloat16)
    fan_in = math.prod(shape[1:])
    std = 0.02 if "embed" in name or "position" in name else 1 / math.sqrt(fan_in)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0, std)


def shards_of(state):
    """Names in groups of at most SHARD_BYTES, in the order of the model."""
    groups, size = [[]], 0
    for name, tensor in state.items():
        size_of_one = 2 * tensor.numel()
        if groups[-1] and size + size_of_one > SHARD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += size_of_one
    return groups


def write(make, folder, stem):
    os.makedirs(folder, exist_ok=True)
    with torch.device("meta"):
        model = make()
    (model.save_config if hasattr(model, "save_config") else model.config.save_pretrained)(folder)
    state = {name: t for name, t in model.state_dict().items() if "position_ids" not in name}
    groups, where = shards_of(state), {}
    for index, names in enumerate(groups):
        single = len(groups) == 1
        file = f"{stem}.safetensors" if single else f"{stem}-{index + 1:05d}-of-{len(groups):05d}.safetensors"
        save_file({name: random_tensor(name, tuple(state[name].shape)) for name in names}, os.path.join(folder, file),
                  metadata={"format": "pt"})
        where.update({name: file for name in names})
        print(os.path.join(folder, file), flush=True)
    if len(groups) > 1:
        total = sum(2 * t.numel() for t in state.values())
        json.dump({"metadata": {"total_size": total}, "weight_map": where},
                  open(os.path.join(folder, f"{stem}.safetensors.index.json"), "w"), indent=2)


def write_sd(root):
    write(lambda: UNet2DConditionModel(sample_size=64, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2,
                                       attention_head_dim=8, cross_attention_dim=768),
          os.path.join(root, "unet"), "diffusion_pytorch_model")
    write(lambda: AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                                block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
                                sample_size=512),
          os.path.join(root, "vae"), "diffusion_pytorch_model")
    write(lambda: CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                                               num_attention_heads=12, projection_dim=768)),
          os.path.join(root, "text_encoder"), "model")
    DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
                  clip_sample=False).save_pretrained(os.path.join(root, "scheduler"))


def write_vision_tower(root):
    vision = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
                  image_size=336, patch_size=14, projection_dim=768)
    text = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                projection_dim=768)
    write(lambda: CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)), root, "model")


def write_llm(root, layers, tokenizer):
    config = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers,
                         num_attention_heads=32, num_key_value_heads=32, rms_norm_eps=1e-5,
                         max_position_embeddings=4096, pad_token_id=0)
    write(lambda: LlamaForCausalLM(config), root, "model")
    shutil.copy(tokenizer, os.path.join(root, "tokenizer.model"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--part", action="append", choices=["sd", "vision_tower", "llm"])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    parts = arguments.part or ["sd", "vision_tower", "llm"]
    if "sd" in parts:
        write_sd(os.path.join(arguments.out, "stable-diffusion-v1-5"))
    if "vision_tower" in parts:
        write_vision_tower(os.path.join(arguments.out, "clip-vit-large-patch14-336"))
    if "llm" in parts:
        write_llm(os.path.join(arguments.out, "vicuna-7b-v1.5"), arguments.layers, arguments.tokenizer)


if __name__ == "__main__":
    main()
