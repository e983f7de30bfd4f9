"""What each frozen tower makes of a scene, on the grid of visual tokens: [N, 64, C]."""
import os

import numpy as np
import torch
import torch.nn.functional as F

from cells import GRID
from diffusion import SCHEDULE
from scenes import in_batches, to_clip
from texts import TEXT_LENGTH


def on_grid(x):
    """[B, C, h, w] resized as DiffLMM does it, to [B, 64, C]."""
    if x.shape[-1] != GRID:
        x = F.interpolate(x, size=(GRID, GRID), mode="bilinear", align_corners=False)
    return x.flatten(2).transpose(1, 2)


class Towers:
    """The networks of a folder with clip and sd."""

    def __init__(self, folder, texts):
        from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
        from transformers import CLIPModel, CLIPTextModel

        sd = os.path.join(folder, "sd")
        self.texts = texts
        self.clip = CLIPModel.from_pretrained(os.path.join(folder, "clip"), dtype=torch.float32).eval().vision_model
        self.vae = AutoencoderKL.from_pretrained(os.path.join(sd, "vae")).float().eval()
        self.encoder = CLIPTextModel.from_pretrained(os.path.join(sd, "text_encoder"), dtype=torch.float32).eval()
        self.scheduler = DDPMScheduler(**SCHEDULE)
        self.unet = None
        if os.path.exists(os.path.join(sd, "unet")):
            self.unet = UNet2DConditionModel.from_pretrained(os.path.join(sd, "unet")).float().eval()

    @torch.no_grad()
    def clip_layers(self, scenes):
        """Patch tokens after the embedding and after each layer; the last but one is what DiffLMM takes."""
        rows = [self.clip(to_clip(scenes.batch(index)), output_hidden_states=True).hidden_states
                for index in in_batches(len(scenes))]
        return [torch.cat([row[layer][:, 1:] for row in rows]) for layer in range(len(rows[0]))]

    @torch.no_grad()
    def latents(self, scenes):
        """Modes of the latents, times the scaling factor: [N, 4, h, w]."""
        rows = [self.vae.encode(scenes.batch(index)).latent_dist.mode() for index in in_batches(len(scenes))]
        return torch.cat(rows) * self.vae.config.scaling_factor

    @torch.no_grad()
    def contexts(self, captions):
        rows = [self.encoder(input_ids=self.texts.batch([captions[i] for i in index], TEXT_LENGTH)).last_hidden_state
                for index in in_batches(len(captions))]
        return torch.cat(rows)

    @torch.no_grad()
    def unet_blocks(self, latents, timestep, contexts):
        """Outputs of the up blocks (after their upsamplers) for one draw of noise; contexts [N or 1, T, C]."""
        got, hooks = {}, []
        for block, module in enumerate(self.unet.up_blocks):
            hooks.append(module.register_forward_hook(lambda m, i, o, block=block: got.__setitem__(block, on_grid(o))))
        blocks = [[] for _ in hooks]
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(timestep))
        noisy = self.scheduler.add_noise(latents, noise, torch.full((len(latents),), timestep))
        for index in in_batches(len(latents)):
            context = contexts[index] if len(contexts) > 1 else contexts.expand(len(index), -1, -1)
            self.unet(noisy[index], timestep, encoder_hidden_states=context)
            for block, rows in enumerate(blocks):
                rows.append(got[block])
        for hook in hooks:
            hook.remove()
        return [torch.cat(rows) for rows in blocks]


def captions_of(scenes):
    rng = np.random.default_rng(0)
    return [scenes.caption(i, rng) for i in range(len(scenes))]
