"""What lies in each cell of the grid of visual tokens, from the masks of a world's scenes."""
import json
import os

import numpy as np

from scenes import IMAGE_SIZE, MOST_OBJECTS

GRID = 8
CELL = IMAGE_SIZE // GRID


def decode_runs(counts):
    """COCO's compressed run lengths: [128, 128] bool."""
    runs, at = [], 0
    while at < len(counts):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(counts[at]) - 48
            value |= (bits & 31) << shift
            more, shift, at = bits & 32, shift + 5, at + 1
            if not more and bits & 16:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    flags = np.arange(len(runs)) % 2 == 1
    return np.repeat(flags, runs).reshape(IMAGE_SIZE, IMAGE_SIZE).T


def coverage(folder, split, scenes):
    """[N, 9, 8, 8]: the share of each cell's pixels that show object k."""
    with open(os.path.join(folder, split, "instances.json")) as file:
        annotations = json.load(file)["annotations"]
    place = {int(scenes.ids[i, k]): (i, k) for i, k in zip(*np.nonzero(scenes.objects[..., 0] >= 0))}
    share = np.zeros((len(scenes), MOST_OBJECTS, GRID, GRID), np.float32)
    for annotation in annotations:
        if annotation["id"] not in place:
            continue
        mask = decode_runs(annotation["segmentation"]["counts"])
        share[place[annotation["id"]]] = mask.reshape(GRID, CELL, GRID, CELL).mean((1, 3))
    return share
