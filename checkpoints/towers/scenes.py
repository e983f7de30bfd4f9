"""Scenes as the networks see them: pictures, and captions as people write them."""
import json
import os

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

SHAPES = ["square", "disc", "triangle", "ring", "cross", "star", "bar"]
COLORS = ["red", "green", "blue", "yellow", "purple", "orange", "white", "black"]
SIZES = ["small", "large"]
MATERIALS = ["", "striped", "dotted"]
GROUNDS = ["sand", "grass", "stone", "water", "wood"]
PROPERTIES = dict(size=SIZES, color=COLORS, material=MATERIALS, shape=SHAPES)  # in a phrase's order
SHAPE = 3
IMAGE_SIZE, CLIP_SIZE = 128, 112
MOST_OBJECTS, MOST_NAMED = 9, 5
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
# How often a caption names an object's size, colour, material and shape, and the ground; how often it names one to
# five objects. People name a few things, and what they are before what they look like.
NAMED = (0.1, 0.35, 0.15, 1.0)
PLAIN = (0, 0, 0, 1.0)
GROUND_NAMED = 0.25
COUNTS = (0.35, 0.25, 0.2, 0.1, 0.1)


class Scenes:
    """pixels [N, 128, 128, 3] uint8; objects [N, 9, 4], indices of size, colour, material and shape, -1 for none;
    centres [N, 9, 2] x and y in pixels; area and visible share [N, 9]; grounds [N]."""

    def __init__(self, folder, split, limit=None, pixels=True):
        root = os.path.join(folder, split)
        if not os.path.exists(os.path.join(root, "scenes.json")):
            raise SystemExit(f"{root}/scenes.json is missing; make_tiny_world draws worlds, see train_crowded.py --help")
        with open(os.path.join(root, "scenes.json")) as file:
            scenes = json.load(file)[:limit]
        count = len(scenes)
        self.grounds = [scene["ground"] for scene in scenes]
        self.objects = np.full((count, MOST_OBJECTS, 4), -1)
        self.centres = np.zeros((count, MOST_OBJECTS, 2))
        self.area = np.zeros((count, MOST_OBJECTS), int)
        self.visible = np.zeros((count, MOST_OBJECTS))
        self.ids = np.zeros((count, MOST_OBJECTS), int)
        self.pixels = np.empty((count if pixels else 0, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        for i, scene in enumerate(scenes):
            if pixels:
                with Image.open(os.path.join(root, "images", scene["file_name"])) as image:
                    self.pixels[i] = np.asarray(image)
            for k, o in enumerate(scene["objects"]):
                self.objects[i, k] = [names.index(o[name]) for name, names in PROPERTIES.items()]
                self.centres[i, k] = o["x"], o["y"]
                self.area[i, k] = o["area"]
                self.visible[i, k] = o.get("visible", 1.0)
                self.ids[i, k] = o["id"]

    def __len__(self):
        return len(self.objects)

    def batch(self, index):
        """[B, 3, 128, 128] in [-1, 1]."""
        return torch.from_numpy(self.pixels[index]).permute(0, 3, 1, 2).float() / 127.5 - 1

    def caption(self, index, rng, plain=False):
        """Names one to five of the largest objects, each by its shape and some of its properties, or `plain`."""
        found = np.flatnonzero(self.objects[index, :, 0] >= 0)
        largest = found[np.argsort(-self.area[index, found], kind="stable")][:MOST_NAMED]
        named = rng.permutation(largest)[: 1 + rng.choice(MOST_NAMED, p=COUNTS)]
        parts = []
        for k in named:
            kept = rng.random(4) < (PLAIN if plain else NAMED)
            words = [names[v] for names, v, keep in zip(PROPERTIES.values(), self.objects[index, k], kept) if keep]
            parts.append("a " + " ".join(word for word in words if word))
        text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
        return text + (f" on the {self.grounds[index]}." if not plain and rng.random() < GROUND_NAMED else ".")


def to_clip(pixels):
    """From [-1, 1] at 128 pixels to CLIP's normalisation at 112, as DiffLMM does it."""
    small = F.interpolate(pixels, size=(CLIP_SIZE, CLIP_SIZE), mode="bilinear", align_corners=False)
    return (small * 0.5 + 0.5 - CLIP_MEAN.to(small.device)) / CLIP_STD.to(small.device)


def in_batches(count, size=100):
    return (np.arange(i, min(i + size, count)) for i in range(0, count, size))
