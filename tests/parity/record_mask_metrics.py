#!/usr/bin/env python3
"""Records the figures of grounded masks, referring expressions, panoptic narratives, and bootstrap intervals as numpy and pycocotools give them: writes
tests/parity/data/mask_metrics.json. Needs pycocotools and numpy. Images that count several times are repeated for real."""
import contextlib
import io
import json
from pathlib import Path

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

rng = np.random.default_rng(5)
HEIGHT, WIDTH = 40, 50


# ---- grounded masks: phrases are numbers, alike by 1 - |a - b| / 4

def rectangle():
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    y, x, h, w = rng.integers(0, 20), rng.integers(0, 25), rng.integers(4, 20), rng.integers(4, 25)
    bitmap[y:y + h, x:x + w] = 1
    return bitmap


def encode(bitmap):
    rle = masks.encode(np.asfortranarray(bitmap))
    return {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}


def grounded_image(number):
    truths = [rectangle() for _ in range(rng.integers(0, 6))]
    found = [np.roll(t, tuple(rng.integers(-3, 4, 2)), (0, 1)) for t in truths if rng.random() < .8] + [rectangle() for _ in range(rng.integers(0, 2))]
    if truths and rng.random() < .3:
        found.append(found[0] if found else truths[0])  # equal overlaps
    labels = [int(v) for v in rng.integers(0, 4, len(truths))]
    phrases = [int(v) for v in rng.integers(0, 4, len(found))]
    if number == 3:
        phrases = phrases + [1]  # a phrase without a mask
    if number == 5:
        found, phrases = [], []
    return {"id": f"image_{number}", "labels": labels, "truths": [encode(t) for t in truths], "phrases": phrases, "found": [encode(f) for f in found]}


def iou(a, b):
    both = np.logical_or(a, b).sum()
    return np.logical_and(a, b).sum() / both if both else 0.


def mean_of_pairs(found, truths):
    table, values = np.array([[iou(f, t) for t in truths] for f in found]).reshape(len(found), len(truths)), []
    while table.size and table.max() > 0:
        r, c = np.unravel_index(table.argmax(), table.shape)
        values.append(table[r, c])
        table = np.delete(np.delete(table, r, 0), c, 1)
    return float(np.mean(values)) if values else 0.


def number_found(image, found, truths):
    if len(found) != len(image["phrases"]) or len(truths) != len(image["labels"]):
        return 0
    table, count = np.array([[iou(t, f) for f in found] for t in truths]).reshape(len(truths), len(found)), 0
    while table.size:
        r, c = np.unravel_index(table.argmax(), table.shape)
        if table[r, c] < .5 or 1 - abs(image["labels"][r] - image["phrases"][c]) / 4 < .5:
            break
        count += 1
        table[r], table[:, c] = 0, 0
    return count


def grounded_figures(images, times):
    copies = [(f"{im['id']}!{c}", im) for im, n in zip(images, times) for c in range(n)]
    coco = COCO()
    coco.dataset = {"images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i, _ in copies], "categories": [{"id": 1}], "annotations": []}
    for i, im in copies:
        for rle in im["truths"]:
            coco.dataset["annotations"].append({"id": len(coco.dataset["annotations"]) + 1, "image_id": i, "category_id": 1, "segmentation": rle,
                                                "area": float(masks.area(rle)), "iscrowd": 0})
    coco.createIndex()
    run = COCOeval(coco, coco.loadRes([{"image_id": i, "category_id": 1, "score": 1., "segmentation": rle} for i, im in copies for rle in im["found"]]), "segm")
    run.evaluate(), run.accumulate(), run.summarize()
    decoded = [([masks.decode(m) for m in im["found"]], [masks.decode(m) for m in im["truths"]], im) for _, im in copies]
    phrases = sum(len(im["labels"]) for _, im in copies)
    return [float(run.stats[1]), float(np.mean([mean_of_pairs(f, t) for f, t, _ in decoded])), sum(number_found(im, f, t) for f, t, im in decoded) / phrases]


def grounded():
    images = [grounded_image(n) for n in range(12)]
    times = [[1] * 12, *[[int(n) for n in rng.poisson(1, 12)] for _ in range(3)]]
    with contextlib.redirect_stdout(io.StringIO()):
        return {"images": images, "times": times, "figures": [grounded_figures(images, t) for t in times]}


# ---- referring expressions and narratives

def referring():
    union = rng.integers(0, 3000, 60) * (rng.random(60) < .9)
    common = (union * np.round(rng.random(60), 1)).astype(int)
    images = np.sort(rng.integers(0, 20, 60))
    times = [[1] * 20, *[[int(n) for n in rng.poisson(1, 20)] for _ in range(3)]]
    figures = []
    for t in times:
        i, u = (np.repeat(v, np.array(t)[images]).astype(float) for v in (common, union))
        exact, lisa = np.where(u > 0, i / np.maximum(u, 1), 0), np.where(u > 0, i / (u + 1e-5), 1)
        figures.append([exact.mean(), i.sum() / u.sum(), *[(exact >= k).mean() for k in (.5, .7, .9)], lisa.mean(), i.sum() / (u.sum() + 1e-10)])
    return {"overlaps": [[int(v) for v in row] for row in zip(images, common, union)], "times": times, "figures": [[float(v) for v in f] for f in figures]}


def published_recall(ious):
    thresholds = np.arange(0, 1, 0.00001)
    recall = np.array([(ious >= t).mean() for t in thresholds[:-1]])
    return float((np.diff(thresholds) * recall).sum())


def narratives():
    ious = np.round(rng.random(40), 5) * (rng.random(40) < .9)
    ious[:3] = [1, 0, .5]
    images, things, plurals = np.sort(rng.integers(0, 10, 40)), rng.random(40) < .6, rng.random(40) < .3
    times = [[1] * 10, [int(n) for n in rng.poisson(1, 10)]]
    figures = []
    for t in times:
        n = np.array(t)[images]
        figures.append([[float(np.repeat(ious[s], n[s]).mean()), published_recall(np.repeat(ious[s], n[s]))]
                        for s in (things | True, things, ~things, ~plurals, plurals)])
    return {"phrases": [[int(i), float(v), int(t), int(p)] for i, v, t, p in zip(images, ious, things, plurals)], "times": times, "figures": figures}


# ---- bootstrap: Philox4x32-10 and SplitMix64's finalizer, written anew

MASK = 2 ** 64 - 1


def mix(x):
    x = (x + 0x9e3779b97f4a7c15) & MASK
    x = ((x ^ x >> 30) * 0xbf58476d1ce4e5b9) & MASK
    x = ((x ^ x >> 27) * 0x94d049bb133111eb) & MASK
    return x ^ x >> 31


def philox(key, high, low):
    c, k = [low & 0xffffffff, low >> 32, high & 0xffffffff, high >> 32], [key & 0xffffffff, key >> 32]
    for _ in range(10):
        a, b = 0xd2511f53 * c[0], 0xcd9e8d57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xffffffff, a >> 32 ^ c[3] ^ k[1], a & 0xffffffff]
        k = [(k[0] + 0x9e3779b9) & 0xffffffff, (k[1] + 0xbb67ae85) & 0xffffffff]
    return c


def times_of(seed, resample, n):
    key, drawn = mix(mix(seed) ^ 7), []
    for block in range((n + 1) // 2):
        w = philox(key, resample, block)
        drawn += [(w[0] | w[1] << 32) * n >> 64, (w[2] | w[3] << 32) * n >> 64]
    return np.bincount(drawn[:n], minlength=n)


def bootstrap():
    n, seed, resamples = 25, 3, 200
    a = rng.normal(size=n)
    b = a + rng.normal(size=n) * .1 - .05
    times = np.array([times_of(seed, r, n) for r in range(resamples)])
    values = times @ a / times.sum(1)
    difference = values - times @ b / times.sum(1)
    ends = lambda v: [float(q) for q in np.percentile(v, [2.5, 97.5])]
    return {"seed": seed, "resamples": resamples, "a": a.tolist(), "b": b.tolist(), "times": times[:3].tolist(), "interval": ends(values), "difference": ends(difference)}


out = {"grounded": grounded(), "referring": referring(), "narratives": narratives(), "bootstrap": bootstrap()}
(Path(__file__).parent / "data" / "mask_metrics.json").write_text(json.dumps(out, separators=(",", ":")))
