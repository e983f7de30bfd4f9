"""The published scorers' logic for check_predictions.py: masks, phrases, points and captions, without a word of what the program wrote."""
import contextlib
import io
import re
from collections import Counter

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def mean(values):
    values = list(values)
    return float(np.mean(values)) if values else None


def quietly(function, *arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments)


def decode(rle):
    return masks.decode(rle).astype(bool)


def iou(a, b):
    both = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / both) if both else 0.0


def polygons_united(annotation, height, width):
    """The annotation's mask; its polygons are united."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, dict):
        return decode(masks.frPyObjects(segmentation, height, width) if isinstance(segmentation["counts"], list) else segmentation)
    if not segmentation:
        return np.zeros((height, width), bool)
    return decode(masks.merge(masks.frPyObjects(segmentation, height, width)))


def point_figures(points):
    """points: (row, column) and the true mask it is to lie in, which may be empty."""
    points = list(points)
    return {"point_accuracy": mean(truth[row, column] for (row, column), truth in points),
            "random_point": mean(truth.mean() for _, truth in points),
            "centre": mean(truth[truth.shape[0] // 2, truth.shape[1] // 2] for _, truth in points)}


def point_of(phrase):
    column, row = phrase["point"]
    return row, column


# ---- captions

def text_figures(references, candidates, with_meteor):
    """references: lists of captions by image; candidates: one caption by image."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    tokenizer = PTBTokenizer()
    truth = tokenizer.tokenize({i: [{"caption": c} for c in captions] for i, captions in references.items()})
    found = tokenizer.tokenize({i: [{"caption": c}] for i, c in candidates.items()})
    figures = {"cider": quietly(Cider().compute_score, truth, found)[0], "bleu_4": Bleu(4).compute_score(truth, found, verbose=0)[0][3]}
    if with_meteor:
        figures["meteor"] = quietly(Meteor().compute_score, truth, found)[0]
    return figures


# ---- grounded conversations

def words_alike(truth, prediction):
    """Dice coefficient of the words, without articles."""
    bags = [Counter(w for w in re.findall(r"[a-z0-9\u0080-\U0010ffff]+", text.lower()) if w not in ("a", "an", "the")) for text in (truth, prediction)]
    total = sum(bags[0].values()) + sum(bags[1].values())
    return 2 * sum((bags[0] & bags[1]).values()) / total if total else 0.0


def bert_alike(folder):
    import torch
    from transformers import BertModel, BertTokenizer
    tokenizer, model = BertTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def embedding(text):
        return model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=512)).last_hidden_state[0].mean(0)

    return lambda truth, prediction: float(torch.cosine_similarity(embedding(truth), embedding(prediction), dim=0))


def overlaps(rows, columns):
    return np.array([[iou(r, c) for c in columns] for r in rows]).reshape(len(rows), len(columns))


def mean_of_pairs(found, truths):
    table, values = overlaps(found, truths), []
    while table.size and table.max() > 0:
        row, column = np.unravel_index(table.argmax(), table.shape)
        values.append(table[row, column])
        table = np.delete(np.delete(table, row, 0), column, 1)
    return mean(values) or 0.0


def number_found(found, phrases, truths, labels, alike):
    table, count = overlaps(truths, found), 0
    if len(found) != len(phrases) or len(truths) != len(labels):
        return 0
    while table.size:
        row, column = np.unravel_index(table.argmax(), table.shape)
        if table[row, column] < .5 or alike(labels[row], phrases[column]) < .5:
            break
        count += 1
        table[row], table[:, column] = 0, 0
    return count


def detection_figures(truth, results, ids):
    """COCOeval's twelve; truth: a dataset."""
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    found = coco.loadRes(results) if results else COCO()
    run = COCOeval(coco, found, "segm")
    run.params.imgIds = ids
    run.evaluate(), run.accumulate(), run.summarize()
    return [float(v) for v in run.stats]


# ---- yes or no

def pope_figures(labels, texts):
    """As POPE's and LLaVA's evaluate, of labels and what was said to each; None where they would divide by zero."""
    said = []
    for text in texts:
        words = text.split(".")[0].replace(",", "").split(" ")
        said.append("no" if {"No", "not", "no"} & set(words) else "yes")
    pairs = Counter(zip(said, labels))
    true, false, missed, refused = (pairs[p] for p in (("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no")))
    precision, recall = true / (true + false) if true + false else None, true / (true + missed) if true + missed else None
    # where nothing is right their harmonic mean is taken for 0
    f1 = None if not true + false + missed else 2 * precision * recall / (precision + recall) if true else 0.0
    return {"accuracy": (true + refused) / len(labels), "precision": precision, "recall": recall, "f1": f1, "yes_ratio": (true + false) / len(labels)}


# ---- a word or two

def gqa_prediction(answer):
    """What LLaVA's scripts hand to GQA's."""
    return answer.strip().rstrip(".").lower()


def gqa_figures(questions, said, types):
    """As GQA's script: of balanced questions the share whose prediction is the answer; None for types without any."""
    scores = {name: [] for name in ("accuracy", "accuracy_binary", "accuracy_open", *(f"accuracy_{t}" for t in types))}
    for name, question in questions.items():
        if not question.get("isBalanced", True):
            continue
        right, kind = said[name] == question["answer"], question["types"]["structural"]
        for key in {"accuracy", "accuracy_open" if kind == "query" else "accuracy_binary", f"accuracy_{kind}", f"accuracy_{question['types']['semantic']}"}:
            scores[key].append(right)
    return {key: sum(rights) / len(rights) if rights else None for key, rights in scores.items()}


# ---- panoptic narratives

def published_sum(ious):
    """As PNG's script has it: rectangles from the left at thresholds 1e-5 apart."""
    thresholds, ordered = np.arange(0, 1, 0.00001), np.sort(ious)
    recall = 1 - np.searchsorted(ordered, thresholds[:-1], "left") / len(ordered)
    return float((np.diff(thresholds) * recall).sum())
