#!/usr/bin/env python3
"""What a linear map reads from the frozen towers' features at one cell of the grid of visual tokens, learned on
training scenes and counted on test scenes: one table, as markdown, and all figures with their intervals as JSON.

    probe_towers.py WORLD CHECKPOINTS [--json FILE] [--train 1500] [--test 600] [--quick]

WORLD is make_tiny_world's folder, CHECKPOINTS has clip and sd. --quick leaves out all layers, blocks and timesteps but
those that DiffLMM takes. The probes:

shape, colour, size, material   of an object, at the cell that shows most of it
object     whether most of a cell is an object or ground
edge       whether two things share a cell, each with a tenth of it at least
instance   whether two cells show the same object or one and its equal (large objects of one scene that agree in
           shape, colour, size and material; as many near and far pairs of either kind)
place      the object's centre within its cell: share of the variance (R^2)
in image   which shapes the scene has, from the mean over all cells (balanced over present and absent)

Beside them shape for small objects, those hidden by a fifth or more, those whose shape occurs again in the scene, and
pairs of colour and shape that training scenes do not have. Chance is what the most frequent answer gets."""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch

from cells import CELL, GRID, coverage
from features import Towers, captions_of
from probes import classify, explain
from scenes import PROPERTIES, SHAPE, SHAPES, Scenes
from texts import ClipTexts

TIMESTEPS = (0, 100, 300, 700)
CELLS_PER_SCENE = 16
EDGE_SHARE, HALF = 0.1, 0.5
HIDDEN = 0.8  # visible to less than this
PAIR_SHARE = 0.3  # of a cell that an object takes, for a pair of cells
PAIRS_PER_DISTANCE = 4


class Probing:
    """The questions about one split of a world: which cells, with which answers."""

    def __init__(self, folder, split, count):
        self.scenes = Scenes(folder, split, count)
        share = coverage(folder, split, self.scenes)
        self.share = share.reshape(*share.shape[:2], GRID * GRID)
        rng = np.random.default_rng(0)
        self.image, self.k = np.nonzero(self.scenes.objects[..., 0] >= 0)
        self.cell = self.share[self.image, self.k].argmax(1)
        self.properties = self.scenes.objects[self.image, self.k]
        centre = self.scenes.centres[self.image, self.k] / CELL
        at = np.minimum(centre.astype(int), GRID - 1)
        self.centre_cell = at[:, 1] * GRID + at[:, 0]
        self.centre = centre - at - 0.5
        cells = [np.sort(rng.choice(GRID * GRID, CELLS_PER_SCENE, replace=False)) for _ in range(len(self.scenes))]
        self.any_image = np.repeat(np.arange(len(self.scenes)), CELLS_PER_SCENE)
        self.any_cell = np.concatenate(cells)
        found = self.share[self.any_image, :, self.any_cell]
        parts = np.concatenate([found, 1 - found.sum(1, keepdims=True)], 1)
        self.is_object = (parts[:, -1] < HALF).astype(int)
        self.is_edge = ((parts >= EDGE_SHARE).sum(1) > 1).astype(int)
        self.pairs = self.pairs_of_equals(rng)

    def pairs_of_equals(self, rng):
        """Rows (image, cell, other cell, same?), as many of either answer at each distance."""
        found = {}
        for i, row in enumerate(self.scenes.objects):
            present = [k for k in np.flatnonzero(row[:, 0] == 1)
                       if sum((row[k] == other).all() for other in row) > 1]
            cells = [(k, c) for k in present for c in np.flatnonzero(self.share[i, k] >= PAIR_SHARE)]
            for a in range(len(cells)):
                for b in range(a):
                    (k, c), (m, d) = cells[a], cells[b]
                    if c != d and (row[k] == row[m]).all():
                        distance = ((c // GRID - d // GRID) ** 2 + (c % GRID - d % GRID) ** 2, int(k == m))
                        found.setdefault(distance, []).append((i, c, d, int(k == m)))
        chosen = []
        for distance in {d for d, _ in found}:
            both = [found.get((distance, same), []) for same in (0, 1)]
            count = min(map(len, both))
            for pairs in both:
                chosen += [pairs[j] for j in rng.permutation(len(pairs))[:count]]
        return np.array(chosen).reshape(-1, 4)

    def subsets(self):
        shapes = self.scenes.objects[..., SHAPE]
        same = (shapes[self.image] == self.properties[:, SHAPE : SHAPE + 1]).sum(1)
        return dict(small=self.properties[:, 0] == 0, hidden=self.scenes.visible[self.image, self.k] < HIDDEN,
                    repeated=same > 1)


def unseen_pairs(train, test):
    """Objects whose pair of colour and shape no training scene has."""
    seen = {tuple(p) for p in train.properties[:, [1, SHAPE]]}
    return np.array([tuple(p) not in seen for p in test.properties[:, [1, SHAPE]]])


def pair_features(tokens, pairs):
    a, b = tokens[pairs[:, 0], pairs[:, 1]], tokens[pairs[:, 0], pairs[:, 2]]
    return torch.cat([(a - b).abs(), a * b], 1)


def presence(scenes):
    return np.stack([(scenes.objects[..., SHAPE] == s).any(1) for s in range(len(SHAPES))], 1).astype(int)


def probe_feature(train, test, x, xt):
    """x, xt: tokens [N, 64, C] of the training and test scenes. Every probe's figures, by name."""
    result = {}
    own, own_test = x[train.image, train.cell], xt[test.image, test.cell]
    for column, name in enumerate(PROPERTIES):
        answer = classify(own, train.properties[:, column], own_test, test.properties[:, column], test.image)
        result[name] = answer.figures()
        if name == "shape":
            subsets = dict(test.subsets(), unseen=unseen_pairs(train, test))
            for subset, member in subsets.items():
                result[f"shape_{subset}"] = answer.figures(member)
    near, near_test = x[train.any_image, train.any_cell], xt[test.any_image, test.any_cell]
    for name in ("is_object", "is_edge"):
        answer = classify(near, getattr(train, name), near_test, getattr(test, name), test.any_image)
        result[name.removeprefix("is_")] = answer.figures()
    result["instance"] = classify(pair_features(x, train.pairs), train.pairs[:, 3], pair_features(xt, test.pairs),
                                  test.pairs[:, 3], test.pairs[:, 0], penalty=1e-2).figures()
    result["place"] = explain(x[train.image, train.centre_cell], train.centre, xt[test.image, test.centre_cell],
                              test.centre, test.image)
    result["in_image"] = presence_figures(x, presence(train.scenes), xt, presence(test.scenes))
    return result


def presence_figures(x, y, xt, yt):
    """Mean over the shapes of the accuracy balanced over present and absent."""
    balanced = []
    for shape in range(y.shape[1]):
        right = classify(x.mean(1), y[:, shape], xt.mean(1), yt[:, shape], np.arange(len(yt)), balanced=True).right
        balanced.append([right[yt[:, shape] == answer].mean() for answer in (0, 1)])
    return dict(value=float(np.mean(balanced)), chance=0.5, count=len(yt))


def features_of(towers, sets, quick, prompts):
    """Yields name and the tokens of training and test scenes."""
    layers = [towers.clip_layers(s.scenes) for s in sets]
    last = len(layers[0]) - 1
    for layer in [last - 1] if quick else range(last + 1):
        yield f"CLIP layer {layer} of {last}" + (" (taken)" if layer == last - 1 else ""), [x[layer] for x in layers]
    clip = [x[last - 1] for x in layers]
    latents = [towers.latents(s.scenes) for s in sets]
    yield "VAE latents of the cell", [unfold(x) for x in latents]
    if not towers.unet:
        return
    for prompt in prompts:
        if prompt == "empty":
            pair = [towers.contexts([""])] * 2
        else:
            pair = [towers.contexts(captions_of(s.scenes)) for s in sets]
        for timestep in (100,) if quick else TIMESTEPS:
            blocks = [towers.unet_blocks(z, timestep, c) for z, c in zip(latents, pair)]
            for block in range(len(blocks[0])):
                tokens = [b[block] for b in blocks]
                yield f"U-Net block {block}, t {timestep}, {prompt}", tokens
                if prompt == "empty" and timestep == 100 and block in (1, 2):
                    yield f"CLIP and U-Net block {block}, t {timestep}", [
                        torch.cat([c, u], -1) for c, u in zip(clip, tokens)]


def caption_influence(towers, scenes):
    """What captions change of each up block against the empty prompt, in parts of its standard deviation: a line."""
    latents, contexts = towers.latents(scenes), towers.contexts(captions_of(scenes))
    lines = []
    for timestep in TIMESTEPS[1:]:
        told, untold = (towers.unet_blocks(latents, timestep, c) for c in (contexts, towers.contexts([""])))
        shares = [float((a - b).std() / b.std()) for a, b in zip(told, untold)]
        lines.append(f"t {timestep} " + ", ".join(f"{share:.2f}" for share in shares))
    return "Captions change blocks 0 to 3 by: " + "; ".join(lines) + " of their standard deviation."


def unfold(latents):
    """[N, 4, h, w] as all latents of each cell: [N, 64, 4 h w / 64]."""
    side = latents.shape[-1] // GRID
    return torch.nn.functional.unfold(latents, side, stride=side).transpose(1, 2)


COLUMNS = ["shape", "shape_small", "shape_hidden", "shape_repeated", "shape_unseen", "color", "size", "material",
           "object", "edge", "instance", "place", "in_image"]


def written(value):
    return "-" if np.isnan(value) else f"{value:.2f}"


def table(results):
    """Markdown; under chance what the most frequent answer gets."""
    first = next(iter(results.values()))
    lines = ["| feature | " + " | ".join(c.replace("_", " ").replace("color", "colour") for c in COLUMNS) + " |",
             "| --- |" + " --- |" * len(COLUMNS),
             "| chance | " + " | ".join(written(first[c]["chance"]) for c in COLUMNS) + " |"]
    for name, result in results.items():
        lines.append(f"| {name} | " + " | ".join(written(result[c]["value"]) for c in COLUMNS) + " |")
    counts = ", ".join(f"{c.replace('_', ' ')} {first[c]['count']}" for c in COLUMNS)
    return "\n".join(lines) + f"\n\nCounted on test scenes: {counts}."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("checkpoints")
    parser.add_argument("--json", help="file for all figures")
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--test", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", nargs="*", choices=["empty", "caption"], help="what the U-Net is told (both)")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not os.path.exists(os.path.join(options.checkpoints, "clip", "config.json")):
        parser.error(f"{options.checkpoints}/clip/config.json is missing; expected a folder with clip and sd")
    begin = time.time()
    sets = Probing(options.world, "train", options.train), Probing(options.world, "test", options.test)
    towers = Towers(options.checkpoints, ClipTexts(os.path.join(options.checkpoints, "sd", "tokenizer")))
    prompts = options.prompts or (["empty"] if options.quick else ["empty", "caption"])
    results = {}
    for name, (x, xt) in features_of(towers, sets, options.quick, prompts):
        results[name] = probe_feature(*sets, x.float(), xt.float())
        print(f"{name}: {time.time() - begin:.0f} s", file=sys.stderr, flush=True)
    print(table(results))
    if towers.unet and "caption" in prompts:
        print("\n" + caption_influence(towers, sets[1].scenes))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
