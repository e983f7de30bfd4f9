#!/usr/bin/env python3
"""A stage-1 step of DiffLMM as a careful PyTorch user writes it: diffusers and transformers, only the U-Net's blocks that
are needed, scaled_dot_product_attention, AdamW. As a program, the published recipe's step on the folders that bench_recipe
takes, of which it prints the seconds of each step and the highest resident memory:

    torch_step.py FOLDER [--batch 1] [--text 41] [--steps 3] [--threads 2] [--clock wall|cpu] [--checkpointing]

Frozen networks are bfloat16, trained parameters float32 under autocast. --checkpointing: the language model's layers are
recomputed, as LLaVA trains. Needs torch, transformers, diffusers and safetensors.
"""
import argparse
import os
import resource
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPImageProcessor, CLIPVisionModel, LlamaForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()
IMAGE_TOKEN, TIMESTEP, UP_BLOCKS = -200, 100, 2


class Adapters(nn.Module):
    """What is trained, under the published names."""

    def __init__(self, tokens, clip, context, unet, llm):
        super().__init__()
        self.clip_projector = nn.Sequential(nn.Linear(clip, context), nn.GELU(), nn.Linear(context, context))
        self.clip_pe = nn.Parameter(torch.randn(tokens, context))
        self.sd_norm_layer = nn.LayerNorm(unet)
        self.sd_proj_layer = nn.Sequential(nn.Conv2d(unet, llm // 4, 1), nn.GELU())
        self.linear = nn.Sequential(nn.Linear(llm // 4 + clip, llm), nn.GELU(), nn.Linear(llm, llm))
        self.vt_pe = nn.Parameter(torch.randn(tokens, llm))

    def context(self, clip):
        return self.clip_projector(clip) + self.clip_pe

    def forward(self, clip, unet):
        x = self.sd_norm_layer(unet.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.sd_proj_layer(x).flatten(2).transpose(1, 2)
        return self.linear(torch.cat([x, clip.to(x.dtype)], dim=-1)) + self.vt_pe


def pixel_values(folder):
    """Mean and deviation of CLIP's pixels; its own where no file says."""
    if os.path.exists(os.path.join(folder, "preprocessor_config.json")):
        processor = CLIPImageProcessor.from_pretrained(folder)
    else:
        processor = CLIPImageProcessor()
    return (torch.tensor(v).view(1, 3, 1, 1) for v in (processor.image_mean, processor.image_std))


class Step:
    """One training step on a fixed batch: images [B,3,S,S], ids and supervised [text] of every sample."""

    def __init__(self, clip, sd, llm, dtype, images, ids, supervised, checkpointing=False):
        self.dtype, self.images = dtype, images
        self.clip = self.frozen(CLIPVisionModel, clip)
        self.vae = self.frozen(AutoencoderKL, f"{sd}/vae")
        del self.vae.decoder
        self.unet = self.frozen(UNet2DConditionModel, f"{sd}/unet")
        del self.unet.up_blocks[UP_BLOCKS:]
        self.llm = self.frozen(LlamaForCausalLM, llm)
        if checkpointing:
            self.llm.train()
            self.llm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.alpha = DDPMScheduler.from_pretrained(f"{sd}/scheduler").alphas_cumprod[TIMESTEP]
        self.mean, self.std = pixel_values(clip)
        seen = self.clip.config
        tokens = (seen.image_size // seen.patch_size) ** 2
        self.adapters = Adapters(tokens, seen.hidden_size, self.unet.config.cross_attention_dim,
                                 self.unet.config.block_out_channels[-UP_BLOCKS], self.llm.config.hidden_size)
        self.optimizer = torch.optim.AdamW(self.adapters.parameters(), lr=1e-4, weight_decay=0)
        self.set_text(ids, supervised, tokens)

    def frozen(self, kind, folder):
        of_diffusers = kind in (AutoencoderKL, UNet2DConditionModel)
        more = dict(torch_dtype=self.dtype, low_cpu_mem_usage=False) if of_diffusers else dict(dtype=self.dtype)
        return kind.from_pretrained(folder, **more).eval().requires_grad_(False)

    def set_text(self, ids, supervised, tokens):
        batch, at = len(self.images), int((ids == IMAGE_TOKEN).nonzero())
        labels = torch.where(supervised.bool(), ids, -100)
        self.before, self.after = (part.expand(batch, -1) for part in (ids[:at], ids[at + 1:]))
        self.labels = torch.cat([labels[:at], torch.full((tokens,), -100), labels[at + 1:]]).expand(batch, -1)

    @torch.no_grad()
    def features(self):
        """What the frozen encoders make of the images."""
        seen = F.interpolate(self.images, size=self.clip.config.image_size, mode="bilinear", align_corners=False)
        seen = ((seen + 1) / 2 - self.mean) / self.std
        hidden = self.clip(seen.to(self.dtype), output_hidden_states=True).hidden_states
        return hidden[-2][:, 1:], self.vae.encode(self.images.to(self.dtype)).latent_dist

    def unet_feature(self, x, context):
        unet = self.unet
        time_of = unet.time_embedding(unet.time_proj(torch.tensor([TIMESTEP]).expand(x.shape[0])).to(self.dtype))
        x = unet.conv_in(x)
        kept = (x,)

        def run(block, x, **more):
            if getattr(block, "has_cross_attention", False):
                more["encoder_hidden_states"] = context
            return block(hidden_states=x, temb=time_of, **more)

        for block in unet.down_blocks:
            x, outputs = run(block, x)
            kept += outputs
        x = unet.mid_block(x, time_of, encoder_hidden_states=context)
        for block in unet.up_blocks:
            count = len(block.resnets)
            x = run(block, x, res_hidden_states_tuple=kept[-count:])
            kept = kept[:-count]
        return x

    def loss(self, features, vae_noise=None, diffusion_noise=None):
        clip, moments = features
        draw = torch.randn_like(moments.mean) if vae_noise is None else vae_noise
        latents = (moments.mean + moments.std * draw).float() * self.vae.config.scaling_factor
        noise = torch.randn_like(latents) if diffusion_noise is None else diffusion_noise
        latents = self.alpha.sqrt() * latents + (1 - self.alpha).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            context = self.adapters.context(clip).to(self.dtype)
            feature = self.unet_feature(latents.to(self.dtype), context)
            visual = self.adapters(clip, feature).to(self.dtype)
            embed = self.llm.get_input_embeddings()
            sequence = torch.cat([embed(self.before), visual, embed(self.after)], 1)
            return self.llm(inputs_embeds=sequence, labels=self.labels, use_cache=False).loss

    def run(self, features):
        """Forward, backward and update; returns the loss."""
        loss = self.loss(features)
        loss.backward()
        nn.utils.clip_grad_norm_(self.adapters.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    for name, value in [("batch", 1), ("text", 41), ("steps", 3), ("threads", 2)]:
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--checkpointing", action="store_true")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    ids = 3 + torch.arange(settings.text) * 7919 % 31997
    ids[1] = IMAGE_TOKEN
    step = Step(os.path.join(settings.folder, "clip-vit-large-patch14-336"),
                os.path.join(settings.folder, "stable-diffusion-v1-5"), os.path.join(settings.folder, "vicuna-7b-v1.5"),
                torch.bfloat16, torch.randn(settings.batch, 3, 384, 384), ids, torch.arange(settings.text) > 1,
                settings.checkpointing)
    clock = time.process_time if settings.clock == "cpu" else time.perf_counter
    for number in range(settings.steps):
        begin = clock()
        loss = step.run(step.features())
        print("step %d: %.2f s, loss %.4f" % (number, clock() - begin, loss), flush=True)
    print("memory: %.2f GiB resident at the highest" % (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


if __name__ == "__main__":
    main()
