"""Writes eval/phrases/noun_chunks.bin (its layout: eval/phrases/noun_chunk_weights.c) and gives the parameters that it holds."""
import re
import struct

import numpy

import network

MOST_BLOCKS = 8


def pcre2_pattern(pattern):
    """Python's escapes of characters by their number are not PCRE2's, its (?u) is an option there."""
    pattern = pattern.removeprefix("(?u)")
    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))",
                  lambda found: "\\x{" + (found.group(1) or found.group(2)).lstrip("0") + "}", pattern)


def special_cases(tokenizer):
    lines = []
    for word, tokens in sorted(tokenizer.rules.items()):
        if any(c.isspace() for c in word):
            continue  # white space is a token without any rule
        sizes = [len(token[65].encode()) for token in tokens]  # 65: spacy.attrs.ORTH
        assert sum(sizes) < 255 and len(sizes) <= 4, word
        lines.append(word + "\t" + " ".join(map(str, sizes)) + "\n")
    return "".join(lines).encode()


def quantised(table):
    """int8 and a scale for every row."""
    scale = numpy.maximum(numpy.abs(table).max(axis=1), 1e-12) / 127
    return numpy.rint(table / scale[:, None]).astype(numpy.int8), scale.astype("<f4")


def bfloat16(values):
    """Rounded to nearest, ties to even: the upper halves of float32."""
    bits = numpy.ascontiguousarray(values, "<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def text(data):
    return struct.pack("<i", len(data)) + data + b"\0"


def write(path, parameters, tokenizer):
    """Returns the parameters as the C code will have them."""
    held = {name: numpy.asarray(value, numpy.float32) for name, value in parameters.items()}
    dilations = list(network.DILATIONS) + [0] * (MOST_BLOCKS - len(network.DILATIONS))
    head = b"NCHUNKS1" + struct.pack("<15i", network.WIDTH, network.HIDDEN, len(network.DILATIONS), *dilations,
                                     *network.ROWS.values())
    head += text(special_cases(tokenizer))
    for search in (tokenizer.prefix_search, tokenizer.suffix_search, tokenizer.infix_finditer, tokenizer.url_match):
        head += text(pcre2_pattern(search.__self__.pattern).encode())
    head += b"\0" * (-len(head) % 4)
    table, scale = quantised(held["table"])
    held["table"] = table.astype(numpy.float32) * scale[:, None]
    body = scale.tobytes()
    for i in range(len(network.DILATIONS)):
        body += held[f"scale{i}"].astype("<f4").tobytes() + held[f"up_bias{i}"].astype("<f4").tobytes()
        for name in (f"up{i}", f"down{i}"):
            halves = bfloat16(held[name])
            body += halves.tobytes()
            held[name] = (halves.astype("<u4") << 16).view("<f4").reshape(held[name].shape)
    for name in ("scale_out", "out", "out_bias"):
        body += held[name].astype("<f4").tobytes()
    with open(path, "wb") as file:
        file.write(head + body + table.tobytes())
    return held
