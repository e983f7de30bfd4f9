#!/usr/bin/env python3
"""Scores what `difflmm eval` predicted a second time, with the published scorers, and compares every figure with its results.json.

    python tests/parity/check_predictions.py FOLDER [FOLDER ...] [--root DIR] [--bert bert-base-uncased]

FOLDER is an eval.output_dir with config.yaml, results.json, items.jsonl and, of the tasks that publish some, predictions/. Annotation files are those of its
config.yaml, relative to --root (the folder that the evaluation ran in; default: here). Reads annotations by itself; masks and average precision are
pycocotools', caption figures pycocoevalcap's (which runs Java). Exits with 1 if a figure differs by more than 1e-6, is missing, or is unknown here.
Needs pycocotools, pycocoevalcap, numpy, Pillow and PyYAML; --bert also torch and transformers.
"""
import argparse
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as masks
from published_scorers import (bert_alike, decode, detection_figures, gqa_figures, gqa_prediction, iou, mean,
                               mean_of_pairs, number_found, point_figures, point_of, polygons_united, pope_figures,
                               published_sum, quietly, text_figures, words_alike)

TOLERANCE = 1e-6
# of results.json, what is no figure of the predictions
NO_FIGURES = {"seconds", "peak_memory_bytes"}


class Evaluation:
    """An evaluation's folder and the annotation files that its configuration names."""

    def __init__(self, folder, root, bert):
        self.folder, self.root, self.bert = Path(folder), Path(root), bert
        self.options = yaml.safe_load((self.folder / "config.yaml").read_text())["eval"]
        self.results = json.loads((self.folder / "results.json").read_text())
        self.items = [json.loads(line) for line in (self.folder / "items.jsonl").read_text().splitlines()]

    def path(self, key):
        return self.root / self.options[key]

    def read(self, key):
        return json.loads(self.path(key).read_text())

    def predictions(self, name):
        return json.loads((self.folder / "predictions" / name).read_text())

    def first(self, images):
        """Those of eval.samples."""
        return images if self.options["samples"] < 0 else images[:self.options["samples"]]

    def expect_items(self, ids):
        found = [item["id"] for item in self.items]
        if found != ids:
            sys.exit(f"{self.folder}: items.jsonl has {len(found)} items, {len(ids)} were expected; they differ: {sorted(set(found) ^ set(ids))[:5]}")


# ---- captions

def score_caption(evaluation):
    dataset, references = evaluation.read("annotations"), {}
    for annotation in dataset["annotations"]:
        references.setdefault(str(annotation["image_id"]), []).append(annotation["caption"])
    ids = evaluation.first([str(image["id"]) for image in dataset["images"] if str(image["id"]) in references])
    evaluation.expect_items(ids)
    found = {str(p["image_id"]): p["caption"] for p in evaluation.predictions("captions_results.json")}
    return text_figures({i: references[i] for i in ids}, {i: found[i] for i in ids}, "meteor" in evaluation.results) | {"images": len(ids)}


# ---- grounded conversations

def score_gcg(evaluation):
    captions, truths = {}, {}
    for annotation in evaluation.read("annotations")["annotations"]:
        captions.setdefault(annotation["image_id"], []).append(annotation)
    for annotation in evaluation.read("masks")["annotations"]:
        truths.setdefault(annotation["image_id"], []).append(annotation["segmentation"])
    ids = evaluation.first(list(captions))
    evaluation.expect_items(ids)
    found = {i: evaluation.predictions(f"{i}.json") for i in ids}
    figures = text_figures({i: [c["caption"] for c in captions[i]] for i in ids}, {i: found[i]["caption"] for i in ids}, "meteor" in evaluation.results)
    dataset = {"images": [{"id": i, "height": 0, "width": 0} for i in ids], "categories": [{"id": 1}], "annotations": []}
    for i in ids:
        for rle in truths.get(i, []):
            dataset["annotations"].append({"id": len(dataset["annotations"]) + 1, "image_id": i, "category_id": 1, "segmentation": rle, "iscrowd": 0,
                                           "area": float(masks.area(rle))})
    detections = [{"image_id": i, "category_id": 1, "score": 1.0, "segmentation": rle} for i in sorted(ids) for rle in found[i]["pred_masks"]]
    alike, name = (bert_alike(evaluation.bert), "mask_recall") if evaluation.options["bert"] else (words_alike, "mask_recall_by_words")
    pairs, hits, phrases, unequal = [], 0, 0, 0
    for i in ids:
        predicted, true = [decode(m) for m in found[i]["pred_masks"]], [decode(m) for m in truths.get(i, [])]
        labels = captions[i][0]["labels"]
        pairs.append(mean_of_pairs(predicted, true))
        hits += number_found(predicted, found[i]["phrases"], true, labels, alike)
        phrases += len(labels)
        unequal += len(true) != len(labels) or len(predicted) != len(found[i]["phrases"])
    return figures | {"ap50": quietly(detection_figures, dataset, detections, sorted(ids))[1], "miou": mean(pairs), name: hits / phrases, "images": len(ids),
                      "phrases": sum(len(found[i]["phrases"]) for i in ids), "images_with_unequal_counts": unequal}


# ---- instances and points

def category_masks(dataset, image, crowds):
    """Of one image: the union of every category's masks, by name."""
    names, united = {c["id"]: c["name"] for c in dataset["categories"]}, {}
    for annotation in dataset["annotations"]:
        if annotation["image_id"] == image["id"] and (crowds or not annotation.get("iscrowd")):
            mask = polygons_united(annotation, image["height"], image["width"])
            name = names[annotation["category_id"]]
            united[name] = united[name] | mask if name in united else mask
    return united


def score_instances(evaluation):
    dataset = evaluation.read("annotations")
    annotated = {a["image_id"] for a in dataset["annotations"]}
    images = evaluation.first(sorted((i for i in dataset["images"] if i["id"] in annotated), key=lambda i: i["id"]))
    evaluation.expect_items([str(image["id"]) for image in images])
    found, points, of_detections = evaluation.predictions("instances_results.json"), [], []
    for image, item in zip(images, evaluation.items):
        united = category_masks(dataset, image, True)
        points += [(point_of(p), united[p["category"]]) for p in item["phrases"]]
        of_detections += [(point_of(p), united[p["category"]]) for p in item["phrases"] for _ in p["segments"]]
    stats = quietly(detection_figures, dataset, found, [image["id"] for image in images])
    by_phrase = point_figures(points)
    return {"ap": stats[0], "ap50": stats[1], "ar": stats[8], **by_phrase, "point_accuracy_by_phrase": by_phrase["point_accuracy"],
            "point_accuracy": point_figures(of_detections)["point_accuracy"], "images": len(images), "phrases": len(points), "detections": len(found)}


def score_points(evaluation):
    dataset = evaluation.read("annotations")
    images = evaluation.first(dataset["images"])
    evaluation.expect_items([str(image["id"]) for image in images])
    points, ious, nouns = [], [], 0
    for image, item in zip(images, evaluation.items):
        united = category_masks(dataset, image, False)
        nouns += len(item["phrases"])
        for phrase in item["phrases"]:
            if phrase["category"] in united:
                points.append((point_of(phrase), united[phrase["category"]]))
                ious.append(iou(decode(phrase["mask"]), points[-1][1]) if phrase["mask"] else 0.0)
    figures = point_figures(points)
    hits = sum(truth[row, column] for (row, column), truth in points)
    return figures | {"point_accuracy_of_all_nouns": hits / nouns if nouns else None, "noun_precision": len(points) / nouns if nouns else None,
                      "mean_iou": mean(ious), "images": len(images), "nouns": nouns, "present": len(points)}


# ---- referring expressions

def score_res(evaluation):
    with open(evaluation.path("annotations"), "rb") as file:
        split = evaluation.options["split"] or "val"
        references = [r for r in pickle.load(file) if r["split"] == split]
    dataset = json.loads(evaluation.path("annotations").with_name("instances.json").read_text())
    images, annotations = {i["id"]: i for i in dataset["images"]}, {a["id"]: a for a in dataset["annotations"]}
    chosen = evaluation.first(list(dict.fromkeys(r["image_id"] for r in references)))
    last = None if evaluation.options["sentences"] == "all" else 1
    expressions = [(r, k) for i in chosen for r in references if r["image_id"] == i for k in range(len(r["sentences"][:last]))]
    evaluation.expect_items([f"{r['ref_id']}-{k}" for r, k in expressions])
    overlap, points, pointed = [], [], 0
    for (reference, k), item in zip(expressions, evaluation.items):
        image, phrases = images[reference["image_id"]], item["phrases"]
        assert item["expression"] == reference["sentences"][k]["sent"]
        truth = polygons_united(annotations[reference["ann_id"]], image["height"], image["width"])
        predicted = decode(phrases[0]["mask"]) if phrases and phrases[0]["mask"] else np.zeros_like(truth)
        overlap.append((int((truth & predicted).sum()), int((truth | predicted).sum())))
        pointed += bool(phrases)
        # without a point, nothing is hit
        points.append((bool(phrases) and bool(truth[point_of(phrases[0])]), truth))
    inner, union = np.array(overlap, float).T
    published = evaluation.options["as_published"]
    ious = np.where(union > 0, inner / (union + 1e-5), 1.0) if published else np.where(union > 0, inner / np.maximum(union, 1), 0.0)
    figures = {"giou": mean(ious), "ciou": float(inner.sum() / (union.sum() + (1e-10 if published else 0)))}
    figures |= {f"precision_at_{t}": mean(ious >= t) for t in (.5, .7, .9)}
    blind = point_figures(((0, 0), truth) for _, truth in points)
    return figures | {"point_accuracy": mean(hit for hit, _ in points), "random_point": blind["random_point"], "centre": blind["centre"],
                      "answers_with_point": pointed / len(points), "images": len(chosen), "expressions": len(points)}


# ---- panoptic narratives

def score_png(evaluation):
    panoptic, narratives = evaluation.read("segments"), evaluation.read("annotations")
    is_thing = {c["id"]: bool(c["isthing"]) for c in panoptic["categories"]}
    segments = {int(a["image_id"]): a for a in panoptic["annotations"]}
    order = {int(image["id"]): n for n, image in enumerate(panoptic["images"])}
    asked = sorted(range(len(narratives)), key=lambda n: order[int(narratives[n]["image_id"])])
    chosen = evaluation.first(list(dict.fromkeys(int(narratives[n]["image_id"]) for n in asked)))
    asked = [n for n in asked if int(narratives[n]["image_id"]) in chosen]
    evaluation.expect_items([f"{int(narratives[n]['image_id'])}-{n}" for n in asked])
    rows, points = [], []
    for n, item in zip(asked, evaluation.items):
        annotation = segments[int(narratives[n]["image_id"])]
        colours = np.asarray(Image.open(evaluation.path("masks") / annotation["file_name"]).convert("RGB")).astype(np.int64)
        numbers = colours @ [1, 256, 65536]
        kinds = {s["id"]: is_thing[s["category_id"]] for s in annotation["segments_info"]}
        named = [s for s in narratives[n]["segments"] if s["segment_ids"]]
        if len(named) != len(item["phrases"]):
            sys.exit(f"{evaluation.folder}: item {item['id']} has {len(item['phrases'])} phrases, its narrative {len(named)}")
        for utterance, phrase in zip(named, item["phrases"]):
            ids = [int(s) for s in utterance["segment_ids"]]
            truth, several = np.isin(numbers, ids), len(ids) > 1
            plural = utterance["plural"] if evaluation.options["plurals"] == "flag" else several
            rows.append((iou(decode(phrase["mask"]), truth) if phrase["mask"] else 0.0, several or kinds[ids[0]], bool(plural)))
            points.append((point_of(phrase), truth))
    ious, things, plurals = (np.array(column) for column in zip(*rows))
    subsets = {"all": things | True, "things": things, "stuff": ~things, "singular": ~plurals, "plural": plurals}
    recall = published_sum if evaluation.options["as_published"] else mean
    figures = {f"average_recall_{name}": recall(ious[s]) if s.any() else None for name, s in subsets.items()}
    return figures | point_figures(points) | {"published_sum_less_exact": published_sum(ious) - mean(ious), "images": len(chosen), "narratives": len(asked),
                                              "phrases": len(rows)}


# ---- yes or no

def read_lines(path):
    text = path.read_text()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def score_pope(evaluation):
    path, names = evaluation.path("annotations"), ("random", "popular", "adversarial")
    files = [next(path.glob(f"*_pope_*{name}.json")) for name in names] if path.is_dir() else [path]
    questions = {file: read_lines(file) for file in files}
    images = evaluation.first(list(dict.fromkeys(q["image"] for file in files for q in questions[file])))
    prefix = {file: file.stem.split("_")[-1] + "-" if "_pope_" in file.stem else "" for file in files}
    evaluation.expect_items([f"{prefix[file]}{q['question_id']}" for i in images for file in files for q in questions[file] if q["image"] == i])
    figures, chosen, all_labels, all_texts = {}, set(images), [], []
    for file in files:
        asked = [q for q in questions[file] if q["image"] in chosen]
        found = read_lines(evaluation.folder / "predictions" / f"{file.stem}_answers.jsonl")
        # the published scripts join them line by line
        if [(q["question_id"], q["text"]) for q in asked] != [(p["question_id"], p["prompt"]) for p in found]:
            sys.exit(f"{evaluation.folder}: {len(found)} predictions do not go with the {len(asked)} questions of {file}")
        labels, texts = [q["label"] for q in asked], [p["text"] for p in found]
        all_labels, all_texts = all_labels + labels, all_texts + texts
        if len(files) > 1:
            figures |= {f"{name}_{prefix[file][:-1]}": value for name, value in pope_figures(labels, texts).items()}
    f1 = [figures[f"f1_{name}"] for name in names] if len(files) > 1 else []
    mean_f1 = {"mean_f1": None if None in f1 else mean(f1)} if f1 else {}
    return pope_figures(all_labels, all_texts) | figures | mean_f1 | {"images": len(images), "questions": len(all_labels)}


def score_gqa(evaluation):
    path = evaluation.path("annotations")
    questions = json.loads(path.read_text())
    chosen = set(evaluation.first(list(dict.fromkeys(q["imageId"] for q in questions.values()))))
    asked = {name: q for name, q in questions.items() if q["imageId"] in chosen}
    evaluation.expect_items([n for i in dict.fromkeys(q["imageId"] for q in asked.values()) for n, q in asked.items() if q["imageId"] == i])
    found = json.loads((evaluation.folder / "predictions" / path.name.replace("_questions", "_predictions")).read_text())
    said = {p["questionId"]: p["prediction"] for p in found}
    if list(said) != list(asked):
        sys.exit(f"{evaluation.folder}: {len(said)} predictions do not go with the {len(asked)} questions of {path}")
    answers = {item["id"]: item["answer"] for item in evaluation.items}
    if any(said[name] != gqa_prediction(answers[name]) for name in asked):
        sys.exit(f"{evaluation.folder}: a prediction is not what LLaVA makes of the answer")
    types = {t for q in questions.values() for t in (q["types"]["structural"], q["types"]["semantic"])}
    return gqa_figures(asked, said, types) | {"images": len(chosen), "questions": sum(q.get("isBalanced", True) for q in asked.values())}


SCORERS = {name[6:]: function for name, function in globals().items() if name.startswith("score_")}


def compare(evaluation):
    """Prints both values of every figure; whether all agree."""
    theirs, ours, agree = SCORERS[evaluation.results["task"]](evaluation), evaluation.results, True
    names = list(theirs) + [n for n, v in ours.items() if n not in theirs and n not in NO_FIGURES and isinstance(v, (int, float))]
    for name in names:
        a, b = ours.get(name), theirs.get(name)
        same = name in ours and name in theirs and (a is None and b is None or None not in (a, b) and abs(a - b) <= TOLERANCE)
        agree &= same
        print(f"  {name:<28} {'-' if a is None else f'{a:.8g}':>14} {'-' if b is None else f'{b:.8g}':>14}   {'' if same else 'DIFFERS'}")
    return agree


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--root", default=".")
    parser.add_argument("--bert")
    arguments, wrong = parser.parse_args(), 0
    for folder in arguments.folders:
        evaluation = Evaluation(folder, arguments.root, arguments.bert)
        print(f"{folder}: {evaluation.results['task']}, results.json beside the published scorers")
        wrong += not compare(evaluation)
    sys.exit(f"{wrong} of {len(arguments.folders)} evaluations differ" if wrong else 0)


if __name__ == "__main__":
    main()
