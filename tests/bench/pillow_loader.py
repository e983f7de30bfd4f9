#!/usr/bin/env python3
"""How fast samples are made ready: bench_loader beside Pillow and transformers' CLIPImageProcessor in turns, on the same
photographs of 640 x 480 pixels (JPEG, quality 90), which are made from a folder of pictures.

  python tests/bench/pillow_loader.py PICTURES TOKENIZER [build/tests/bench/bench_loader] [ROUNDS]

Theirs is what LLaVA does: Image.open().convert("RGB"), with "pad" its expand2square, then the processor (the one on numpy; its
numbers are not made a tensor, which only helps it). TOKENIZER: a folder or file that tokenizer_open() reads. Prints samples per
second of one core, in time on the processor, medians of the rounds (of ours the text alone and the loader as well), and the
largest difference of a number of the first picture. Needs numpy, pillow and transformers."""
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import CLIPImageProcessor

WIDTH, HEIGHT, COPIES = 640, 480, 4
ANSWER = ("The picture shows a person beside a table with a cup of coffee, a plate and a small lamp; behind them a window lets in "
          "the light of the morning, and a cat sleeps on the chair to the left. ") * 3


def make_data(pictures, folder):
    samples = []
    for path in sorted(pictures.iterdir()):
        try:
            image = Image.open(path).convert("RGB")
        except OSError:  # one of them is cut off on purpose
            continue
        if min(image.size) < 200:
            continue
        image.resize((WIDTH, HEIGHT), Image.BICUBIC).save(folder / f"{path.stem}.jpg", quality=90)
        for copy in range(COPIES):
            samples.append({"id": f"{path.stem}-{copy}", "image": f"{path.stem}.jpg", "conversations": [
                {"from": "human", "value": "<image>\nWhat is in this picture?"}, {"from": "gpt", "value": ANSWER}]})
    (folder / "data.json").write_text(json.dumps(samples))
    return samples


def expand2square(image, colour):
    side = max(image.size)
    square = Image.new(image.mode, (side, side), colour)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def with_pillow(samples, folder, aspect, processor):
    first, begin = None, time.process_time()
    for sample in samples:
        image = Image.open(folder / sample["image"]).convert("RGB")
        if aspect == "pad":
            image = expand2square(image, tuple(int(255 * m) for m in processor.image_mean))
        numbers = processor.preprocess(image, return_tensors="np")["pixel_values"][0]
        first = numbers if first is None else first
    return (time.process_time() - begin) / len(samples), first


def one_case(program, tokenizer, samples, folder, aspect, size, rounds):
    processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    theirs, ours, difference = [], [], 0
    for _ in range(rounds):
        seconds, first = with_pillow(samples, folder, aspect, processor)
        theirs.append(seconds)
        ours.append(json.loads(subprocess.check_output([program, folder / "data.json", folder, tokenizer, aspect, str(size), folder / "out"])))
        numbers = np.fromfile(folder / "out", np.float32).reshape(size, size, 3).transpose(2, 0, 1)
        difference = max(difference, float(np.abs(numbers - first).max()))
    median = {key: statistics.median(o[key] for o in ours) for key in ("picture", "text", "loader")}
    ratios = sorted(t / o["picture"] for t, o in zip(theirs, ours))
    their = statistics.median(theirs)
    print(f"{aspect} {size}: pictures/s {1 / median['picture']:.0f}, theirs {1 / their:.1f}, {their / median['picture']:.1f} times "
          f"({ratios[0]:.1f} to {ratios[-1]:.1f}); text/s {1 / median['text']:.0f} ({ours[0]['tokens']:.0f} tokens); "
          f"loader, samples/s {1 / median['loader']:.0f}; largest difference {difference:.1e}", flush=True)


def main():
    pictures, tokenizer = Path(sys.argv[1]), sys.argv[2]
    program = sys.argv[3] if len(sys.argv) > 3 else "build/tests/bench/bench_loader"
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = make_data(pictures, folder)
        print(f"{len(samples)} samples, {sum(f.stat().st_size for f in folder.glob('*.jpg')) / len(samples) * COPIES / 1024:.0f} KiB a picture")
        for aspect in ("pad", "square"):
            for size in (336, 512):
                one_case(program, tokenizer, samples, folder, aspect, size, rounds)


main()
