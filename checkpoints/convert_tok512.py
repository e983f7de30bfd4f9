#!/usr/bin/env python3
"""Turns a tokenizer of llama2.c (`tok512.bin` and the like) into a SentencePiece model that the program reads. A test tool;
needs nothing but Python.

    python3 checkpoints/convert_tok512.py tok512.bin tokenizer.model

llama2.c keeps, after the longest token's length, a score (float32), a length (int32) and the bytes of each token, little
endian, with spaces for U+2581 and newlines around <s> and </s>. What it leaves out is the same for every Llama tokenizer:
byte-pair encoding with byte fallback, text as it is, a space put in front.
"""
import os
import struct
import sys

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
SPECIAL = {0: ("<unk>", UNKNOWN), 1: ("<s>", CONTROL), 2: ("</s>", CONTROL)}


def read_tokens(path):
    with open(path, "rb") as file:
        data = file.read()
    at, tokens = 4, []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        at += 8
        if length < 0 or at + length > len(data):
            sys.exit(f"{path}: token {len(tokens)} has {length} bytes; not a tokenizer of llama2.c")
        tokens.append((data[at : at + length].decode(), score))
        at += length
    if [t.strip() for t, _ in tokens[:3]] != ["<unk>", "<s>", "</s>"]:
        sys.exit(f"{path}: the first tokens are not <unk>, <s> and </s>; not a tokenizer of llama2.c")
    return tokens


# ---- protocol buffers: a field is its number and wire type, then a varint, 4 bytes, or a length and bytes

def varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def number(field, value):
    return varint(field << 3) + varint(value)


def real(field, value):
    return varint(field << 3 | 5) + struct.pack("<f", value)


def message(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def piece(index, text, score):
    text, kind = SPECIAL.get(index, (text, NORMAL))
    if kind == NORMAL and len(text) == 6 and text.startswith("<0x"):
        kind = BYTE
    return message(1, text.replace(" ", "\u2581").encode()) + real(2, score) + number(3, kind)


def model(tokens):
    """sentencepiece_model.proto: pieces (1), trainer_spec (2), normalizer_spec (3)."""
    pieces = b"".join(message(1, piece(i, text, score)) for i, (text, score) in enumerate(tokens))
    trainer = number(3, 2) + number(4, len(tokens)) + number(35, 1)  # model_type BPE, vocab_size, byte_fallback
    trainer += number(40, 0) + number(41, 1) + number(42, 2) + number(43, -1)  # ids of <unk>, <s>, </s>, <pad>
    normalizer = message(1, b"identity") + number(3, 1) + number(4, 0) + number(5, 1)  # prefix, extra spaces kept, escaped
    return pieces + message(2, trainer) + message(3, normalizer)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data = model(read_tokens(sys.argv[1]))
    partial = sys.argv[2] + ".partial"
    with open(partial, "wb") as file:
        file.write(data)
    os.replace(partial, sys.argv[2])


if __name__ == "__main__":
    main()
