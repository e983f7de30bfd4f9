#!/usr/bin/env python3
"""COCO's figures by pycocotools and by bench_coco_evaluation in turn, on the same files: 36,000 instances in 5,000 images, as many as val2017 has.

  python tests/bench/bench_coco_evaluation.py [build/tests/bench/bench_coco_evaluation] [ROUNDS]

Prints seconds of processor time, best of the rounds, and the largest difference of a figure. Needs numpy and pycocotools."""
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

IMAGES, INSTANCES, DETECTIONS, CATEGORIES, HEIGHT, WIDTH = 5000, 36000, 45000, 80, 480, 640


def polygon(rng, x, y, radius, points=40):
    angles = np.arange(points) * 2 * np.pi / points
    radii = radius * rng.uniform(.8, 1.2, points)
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1).clip(0, [WIDTH, HEIGHT]).ravel()


def encode(shape):
    rle = masks.frPyObjects([shape.tolist()], HEIGHT, WIDTH)[0]
    return {"size": rle["size"], "counts": rle["counts"].decode()}, rle


def make_files(folder):
    rng = np.random.default_rng(0)
    annotations, results = [], []
    for n in range(INSTANCES):
        image, category, x, y = int(rng.integers(IMAGES)), int(rng.integers(CATEGORIES)), rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
        radius = float(rng.choice([12, 35, 110]))
        rle, raw = encode(polygon(rng, x, y, radius))
        annotations.append({"id": n + 1, "image_id": image, "category_id": category + 1, "segmentation": rle, "area": float(masks.area(raw)),
                            "bbox": masks.toBbox(raw).tolist(), "iscrowd": int(n % 100 == 0)})
        for _ in range(rng.poisson(DETECTIONS / INSTANCES)):
            shape = polygon(rng, x + rng.normal() * radius / 6, y + rng.normal() * radius / 6, radius * rng.uniform(.8, 1.2))
            found, raw = encode(shape)
            results.append({"image_id": image, "category_id": int(category if rng.random() < .8 else rng.integers(CATEGORIES)) + 1, "segmentation": found,
                            "score": round(float(rng.random()), 3), "bbox": masks.toBbox(raw).tolist()})
    images = [{"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in rng.permutation(IMAGES).tolist()]
    instances = {"images": images, "annotations": annotations, "categories": [{"id": k + 1, "name": str(k)} for k in range(CATEGORIES)]}
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "results.json").write_text(json.dumps(results))
    print(f"{len(annotations)} instances, {len(results)} detections, {IMAGES} images")


def with_pycocotools(folder, overlap):
    results = json.loads((folder / "results.json").read_text())
    if overlap == "segm":  # their boxes would be taken for the areas
        for r in results:
            del r["bbox"]
    (folder / "theirs.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        begin = time.process_time()
        coco = COCO(str(folder / "instances.json"))
        run = COCOeval(coco, coco.loadRes(str(folder / "theirs.json")), overlap)
        read = time.process_time()
        run.evaluate(), run.accumulate(), run.summarize()
        return {"read": read - begin, "evaluate": time.process_time() - read, "values": run.stats}


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "build/tests/bench/bench_coco_evaluation"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        for overlap in ("segm", "bbox"):
            theirs, ours = [], []
            for _ in range(rounds):
                theirs.append(with_pycocotools(folder, overlap))
                ours.append(json.loads(subprocess.check_output([program, folder / "instances.json", folder / "results.json", overlap])))
            evaluate = min(o["match"] + o["figures"] for o in ours)
            print(f"{overlap}: reading {min(o['read'] for o in ours):.2f} s, pycocotools {min(t['read'] for t in theirs):.2f} s; evaluating {evaluate:.3f} s, "
                  f"pycocotools {min(t['evaluate'] for t in theirs):.2f} s, {min(t['evaluate'] for t in theirs) / evaluate:.0f} times; "
                  f"a resample {min(o['resample'] for o in ours) * 1e3:.1f} ms; largest difference {np.abs(theirs[0]['values'] - ours[0]['values']).max():.1e}")


main()
