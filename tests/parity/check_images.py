"""Compares decoded images with Pillow's, in every format and mode, in many sizes: nothing is recorded.

    python tests/parity/check_images.py build/tests/parity/decode_images [--pictures 20] [--files FOLDER]

--files: the files of a folder as well (those that Pillow opens). Prints what differs and exits with 1 if anything does.

Nothing does with Pillow 13.0.0. 12.3.0 reads two of the 295 kinds otherwise: BMP with runs of 4 bits, and grey TIFF with an
extra channel, which it refuses. (Resizing is held to Pillow before 13: record_images.py.)
"""

import argparse
import collections
import io
import pathlib
import struct
import subprocess
import sys
import warnings

import numpy as np
import PIL
from PIL import Image

import image_files


class Decoder:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, file):
        self.process.stdin.write(struct.pack("<I", len(file)) + file)
        self.process.stdin.flush()
        width, height = struct.unpack("<II", self.process.stdout.read(8))
        if width == 0:
            return self.process.stdout.read(height).decode()
        return np.frombuffer(self.process.stdout.read(width * height * 3), np.uint8).reshape(height, width, 3)


def pillow(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def compare(decode, name, file, counts):
    try:
        expected = pillow(file)
    except Exception as error:
        counts["Pillow refuses"] += 1
        got = decode(file)
        print(f"{name}: Pillow: {error!r}; here: {got if isinstance(got, str) else got.shape}")
        return isinstance(got, str)
    got = decode(file)
    counts[name.split("/")[0]] += 1
    if isinstance(got, str):
        print(f"{name}: {got}")
    elif got.shape != expected.shape:
        print(f"{name}: {got.shape}, Pillow {expected.shape}")
    elif (got != expected).any():
        difference = np.abs(got.astype(int) - expected)
        print(f"{name}: {np.count_nonzero(difference)} of {difference.size} differ, by up to {difference.max()}")
    else:
        return True
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--files")
    arguments = parser.parse_args()
    decode = Decoder(arguments.program)
    random = np.random.default_rng(5)
    same, total, counts = 0, 0, collections.Counter()
    for seed in range(arguments.pictures):
        width, height = (int(side) for side in random.integers(8, 90, 2))
        maker = image_files.Maker(seed, width, height)
        for name, file in image_files.whole(maker):
            same += compare(decode, f"{name} ({width} x {height}, seed {seed})", file, counts)
            total += 1
        for name, file, message in image_files.damaged(maker):
            got = decode(file)
            good = isinstance(got, str) and message in got
            if not good:
                print(f"{name} ({width} x {height}): {got if isinstance(got, str) else got.shape}; expected '{message}'")
            same += good
            total += 1
    for path in sorted(pathlib.Path(arguments.files).rglob("*")) if arguments.files else []:
        if path.is_file():
            same += compare(decode, str(path), path.read_bytes(), counts)
            total += 1
    print(f"Pillow {PIL.__version__}: {same} of {total} as expected; {dict(counts)}")
    return same != total


sys.exit(main())
