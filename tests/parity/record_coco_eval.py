#!/usr/bin/env python3
"""Records COCO's figures as pycocotools computes them: writes tests/parity/data/coco_eval.json. Needs pycocotools and numpy.

Three parts: random sets with crowds, areas that are not the masks', equal scores and more than 100 detections; each of them with images repeated (which the
C code is told as a number per image); and the figures of published results against a truth made of them (argument: the folder cocoapi_results)."""
import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HEIGHT, WIDTH, CATEGORIES = 130, 150, 3
rng = np.random.default_rng(11)


def shape(scale):
    """A rectangle or an ellipse somewhere in the image."""
    h, w = rng.integers(3, scale, 2)
    y, x = rng.integers(0, HEIGHT - 3), rng.integers(0, WIDTH - 3)
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    if rng.random() < .5:
        return (ys >= y) & (ys < y + h) & (xs >= x) & (xs < x + w)
    return ((ys - y) / h) ** 2 + ((xs - x) / w) ** 2 <= 1


def encode(bitmap):
    rle = masks.encode(np.asfortranarray(bitmap.astype(np.uint8)))
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode()}


def random_set(images, equal_scores):
    truths, detections = [], []
    for image in range(images):
        for _ in range(rng.integers(0, 7)):
            bitmap = shape(int(rng.choice([12, 50, 130])))
            rle, category = encode(bitmap), int(rng.integers(0, CATEGORIES))
            area = float(masks.area(rle)) * float(rng.choice([1, 1, .5]))
            truths.append({"image": image, "category": category, "mask": rle, "area": area, "crowd": int(rng.random() < .15),
                           "box": [float(v) + (0.25 if rng.random() < .3 else 0) for v in masks.toBbox(rle)]})
            for _ in range(rng.integers(0, 3)):  # found, more or less
                moved = np.roll(bitmap, (int(rng.integers(-4, 5)), int(rng.integers(-4, 5))), (0, 1))
                add_detection(detections, image, category if rng.random() < .9 else int(rng.integers(0, CATEGORIES)), moved, equal_scores)
        for _ in range(rng.integers(0, 3)):
            add_detection(detections, image, int(rng.integers(0, CATEGORIES)), shape(60), equal_scores)
    if images > 8:  # more than 100 detections of one category
        for _ in range(115):
            add_detection(detections, 4, 1, shape(12), equal_scores)
    return truths, detections


def add_detection(detections, image, category, bitmap, equal_scores):
    rle = encode(bitmap)
    score = 1.0 if equal_scores else float(np.float32(rng.integers(1, 25) / 32))
    detections.append({"image": image, "category": category, "mask": rle, "score": score, "box": [float(v) for v in masks.toBbox(rle)]})


def evaluate(truths, detections, images, categories, overlap, times=None):
    """All figures, then those of every category alone. Copies of an image are images with ids next to each other."""
    times = [1] * images if times is None else times
    first = np.concatenate([[0], np.cumsum(times)])
    copies = [(item, int(first[item["image"]]) + c + 1) for item in truths for c in range(times[item["image"]])]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i + 1, "height": HEIGHT, "width": WIDTH} for i in range(int(first[-1]))],
        "categories": [{"id": k + 1} for k in range(categories)],
        "annotations": [{"id": n + 1, "image_id": i, "category_id": t["category"] + 1, "segmentation": t["mask"], "area": t["area"], "iscrowd": t["crowd"],
                         "bbox": t["box"]} for n, (t, i) in enumerate(copies)]}
    coco.createIndex()
    results = [{"image_id": int(first[d["image"]]) + c + 1, "category_id": d["category"] + 1, "score": d["score"],
                **({"segmentation": d["mask"]} if overlap == "segm" else {"bbox": d["box"]})} for d in detections for c in range(times[d["image"]])]
    found = coco.loadRes(results)
    all_figures = []
    for category in [None, *range(categories)]:
        run = COCOeval(coco, found, overlap)
        if category is not None:
            run.params.catIds = [category + 1]
        run.evaluate(), run.accumulate(), run.summarize()
        all_figures.append([float(v) for v in run.stats])
    return all_figures


def with_figures(truths, detections, images, categories):
    case = {"images": images, "categories": categories, "truths": truths, "detections": detections}
    case["times"] = [[int(n) for n in rng.poisson(1, images)] for _ in range(3)]
    for overlap in ("segm", "bbox"):
        case[overlap] = evaluate(truths, detections, images, categories, overlap)
        case[overlap + "_times"] = [evaluate(truths, detections, images, categories, overlap, t) for t in case["times"]]
    return case


def truth_of_results(results, overlap):
    """Every second result, united with the next one if that is of the same image and category; every seventh is a crowd."""
    truths = []
    for i in range(0, len(results) - 1, 2):
        a, b = results[i], results[i + 1]
        same = a["image"] == b["image"] and a["category"] == b["category"]
        rle = masks.merge([a["mask"], b["mask"]]) if same and overlap == "segm" else a.get("mask")
        if overlap == "segm":
            area = float(masks.area(rle))
        else:
            area = a["box"][2] * a["box"][3]
        truths.append({"image": a["image"], "category": a["category"], "mask": rle, "area": area, "crowd": int(i % 7 == 0),
                       "box": [a["box"][0], a["box"][1], a["box"][2] * .8, a["box"][3]] if "box" in a else None})
    return truths


def of_published(folder, overlap, name):
    results = json.loads((folder / name).read_text())
    images = {id: i for i, id in enumerate(sorted({r["image_id"] for r in results}))}
    categories = {id: i for i, id in enumerate(sorted({r["category_id"] for r in results}))}
    detections = [{"image": images[r["image_id"]], "category": categories[r["category_id"]], "score": r["score"], "mask": r.get("segmentation"),
                   "box": r.get("bbox")} for r in results]
    for d in detections:
        if d["box"] is None:
            del d["box"]
    truths = truth_of_results(detections, overlap)
    for t in truths:
        if t["box"] is None:
            t["box"] = [float(v) for v in masks.toBbox(t["mask"])]
    return evaluate(truths, detections, len(images), len(categories), overlap)[0]


def main():
    out = {}
    with contextlib.redirect_stdout(io.StringIO()):
        out["sets"] = [with_figures(*random_set(images, equal), images, CATEGORIES) for images, equal in [(10, False), (6, True), (7, False)]]
        out["sets"].append(with_figures([], random_set(3, False)[1], 3, CATEGORIES))
        if len(sys.argv) > 1:
            folder = Path(sys.argv[1])
            out["published"] = {"segm": of_published(folder, "segm", "instances_val2014_fakesegm100_results.json"),
                                "bbox": of_published(folder, "bbox", "instances_val2014_fakebbox100_results.json")}
    (Path(__file__).parent / "data" / "coco_eval.json").write_text(json.dumps(out, separators=(",", ":")))


main()
