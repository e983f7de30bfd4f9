#!/usr/bin/env python3
"""Records what pictures become between the file and the language model where they are normalised as DiffLMM's published code does it, and where by 0.5:
tests/unit/models/test_image_normalization.c holds the C code to it.

    python tests/parity/record_image_normalization.py      (writes tests/parity/data/image_normalization.safetensors)

The networks are those of tests/parity/data/difflmm with the adapters of its first recorded step; record_language.py makes them.

picture/I                      [H,W,3] in bytes
noise.vae, noise.diffusion     [B,h,w,4]
NORMALIZATION/ASPECT/...       clip [B,N,C], moments [B,h,w,8], visual_tokens [B,N,d]
"""
import os

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPImageProcessorPil, CLIPVisionModel

from record_language import HERE, IMAGE, Adapters, image_path

FOLDER = os.path.join(HERE, "difflmm")
SIZES = [(53, 31), (40, 77)]


def processor_of(normalization):
    """The published tower asks for 0.5 by words that the class does not know, and keeps CLIP's mean and deviation."""
    size = dict(size=dict(shortest_edge=IMAGE), crop_size=dict(height=IMAGE, width=IMAGE))
    if normalization == "clip_twice":
        return CLIPImageProcessorPil(**size, mean=[0.5] * 3, std=[0.5] * 3)
    return CLIPImageProcessorPil(**size, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def expand_to_square(picture, processor):
    side = max(picture.size)
    square = Image.new("RGB", (side, side), tuple(int(255 * m) for m in processor.image_mean))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def load_networks():
    networks = {"clip": CLIPVisionModel.from_pretrained(f"{FOLDER}/clip", torch_dtype=torch.float32),
                "sd/vae": AutoencoderKL.from_pretrained(f"{FOLDER}/sd/vae", torch_dtype=torch.float32),
                "sd/unet": UNet2DConditionModel.from_pretrained(f"{FOLDER}/sd/unet", torch_dtype=torch.float32)}
    return {name: network.eval().requires_grad_(False) for name, network in networks.items()}


def load_adapters():
    prefix = "stage1.before.mm_projector."
    with safe_open(f"{FOLDER}/golden.safetensors", "pt") as file:
        state = {name.removeprefix(prefix): file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}
    adapters = Adapters()
    adapters.load_state_dict(state, strict=True)
    return adapters.requires_grad_(False)


def record():
    torch.manual_seed(30)
    pictures = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (h, w, 3), dtype=np.uint8)) for i, (w, h) in enumerate(SIZES)]
    networks, adapters, side = load_networks(), load_adapters(), IMAGE // 8
    noise = {f"noise.{name}": torch.randn(1, len(pictures), 4, side, side) for name in ("vae", "diffusion")}
    tensors = {f"picture/{i}": torch.from_numpy(np.array(p)) for i, p in enumerate(pictures)}
    tensors |= {name: value[0].permute(0, 2, 3, 1).contiguous() for name, value in noise.items()}
    for normalization in ("half", "clip_twice"):
        processor = processor_of(normalization)
        for aspect in ("square", "pad"):
            prepared = [expand_to_square(p, processor) for p in pictures] if aspect == "pad" else pictures
            images = torch.cat([processor(p, return_tensors="pt")["pixel_values"] for p in prepared])
            golden = {"images": images, **noise}
            image_path(networks, adapters, golden, "case")
            tensors |= {f"{normalization}/{aspect}/{name}": golden[f"case.{name}"].contiguous() for name in ("clip", "moments", "visual_tokens")}
    save_file(tensors, os.path.join(HERE, "image_normalization.safetensors"))


if __name__ == "__main__":
    record()
