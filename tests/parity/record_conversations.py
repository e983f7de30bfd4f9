"""Records token ids and label masks of conversations as LLaVA's algorithm makes them, for test_conversation.c.

    python tests/parity/record_conversations.py LLAMA2_TOKENIZER_MODEL

writes tests/parity/data/conversations.json. The mask is found as LLaVA finds it: by tokenizing again what lies before
each answer and counting, which works for the cases here (the assertion says so) and not in general.
"""

import json
import pathlib
import re
import sys

import sentencepiece

processor = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
SPECIAL = {"<unk>": 0, "<s>": 1, "</s>": 2}
SYSTEM = (
    "A chat between a curious %s and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the %s's questions."
)
ASKER = {"vicuna_v1": "user", "llava_v1": "human"}


def tokenize(text):
    """LlamaTokenizer, legacy: special tokens split the text, each part gets its own leading space."""
    ids = [1]
    for part in re.split("(<s>|</s>|<unk>)", text):
        ids += [SPECIAL[part]] if part in SPECIAL else processor.encode(part) if part else []
    return ids


def tokenize_around_image(prompt):
    ids = [1]
    for index, chunk in enumerate(prompt.split("<image>")):
        ids += ([-200] if index else []) + tokenize(chunk)[1:]
    return ids


def move_image(text):
    if "<image>" not in text:
        return text
    return ("<image>\n" + text.replace("<image>", "").strip()).strip()


def vicuna(template, turns):
    prompt = SYSTEM % (ASKER[template], ASKER[template]) + " "
    for index, text in enumerate(turns):
        prompt += ("USER: " + text + " ") if index % 2 == 0 else ("ASSISTANT: " + text + "</s>")
    return prompt


def vicuna_mask(prompt, ids):
    mask = [1] * len(ids)
    mask[0], position = 0, 1
    for round in filter(None, prompt.split("</s>")):
        question, answer = round.split(" ASSISTANT: ")
        masked = len(tokenize_around_image(question + " ASSISTANT: ")) - 2
        mask[position : position + masked] = [0] * masked
        position += len(tokenize_around_image(round))
    assert position == len(ids)
    return mask


def case(template, turns):
    if template == "plain":
        ids = tokenize_around_image("<image>" + turns[1] + "\n")
        mask = [0, 0] + [1] * (len(ids) - 2)
    else:
        prompt = vicuna(template, [move_image(text) for text in turns])
        ids = tokenize_around_image(prompt)
        mask = vicuna_mask(prompt, ids)
    return {"template": template, "turns": turns, "ids": ids, "mask": mask}


cases = [
    case("plain", ["<image>\nDescribe it.", "A red cup on a table."]),
    case("plain", ["What is this?<image>", "Đà Nẵng, về đêm 🌧️"]),
    case("vicuna_v1", ["<image>\nWho is in the picture?", "A woman in an orange flight suit.", "Is she wearing a helmet?", "No — it is beside her. 🌧️"]),
    case("vicuna_v1", ["What colour is it? \n<image>\u3000", "Red"]),
    case("vicuna_v1", ["<image>", "A cat."]),
    case("vicuna_v1", ["Name three primary colours of light.", "Red,\ngreen and blue.", "And all three?", "\nWhite."]),
    case("vicuna_v1", ["Count.", "1, 2,  3 ", "Again", "    1\n\t2"]),
    case("llava_v1", ["<image>\nWhere is the cup?", "On the table.", "And the spoon?", "Beside it."]),
]
path = pathlib.Path(__file__).parent / "data" / "conversations.json"
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
