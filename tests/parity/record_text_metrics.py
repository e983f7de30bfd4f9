"""Records what pycocoevalcap and its two Java programs say of captions: data/text_metrics/*.json.

    pip install pycocoevalcap        (its tokenizer and METEOR need a Java run-time environment)
    python tests/parity/record_text_metrics.py --shared FOLDER [--all FOLDER]

FOLDER is the shared test material, with the captions of COCO's caption evaluation. `--all` writes every hard line, thousands of them, with its tokens to FOLDER instead.
"""
import argparse
import json
import os
import random
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


def write(name, value):
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=0)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared")
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
    record_tokens(arguments.shared)
    record_scores(arguments.shared)


if __name__ == "__main__":
    main()
