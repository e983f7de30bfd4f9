#!/usr/bin/env python3
"""Holds tokens and label masks of conversations to LLaVA's rules, written anew, with transformers' tokenizers.

    python tests/parity/check_conversations.py TOKENIZER [--program build/tests/parity/tokenize_conversations]
                                               [--count 20000] [--seed 1] [--real FILE ...] [--record OUT]

TOKENIZER is a SentencePiece tokenizer.model (Llama's, legacy as LLaVA uses it) or the folder of a tokenizer.json.
Written anew: the reference needs nothing of LLaVA's code, only sentencepiece and transformers (4.37, as LLaVA pins it, for a
tokenizer.model; any that can read the tokenizer.json otherwise). --count: conversations of random text for each template, of
all scripts, emoji, controls, odd blanks, bytes without pieces, words that templates write. --record writes the cases for
tests/unit/data/test_recorded_conversations.c:

    ... checkpoints/tiny/llm/tokenizer.model --count 200 --record tests/parity/data/conversations_sentence_piece.json
    ... tests/parity/data/tokenizers/llama_3 --count 240 --record tests/parity/data/conversations_byte_level.json

--real: conversations in LLaVA's form, messages, Alpaca's instructions, COCO captions or RefCOCO's references, as JSON.

For each template two masks are made. One by position: the text is put together with the places of the answers, and a
token is learned if it stands for bytes of an answer. The other as LLaVA does, which tokenizes rounds again and counts;
where its count does not add up it learns nothing of the sample ("tokenization mismatch"). Ids must be equal always,
masks those by position always, and LLaVA's wherever its count adds up ("counted"), unless a text has the words that
LLaVA cuts at, "ASSISTANT:" or the end of an answer, so that it cuts in the wrong place ("cut within a text").
"""
import argparse
import io
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

from check_tokenizer import PIECES

IMAGE, IMAGE_ID = "<image>", -200
MOST_RECORDED = 50  # tokens, behind the system message
SYSTEM = ("A chat between a curious {0} and an artificial intelligence assistant. "
          "The assistant gives helpful, detailed, and polite answers to the {0}'s questions.")
ASKER = {"vicuna_v1": "user", "llava_v1": "human"}
ODD = ["ASSISTANT:", " ASSISTANT: ", "USER: ", "</s>", "<s>", "<unk>", "<|im_end|>", "<|eot_id|>", "<image", "image>", "< image >", "<0x0A>"]
WORDS = "a the red ring cup on table is of two small star and what where colour Describe picture 7 42 — – … ß œ".split()


# ---- tokenizers: (ids, [begin, end) of each in characters of the text)

class SentencePieceLlama:
    """transformers' LlamaTokenizer in the legacy mode: added tokens cut the text, each part gets a space in front."""

    def __init__(self, path):
        from transformers import LlamaTokenizer
        self.tokenizer = LlamaTokenizer(path, legacy=True)
        self.bos, self.eos, self.unk = self.tokenizer.bos_token_id, "</s>", self.tokenizer.unk_token_id

    def ids(self, text):
        return self.tokenizer(text).input_ids

    def with_places(self, text):
        """In bytes. Each token's own bytes, one after the other, are the text's with the spaces that were put in front."""
        ids = self.tokenizer(text).input_ids[1:]
        pieces = self.tokenizer.convert_ids_to_tokens(ids)
        data, at, places, starts = text.encode(), 0, [], True
        for piece in pieces:
            if piece in ("<s>", "</s>", "<unk>") and data[at:].startswith(piece.encode()):
                places.append((at, at + len(piece)))
                at, starts = at + len(piece), True
                continue
            begin, byte = at, re.fullmatch("<0x([0-9A-F]{2})>", piece)
            for own in [bytes([int(byte[1], 16)])] if byte else [letter.encode() for letter in piece]:
                if starts:  # the space in front is no byte of the text
                    assert own == "▁".encode(), (text, piece)
                    starts = False
                    continue
                if own == "▁".encode() and data[at:at + 1] == b" ":
                    own = b" "
                assert data[at:].startswith(own), (text, piece)
                at += len(own)
            places.append((begin, at))
        assert at == len(data), text
        return ids, places, data


class Json:
    def __init__(self, folder):
        from transformers import PreTrainedTokenizerFast
        with open(os.path.join(folder, "tokenizer_config.json")) as file:
            config = json.load(file)
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"))
        text = lambda token: token["content"] if isinstance(token, dict) else token
        self.eos, self.unk = text(config["eos_token"]), -1
        first = self.tokenizer("a").input_ids[0]
        bos = text(config["bos_token"]) if config.get("bos_token") else None
        self.bos = first if bos and self.tokenizer.convert_ids_to_tokens(first) == bos else None

    def ids(self, text):
        return self.tokenizer(text).input_ids

    def with_places(self, text):
        encoding = self.tokenizer(text, return_offsets_mapping=True)
        skip = 1 if self.bos is not None else 0
        return encoding.input_ids[skip:], encoding["offset_mapping"][skip:], text


# ---- the rules

def around_image(tokenizer, prompt):
    """LLaVA: chunks around the mark, each tokenized alone, one BOS."""
    chunks = [tokenizer.ids(chunk) for chunk in prompt.split(IMAGE)]
    skip = 1 if chunks[0] and chunks[0][0] == tokenizer.bos else 0
    ids = chunks[0][:skip]
    for index, chunk in enumerate(chunks):
        ids = ids + ([IMAGE_ID] if index else []) + chunk[skip:]
    return ids


def moved(text):
    if IMAGE not in text:
        return text
    return (IMAGE + "\n" + text.replace(IMAGE, "").strip()).strip()


def written(template, sample, eos):
    """The prompt, and the answers' [begin, end) in it."""
    turns = [turn["value"] for turn in sample["conversations"]]
    if sample["conversations"][0]["from"] == "gpt":
        turns = turns[1:]
    if template == "plain":
        image = IMAGE if "image" in sample else ""
        return image + turns[1] + "\n", [(len(image), len(image) + len(turns[1]) + 1)]
    if "image" in sample:
        turns = [moved(text) for text in turns]
    prompt, answers = SYSTEM.format(ASKER[template]) + " ", []
    for index, text in enumerate(turns):
        if index % 2 == 0:
            prompt += "USER: " + text + " "
            continue
        begin = len(prompt) + len("ASSISTANT:")
        prompt += "ASSISTANT: " + text + eos
        answers.append((begin, len(prompt)))
    return prompt, answers


def by_position(tokenizer, prompt, answers, has_image):
    """ids and mask; an answer is never in two chunks."""
    ids, mask, offset = [], [], 0
    if tokenizer.bos is not None:
        ids, mask = [tokenizer.bos], [0]
    for index, chunk in enumerate(prompt.split(IMAGE) if has_image else [prompt]):
        if index:
            ids, mask, offset = ids + [IMAGE_ID], mask + [0], offset + len(IMAGE)
        chunk_ids, places, unit = tokenizer.with_places(chunk)
        place = (lambda at: len(chunk[:at].encode())) if isinstance(unit, bytes) else (lambda at: at)
        spans = [(place(max(b - offset, 0)), place(e - offset)) for b, e in answers if e > offset and b < offset + len(chunk)]
        ids += chunk_ids
        mask += [int(any(b < end and (e > begin or b >= begin) for begin, end in spans)) for b, e in places]
        offset += len(chunk)
    if mask and tokenizer.bos is None:
        mask[0] = 0
    return ids, mask


def by_counting(tokenizer, template, prompt, ids, eos, has_image):
    """LLaVA's mask; None: a mismatch, nothing is learned."""
    tokens = (lambda text: around_image(tokenizer, text)) if has_image else tokenizer.ids
    mask = [1] * len(ids)
    if template == "plain":
        count = len(tokens(IMAGE)) if has_image else 0
        return [0] * count + mask[count:] if has_image else None
    total = sum(token != tokenizer.unk for token in ids)
    mask[0], position = 0, 1
    for text in prompt.split(eos):
        if not text:
            break
        parts = text.split(" ASSISTANT: ")
        if len(parts) != 2:
            break
        masked = len(tokens(parts[0] + " ASSISTANT: ")) - 2
        mask[position:position + masked] = [0] * masked
        position += len(tokens(text))
    mask[position:] = [0] * (len(mask) - position)
    return mask[:len(ids)] if position == total else None


# ---- conversations

def random_text(rng, blanks=True):
    parts = []
    for _ in range(rng.choice([1, 1, 2, 3, 5, 8, 13])):
        kind = rng.random()
        if kind < 0.45:
            parts.append(" ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 6))))
        elif kind < 0.8:
            parts.append(rng.choice(PIECES))
        elif kind < 0.95:
            parts.append("".join(map(chr, rng.sample([c for c in (rng.randrange(1, 0x110000) for _ in range(8)) if not 0xD800 <= c < 0xE000], 2))))
        else:
            parts.append(rng.choice(ODD))
    text = rng.choice(["", "", " "]).join(parts).replace("\0", "")
    return text if text or not blanks else " "


def generate(template, count, seed):
    rng = random.Random(f"{seed} {template}")
    for number in range(count):
        rounds, has_image = rng.choice([1, 1, 1, 2, 3, 5]) if template != "plain" else 1, rng.random() < 0.7
        turns = []
        for index in range(2 * rounds):
            text = random_text(rng).replace(IMAGE, "")
            if index % 2 == 0 and rng.random() < 0.03:
                text = ""
            turns.append({"from": ("human", "gpt")[index % 2], "value": text})
        if has_image:
            asked = turns[2 * rng.randrange(rounds) if rng.random() < 0.2 else 0]
            at = rng.choice([0, 0, len(asked["value"]), rng.randint(0, len(asked["value"]))])
            mark = rng.choice([IMAGE + "\n", IMAGE + "\n", "\n" + IMAGE, IMAGE, " " + IMAGE + "  ", IMAGE + IMAGE])
            asked["value"] = asked["value"][:at] + mark + asked["value"][at:]
        if rng.random() < 0.02:
            turns.insert(0, {"from": "gpt", "value": "Hello."})
        yield {"id": number, **({"image": "a.png"} if has_image else {}), "conversations": turns}


def real(paths):
    def two(question, answer, image=True):
        mark = {"image": "a.png"} if image else {}
        return {**mark, "conversations": [{"from": "human", "value": (IMAGE + "\n" if image else "") + question}, {"from": "gpt", "value": answer}]}

    for path in paths:
        with open(path, encoding="utf-8") as file:
            for item in json.load(file):
                if "instruction" in item:
                    question = "\n".join(filter(None, [item["instruction"], item.get("input")]))
                    sample = two(question, item["output"], False)
                elif "caption" in item:
                    sample = two("Describe the image in detail.", item["caption"])
                elif "sentences" in item:
                    for sentence in item["sentences"]:
                        yield two("What is marked?", sentence["raw"])
                    continue
                elif "messages" in item:
                    names = {"user": "human", "assistant": "gpt"}
                    turns = [{"from": names[m["role"]], "value": m["content"]} for m in item["messages"]]
                    sample = {**({"image": "a.png"} if item.get("images") else {}), "conversations": turns}
                else:
                    sample = {key: item[key] for key in ("image", "conversations") if key in item}
                if sum(IMAGE in turn["value"] for turn in sample["conversations"]) <= 1:
                    yield sample


# ---- comparison

def results(stream):
    while head := stream.read(4):
        count = struct.unpack("<i", head)[0]
        if count < 0:
            yield stream.read(struct.unpack("<i", stream.read(4))[0]).decode(errors="replace"), None
            continue
        yield list(struct.unpack(f"<{count}i", stream.read(4 * count))), list(stream.read(count))


def fits(template, sample):
    turns = sample["conversations"][sample["conversations"][0]["from"] == "gpt":]
    return template != "plain" or len(turns) == 2


def compare(options, tokenizer, template, name, samples):
    samples = [sample for sample in samples if fits(template, sample)]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for number, sample in enumerate(samples):
            file.write(json.dumps(sample, ensure_ascii=number % 2 == 0) + "\n")
        file.flush()
        run = subprocess.run([options.program, options.tokenizer, template, file.name], stdout=subprocess.PIPE, check=True)
    ours = list(results(io.BytesIO(run.stdout)))
    assert len(ours) == len(samples), (len(ours), len(samples))
    counts = dict.fromkeys(["refused", "ids differ", "masks differ", "LLaVA's differ", "counted", "cut within a text", "mismatch", "tokens"], 0)
    recorded = []
    for sample, (ids, mask) in zip(samples, ours):
        has_image = "image" in sample
        if any(turn["from"] == "gpt" and not turn["value"] for turn in sample["conversations"]):
            counts["refused"] += mask is None and "is empty" in ids
            continue
        prompt, answers = written(template, sample, tokenizer.eos)
        right_ids, right_mask = by_position(tokenizer, prompt, answers, has_image)
        assert right_ids == (around_image(tokenizer, prompt) if has_image else tokenizer.ids(prompt)), prompt
        counted = by_counting(tokenizer, template, prompt, right_ids, tokenizer.eos, has_image)
        counts["tokens"] += len(right_ids)
        counts["counted" if counted else "mismatch"] += 1
        problem = "ids differ" if ids != right_ids else "masks differ" if mask != right_mask else None
        if counted and counted != right_mask:
            words = [moved(turn["value"]) for turn in sample["conversations"]]
            if any("ASSISTANT:" in text or tokenizer.eos in text for text in words):
                counts["cut within a text"] += 1
            else:
                problem = problem or "LLaVA's differ"
        if problem:
            counts[problem] += 1
            if counts[problem] < 4:
                print(f"  {problem}: {prompt[-200:]!r}\n    expected {right_ids[-60:]}\n    got      {ids[-60:]}\n"
                      f"    expected {right_mask[-60:]}\n    got      {mask[-60:]}\n    LLaVA's  {counted and counted[-60:]}")
        recorded.append({"template": template, "sample": sample, "ids": right_ids, "mask": "".join(map(str, right_mask))})
    print(f"{template}, {name}: {len(samples)} conversations: " + ", ".join(f"{n} {key}" for key, n in counts.items()), flush=True)
    return counts["ids differ"] + counts["masks differ"] + counts["LLaVA's differ"], recorded


def record(path, groups):
    """The short ones. What all ids of a template begin with is written once."""
    lines, beginnings = [], {}
    for template, cases in groups:
        if not cases:
            continue
        begin = len(os.path.commonprefix([case["ids"] for case in cases]))
        beginnings[template] = cases[0]["ids"][:begin]
        for case in [case for case in cases if len(case["ids"]) - begin <= MOST_RECORDED]:
            case["ids"] = case["ids"][begin:]
            lines.append(json.dumps(case, separators=(",", ":"), ensure_ascii=False))
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"beginnings": ' + json.dumps(beginnings) + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("--program", default="build/tests/parity/tokenize_conversations")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", nargs="*", default=[])
    parser.add_argument("--record")
    options = parser.parse_args()
    tokenizer = SentencePieceLlama(options.tokenizer) if options.tokenizer.endswith(".model") else Json(options.tokenizer)
    differ, recorded = 0, []
    for template in ("plain", "vicuna_v1", "llava_v1"):
        for name, samples in (("generated", list(generate(template, options.count, options.seed))), ("real", list(real(options.real)))):
            found, cases = compare(options, tokenizer, template, name, samples) if samples else (0, [])
            differ += found
            recorded.append((template, cases))
    if options.record:
        record(options.record, recorded)
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
