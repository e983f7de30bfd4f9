#!/usr/bin/env python3
"""Pictures that a folder's latent diffusion model makes of captions, as one sheet: how far it has come can be seen.

    sample_sheet.py CHECKPOINTS SHEET.png [--guidance 4] [--steps 40]"""
import argparse
import os

import torch
from PIL import Image

from diffusion import SCHEDULE
from scenes import IMAGE_SIZE
from texts import TEXT_LENGTH, ClipTexts

COLUMNS = 8
CAPTIONS = ["a ring.", "a star on the sand.", "a red disc and a blue square.", "a large green triangle on the water.",
            "a yellow cross, a bar and a ring.", "a striped square.", "a purple star and a white disc on the wood.",
            "a black ring and a orange triangle on the grass.", "", "", "a small red bar.",
            "a dotted disc on the stone.", "a blue star, a blue star and a ring.", "a cross.",
            "a white triangle, a red disc, a bar and a square.", "a triangle."]


@torch.no_grad()
def sample(folder, guidance, steps):
    """[16, 3, 128, 128] in [-1, 1]."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

    sd = os.path.join(folder, "sd")
    texts = ClipTexts(os.path.join(sd, "tokenizer"))
    vae = AutoencoderKL.from_pretrained(os.path.join(sd, "vae")).float().eval()
    unet = UNet2DConditionModel.from_pretrained(os.path.join(sd, "unet")).float().eval()
    encoder = CLIPTextModel.from_pretrained(os.path.join(sd, "text_encoder"), dtype=torch.float32).eval()
    context = encoder(input_ids=texts.batch(CAPTIONS + [""] * len(CAPTIONS), TEXT_LENGTH)).last_hidden_state
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    scheduler.set_timesteps(steps)
    side = unet.config.sample_size
    latents = torch.randn(len(CAPTIONS), 4, side, side, generator=torch.Generator().manual_seed(0))
    for timestep in scheduler.timesteps:
        told, untold = unet(torch.cat([latents] * 2), timestep, encoder_hidden_states=context).sample.chunk(2)
        latents = scheduler.step(untold + guidance * (told - untold), timestep, latents).prev_sample
    return vae.decode(latents / vae.config.scaling_factor).sample.clamp(-1, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints")
    parser.add_argument("sheet")
    parser.add_argument("--guidance", type=float, default=4)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pixels = sample(options.checkpoints, options.guidance, options.steps)
    pixels = ((pixels + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
    sheet = Image.new("RGB", (COLUMNS * (IMAGE_SIZE + 4), -(-len(pixels) // COLUMNS) * (IMAGE_SIZE + 4)))
    for i, image in enumerate(pixels):
        sheet.paste(Image.fromarray(image), (i % COLUMNS * (IMAGE_SIZE + 4), i // COLUMNS * (IMAGE_SIZE + 4)))
    sheet.save(options.sheet)


if __name__ == "__main__":
    main()
