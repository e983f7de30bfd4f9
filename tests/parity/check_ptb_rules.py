#!/usr/bin/env python3
"""Compares the rules of our tokenizer with the automaton in the jar of Stanford's PTBTokenizer 3.4.1.

    pip install pycocoevalcap
    python tests/parity/check_ptb_rules.py build/tests/parity/match_ptb_rules

Every state of the jar's automaton is reached by a shortest text, and left by a character of every class that either automaton
tells apart: of each of these texts both must find the same longest match, by rules that do the same.
"""
import os
import struct
import subprocess
import sys
import zipfile

import pycocoevalcap

START = 2  # of the lexical state in which the program runs (YyTraditionalTreebank3)
FINAL = 1  # a state's attribute: a match may end there


def string_constants(data):
    """Names and values of the static strings of a Java class file."""
    count, = struct.unpack_from(">H", data, 8)
    constants, at, i = [None] * count, 10, 1
    sizes = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5}
    while i < count:
        tag = data[at]
        if tag == 1:
            length, = struct.unpack_from(">H", data, at + 1)
            text = data[at + 3:at + 3 + length].replace(b"\xc0\x80", b"\0")
            constants[i] = text.decode("utf-8", "surrogatepass")
            at += 3 + length
        else:
            constants[i] = struct.unpack_from(">H", data, at + 1)[0] if tag == 8 else None
            at += sizes[tag]
        i += 2 if tag in (5, 6) else 1
    interfaces, = struct.unpack_from(">H", data, at + 6)
    at += 8 + 2 * interfaces
    fields, = struct.unpack_from(">H", data, at)
    at += 2
    found = {}
    for _ in range(fields):
        _, name, _, attributes = struct.unpack_from(">4H", data, at)
        at += 8
        for _ in range(attributes):
            attribute, length = struct.unpack_from(">HI", data, at)
            if constants[attribute] == "ConstantValue":
                value = constants[struct.unpack_from(">H", data, at + 6)[0]]
                if isinstance(value, int):
                    found[constants[name]] = constants[value]
            at += 6 + length
    return found


def tables():
    folder = os.path.join(next(iter(pycocoevalcap.__path__)), "tokenizer")
    jar = next(name for name in os.listdir(folder) if name.endswith(".jar"))
    with zipfile.ZipFile(os.path.join(folder, jar)) as archive:
        found = string_constants(archive.read("edu/stanford/nlp/process/PTBLexer.class"))
    joined = lambda name: [ord(c) for key in sorted(found) if key.startswith(name) for c in found[key]]
    runs = lambda values: [value for count, value in zip(values[::2], values[1::2]) for _ in range(count)]
    rows = joined("ZZ_ROWMAP_PACKED")
    return {"class": runs(joined("ZZ_CMAP_PACKED")), "action": runs(joined("ZZ_ACTION_PACKED")),
            "row": [high << 16 | low for high, low in zip(rows[::2], rows[1::2])],
            "next": [value - 1 for value in runs(joined("ZZ_TRANS_PACKED"))], "attribute": runs(joined("ZZ_ATTRIBUTE_PACKED"))}


def main():
    jar = tables()
    representatives = {}
    for unit, kind in enumerate(jar["class"][:65536]):
        representatives.setdefault(kind, unit)
    # what may be told apart by ours: the borders of the jar's classes, from both sides
    borders = {u for u in range(1, 65536) if jar["class"][u] != jar["class"][u - 1]}
    singles = sorted(borders | {u - 1 for u in borders})
    step = lambda state, unit: jar["next"][jar["row"][state] + jar["class"][unit]]
    reached, queue = {START: ()}, [START]
    for state in queue:
        for unit in representatives.values():
            following = step(state, unit)
            if following >= 0 and following not in reached:
                reached[following] = reached[state] + (unit,)
                queue.append(following)
    texts = [text + (unit,) for text in reached.values() for unit in representatives.values()] + [(unit,) for unit in singles]

    def longest(text):
        state, best = START, (0, 0)
        for i, unit in enumerate(text):
            state = step(state, unit)
            if state < 0:
                break
            if jar["attribute"][state] & FINAL:
                best = (i + 1, jar["action"][state])
        return best

    lines = "".join("".join("%04x" % unit for unit in text) + "\n" for text in texts)
    ours = subprocess.run([sys.argv[1]], input=lines, stdout=subprocess.PIPE, check=True, text=True).stdout.split("\n")
    actions, wrong = {}, 0
    for text, line in zip(texts, ours):
        length, rule = map(int, line.split())
        expected, action = longest(text)
        # rules may share an action, but a rule has one
        if length != expected or actions.setdefault(rule, action) != action:
            wrong += 1
            if wrong <= 10:
                print("%r: %d by rule %d, expected %d by action %d" % ("".join(map(chr, text)), length, rule, expected, action))
    print("%d states, %d texts, %d rules met, %d differ" % (len(reached), len(texts), len(actions), wrong))
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
