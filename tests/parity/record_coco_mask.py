#!/usr/bin/env python3
"""Records how pycocotools rasterises polygons: prints tests/parity/data/coco_mask.h. Needs pycocotools and numpy.

Argument: the folder refcoco_subset, whose annotations are recorded by the FNV-1a hash of their compressed masks, one a line, image after image."""
import json
import sys
from pathlib import Path

import numpy as np
from pycocotools import mask

rng = np.random.default_rng(3)
print("// Written by tests/parity/record_coco_mask.py with pycocotools.\n#pragma once\n")
print("typedef struct RecordedPolygon {\n    int height, width, num_points;\n    double points[32];\n    const char *counts;\n    int area;\n    double box[4];\n} RecordedPolygon;\n")
print("static const RecordedPolygon recorded_polygons[] = {")
for i in range(12):
    h, w = rng.integers(5, 60, 2)
    n = int(rng.integers(3, 12))
    p = (rng.random((n, 2)) * [w * 1.1, h * 1.1] - [w * .05, h * .05]).round(2)
    if i % 3 == 0: p = p.round()
    r = mask.frPyObjects([p.flatten().tolist()], int(h), int(w))[0]
    counts = r["counts"].decode().replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?")
    print(f'    {{{h}, {w}, {n}, {{{", ".join(repr(float(v)) for v in p.flatten())}}}, "{counts}", {int(mask.area(r))}, {{{", ".join(str(float(v)) for v in mask.toBbox(r))}}}}},')
print("};")

print("\ntypedef struct RecordedInstances {\n    const char *name;\n    int count;\n    uint64_t hash;\n} RecordedInstances;\n")
print("static const RecordedInstances recorded_instances[] = {")
for name in ("refcoco", "refcoco+", "refcocog"):
    instances = json.loads((Path(sys.argv[1]) / name / "instances.json").read_text())
    count, value = 0, 0xcbf29ce484222325
    for image in instances["images"]:
        for annotation in instances["annotations"]:
            if annotation["image_id"] != image["id"]: continue
            runs = mask.frPyObjects(annotation["segmentation"], image["height"], image["width"])
            if isinstance(runs, list): runs = mask.merge(runs)
            for byte in runs["counts"] + b"\n": value = (value ^ byte) * 0x100000001b3 % 2 ** 64
            count += 1
    print(f'    {{"refcoco_subset/{name}/instances.json", {count}, 0x{value:016x}u}},')
print("};")
