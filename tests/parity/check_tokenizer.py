#!/usr/bin/env python3
"""Holds the program's tokenizer to the `tokenizers` package at full size.

    python tests/parity/check_tokenizer.py MODEL [--program build/tests/parity/tokenize_texts] [FILE OR FOLDER ...]

MODEL is a model directory, a tokenizer.json, or a BERT vocab.txt (ids alone: nothing decodes there; "every
character" differs for about 600 that Unicode has as marks or punctuation only after its version 8, where the package's tables end). The texts: every Unicode character in several surroundings, random mixtures of hard
pieces, every special token within text, broken UTF-8, and the files given (.py, .md, .txt, .rst, .html, .json, .po, .c;
whole and line by line). For each text the ids and the decoded text must be equal; the first differences are
printed. Says how much was compared and how fast both are.
"""
import argparse
import io
import os
import random
import struct
import subprocess
import sys
import time

from tokenizers import BertWordPieceTokenizer, Tokenizer

SUFFIXES = (".py", ".md", ".txt", ".rst", ".html", ".json", ".po", ".c", ".h", ".inp")
PIECES = [
    "Hello", "world", "it's", "we'LL", "I'ſ", "'S", "don't", "naïve", "Ünïcödé", "ΑΒΓ", "Привет", "مرحبا بالعالم", "שלום", "नमस्ते",
    "สวัสดี", "你好", "世界", "こんにちは", "カタカナ", "안녕하세요", "e\u0301", "a\u030a\u0323", "\u1100\u1161\u11a8", "Å", "ﬁ", "Ⅷ", "½", "²",
    "١٢٣", "१२३", "１２", "0", "12", "345", "1234567", "3.14", "-1e10", "😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽", "\u200d", "\u200b", "\ufeff",
    "\u00a0", "\u2003", "\u3000", "\u180e", "\u0085", "\u2028", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\x0b", "\x0c",
    "\x1c", "\x00", "\x7f", ".", ",", "!?", "...", "—", "“quoted”", "#!/bin/sh", "def f(x):", "    return x", "{}", "[[", "&&", "http://a.b/c?d=e",
    "a_b", "camelCase", "UPPER", "<", ">", "<|", "|>", "▁", "Ġ", "Ċ", "<0x0A>", "<unk>", "\U0001d54f", "\U00020000", "\uffff", "\ufffd", "ǅ",
]


def characters():
    for start in range(0, 0x110000, 64):
        block = [chr(c) for c in range(start, start + 64) if not 0xD800 <= c < 0xE000]
        for c in block:
            yield f"a{c}b '{c} {c}{c}1 {c}\n{c}"
        if block:
            yield "".join(block)


def mixtures(count, special):
    rng = random.Random(5)
    pieces = PIECES + special
    for _ in range(count):
        yield "".join(rng.choice(pieces) for _ in range(rng.randint(1, 24)))
    yield " " * 5000 + "a"
    yield "a" * 20000
    yield "\n" * 3000 + " " * 3000
    yield "ab" * 5000 + "é" * 5000 + "中" * 5000


def broken(count):
    rng = random.Random(6)
    for _ in range(count):
        data = bytearray("".join(rng.choice(PIECES) for _ in range(rng.randint(1, 8))).encode())
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.choice([0x80, 0xBF, 0xC0, 0xE0, 0xED, 0xF0, 0xF4, 0xFF, rng.randrange(256)])
        yield bytes(data)


def files(paths):
    for path in paths:
        if os.path.isdir(path):
            for folder, folders, names in os.walk(path):
                folders.sort()
                yield from files(os.path.join(folder, n) for n in sorted(names) if n.endswith(SUFFIXES))
        else:
            with open(path, "rb") as file:
                yield file.read()


def answers(stream):
    while head := stream.read(4):
        ids = struct.unpack(f"<{struct.unpack('<I', head)[0]}i", stream.read(4 * struct.unpack("<I", head)[0]))
        yield list(ids), stream.read(struct.unpack("<I", stream.read(4))[0])


def compare(name, texts, tokenizer, program, model):
    """Returns how many differ."""
    texts = [t.encode() if isinstance(t, str) else t for t in texts]
    begin = time.perf_counter()
    run = subprocess.run([program, model], input=b"".join(struct.pack("<I", len(t)) + t for t in texts), stdout=subprocess.PIPE)
    ours_seconds = time.perf_counter() - begin
    if run.returncode:
        sys.exit(f"{program} failed")
    begin = time.perf_counter()
    expected = [tokenizer.encode(t.decode(errors="replace"), add_special_tokens=False).ids for t in texts]
    their_seconds = time.perf_counter() - begin
    differ, tokens, decoded = 0, 0, 0
    results = list(answers(io.BytesIO(run.stdout)))
    assert len(results) == len(texts), (len(results), len(texts))
    for text, ids, (our_ids, our_text) in zip(texts, expected, results):
        tokens += len(ids)
        their_text = b"" if model.endswith("vocab.txt") else tokenizer.decode(ids).encode()
        their_text = their_text[: their_text.index(0)] if 0 in their_text else their_text  # ours is a C string
        if ids != our_ids or their_text != our_text:
            differ += 1
            if differ <= 5:
                at = next((i for i, (a, b) in enumerate(zip(ids, our_ids)) if a != b), min(len(ids), len(our_ids)))
                print(f"  {text[:200]!r}\n    expected {ids[at : at + 12]} from token {at}\n    got      {our_ids[at : at + 12]}")
                if ids == our_ids:
                    print(f"    decoded  {their_text[:200]!r}\n    got      {our_text[:200]!r}")
    size = sum(map(len, texts))
    print(f"{name}: {len(texts)} texts, {size / 1e6:.2f} MB, {tokens} tokens: {differ} differ "
          f"(program {ours_seconds:.2f} s with opening, tokenizers {their_seconds:.2f} s)")
    return differ


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--program", default="build/tests/parity/tokenize_texts")
    parser.add_argument("--megabytes", type=float, default=4, help="of the files at most")
    options = parser.parse_intermixed_args()
    path = os.path.join(options.model, "tokenizer.json") if os.path.isdir(options.model) else options.model
    if path.endswith("vocab.txt"):
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokenizer = BertWordPieceTokenizer(path)
        tokenizer.add_special_tokens(special)
    else:
        tokenizer = Tokenizer.from_file(path)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        special = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    long, size = [], 0
    for text in files(options.paths):
        long.append(text)
        size += len(text)
        if size > options.megabytes * 1e6:
            break
    groups = {"every character": characters(), "mixtures": mixtures(20000, special), "broken UTF-8": broken(5000), "files": long,
              "their lines": [line for text in long for line in text.splitlines(keepends=True)]}
    differ = sum(compare(name, texts, tokenizer, options.program, path) for name, texts in groups.items())
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
