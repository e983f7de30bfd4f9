#!/usr/bin/env python3
"""Records how pycocotools rasterises polygons: prints tests/parity/data/coco_mask.h. Needs pycocotools and numpy."""
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
