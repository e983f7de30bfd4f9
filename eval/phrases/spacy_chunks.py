#!/usr/bin/env python3
"""spaCy's noun chunks and vectors for a program that asks line by line; the protocol is in chunk_command.h.

    pip install spacy && python3 -m spacy download en_core_web_lg
    command: python3 eval/phrases/spacy_chunks.py --model en_core_web_lg

Attend-and-segment's figures are of en_core_web_lg; en_core_web_sm has no vectors of words.
"""
import argparse
import json
import sys


def byte_offsets(text):
    """Where each code point of text begins in UTF-8, and where the text ends."""
    offsets = [0]
    for character in text:
        offsets.append(offsets[-1] + len(character.encode("utf-8")))
    return offsets


def chunks_of(doc):
    at = byte_offsets(doc.text)
    return [[at[chunk.start_char], at[chunk.end_char], at[chunk.root.idx], at[chunk.root.idx + len(chunk.root)]]
            for chunk in doc.noun_chunks]


def answer_to(request, nlp):
    if "text" in request:
        return {"chunks": chunks_of(nlp(request["text"]))}
    if "words" in request:
        if nlp.vocab.vectors_length == 0:
            return {"error": f"{nlp.meta['name']} has no vectors; take en_core_web_lg"}
        return {"vectors": [[float(value) for value in nlp.make_doc(word).vector] for word in request["words"]]}
    return {"error": "neither a text nor words were asked for"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="en_core_web_lg")
    given = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    import spacy
    nlp = spacy.load(given.model, exclude=["ner"])
    name = f"spaCy {spacy.__version__}, {nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}"
    print(json.dumps({"name": name}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"id": request["id"], **answer_to(request, nlp)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
