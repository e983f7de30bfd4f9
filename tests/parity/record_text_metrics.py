"""Records what pycocoevalcap and its two Java programs say of captions: data/text_metrics/*.json.

    pip install pycocoevalcap        (its tokenizer and METEOR need a Java run-time environment)
    python tests/parity/record_text_metrics.py --shared FOLDER [--only NAME] [--all FOLDER]

FOLDER is the shared test material, with the captions of COCO's caption evaluation. `--all` writes every hard line, thousands of them, with its tokens to FOLDER instead.
"""
import argparse
import gzip
import json
import os
import random
import re
import subprocess
import tempfile
import zipfile

import pycocoevalcap
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

PACKAGE = next(iter(pycocoevalcap.__path__))
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "text_metrics")
RECORDED_LINES = 700

WORDS = """a the man dog two riding skateboard t-shirt co-worker tree-lined don't DON'T can't cannot Cannot won't it's It's
he'll they've we're I'm she'd dogs' 's 'tis 'Tis 'twas gonna gotta lemme wanna gimme O'Neil o'clock d'Arc l'eau J'ai rock'n'roll 'n'
ol' somethin' y'all Y'know c'mon nor'easter ma'am 'em 'til '90s '05 cap'n c'est fo'c'sle isn`t isn’t Tom’s ‘em ’em naïve café Zürich
Ærø straße ΣΟΦΟΣ ΟΔΟΣ İstanbul ﬁre 東京 日本語 Москва עברית नमस्ते ไทย soft\u00adhyphen \u00ad na\u0308ive
http://a.com/b?c=d&e=f https://x.org/(y) http://e.com. www.foo.com www.foo.co.uk/bar/ foo.com bar.org/x_y. http://{x}/a
me@x.org <me@x.org> &lt;me@x.org&gt; a.b-c+d@e.f.g @user @user_1 #tag #1 #tag2 # ## @ @@ __ _ a_b a@b x@y.z,
$5 $5.00 US$10 NT$ £3 €4 ¢ 5¢ ¥100 ₹5 C$20.50 $1,000,000 1,000 1.5 .5 -5 +5 -.5 3:45 3:45pm 12:00 1/2 1\\/2 3/4" 50/50 1-1/2 7⁄8 ½ ¾ ⅓ ⅔ ⅛ 2² x³ H₂O
1/2/2014 12-25-99 1-2-3 2014-01-02 555-1234 (555) 555-1234 +1-555-555-1234 555.555.1234 1st 2nd 8th 5'9 5'9" 6ft 10% 100°F 20°C
U.S. U.S.A. U.K. a.m. p.m. A.M. P.M. a.k.a. e.g. i.e. etc. Mr. Mrs. Dr. St. Ave. Blvd. Inc. Ltd. Co. Corp. Jan. Feb. Sept. Mon. No. no. Nos. fig. Fig. pp. vs. v. Ph.D. Ph. D. M.D. J. J.R.R. Mass. Calif. La. approx. t.v. T.V. Jr. Sr. Esq. dept. Dept. Pty. Ltd. co. ltd
... .. .... ..... ...... . . . … ?! !!! !? ?? ! ? -- --- ---- ----- - – — ― &mdash; &ndash; ; : , ,, a,b a;b a:b
" '' ``  ` ' "hi" 'hi' “hi” ‘hi’ «hi» „hi“ ‹hi› ‚hi’ &quot;hi&quot; &apos;s it&apos;s don&apos;t "a "5 "$
( ) [ ] { } (a) [b] {c} -LRB- -RRB- < > << >> &lt; &gt; <a> </a> <br/> <br /> <img src="x y.png"> <a href='x'> <!-- c --> <?xml?> <p <3 a<b a>b
&amp; AT&T AT&amp;T R&D B+B S&P-500 &nbsp; &eacute; caf&eacute; &HT; &#8217; &copy; & && C++ c++ C# f# F# c# .NET
/ // and/or and\\/or a/b/c over/under black/white \\ \\\\ * ** *** \\* | ^ ~ = == + += % # a=b a+b x^2 ~5 | a|b
:) :-) ;) :( :P :D =) :o) <:) :/ ^_^ -_- (^_^) (-_-) (>.<) >.> x_x '_' (^-^)
photo.jpg IMG_001.JPG a.html index.php my.file.txt readme.md x.c main.c, video.mp4 data.tar.gz
😀 👍🏽 a😀b ❤ ❤️ ★ ☆ → ← ✓ • · ™ © ® § ¶ † ‡ ° ± × ÷ ≠ ∞ № ℃ ￡ ＄ ！ ？ ， 。 、 ・ \u200b \ufeff \u200e \u3000 \u00a0 \u2009
Yahoo! E! Jeopardy! pro- anti- pro-life anti-war C.D.s S&Ls Cap'n Alex. Wm. cf. al. seq. sq. ft. tel. est. ext.
non-U.S. Sino-U.S. U.S.-U.K. EU-U.S. J.P.-Morgan 747-400 F-16 16-F X-ray 3-D 4x4 20x30 two-and-a-half a--b a---b a-b-c- -a
1980s 80's A's As A-frame Mc'Donald D'Angelo N'Djamena Shi'ite O'o O’o li'l ev'ry e'er nat'l s'mores cont'd cont'd.
A An The He She It This These I In On At""".split()
OPENERS = ["The", "A", "He", "It", "In", "This", "there", "3", "of", "Mr.", "<b>", "U", "é", "É", "Ⅳ"]


def hard_lines(seed, count):
    """Lines of pieces that scanners stumble over, alone, side by side and run together."""
    draw = random.Random(seed)
    alphabet = ("aAbeEinNsStTlLmMdDrRvkKzIZ019 5...,'’`\"-_/\\()[]{}<>&;:!?@#$%*+=|^~ \u00a0\u00ad\u2019\u2018\u201c\u201d"
                "…–½éß中İſKıΣσ😀\u0092\u0093\u0096\u0080\u0600٣\u200b\ufeff")
    lines = []
    while len(lines) < count:
        kind = draw.random()
        if kind < 0.25:
            line = " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 8)))
        elif kind < 0.5:
            line = "".join(draw.choice(WORDS) + draw.choice(["", " ", " ", ".", ",", "'s", "n't", "-", "/"])
                           for _ in range(draw.randint(1, 6)))
        elif kind < 0.6:
            line = draw.choice(WORDS) + draw.choice(["", ".", ". ", " "]) + draw.choice(["", " "]) + draw.choice(OPENERS) + " b"
        elif kind < 0.8:
            line = "".join(draw.choice(alphabet) for _ in range(draw.randint(1, 24)))
        else:
            line = "".join(draw.choice(draw.choice(WORDS)) for _ in range(draw.randint(1, 16)))
        # what the original takes for a line break would shift its lines, and a tag may span two
        if not any(c in line for c in "\n\r\u0085\u2028\u2029\x0b\x0c") and "='" not in line.replace(" ", "") \
                and '="' not in line.replace(" ", ""):
            lines.append(line)
    return lines


def tokenize(lines):
    """What the jar makes of lines, punctuation kept. It is called as pycocoevalcap calls it."""
    folder = os.path.join(PACKAGE, "tokenizer")
    jar = next(name for name in os.listdir(folder) if name.endswith(".jar"))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        file.write("\n".join(lines))
        file.flush()
        run = subprocess.run(["java", "-Dfile.encoding=UTF-8", "-cp", os.path.join(folder, jar),
                              "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", file.name],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    tokens = run.stdout.decode("utf-8").split("\n")
    assert len(tokens) == len(lines), (len(tokens), len(lines))
    return tokens


def coco_captions(shared):
    """Of each image its candidate, of each image its references, and the candidates of 1,000."""
    folder = os.path.join(shared, "public", "coco_caption")
    with open(os.path.join(folder, "codalab_history", "submission", "answer.json")) as file:
        candidates = json.load(file)
    with zipfile.ZipFile(os.path.join(folder, "codalab_history", "reference", "reference.zip")) as archive:
        references = {image: value[0] for image, value in json.loads(archive.read("answer.json")).items()}
    with open(os.path.join(folder, "results", "captions_val2014_fakecap_results.json")) as file:
        fake = json.load(file)
    return candidates, references, fake


def hash_lines(lines):
    """FNV-1a over the lines' bytes, each with a line break behind."""
    value = 0xcbf29ce484222325
    for byte in "".join(line + "\n" for line in lines).encode():
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return "%016x" % value


def record_tokens(shared):
    candidates, references, fake = coco_captions(shared)
    captions = list(candidates.values()) + [c for value in references.values() for c in value] \
        + [result["caption"] for result in fake]
    tokens = tokenize([caption.replace("\n", " ") for caption in captions])
    lines = WORDS + hard_lines(1, RECORDED_LINES)
    write("tokens.json", {"lines": lines, "tokens": tokenize(lines),
                          "coco": {"lines": len(captions), "hash": hash_lines(tokens)}})


def tokenize_images(images):
    """Candidates and references of (candidate, references) as pycocoevalcap has them tokenised."""
    tokenizer = PTBTokenizer()
    candidates = tokenizer.tokenize({i: [{"caption": c}] for i, (c, _) in enumerate(images)})
    references = tokenizer.tokenize({i: [{"caption": r} for r in rs] for i, (_, rs) in enumerate(images)})
    return [(candidates[i][0], references[i]) for i in range(len(images))]


def score(images):
    """CIDEr and BLEU of the whole and of every image."""
    cider, bleu = CiderScorer(), BleuScorer()
    for candidate, references in tokenize_images(images):
        cider += (candidate, references)
        bleu += (candidate, references)
    whole, scores = cider.compute_score()
    bleus, bleu_scores = bleu.compute_score(option="closest")
    return {"cider": float(whole), "cider_scores": [float(s) for s in scores],
            "bleu": bleus, "bleu_scores": [list(s) for s in zip(*bleu_scores)]}


def random_images(draw, count, words, longest, references):
    vocabulary = draw.sample([w for w in WORDS if w.isalpha()], words)
    caption = lambda: " ".join(draw.choice(vocabulary) for _ in range(draw.randint(0, longest)))
    return [(caption(), [caption() for _ in range(draw.randint(*references))]) for _ in range(count)]


def image_sets():
    draw = random.Random(5)
    one = [("A man rides a wave.", ["A man riding a wave on a board.", "A surfer on a wave"])]
    same = [("a dog in the snow", ["a dog in the snow"]), ("two cats on a bed", ["two cats on a bed"] * 3)]
    odd = [("", ["a dog"]), ("a dog", [""]), ("", [""]), ("dog", ["dog"]), ("...", ["!", "a cat (black)"]),
           ("a a a a a a", ["a a", "a a a b"]), ("a b c d e", ["a b c d e f", "a b c d"]),
           ("a very long caption that goes on and on and on and never comes to any end at all", ["a short one"]),
           ("5 7/8 inches", ["5 7 / 8 inches", "5 7/8 inches"]), ("caf\u00e9 \U0001f600 U.", ["The caf\u00e9", "Caf\u00e9 U."])]
    return {"one": one, "same": same, "odd": odd, "odd and same": odd + same, "few words": random_images(draw, 12, 4, 9, (1, 5)),
            "many words": random_images(draw, 20, 40, 14, (1, 6)), "five references": random_images(draw, 10, 12, 12, (5, 5))}


def record_scores(shared):
    sets = []
    for name, images in image_sets().items():
        sets.append({"name": name, "images": [{"candidate": c, "references": r} for c, r in images], **score(images)})
    candidates, references, fake = coco_captions(shared)
    every = score([(candidates[i], references[i]) for i in candidates])
    some = score([(r["caption"], references[str(r["image_id"])]) for r in fake])
    thin = lambda scores, step: scores | {k: v[::step] for k, v in scores.items() if k.endswith("_scores")}
    write("scores.json", {"sets": sets, "coco": thin(every, 400), "fake": thin(some, 10)})


# ---- METEOR

FUNCTION_WORDS = "the a an of in on at to and is are was were it its this that with by for from as be he she they 's , .".split()
PREFIXES = ["# Abbreviations that keep their stop.", "", "Mr", "Mrs", "Dr", "vs", "No #NUMERIC_ONLY#", "pp #NUMERIC_ONLY#"]
SYNSETS = {"dog": [1, 2], "hound": [1], "puppy": [3, 2], "picture": [10], "photo": [10], "photograph": [10, 11], "image": [10, 12],
           "man": [20, 21], "gentleman": [20], "bloke": [21], "child": [30], "kid": [30, 31], "goat": [31], "mouse": [32],
           "big": [40], "large": [40, 41], "huge": [41], "ride": [50], "box": [60], "carton": [60], "berry": [61], "fruit": [61],
           "take": [70], "fetch": [70], "church": [80], "chapel": [80], "fast": [90], "quick": [90], "watch": [91], "look": [91],
           "sofa": [95], "couch": [95], "street": [96], "road": [96], "bus": [97], "coach": [97], "woman": [98], "lady": [98],
           "snowman": [99], "size": [100], "glass": [101], "dress": [102], "teaspoon": [103], "good": [104], "nice": [104]}
EXCEPTIONS = {"child": "children", "mouse": "mice", "take": "took taken", "ride": "rode ridden", "good": "better best", "fast": "better",
              "unknown": "unknowns", "woman": "women"}
PARAPHRASES = [("a man", "a gentleman"), ("a man", "the guy"), ("a man", "one person"), ("is riding", "rides"), ("is riding", "on top of"),
               ("in front of", "before"), ("in front of", "facing"), ("in front of", "ahead of the"), ("on top of", "on"), ("on", "upon"),
               ("on", "on top of"), ("next to", "beside"), ("next to", "near"), ("next to a", "beside the"), ("a", "the"), ("a", "one"),
               ("the", "a"), ("the", "this"), ("a picture of", "an image of"), ("a picture of", "picture"), ("two", "a pair of"),
               ("a pair of", "two"), ("a group of people", "some people"), ("a group of people", "people"), ("people", "persons"),
               ("a couple of", "two"), ("a lot of", "many"), ("many", "lots of"), ("street", "the road"), ("a man", "man"),
               ("surfboard", "board"), ("a wave", "the waves"), ("wave", "surf"), ("riding a wave on", "surfing with"), ("of", "'s"),
               ("sitting at the table in the kitchen with", "at table with"), ("very long phrase of words that hardly fits", "short")]
CAPTIONS = """A man is riding a wave on top of a surfboard.|The guy rides the waves on a board|One person upon a surfboard in the surf
A dog next to a child in front of the church|Two hounds beside the children, facing a chapel.|A pair of puppies near kids
A picture of a huge bus on the street|An image of a large coach driving down the road.|Picture: a big bus, the road
A group of people watching two mice|Some people look at a couple of mice|Persons watch a mouse and a mouse
The women took a lot of berries in boxes.|A lady takes many fruits in cartons|The woman has taken lots of berries in a box
The the the a a a of of in in dog dog|a the a the a the of in dog hound dog puppy|the dog
Mr. Smith's No. 5 T-shirt vs. the U.S. team|Mr. Smith has a t-shirt of the US team, No. 5.|Smith and Mr. T...
A glass of tea on a sofa|Glasses on couches|A couch with glass
better rides|the best and fastest ride|a good, quick one
|a dog|
dog||dog
a dog|a dog|the dog
sitting at the table in the kitchen with a dog|at table with a hound|kitchen table
He didn't see 1,000 dogs' tails; "nice" ones!|He did not see a thousand dogs' tails (nice ones)|1,000 tails''s
unknowns|unknown|unknowns and unknown""".split("\n")


def write_meteor_data():
    """Small word lists and a small table, laid out as METEOR's."""
    folder = os.path.join(OUT, "meteor")
    pairs = lambda values: "".join("%s\n%s\n" % (word, value) for word, value in sorted(values.items()))
    files = {"function/english.words": "\n".join(FUNCTION_WORDS) + "\n", "nonbreaking/english.prefixes": "\n".join(PREFIXES) + "\n",
             "synonym/english.synsets": pairs({w: " ".join("%08d" % s for s in sets) for w, sets in SYNSETS.items()}),
             "synonym/english.exceptions": pairs(EXCEPTIONS), "synonym/english.relations": ""}
    for name, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        if text:
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
    with open(os.path.join(folder, "paraphrase-en.gz"), "wb") as file:
        table = "".join("0.5\n%s\n%s\n" % pair for pair in PARAPHRASES)
        file.write(gzip.compress(table.encode(), mtime=0))
    return ["-s", os.path.join(folder, "function/english.words"), "-d", os.path.join(folder, "synonym"),
            "-a", os.path.join(folder, "paraphrase-en.gz")]


def meteor(images, options, every=1):
    """Statistics and scores of (candidate, references), as they are, by METEOR's jar."""
    folder = os.path.join(PACKAGE, "meteor")
    run = lambda lines: subprocess.run(
        ["java", "-Xmx4G", "-Dfile.encoding=UTF-8", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"] + options,
        cwd=folder, input="".join(line + "\n" for line in lines).encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=True).stdout.decode().split("\n")
    statistics = run([" ||| ".join(["SCORE"] + references + [candidate]) for candidate, references in images])[:len(images)]
    scores = run([" ||| ".join(["EVAL"] + statistics)])
    return {"statistics": [[int(float(x)) for x in s.split()[:21]] for s in statistics[::every]],
            "scores": [float(s) for s in scores[:len(images)][::every]], "corpus": float(scores[len(images)])}


def normalize(lines):
    jar = os.path.join(PACKAGE, "meteor", "meteor-1.5.jar")
    run = subprocess.run(["java", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", jar, "edu.cmu.meteor.util.Normalizer",
                          "en", "true"], input="".join(line + "\n" for line in lines).encode(), stdout=subprocess.PIPE, check=True)
    return run.stdout.decode().split("\n")[:len(lines)]


def lines_to_normalize():
    """Hard lines in which no abbreviation stands that METEOR's own list has and ours has not."""
    with zipfile.ZipFile(os.path.join(PACKAGE, "meteor", "meteor-1.5.jar")) as archive:
        listed = {line.split()[0] for line in archive.read("nonbreaking/english.prefixes").decode().split("\n") if line.strip()}
    listed -= {prefix.split()[0] for prefix in PREFIXES if prefix}
    lines = [line for line in hard_lines(7, 400) + CAPTIONS[6:7] + CAPTIONS[13:14] if "\x00" not in line]
    return [line for line in lines if not any(word in line for word in (prefix + "." for prefix in listed))]


def example(shared):
    """METEOR's example, segments in the order of its scores."""
    folder = os.path.join(shared, "public", "meteor", "example")
    def segments(name):
        found, document = {}, None
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            for line in file:
                document = re.search(r'<doc .*docid="([^"]*)"', line) or document
                segment = re.search(r'<seg id="([^"]*)">(.*)</seg>', line)
                if segment:
                    text = segment.group(2)
                    for entity, character in ("&quot;", '"'), ("&apos;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"):
                        text = text.replace(entity, character)
                    found[document.group(1), segment.group(1)] = text.strip()
        return found
    test, reference = segments("test.sgm"), segments("ref.sgm")
    with open(os.path.join(folder, "meteor-seg.scr")) as file:
        keys = [tuple(line.split("\t")[2:4]) for line in file]
    return [(test[key], [reference[key]]) for key in keys]


def record_meteor(shared):
    small = write_meteor_data()
    without = ["-m", "exact stem synonym"]
    images = [(c, [r for r in rs]) for c, *rs in (caption.split("|") for caption in CAPTIONS)]
    tokens = tokenize_images(images)
    draw = random.Random(11)
    words = sorted({w for caption in CAPTIONS for w in caption.lower().replace("|", " ").split() if w.isalpha()})
    mixed = [(" ".join(draw.choice(words) for _ in range(draw.randint(1, 24))),
              [" ".join(draw.choice(words) for _ in range(draw.randint(1, 24))) for _ in range(draw.randint(1, 3))]) for _ in range(60)]
    _, references, fake = coco_captions(shared)
    real = tokenize_images([(r["caption"], references[str(r["image_id"])]) for r in fake])
    record = lambda images, options, every=1: {"with": meteor(images, options, every), "without": meteor(images, options + without, every)}
    listed = lambda images: [{"candidate": c, "references": r} for c, r in images]
    lines = lines_to_normalize()
    write("meteor.json", {
        "normalized": {"lines": lines, "words": [line.lower() for line in normalize(lines)]},
        "sets": [{"name": "captions", "images": listed(images), **record(tokens, small)},
                 {"name": "mixed words", "images": listed(mixed), **record(mixed, small)}],
        "fake": record(real, [], 20), "example": record(example(shared), [], 50)})


def write(name, value):
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=0)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared")
    parser.add_argument("--only", choices=["tokens", "scores", "meteor"])
    parser.add_argument("--all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    if arguments.all:
        lines = WORDS + hard_lines(arguments.seed, arguments.count)
        os.makedirs(arguments.all, exist_ok=True)
        for name, texts in ("lines.txt", lines), ("tokens.txt", tokenize(lines)):
            with open(os.path.join(arguments.all, name), "w", encoding="utf-8") as file:
                file.write("\n".join(texts) + "\n")
        return
    for name, record in ("tokens", record_tokens), ("scores", record_scores), ("meteor", record_meteor):
        if arguments.only in (None, name):
            record(arguments.shared)


if __name__ == "__main__":
    main()
