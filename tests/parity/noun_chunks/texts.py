"""Texts to learn noun chunks from: captions, long descriptions put together from their parts, and general English.

Nothing of it is kept in the repository but the forms of sentences; captions are read from the folder named by
DIFFLMM_SHARED (or ../shared/data), general English from Debian's wordnet-base, manual pages and this machine's Python
packages: what is missing is left out, and said.
"""
import glob
import gzip
import json
import os
import random
import re
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.environ.get("DIFFLMM_SHARED", os.path.join(HERE, "../../../../shared/data"))


def captions():
    """Captions by people, (image id, caption), of COCO val2014."""
    path = os.path.join(SHARED, "public/coco_caption/codalab_history/reference/reference.zip")
    answers = json.loads(zipfile.ZipFile(path).read("answer.json"))
    return [(int(image), caption.strip()) for image in sorted(answers, key=int)
            for group in answers[image] for caption in group]


def captions_by_machine():
    """Captions that a captioner wrote for the same images, (image id, caption)."""
    path = os.path.join(SHARED, "public/coco_caption/codalab_history/submission/answer.json")
    answers = json.load(open(path))
    return [(int(image), answers[image].strip()) for image in sorted(answers, key=int)]


def is_held_out(image):
    """A twentieth of the images is not learned from, whoever captioned them."""
    return image % 20 == 3


def expressions():
    found = []
    for path in sorted(glob.glob(os.path.join(SHARED, "public/refcoco_subset/*/refs*.json"))):
        found += [sentence["sent"] for ref in json.load(open(path)) for sentence in ref["sentences"]]
    return found


SINGULAR = re.compile(r"(a|an|another|one) \S", re.I)
PLURAL = re.compile(r"(two|three|four|five|six|several|many|some|various|a few|multiple|different|lots of|all) .*s$", re.I)
DEFINITE = re.compile(r"(the|this|his|her|its|their) \S", re.I)
GERUND = re.compile(r"[a-z]+ing\b")
PLACE = re.compile(r"(in|on|at|near|next to|in front of|behind|beside|by|under|inside|along|with|over|on top of) ")


class Parts:
    """Noun phrases, verb phrases and places out of labelled captions, for the forms of sentences."""

    def __init__(self):
        self.lists = {name: [] for name in ("SG", "PL", "DEF", "BARE", "ING", "PP", "CAPTION")}

    def add(self, caption, chunks):
        """chunks: (begin, end) code points, in order."""
        text = caption.rstrip(" .")
        lists = self.lists
        for begin, end in chunks:
            phrase = text[begin:end]
            kind = ("SG" if SINGULAR.match(phrase) else "PL" if PLURAL.match(phrase) else "DEF" if DEFINITE.match(phrase)
                    else "BARE" if phrase.islower() and len(phrase) > 4 else None)
            if kind and "," not in phrase:
                lists[kind].append(phrase[0].lower() + phrase[1:])
        if not chunks:
            return
        rest = text[chunks[0][1]:].strip()
        if GERUND.match(rest) and "," not in rest:
            lists["ING"].append(rest)
        if len(chunks) > 1:
            last = text[chunks[0][1]:chunks[-1][0]].rsplit(" ", 4)
            tail = " ".join(last[-4:]) + text[chunks[-1][0]:]
            place = PLACE.search(tail)
            if place:
                lists["PP"].append(tail[place.start():])
        if text[:1].isupper() and text[1:2] in " abcdefghijklmnopqrstuvwxyz":
            lists["CAPTION"].append(text[0].lower() + text[1:])


CHOICE = re.compile(r"\{([^{}]*)\}")
SLOT = re.compile(r"<([A-Z]+)>")


def sentence(form, parts, draw):
    while True:
        choice = CHOICE.search(form)
        if not choice:
            break
        form = form[:choice.start()] + draw.choice(choice.group(1).split("|")) + form[choice.end():]
    form = SLOT.sub(lambda slot: draw.choice(parts.lists[slot.group(1)]), form)
    return form[0].upper() + form[1:]


def forms():
    path = os.path.join(HERE, "sentences.txt")
    return [line.strip() for line in open(path) if line.strip() and not line.startswith("#")]


def descriptions(parts, count, seed):
    """Long answers as GCG's and LLaVA's are, of 2 to 8 sentences, some with lists, some in several paragraphs."""
    draw = random.Random(seed)
    all_forms = forms()
    for _ in range(count):
        chosen = [sentence(draw.choice(all_forms), parts, draw) for _ in range(draw.randint(2, 8))]
        if draw.random() < 0.05:
            chosen = [one.lower() for one in chosen]
        joined = chosen[0]
        for one in chosen[1:]:
            listed = one[:2] in ("- ", "1.", "* ")
            joined += ("\n" if listed else draw.choice([" ", " ", " ", " ", " ", "\n\n"])) + one
        yield joined


def caption_paragraphs(lines, count, seed):
    """Captions one after the other, with and without their stops."""
    draw = random.Random(seed)
    for _ in range(count):
        chosen = [draw.choice(lines) for _ in range(draw.randint(2, 5))]
        yield " ".join(one if one.endswith(".") or draw.random() < 0.3 else one + "." for one in chosen)


def glosses(limit, seed):
    """Definitions and examples of WordNet, the words of the language in short texts."""
    found = []
    for path in sorted(glob.glob("/usr/share/wordnet/data.*")):
        for line in open(path, encoding="latin-1"):
            if line[0] != " " and "| " in line:
                found.append(line.split("| ", 1)[1].strip())
    if not found:
        print("no /usr/share/wordnet: apt-get install wordnet-base", file=sys.stderr)
    random.Random(seed).shuffle(found)
    texts = []
    for gloss in found[:limit]:
        examples = [example.capitalize() + "." for example in re.findall(r'"([^"]+)"', gloss)]
        definition = re.sub(r';? *".*', "", gloss)
        texts += [" ".join(examples)] if examples and len(definition) % 2 else [definition]
    return texts


def prose(limit, seed):
    """Paragraphs of documentation: docstrings of Python's modules, README and copyright files."""
    found = set()
    paths = (glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")) + glob.glob("/usr/share/doc/*/README*") +
             glob.glob("/usr/share/doc/*/NEWS*") + glob.glob("/usr/share/games/fortunes/*[a-z]"))
    for path in sorted(path for path in paths if os.path.isfile(path)):
        try:
            text = (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8", errors="strict").read()
        except (UnicodeDecodeError, OSError):
            continue
        pieces = re.findall(r'"""(.*?)"""', text, re.S) if path.endswith(".py") else [text]
        for paragraph in re.split(r"\n\s*\n|\n%\n", "\n\n".join(pieces)):
            words = " ".join(paragraph.split())
            letters = sum(c.isalpha() or c == " " for c in words)
            if 60 <= len(words) <= 800 and letters > 0.92 * len(words) and words[0].isupper():
                found.add(words)
    found = sorted(found)
    random.Random(seed).shuffle(found)
    return found[:limit]
