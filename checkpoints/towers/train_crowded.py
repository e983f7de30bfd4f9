#!/usr/bin/env python3
"""Trains the crowded world's frozen networks from nothing, with stock PyTorch, diffusers and transformers: CLIP on
pairs of picture and caption, the autoencoder on pictures, the U-Net as a latent diffusion model with captions. None of
them sees a mask, a box or a point. The language model is the tiny world's.

    make_tiny_world CROWDED --crowded --seed 1000 --train 20000 --test 1000
    make_tiny_world ICONIC --iconic --seed 1000 --train 16000 --test 0
    train_crowded.py CROWDED ICONIC WORK               all parts; stopped, the same line goes on
    train_crowded.py CROWDED ICONIC WORK --part vae    one of clip, vae, unet (unet after both)
    train_crowded.py CROWDED ICONIC WORK --part export --to checkpoints/crowded    weights rounded to bfloat16

On a GPU where there is one, else on two cores.
WORK/clip and WORK/sd are laid out as published; WORK/*.state.pt is what a stopped training goes on from."""
import argparse
import ctypes
import json
import os
import shutil
import signal
import tempfile

import torch
import torch.distributed as dist

from clip import STEPS, train_clip
from diffusion import UNET_STEPS, VAE_STEPS, train_unet, train_vae, write_latents
from scenes import Scenes
from steps import DEVICE
from texts import ClipTexts

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
TOKENIZER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tiny", "sd", "tokenizer")


def export(source, target):
    """Copies the networks with weights in bfloat16."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import load_file, save_file
    from transformers import CLIPModel, CLIPTextModel

    for name, kind in (("clip", CLIPModel), ("sd/text_encoder", CLIPTextModel), ("sd/vae", AutoencoderKL),
                       ("sd/unet", UNet2DConditionModel)):
        kind.from_pretrained(os.path.join(source, name)).to(torch.bfloat16).save_pretrained(os.path.join(target, name))
    for name in ("sd/vae", "sd/unet"):
        path = os.path.join(target, name, "config.json")
        with open(path) as file:
            settings = json.load(file)
        settings.pop("_name_or_path", None)  # where they were trained
        with open(path, "w") as file:
            file.write(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    # Stable Diffusion v1.5 publishes its text encoder's tensors under text_model.
    path = os.path.join(target, "sd", "text_encoder", "model.safetensors")
    tensors = {"text_model." + k.removeprefix("text_model."): v for k, v in load_file(path).items()}
    save_file(tensors, path, metadata=dict(format="pt"))
    for name in ("clip/preprocessor_config.json", "sd/model_index.json"):
        shutil.copy(os.path.join(source, name), os.path.join(target, name))
    for name in ("sd/tokenizer", "sd/scheduler"):
        shutil.copytree(os.path.join(source, name), os.path.join(target, name), dirs_exist_ok=True)


def latents_of(options):
    """Where the latents of each world's pictures are kept."""
    return {world: os.path.join(options.work, f"latents-{name}.pt")
            for name, world in (("crowded", options.crowded), ("iconic", options.iconic))}


def train_unet_as(rank, options, meeting):
    """One of several processes, each with half a batch (or less), that meet at a file."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGTERM)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", world_size=options.processes, rank=rank)
    torch.set_num_threads(1)
    worlds = [(Scenes(world, "train", pixels=False), path) for world, path in latents_of(options).items()]
    train_unet(worlds, ClipTexts(TOKENIZER), options.work, options.work, options.steps or UNET_STEPS)
    dist.destroy_process_group()


def train_diffusion(options):
    for world, path in latents_of(options).items():
        if not os.path.exists(path):
            write_latents(Scenes(world, "train"), options.work, path)
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train_unet_as, (options, os.path.join(folder, "meeting")), options.processes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crowded")
    parser.add_argument("iconic")
    parser.add_argument("work")
    parser.add_argument("--part", choices=["clip", "vae", "unet", "all", "export"], default="all")
    parser.add_argument("--to", help="folder to export to")
    parser.add_argument("--processes", type=int, default=1 if DEVICE.type == "cuda" else 2,
                        help="of the U-Net's training, each of one thread")
    parser.add_argument("--steps", type=int, help="another number of steps, to try things")
    options = parser.parse_args()
    torch.set_num_threads(1)  # more than one loses on networks this small, and much on a busy machine
    work = options.work
    if options.part == "export":
        if not options.to:
            parser.error("--part export needs --to FOLDER")
        export(work, options.to)
        return
    shutil.copytree(TOKENIZER, os.path.join(work, "sd", "tokenizer"), dirs_exist_ok=True)
    parts = ["vae", "clip", "unet"] if options.part == "all" else [options.part]
    for part in parts:
        if part == "vae":
            train_vae(Scenes(options.crowded, "train"), work, work, options.steps or VAE_STEPS)
        elif part == "clip":
            worlds = [Scenes(world, "train") for world in (options.iconic, options.crowded)]
            train_clip(*worlds, ClipTexts(TOKENIZER), work, work, options.steps or STEPS)
        else:
            train_diffusion(options)


if __name__ == "__main__":
    main()
