#!/usr/bin/env python3
"""Records pickles as detectors leave them, with numpy's scalars and arrays: writes tests/parity/data/regions/. Needs numpy and pycocotools."""
import json
import pickle
from pathlib import Path

import numpy as np
from pycocotools import mask

OUT = Path(__file__).parent / "data" / "regions"
OUT.mkdir(exist_ok=True)
HEIGHT, WIDTH = 12, 16


def rectangle(x0, y0, x1, y1):
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    bitmap[y0:y1, x0:x1] = 1
    return mask.encode(bitmap)


# Scores ascend and descend and are equal; an image without regions; boxes that nobody looks at.
boxes = np.arange(10, dtype=np.float32).reshape(2, 5)
masks = [rectangle(0, 0, 8, 6), rectangle(4, 3, 16, 12), rectangle(4, 3, 6, 5)]
numbers = {
    "float32": np.array([0.25, 0.75, 0.75], np.float32),
    "float64": np.array([0.25, 0.75, 0.75]),
    "float16": np.array([0.25, 0.75, 0.75], np.float16),
    "big_endian": np.array([0.25, 0.75, 0.75], ">f8"),
    "scalars": [np.float32(0.25), np.float64(0.75), 0.75],
    "integers": np.array([-3, 2, 2], np.int16),
}
for name, scores in numbers.items():
    for protocol in range(6) if name in ("float32", "scalars") else [4]:
        entries = [(boxes, masks, scores), [boxes, [], np.zeros(0, np.float32)]]
        data = pickle.dumps(entries, protocol)
        (OUT / f"{name}_{protocol}.pkl").write_bytes(data)
        if protocol == 0:  # as numpy 1 names its modules
            (OUT / f"{name}_numpy1.pkl").write_bytes(data.replace(b"numpy._core", b"numpy.core"))
(OUT / "images.json").write_text(json.dumps(
    {"images": [{"id": 7, "height": HEIGHT, "width": WIDTH}, {"id": "b", "height": 3, "width": 4}]}))
(OUT / "results.json").write_text(json.dumps(
    [{"image_id": 7, "category_id": 1, "score": float(s),
      "segmentation": {"size": m["size"], "counts": m["counts"].decode()}} for m, s in zip(masks, numbers["float64"])]))
