#!/usr/bin/env python3
"""Records what the `tokenizers` package and transformers' chat templates give: test_tokenizer_json.c,
test_word_piece.c and test_conversation_template.c hold the C code to it.

    python tests/parity/record_tokenizers.py        (writes tests/parity/data/tokenizers)

texts.json                          hard texts; {"hex": ..} where JSON cannot hold the bytes
<family>/tokenizer.json             a small vocabulary, trained here, with exactly the family's normalizer, pre-tokenizer, post-processor,
                                    decoder and kind of added tokens; tokenizer_config.json beside it
<family>/expected.json              per text the ids, and the decoded text where it is not the text itself
bert/                               a WordPiece vocabulary and its ids
<family>/conversations.json         conversations as the family's published chat template writes them: text, ids, what is supervised
"""
import collections
import json
import os
import random
import shutil

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "tokenizers")

SENTENCES = """\
The quick brown fox jumps over the lazy dog, and then it's time for the dog's revenge: they'll chase, we've seen it, I'd bet on it.
What is in the picture? A small red ring stands on a table beside the window; two people are looking at it.
Describe the image. The image shows a woman in an orange flight suit who is holding a helmet in her left hand.
In 2023 there were 1,234,567 visitors, 42% more than in 1999; the price rose from $3.14 to $10,000.00 (see page 128).
def encode(text, merges):\n    for i in range(len(text)):\n        if text[i] == ' ':\n            return None\n    return [x for x in merges]
Die Größe der Straße überraschte die Fußgänger, während die Schüler naïve Fragen über Äpfel und Öl stellten.
L'été, les élèves étudient où ça leur plaît; c'est l'œuvre d'un maître français du dix-huitième siècle.
El niño comió piñas mientras su mamá leía un periódico en el jardín. ¿Dónde está la biblioteca?
Cửa hàng ở Đà Nẵng mở cửa về đêm, nơi người Việt Nam ăn phở và uống cà phê sữa đá.
Быстрая коричневая лиса прыгает через ленивую собаку, а потом возвращается домой.
Η γρήγορη αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.
敏捷的棕色狐狸跳过了懒狗。这张图片里有什么？一个小小的红色戒指放在桌子上。
素早い茶色の狐がのろまな犬を飛び越える。写真には何が写っていますか。カタカナも使います。
빠른 갈색 여우가 게으른 개를 뛰어넘습니다. 사진에 무엇이 있습니까?
الثعلب البني السريع يقفز فوق الكلب الكسول. ماذا يوجد في الصورة؟
השועל החום המהיר קופץ מעל הכלב העצלן.
तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।
สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ
😀 👍 🎉 ❤️ 🌧️ are emoji, and so is 👩‍👩‍👧‍👦. <tag attr="1">text</tag> {"key": [1, 2, 3]} // comment\t\ttabs\r\n
""".splitlines()

HARD = [
    "", " ", "  ", "   a", "a ", "a  ", "\n", "\n\n", " \n", "\n ", "\r\n", "\r\n\r\n", "a\r\nb\rc\nd", "\t", "\t\ta", " \t \n \t", "a\n\n\n  b", "  \n  \n  x",
    "Hello", "Hello world", " Hello world", "Hello  world", "HELLO world!", "hello,world", "It's 's 'S 'T 'lL 'ſ I'm we'Re", "don't''t 'don't'",
    "can’t “quote” ‘it’", "0", "12", "123", "1234", "1234567890", "3.14", "1,000", "1 2 3", "a1b2", "x²y³", "½ Ⅷ ٣٤ १२ １２３", "10%", "$5.00", "#1",
    "def f(x):\n    return x + 1\n", "if(a&&b){c=d[0];}", "http://a.example/b?c=d&e=f#g", "user@example.com", "a_b-c.d", "camelCaseAndPascalCase",
    "!!!", "...", "?!?!", "—–-", "«»", "()[]{}<>", "<|", "|>", "<||>", "```c\nint x;\n```", "$$\\frac{a}{b}$$", "\\n \\t \\", "'", "''", '"', "`",
    "naïve café", "cafe\u0301", "e\u0301e\u0301\u0323", "A\u030a Å \u212b", "\u1100\u1161\u11a8 각", "ﬁﬂ", "Ǆ ǅ ǆ", "İ ı", "ß ẞ", "ŉ", "\u0344 \u0958 \u2126",
    "q\u0307\u0323 q\u0323\u0307", "\u0301alone", "a\u0301\n\u0301", "Đà Nẵng, về đêm", "Đa\u0300 Na\u0306\u0303ng", "中文字符", "我想在apple工作1314151天～", "日本語のテキスト",
    "カタカナ ﾊﾝｶｸ", "か\u3099が", "한국어 텍스트", "مرحبا بالعالم", "السلام\u200fعليكم", "שָׁלוֹם עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก", "ខ្មែរ", "தமிழ்", "ქართული", "Ελληνικά", "Привет, мир!",
    "ёжик и е\u0308", "😀", "😀😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "👍🏽", "❤️❤", "🌧️ rain", "a😀b", "1️⃣", "\u200d", "\u200b\u200b", "\ufeffBOM", "a\u00a0b", "\u00a0\u00a0",
    "\u2003x", "\u3000全角", "\u180e\u180ex", "a\u0085b", "\u2028\u2029", "\x0b\x0c", "\x1c\x1d", "\x01\x02", "\x7f", "\ufffd", "\uffff", "\U0001d54f\U0001d550", "\U00020000", "\U0010ffff",
    "\ue000", "▁", "▁▁a", "a▁b", "Ġ", "ĠHello", "Ċ", "âĢĻ", "<0x0A>", "<0xE2>", "<s>", "</s>", "<unk>", "a</s>b", " <s> ", "<s><s>", "Hello</s> world", "<s>\n</s>",
    "<|endoftext|>", "a<|endoftext|>b", "<|endoftext|><|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|> x <|im_end|>", "<|im_start", "<|im_end|>|>",
    "<|begin_of_text|>Hi<|eot_id|>", "<|start_header_id|>user<|end_header_id|>\n\nHi", "<tool_call>{}</tool_call>", " <tool_call> ", "<mask>", "a <mask> b", "a  <mask>\tb", "a<mask>",
    "WORD", "a WORD b", "aWORD", "WORDb", "_WORD", "WORD.WORD", "éWORD", "WORD\u0301", "cafe\u0301\u0301", "x caf\u00e9\u0301 y", "<image>", "<image>\nWhat?", "USER: Hi ASSISTANT:",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababab", "            indented", "a" + " " * 40 + "b", "\n" * 20, " \n" * 8, "-" * 30, "=" * 17 + "\n", "0" * 25, "é" * 20, "中" * 12,
    "a\x00b", "\x00",
]
BROKEN = [b"\x80", b"\xff\xfe", b"a\xc3", b"\xc3a", b"\xe2\x82", b"\xe2\x82a", b"\xe2\x28\xa1", b"\xf0\x9f\x98", b"\xf0\x9f\x98\x80\x80", b"\xc0\xaf", b"\xe0\x80\xaf",
          b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf5\x80", b"a\xf0\x9f b", b"\xf0\x9f\x98 \xe4\xb8", b"\xe9t\xe9 latin-1", b"e\xcc\x81\xcc"]

BERT_TEXTS = ["[CLS] the dog [SEP]", "a[MASK]b [mask] [UNK][PAD]", "[SEP", "a" * 100, "a" * 101, "é" * 100 + " " + "é" * 101, "İSTANBUL ΣΑΣ ẞ", "a\u00adb\u200bc",
              "x\u0300\u0301y", "the中文dog", "don't-stop_now$5^2`x~", "\u037e\u1fef", "red\tring\r\n", "İ\u0307", "각 \u1100\u1161\u11a8"]

LLAMA_3_PATTERN = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
QWEN_2_PATTERN = LLAMA_3_PATTERN.replace("{1,3}", "")


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**({"add_prefix_space": False, "use_regex": False} | options))


def corpus():
    rng = random.Random(1)
    return [" ".join(rng.sample(SENTENCES, 3)) for _ in range(400)] + SENTENCES * 4


def corpus_of(count):
    """The corpus in its most frequent characters alone: what a trainer would keep of them depends on the run."""
    texts = corpus()
    counts = collections.Counter("".join(texts))
    kept = set(sorted(counts, key=lambda c: (-counts[c], c))[:count])
    return ["".join(c if c in kept else " " for c in text) for text in texts]


def train(normalizer, pre_tokenizer, decoder, vocabulary=900, **options):
    """A byte-level BPE; no special tokens yet, so that added ones get ids beyond the vocabulary."""
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def special(*texts):
    return [AddedToken(text, special=True, normalized=False) for text in texts]


def edited(tokenizer, edit):
    """The tokenizer after its tokenizer.json was changed."""
    file = json.loads(tokenizer.to_str())
    edit(file)
    return Tokenizer.from_str(json.dumps(file)), file


def llama_3():
    tokenizer = train(None, pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA_3_PATTERN), "isolated"), byte_level()]),
                      decoders.ByteLevel())
    tokenizer.add_special_tokens(special("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                                         "<|reserved_special_token_0|>"))
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B:1",
                                      special_tokens=[("<|begin_of_text|>", begin)])])

    def edit(file):
        # Words that merges alone do not reach, and merges written as older files have them.
        file["model"]["ignore_merges"] = True
        file["model"]["merges"] = [" ".join(m) for i, m in enumerate(file["model"]["merges"]) if i % 9 != 8]

    return *edited(tokenizer, edit), {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def qwen_2():
    tokenizer = train(normalizers.NFC(), pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN_2_PATTERN), "isolated"), byte_level()]),
                      decoders.ByteLevel())
    tokenizer.add_special_tokens(special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False),
                          AddedToken("cafe\u0301\u0301", normalized=True)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    config = {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_bos_token": False}
    return *edited(tokenizer, lambda file: None), config


def smollm2():
    tokenizer = train(None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)]),
                      decoders.ByteLevel())
    tokenizer.add_special_tokens(special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))

    def edit(file):
        # The published ids of its special tokens begin at 0, within the vocabulary.
        ids = {t["content"]: i for i, t in enumerate(file["added_tokens"])}
        file["model"]["vocab"] = ids | {text: id + len(ids) for text, id in file["model"]["vocab"].items()}
        for token in file["added_tokens"]:
            token["id"] = ids[token["content"]]

    return *edited(tokenizer, edit), {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}


def gpt_2():
    tokenizer = train(None, byte_level(add_prefix_space=True, use_regex=True), decoders.ByteLevel())
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=True), AddedToken("<mask>", special=True, lstrip=True, normalized=False),
                                  AddedToken("</s>", special=True, rstrip=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("WORD", single_word=True), AddedToken("<|endoftext|><|endoftext|>", normalized=True)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return *edited(tokenizer, lambda file: None), {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}


def characters_with_fallback(tokenizer):
    """Ids as a SentencePiece model has them: three special tokens, the bytes, then pieces."""
    def edit(file):
        first = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
        pieces = sorted(file["model"]["vocab"], key=file["model"]["vocab"].get)
        file["model"]["vocab"] = {text: id for id, text in enumerate(first + pieces)}
        file["model"] |= {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
        file["added_tokens"] = [{"id": id, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                                 "special": True} for id, text in enumerate(first[:3])]
        file["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                                  "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                                  "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
        file["decoder"] = {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
        return file
    return edit


def train_pieces():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(corpus_of(80), trainers.BpeTrainer(vocab_size=700, show_progress=False))
    return tokenizer


def llama_2():
    edit_ids = characters_with_fallback(None)

    def edit(file):
        edit_ids(file)
        file["pre_tokenizer"] = None
        file["normalizer"] = {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}

    return *edited(train_pieces(), edit), {"bos_token": {"content": "<s>", "__type": "AddedToken"}, "eos_token": "</s>", "unk_token": "<unk>"}


def mistral():
    edit_ids = characters_with_fallback(None)

    def edit(file):
        edit_ids(file)
        file["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}

    return *edited(train_pieces(), edit), {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


FAMILIES = {f.__name__: f for f in (llama_3, qwen_2, smollm2, gpt_2, llama_2, mistral)}

# ---- chat templates, as the published tokenizer_config.json have them

CHATML = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nSYSTEM<|im_end|>\n' }}{% endif %}"
          "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
TEMPLATES = {
    "llama_2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}"
               "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
               "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
               "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
               "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama_3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
               "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
               "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "mistral": "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content'] %}\n    {%- set loop_messages = messages[1:] %}\n"
               "{%- else %}\n    {%- set loop_messages = messages %}\n{%- endif %}\n\n{{- bos_token }}\n{%- for message in loop_messages %}\n"
               "    {%- if message['role'] == 'user' %}\n        {%- if loop.first and system_message is defined %}\n"
               "            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}\n        {%- else %}\n"
               "            {{- ' [INST] ' + message['content'] + ' [/INST]' }}\n        {%- endif %}\n    {%- elif message['role'] == 'assistant' %}\n"
               "        {{- ' ' + message['content'] + eos_token}}\n    {%- endif %}\n{%- endfor %}\n",
    "qwen_2": CHATML.replace("SYSTEM", "You are a helpful assistant."),
    "smollm2": CHATML.replace("SYSTEM", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
}
END_OF_ANSWER = {"llama_2": " </s>", "llama_3": "<|eot_id|>", "mistral": "</s>", "qwen_2": "<|im_end|>", "smollm2": "<|im_end|>"}
CONVERSATIONS = [
    (None, ["What is in the picture?", "A small red ring."]),
    (None, ["<image>\nWho is in the picture?", "A woman in an orange flight suit.", "Is she wearing a helmet?", "No — it is beside her. 🌧️"]),
    (None, ["What colour is it? \n<image>\u3000", "Red"]),
    (None, ["<image>", "A cat."]),
    ("Answer in one word.", ["  Count to three.\n", "\n1, 2,  3 ", "Again?", "    Yes\n\n"]),
    ("You are a pirate.", ["<image>\nĐa\u0300 Nẵng, ở đâu?", "Việt Nam, in 2023: 1234567 people."]),
    (None, ["Say \"assistant\n\" and [INST] twice", "[/INST] user\n\nx: '' {bos}", "{eos}", "a"]),
]


def published(family, folder, config):
    from transformers import PreTrainedTokenizerFast

    names = {k: (v["content"] if isinstance(v, dict) else v) for k, v in config.items() if k.endswith("_token") and v and not isinstance(v, bool)}
    return PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"), chat_template=TEMPLATES[family], **names)


def moved(text):
    return ("<image>\n" + text.replace("<image>", "").strip()).strip() if "<image>" in text else text


def ids_around_image(tokenizer, text, spans):
    """Ids with -200 for the image, and per token whether it stands for characters within the spans."""
    ids, mask, at = [], [], 0
    for index, chunk in enumerate(text.split("<image>")):
        if index:
            ids.append(-200)
            mask.append(0)
            at += len("<image>")
        encoded = tokenizer(chunk, add_special_tokens=False, return_offsets_mapping=True)
        ids += encoded["input_ids"]
        mask += [int(any(at + b < end and at + e > begin for begin, end in spans)) for b, e in encoded["offset_mapping"]]
        at += len(chunk)
    return ids, mask


def conversation(family, tokenizer, system, turns):
    messages = [{"role": "user" if i % 2 == 0 else "assistant", "content": moved(t)} for i, t in enumerate(turns)]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    write = lambda part, prompt: tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=prompt)
    text = write(messages, False)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            begin = len(write(messages[:i], True))
            spans.append((begin, text.index(END_OF_ANSWER[family], begin) + len(END_OF_ANSWER[family])))
    ids, mask = ids_around_image(tokenizer, text, spans)
    if not any("<image>" in t for t in turns):
        assert ids == tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    prompt = write(messages[:-1], True)
    return {"system": system, "turns": turns, "text": text, "ids": ids, "mask": mask, "prompt_ids": ids_around_image(tokenizer, prompt, [])[0]}


# ----

def record_bert(texts):
    """A WordPiece vocabulary, with more special tokens in the text than the other texts have."""
    from tokenizers import BertWordPieceTokenizer

    folder = os.path.join(HERE, "bert")
    os.makedirs(folder)
    # Training one gives another at every run; its letters, frequent words and endings do as well.
    split = BertWordPieceTokenizer()
    words = collections.Counter(w for text in corpus_of(120) for w, _ in split.pre_tokenizer.pre_tokenize_str(split.normalizer.normalize_str(text)))
    letters = sorted(set("".join(words)))
    pieces = letters + ["##" + c for c in letters] + sorted(words, key=lambda w: (-words[w], w))[:150] + [f"##{w[-k:]}" for k in (2, 3) for w in sorted(words) if len(w) > k + 2]
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as file:
        file.write("".join(piece + "\n" for piece in dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + pieces)))
    tokenizer = BertWordPieceTokenizer(os.path.join(folder, "vocab.txt"))
    texts = [t.decode(errors="replace") for t in texts] + BERT_TEXTS
    dump(os.path.join(folder, "expected.json"),
         [{"ids": tokenizer.encode(t, add_special_tokens=False).ids} | ({"text": t} if t in BERT_TEXTS else {}) for t in texts])


def dump(path, values):
    with open(path, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in values) + "\n]\n")


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    texts = [t.encode() for t in HARD + SENTENCES] + BROKEN
    dump(os.path.join(HERE, "texts.json"), [{"hex": t.hex()} if t in BROKEN or b"\0" in t else t.decode() for t in texts])
    record_bert(texts)
    for name, make in FAMILIES.items():
        folder = os.path.join(HERE, name)
        os.makedirs(folder)
        tokenizer, file, config = make()
        with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as out:
            json.dump(file, out, ensure_ascii=False, separators=(",", ":"))
            out.write("\n")
        with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as out:
            json.dump(config | {"model_max_length": int(1e30)}, out)
            out.write("\n")
        expected = []
        for text in texts:
            ids = tokenizer.encode(text.decode(errors="replace"), add_special_tokens=False).ids
            decoded = tokenizer.decode(ids)
            expected.append({"ids": ids} | ({} if decoded.encode() == text or "\0" in decoded else {"decoded": decoded}))
        dump(os.path.join(folder, "expected.json"), expected)
        if name in TEMPLATES:
            tokenizer = published(name, folder, config)
            dump(os.path.join(folder, "conversations.json"), [conversation(name, tokenizer, *c) for c in CONVERSATIONS])


if __name__ == "__main__":
    main()
