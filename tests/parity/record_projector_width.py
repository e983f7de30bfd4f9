#!/usr/bin/env python3
"""Records projectors that are narrower and wider between their two layers than the language model, with gradients: tests/unit/models/test_projector_width.c
holds the C code to them.

    python tests/parity/record_projector_width.py     (writes tests/parity/data/projector_width)

<architecture>-<width>/mm_projector.bin   the module of projectors.py in float32, by torch.save()
<architecture>-<width>/outputs.safetensors   clip and unet, grad (of the visual tokens), and computed in float64: visual_tokens and the gradient
                                             of every parameter that they depend on, under its name
"""
import os
import shutil
import sys

import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from projectors import DiffLMMProjector, LlavaProjector  # noqa: E402

FOLDER = os.path.join(HERE, "data", "projector_width")
CLIP, UNET, LLM = 6, 7, 8
WIDTHS = (3, 13)


def record(module, name):
    folder = os.path.join(FOLDER, name)
    os.makedirs(folder)
    for p in module.parameters():
        p.data = torch.randn_like(p) / (p[0].numel() ** 0.5 if p.ndim > 1 else 2)
    torch.save({f"model.mm_projector.{n}": v.contiguous() for n, v in module.state_dict().items()}, os.path.join(folder, "mm_projector.bin"))
    clip, unet, grad = torch.randn(2, 4, CLIP), torch.randn(2, 2, 2, UNET), torch.randn(2, 4, LLM)
    module.double()
    tokens = module(clip.double(), unet.double())
    (tokens * grad.double()).sum().backward()
    tensors = {f"mm_projector.{n}": p.grad for n, p in module.named_parameters() if p.grad is not None}
    tensors.update(clip=clip, unet=unet, grad=grad, visual_tokens=tokens.detach())
    save_file({n: x.float().contiguous() for n, x in tensors.items()}, os.path.join(folder, "outputs.safetensors"))


if __name__ == "__main__":
    torch.manual_seed(0)
    shutil.rmtree(FOLDER, ignore_errors=True)
    for width in WIDTHS:
        record(LlavaProjector(CLIP, LLM, width), f"llava-{width}")
        record(DiffLMMProjector(4, CLIP, 5, UNET, LLM, width), f"difflmm-{width}")
