#!/usr/bin/env python3
"""Records files as groundLMM's attention scripts leave them, and what its other scripts make of them: tests/parity/data/official_dumps/.
Needs torch, numpy, sentencepiece, tokenizers and Pillow.

    images/, instances.json, refs(unc).p, captions.json, masks.json, png.json, panoptic.json, panoptic/    two pictures and what is true of them
    points/     answers as infer_attn.py writes them for models that see whole pictures (Qwen2.5-VL): grids of any form, no token in front
    res/        as infer_attn_res.py writes them for LLaVA: square grids of padded pictures, <s> in front of the answer
    png/        as infer_attn_png.py writes them: narratives that were read
    qwen/       one of points with a tokenizer.json, tests/parity/data/tokenizers/qwen_2
    bad/        what none of them would leave
    expected.json   per file ids, text, the characters of each token (by decoding every prefix, as group_tokens() does) and maps, and the
                    points [x, y] by the scripts' steps: maps less their mean, group, bicubic to the padded square or the picture, crop, argmax
"""
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import sentencepiece
import tokenizers
import torch
from PIL import Image

HERE = Path(__file__).parent
OUT = HERE / "data" / "official_dumps"
LAYERS, HEADS, BOS, EOS = 2, 3, 1, 2
SIZES = {1: (30, 48), 2: (44, 26)}  # height, width
SENTENCES = {1: {101: "red ring", 102: "left thing"}, 2: {205: "blue square"}}

tokenizer = sentencepiece.SentencePieceProcessor(str(HERE.parents[1] / "checkpoints" / "tiny" / "llm" / "tokenizer.model"))
generator = torch.Generator().manual_seed(8)
expected = {}


def decode(ids):
    """As transformers' LlamaTokenizer with skip_special_tokens."""
    return tokenizer.decode([i for i in ids if i > 2])


def spans(ids, decode=decode):
    begin, end, length = [], [], 0
    for i in range(len(ids)):
        begin.append(length)
        length = len(decode(ids[:i + 1]))
        end.append(length)
    return begin, end


def attention(queries, cells):
    """Of the last `queries` positions over the visual tokens and some text, per layer [1, heads, queries, keys]."""
    text = 9
    scores = [2 * torch.randn(1, HEADS, queries, text + cells, generator=generator) for _ in range(LAYERS)]
    return [torch.softmax(s, -1, dtype=torch.float32).to(torch.float16)[..., text:] for s in scores]


def generated_maps(steps, rows, columns):
    maps = []
    for _ in range(steps):
        step = torch.cat([layer[:, :, -1, :] for layer in attention(1, rows * columns)])
        maps.append(step.mean(dim=(0, 1)).reshape(rows, columns).detach())
    return torch.stack(maps)


def point(maps, tokens, how, geometry, size):
    """[x, y], as gcg.py, res.py and png.py find it."""
    maps = maps.float() - maps.float().mean(dim=0)
    group = {"mean": lambda m: m.mean(dim=0), "first": lambda m: m[0]}[how](maps[tokens])
    height, width = size
    side = max(size)
    to = (side, side) if geometry == "pad" else size
    pixels = torch.nn.functional.interpolate(group[None, None], size=to, mode="bicubic", align_corners=False)[0, 0]
    if geometry == "pad":
        top, left = (side - height) // 2, (side - width) // 2
        pixels = pixels[top:top + height, left:left + width]
    first, second = pixels.reshape(-1).topk(2).values
    assert first - second > 1e-5 * first, "the largest pixel is not clear; take another seed"
    at = int(pixels.reshape(-1).argmax())
    return [at % width, at // width]


def record(folder, name, ids, saved, points, decode=decode):
    (OUT / folder).mkdir(exist_ok=True)
    torch.save(saved, OUT / folder / f"{name}.pth")
    begin, end = spans(ids, decode)
    expected.setdefault(folder, {})[name] = {
        "ids": ids, "text": decode(ids), "begin": begin, "end": end, "shape": list(saved["attentions"].shape),
        "maps": saved["attentions"].float().flatten().tolist(), "groups": saved.get("token_groups"), "points": points}


def overlapping(ids, word):
    text = decode(ids)
    begin, end = spans(ids)
    at = text.index(word)
    return [t for t in range(len(ids)) if begin[t] < at + len(word) and end[t] > at]


def behind_verb(ids):
    text = decode(ids)
    begin, end = spans(ids)
    at = text.index(" is ") + 3
    return [next(t for t in range(len(ids)) if begin[t] >= at and end[t] > at)]


shutil.rmtree(OUT, ignore_errors=True)
(OUT / "images").mkdir(parents=True)
(OUT / "panoptic").mkdir()
images, annotations, references, panoptic = [], [], [], []
truth = {}
for image_id, (height, width) in SIZES.items():
    name = f"{image_id:012d}"
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = (200, 40, 40)
    picture[:, width // 2:] = (40, 40, 200)
    Image.fromarray(picture).save(OUT / "images" / f"{name}.jpg")
    images.append({"id": image_id, "file_name": f"{name}.jpg", "height": height, "width": width})
    half = [0, 0, width // 2, 0, width // 2, height, 0, height]
    annotations += [{"id": 10 * image_id + k, "image_id": image_id, "category_id": k, "iscrowd": 0, "area": height * width // 2, "bbox": [0, 0, 1, 1],
                     "segmentation": [[x + (width // 2 if k == 2 and i % 2 == 0 else 0) for i, x in enumerate(half)]]} for k in (1, 2)]
    references.append({"ref_id": 50 + image_id, "ann_id": 10 * image_id + 1, "category_id": 1, "image_id": image_id, "split": "val",
                       "file_name": f"COCO_train2014_{name}_{image_id}.jpg", "sent_ids": list(SENTENCES[image_id]),
                       "sentences": [{"sent_id": k, "sent": s, "raw": s, "tokens": s.split()} for k, s in SENTENCES[image_id].items()]})
    colours = np.zeros((height, width, 3), np.uint8)
    colours[:, : width // 2, 0], colours[:, width // 2:, 0] = 1, 2
    Image.fromarray(colours).save(OUT / "panoptic" / f"{name}.png")
    panoptic.append({"image_id": image_id, "file_name": f"{name}.png", "segments_info":
                     [{"id": k, "category_id": k, "iscrowd": 0, "area": int((colours[..., 0] == k).sum()), "bbox": [0, 0, 1, 1]} for k in (1, 2)]})
    truth[image_id] = np.asfortranarray((colours[..., 0] == 1).astype(np.uint8))
categories = [{"id": 1, "name": "ring", "isthing": 1}, {"id": 2, "name": "square", "isthing": 0}]
(OUT / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
(OUT / "captions.json").write_text(json.dumps({"images": [{"id": f"{i:012d}"} for i in SIZES], "annotations": [
    {"image_id": f"{i:012d}", "caption": "A ring.", "labels": ["A ring"]} for i in SIZES]}))
(OUT / "masks.json").write_text(json.dumps({"images": [{"id": f"{i:012d}", "height": h, "width": w} for i, (h, w) in SIZES.items()], "annotations": [
    {"id": i, "image_id": f"{i:012d}", "segmentation": {"size": SIZES[i], "counts": [0, SIZES[i][0] * (SIZES[i][1] // 2), SIZES[i][0] * (SIZES[i][1] // 2)]}}
    for i in SIZES]}))
(OUT / "panoptic.json").write_text(json.dumps({"images": images, "annotations": panoptic, "categories": categories}))
(OUT / "refs(unc).p").write_bytes(pickle.dumps(references, 2))

# infer_attn.py of models that see whole pictures: maps are saved in float32, ids without the prompt
texts = {1: ("A small red ring is beside a blue square.", (5, 8)), 2: ("The square, caf\u00e9 \U0001f600 and ring.", (7, 3))}
for image_id, (text, (rows, columns)) in texts.items():
    ids = tokenizer.encode(text) + [EOS]
    sequence = torch.tensor([[BOS] * 4 + ids])[0][4:]
    maps = generated_maps(len(ids), rows, columns).float()
    words = sorted(("ring", "square"), key=text.index)
    points = [point(maps, overlapping(ids, w), "mean", "original", SIZES[image_id]) for w in words]
    record("points", f"{image_id:012d}", ids,
           {"answer": decode(sequence.tolist()).strip(), "sequences": sequence, "attentions": maps, "image_file": f"{image_id:012d}.jpg"}, points)

# infer_attn_res.py
answers = {101: "The red ring is on the left.", 102: "There it stands.", 205: "Its ring is a square ring"}
for image_id, sentences in SENTENCES.items():
    for number, sentence in sentences.items():
        ids = tokenizer.encode(answers[number]) + ([] if number == 205 else [EOS])  # 205: cut off by max_new_tokens
        sequence = torch.tensor([BOS] + ids)
        maps = generated_maps(len(ids), 4, 4)
        mask = truth[image_id].astype(bool) if number == 102 else truth[image_id]
        points = [point(maps, behind_verb(ids), "mean", "pad", SIZES[image_id])] if " is " in answers[number] else []
        record("res", str(number), ids, {"answer": decode(sequence.tolist()).strip(), "sequences": sequence, "attentions": maps, "image_id": image_id,
                                         "image_file": f"{image_id:012d}.jpg", "sent": sentence, "gt_mask": mask}, points)

# infer_attn_png.py: the second narrative of the file is the first image's
narratives = []
for index, (image_id, utterances) in enumerate([(2, [("The square", [2]), (" is beside", []), (" a ring", [1])]),
                                                (1, [("A red ring", [1]), (".", [])])]):
    ids, groups = [], []
    for utterance, _ in utterances:
        tokens = tokenizer.encode(utterance)
        groups.append(list(range(len(ids), len(ids) + len(tokens))))
        ids += tokens
    prompt = torch.cat([torch.tensor([[BOS, 7, 8]]), torch.tensor([ids])], dim=1)
    maps = torch.cat(attention(len(ids), 16)).mean(dim=(0, 1)).reshape(len(ids), 4, 4)
    points = [point(maps, g, "first", "pad", SIZES[image_id]) for g, (_, segments) in zip(groups, utterances) if segments]
    record("png", f"{index:012d}", ids, {"answer": tokenizer.decode(ids), "sequences": prompt[0, -len(ids):], "attentions": maps, "token_groups": groups,
                                         "image_id": image_id, "image_file": f"{image_id:012d}.jpg"}, points)
    narratives.append({"image_id": str(image_id), "caption": "".join(u for u, _ in utterances), "segments": [
        {"utterance": u, "segment_ids": [str(s) for s in segments], "plural": False, "noun": bool(segments)} for u, segments in utterances]})
# none of them
(OUT / "bad").mkdir()
good = {"answer": decode([273, 365]), "sequences": torch.tensor([BOS, 273, 365]), "attentions": torch.rand(2, 2, 3, generator=generator).half()}
not_a_number = good["attentions"].clone()
not_a_number[1, 0, 0] = float("nan")
bad = {
    "list": [good["attentions"]],
    "no_attentions": {k: v for k, v in good.items() if k != "attentions"},
    "no_sequences": {k: v for k, v in good.items() if k != "sequences"},
    "no_answer": {k: v for k, v in good.items() if k != "answer"},
    "listed": good | {"attentions": good["attentions"].tolist()},
    "flat": good | {"attentions": good["attentions"].reshape(2, 6)},
    "integers": good | {"attentions": torch.ones(2, 2, 3, dtype=torch.int64)},
    "no_cells": good | {"attentions": torch.ones(2, 0, 3)},
    "batched": good | {"sequences": good["sequences"][None]},
    "fewer_ids": good | {"sequences": good["sequences"][2:]},
    "more_ids": good | {"sequences": torch.tensor([BOS, BOS, 273, 365])},
    "image_id": good | {"sequences": torch.tensor([-200, 365])},
    "other_text": good | {"answer": "something else"},
    "number": good | {"answer": 5},
    "nan": good | {"attentions": not_a_number},
    "groups": good | {"sequences": good["sequences"][1:], "token_groups": [[0], [1, 2]]},
    "gap": good | {"sequences": good["sequences"][1:], "token_groups": [[1, 0]]},
    "group_number": good | {"sequences": good["sequences"][1:], "token_groups": 3},
    "ahead_of_groups": good | {"token_groups": [[0, 1]]},
    "foreign": good | {"image_file": Path("picture.jpg")},
}
for name, saved in bad.items():
    torch.save(saved, OUT / "bad" / f"{name}.pth")
torch.save(good, OUT / "bad" / "good.pth")

# qwen2_5vl.py: no token begins a sequence
folder = HERE / "data" / "tokenizers" / "qwen_2"
qwen = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
end = qwen.token_to_id(json.loads((folder / "tokenizer_config.json").read_text())["eos_token"])
ids = qwen.encode("A small red ring stands beside the window; caf\u00e9, that's 12!", add_special_tokens=False).ids + [end]
maps = generated_maps(len(ids), 4, 6).float()
record("qwen", "a", ids, {"answer": qwen.decode(ids).strip(), "sequences": torch.tensor(ids), "attentions": maps, "image_file": "a.jpg"}, [],
       lambda ids: qwen.decode(ids, skip_special_tokens=True))

(OUT / "png.json").write_text(json.dumps(narratives))
(OUT / "expected.json").write_text(json.dumps(expected))
