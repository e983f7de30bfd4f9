#!/usr/bin/env python3
"""Trains the frozen networks of the tiny world with stock PyTorch, diffusers and transformers, and saves them as those
libraries do. They are honest miniatures: the Llama learns from words alone, CLIP from images and captions, the VAE from
images, the U-Net as a text-conditioned latent diffusion model. None of them ever sees a mask, a box or a point.

    make_tiny_world WORLD --seed 1000 --train 24000 --test 1000 --documents 160000
    train_frozen.py WORLD OUT --part tokenizer
    train_frozen.py WORLD OUT --part llm  --minutes 12      (tokenizer first)
    train_frozen.py WORLD OUT --part clip --minutes 12      (tokenizer first)
    train_frozen.py WORLD OUT --part vae  --minutes 4
    train_frozen.py WORLD OUT --part unet --minutes 8       (vae and clip first)
    train_frozen.py WORLD OUT --part probe                  (linear probes of CLIP's patch tokens)
    train_frozen.py OUT checkpoints/tiny --part export      (all weights rounded to bfloat16)

OUT/llm          LlamaForCausalLM and SentencePiece tokenizer.model
OUT/clip         CLIPModel and preprocessor_config.json
OUT/sd           vae, unet, text_encoder, tokenizer, scheduler: the folders of Stable Diffusion v1.5
"""
import argparse
import collections
import itertools
import json
import math
import os
import re
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

SHAPES = ["square", "disc", "triangle", "ring", "cross", "star", "bar"]
COLORS = ["red", "green", "blue", "yellow", "purple", "orange", "white", "black"]
SIZES = ["small", "large"]
MATERIALS = ["", "striped", "dotted"]
GROUNDS = ["sand", "grass", "stone", "water", "wood"]
POSITIONS = [f"{'in the middle' if r == c == 1 else 'at the ' + ' '.join(w for w in (v, h) if w)}"
             for r, v in enumerate(("top", "", "bottom")) for c, h in enumerate(("left", "", "right"))]
ATTRIBUTES = [SIZES, COLORS, MATERIALS, SHAPES, POSITIONS]  # in the order in which a phrase names them
SHAPE = 3
IMAGE_SIZE, CLIP_SIZE, TEXT_LENGTH = 128, 112, 77
EAGER = dict(attn_implementation="eager")  # for these short sequences 1.6 times as fast as the fused kernel in bfloat16
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)


class World:
    """Images [N, 128, 128, 3] uint8, captions, and per scene the properties of its objects [N, 5, 5], -1 where none."""

    def __init__(self, folder, split, limit=None):
        root = os.path.join(folder, split)
        scenes = json.load(open(os.path.join(root, "scenes.json")))[:limit]
        pretrain = json.load(open(os.path.join(root, "blip_laion_cc_sbu_558k.json")))[:limit]
        self.captions = [sample["conversations"][1]["value"] for sample in pretrain]
        self.grounds = [scene["ground"] for scene in scenes]
        self.objects = np.full((len(scenes), 5, 5), -1)
        self.centres = np.zeros((len(scenes), 5, 2))
        self.radii = np.zeros((len(scenes), 5))
        self.images = np.empty((len(scenes), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        for i, scene in enumerate(scenes):
            self.images[i] = np.asarray(Image.open(os.path.join(root, "images", scene["file_name"])))
            for k, o in enumerate(scene["objects"]):
                third = [min(2, int(3 * o[axis] / IMAGE_SIZE)) for axis in "yx"]
                self.objects[i, k] = (SIZES.index(o["size"]), COLORS.index(o["color"]),
                                      MATERIALS.index(o["material"]), SHAPES.index(o["shape"]), 3 * third[0] + third[1])
                self.centres[i, k] = o["x"], o["y"]
                self.radii[i, k] = o["radius"]

    def batch(self, index):
        return (torch.from_numpy(self.images[index]).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()


def to_clip(pixels):
    """From [-1, 1] at 128 pixels to CLIP's normalisation at 112, as the model does it."""
    small = F.interpolate(pixels, size=(CLIP_SIZE, CLIP_SIZE), mode="bilinear", align_corners=False)
    return (small * 0.5 + 0.5 - CLIP_MEAN) / CLIP_STD


def optimizers_for(module, rate, decay=0.01):
    """Muon for the hidden matrices, AdamW for everything else: on networks this small it halves the steps."""
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    matrix = [p for n, p in named if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    chosen = {id(p) for p in matrix}
    rest = [p for n, p in named if id(p) not in chosen]
    found = [torch.optim.AdamW(rest, lr=rate, weight_decay=decay, betas=(0.9, 0.98))]
    if matrix:
        found.append(torch.optim.Muon(matrix, lr=rate, weight_decay=decay, momentum=0.95,
                                      adjust_lr_fn="match_rms_adamw"))
    return found


def fit(name, modules, rate, minutes, loss_of_step, save, save_every=120, log_every=50, plain=False):
    """Runs for the given time: warm-up, then cosine to 2% of the rate over the time. Saves now and then."""
    if minutes <= 0:
        return
    parameters = [p for m in modules for p in m.parameters()]
    if plain:
        optimizers = [torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)]
    else:
        optimizers = [o for m in modules for o in optimizers_for(m, rate)]
    begin = saved = time.time()
    step, mean = 0, None
    while (passed := time.time() - begin) < 60 * minutes:
        scale = min(1, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * passed / 60 / minutes)))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
        loss = loss_of_step(passed / 60 / minutes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % log_every == 0:
            print(f"{name} step {step} loss {mean:.4f} {time.time() - begin:.0f} s", flush=True)
        if time.time() - saved > save_every:
            save()
            saved = time.time()
    print(f"{name} {step} steps loss {mean:.4f}", flush=True)
    save()


# ---- tokenizers ----


def train_tokenizers(world, out):
    import sentencepiece

    documents = json.load(open(os.path.join(world, "train", "documents.json")))[:30000]
    os.makedirs(os.path.join(out, "llm"), exist_ok=True)
    lines = [part for d in documents for part in re.split("</s>|\n", d) if part]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=os.path.join(out, "llm", "tokenizer"), model_type="bpe",
        vocab_size=640, byte_fallback=True, character_coverage=1.0, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True, allow_whitespace_only_pieces=True,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1, minloglevel=1)
    os.remove(os.path.join(out, "llm", "tokenizer.vocab"))
    model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(out, "llm", "tokenizer.model"))
    words = {w for line in lines for w in re.findall("[A-Za-z]+", line)}
    print("words of several pieces:", [w for w in sorted(words) if len(model.encode(w)) > 1])
    train_clip_tokenizer(lines, os.path.join(out, "sd", "tokenizer"))


def byte_letters():
    """The printable character that stands for each byte in GPT-2's and CLIP's vocabularies, in their order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def train_clip_tokenizer(lines, folder):
    """CLIP's byte-pair encoding (vocab.json, merges.txt): bytes, bytes that end a word, merges until every word of the
    world is one piece."""
    counts = collections.Counter(w for line in lines for w in re.findall(r"[a-z]+|[^\sa-z]+", line.lower()))
    for words in (SHAPES, [s + "s" for s in SHAPES], ["crosses"], COLORS, SIZES, MATERIALS[1:], GROUNDS):
        counts.update({w: 1000 for w in words})
    split = {w: (*w[:-1], w[-1] + "</w>") for w in counts if w.isascii()}
    merges = []
    while True:
        pairs = collections.Counter()
        for word, pieces in split.items():
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word, pieces in split.items():
            joined, i = [], 0
            while i < len(pieces):
                if tuple(pieces[i : i + 2]) == best:
                    joined.append(pieces[i] + pieces[i + 1])
                    i += 2
                else:
                    joined.append(pieces[i])
                    i += 1
            split[word] = tuple(joined)
    letters = byte_letters()
    vocabulary = letters + [c + "</w>" for c in letters] + ["".join(pair) for pair in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    os.makedirs(folder, exist_ok=True)
    json.dump({piece: i for i, piece in enumerate(vocabulary)}, open(os.path.join(folder, "vocab.json"), "w"),
              ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w") as file:
        file.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>",
                   unk_token="<|endoftext|>")
    json.dump(special, open(os.path.join(folder, "special_tokens_map.json"), "w"), indent=2)
    json.dump(dict(special, tokenizer_class="CLIPTokenizer", model_max_length=TEXT_LENGTH, do_lower_case=True,
                   add_prefix_space=False), open(os.path.join(folder, "tokenizer_config.json"), "w"), indent=2)
    print("CLIP vocabulary", len(vocabulary), "merges", len(merges))


class ClipTexts:
    """Token ids of texts whose words are known, cached word by word."""

    def __init__(self, out):
        from transformers import CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(os.path.join(out, "sd", "tokenizer"))
        self.begin, self.end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.words = {}

    def encode(self, text):
        ids = [self.begin]
        for word in re.findall(r"[a-z]+|[^\sa-z]+", text.lower()):
            if word not in self.words:
                self.words[word] = self.tokenizer(word)["input_ids"][1:-1]
            ids += self.words[word]
        return ids[: TEXT_LENGTH - 1] + [self.end]

    def batch(self, texts, length=None):
        rows = [self.encode(text) for text in texts]
        length = length or max(map(len, rows))
        return torch.tensor([row + [self.end] * (length - len(row)) for row in rows])


# ---- language model ----


def tokenize_documents(world, out, limit=None):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(out, "llm", "tokenizer.model"))
    rows = []
    for document in json.load(open(os.path.join(world, "train", "documents.json")))[:limit]:
        parts = document.split("</s>")
        row = [1]
        for i, part in enumerate(parts):
            row += (model.encode(part) if part else []) + ([2] if i < len(parts) - 1 else [])
        rows.append(np.array(row, np.int64))
    return rows


def train_llm(world, out, minutes, tokens_per_step=3072):
    from transformers import LlamaConfig, LlamaForCausalLM

    rows = tokenize_documents(world, out)
    order = np.argsort([len(row) for row in rows], kind="stable")
    print("documents", len(rows), "mean length", np.mean([len(row) for row in rows]))
    folder = os.path.join(out, "llm")
    config = LlamaConfig(vocab_size=640, hidden_size=160, intermediate_size=432, num_hidden_layers=4,
                         num_attention_heads=5, num_key_value_heads=5, max_position_embeddings=2048, rms_norm_eps=1e-5,
                         rope_theta=10000.0, bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False, **EAGER)
    resumed = os.path.exists(os.path.join(folder, "model.safetensors"))
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, **EAGER) if resumed else LlamaForCausalLM(config)
    print("llm parameters", sum(p.numel() for p in model.parameters()), "resumed" if resumed else "")
    rng = np.random.default_rng(int(time.time()) if resumed else 0)

    def loss_of_step(progress):
        # Neighbours in length share a batch, so that little is padded.
        at = rng.integers(len(order))
        size = max(1, tokens_per_step // len(rows[order[at]]))
        chosen = [rows[order[min(i, len(order) - 1)]] for i in range(at, at + size)]
        length = max(map(len, chosen))
        ids = torch.full((len(chosen), length), 0)
        for i, row in enumerate(chosen):
            ids[i, : len(row)] = torch.from_numpy(row)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids, use_cache=False).logits
        targets = ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100)
        return F.cross_entropy(logits[:, :-1].float().flatten(0, 1), targets.flatten(), ignore_index=-100)

    fit("llm", [model], 3e-3, minutes, loss_of_step, lambda: model.save_pretrained(folder))


# ---- CLIP ----


def phrase(spec):
    words = [names[i] for names, i in zip(ATTRIBUTES, spec) if i >= 0 and names[i]]
    if spec[SHAPE] < 0:
        at = len(words) - (1 if spec[4] >= 0 else 0)
        words.insert(at, "object")
    return "a " + " ".join(words)


def holds(specs, objects):
    """[T, 5] properties (-1: not named) against [B, 5, 5] objects: [T, B], whether some object has them all."""
    named = specs[:, None, None, :] >= 0
    equal = specs[:, None, None, :] == objects[None]
    return ((equal | ~named).all(-1) & (objects[None, ..., 0] >= 0)).any(-1)


def partial_caption(objects, ground, rng):
    """A caption that leaves out colours, sizes, materials, positions or the ground, so that every word counts."""
    keep = rng.random(5) < (0.5, 0.5, 0.5, 1, 0.5)
    found = [o for o in objects if o[0] >= 0]
    parts = [phrase([v if k else -1 for v, k in zip(found[i], keep)]) for i in rng.permutation(len(found))]
    text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return text + (f" on the {ground}." if rng.random() < 0.5 else ".")


def phrases_of(objects, rng, count):
    """About each image `count` phrases that are true and as many that differ from a true one in one property."""
    specs = []
    for row in objects:
        found = row[row[:, 0] >= 0]
        for _ in range(count):
            spec = found[rng.integers(len(found))].copy()
            keep = rng.random(5) < (0.25, 0.5, 0.3, 0.9, 0.35)
            if not keep[[1, 2, 3, 4]].any():
                keep[SHAPE] = True
            spec[~keep] = -1
            specs.append(spec)
            other = spec.copy()
            k = SHAPE if keep[SHAPE] and rng.random() < 0.6 else rng.choice(np.flatnonzero(keep))
            other[k] = (other[k] + rng.integers(1, len(ATTRIBUTES[k]))) % len(ATTRIBUTES[k])
            specs.append(other)
    return np.array(specs)


def caption_groups():
    """All short captions that name one property or a pair of them, in groups whose members exclude each other about one
    object: "a ring", "a disc", ...; "a red ring", ...; "a ring at the top left", ..."""
    groups = []
    for columns in ((3,), (1,), (0,), (4,), (1, 3), (3, 4), (0, 3), (2, 3), (1, 4)):
        choices = [range(1 if column == 2 else 0, len(ATTRIBUTES[column])) for column in columns]
        specs = np.full((math.prod(map(len, choices)), 5), -1)
        specs[:, list(columns)] = list(itertools.product(*choices))
        groups.append(specs)
    return groups


def grid_waves(rows, width):
    """Sines and cosines of the row and of the column of every cell: [rows * rows, width]."""
    frequency = torch.pi / 2 ** torch.linspace(0, 3, width // 4)
    angle = torch.arange(rows)[:, None] * frequency
    waves = torch.cat([angle.sin(), angle.cos()], 1)
    return torch.cat([waves[:, None].expand(-1, rows, -1), waves[None].expand(rows, -1, -1)], -1).reshape(rows * rows, -1)


@torch.no_grad()
def start_local(vision):
    """First weights with which a patch attends to patches like it, near it: positions as waves, and equal, orthonormal
    queries and keys [mimetic initialisation, Trockman & Kolter 2023, arXiv 2305.09828]. From random weights attention
    stays uniform for long, and then the colours are all that is found."""
    position = vision.embeddings.position_embedding.weight
    position[1:] = 0.7 * grid_waves(CLIP_SIZE // 14, position.shape[1])
    for layer in vision.encoder.layers:
        attention = layer.self_attn
        for head in range(attention.num_heads):
            rows = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
            basis = torch.linalg.qr(torch.randn(position.shape[1], attention.head_dim))[0].T
            attention.q_proj.weight[rows] = basis
            attention.k_proj.weight[rows] = basis


def train_clip(folder, out, minutes, size=64, count=1):
    from transformers import CLIPConfig, CLIPModel

    world, texts = World(folder, "train"), ClipTexts(out)
    rng = np.random.default_rng(1)
    single = np.flatnonzero((world.objects[..., 0] >= 0).sum(1) == 1)
    save_folder = os.path.join(out, "clip")
    vocabulary = len(texts.tokenizer)
    special = dict(bos_token_id=texts.begin, eos_token_id=texts.end, pad_token_id=texts.end)
    config = CLIPConfig(
        text_config=dict(vocab_size=vocabulary, hidden_size=96, intermediate_size=384, num_hidden_layers=2,
                         num_attention_heads=4, max_position_embeddings=TEXT_LENGTH, **special),
        vision_config=dict(hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
                           image_size=CLIP_SIZE, patch_size=14), projection_dim=256, **EAGER)
    resumed = os.path.exists(os.path.join(save_folder, "model.safetensors"))
    model = CLIPModel.from_pretrained(save_folder, dtype=torch.float32, **EAGER) if resumed else CLIPModel(config)
    if not resumed:
        start_local(model.vision_model)
    print("clip parameters", {k: sum(p.numel() for p in m.parameters()) for k, m in
                              dict(vision=model.vision_model, text=model.text_model).items()})
    groups = caption_groups()
    bias = torch.nn.Parameter(torch.tensor(-3.0))
    holder = torch.nn.ParameterList([bias])
    if resumed:
        rng = np.random.default_rng(int(time.time()))

    def features(output):
        return F.normalize((output if torch.is_tensor(output) else output.pooler_output).float(), dim=-1)

    def loss_of_step(progress):
        # Scenes of one object first: there a word that is wrong can only be wrong about that object.
        index = rng.integers(len(world.images), size=size)
        easy = rng.random(size) < 0.9 - 1.6 * progress
        index[easy] = single[rng.integers(len(single), size=easy.sum())]
        objects = world.objects[index]
        specs = phrases_of(objects, rng, count)
        whole = [partial_caption(o, world.grounds[i], rng) for o, i in zip(objects, index)]
        # A part of the groups in each step, and whole captions in every fourth, keep the text tower cheap.
        chosen = [0, 4, 5, *rng.choice([1, 2, 3, 6, 7, 8], size=2, replace=False)]
        told = rng.random() < 0.25
        if not told:
            whole = whole[:1]
        grouped = np.concatenate([groups[g] for g in chosen])
        grouped_ids = texts.batch([phrase(spec) for spec in grouped])
        with torch.autocast("cpu", torch.bfloat16):
            image = features(model.get_image_features(pixel_values=to_clip(world.batch(index))))
            short = features(model.get_text_features(input_ids=texts.batch([phrase(s) for s in specs])))
            long = features(model.get_text_features(input_ids=texts.batch(whole)))
            named = features(model.get_text_features(input_ids=grouped_ids))
        scale = model.logit_scale.exp().clamp(max=100)
        contrast = 0.0
        if told:
            target = torch.arange(size)
            logits = scale * image @ long.T
            contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        # Of a phrase it is known for every image of the batch whether it is true: a sigmoid for each pair.
        truth = torch.from_numpy(holds(specs, objects)).float()
        pairs = F.binary_cross_entropy_with_logits(scale * short @ image.T + bias, truth, reduction="none")
        own = torch.arange(size).repeat_interleave(2 * count)
        far = (pairs * truth).sum() / truth.sum() + (pairs * (1 - truth)).sum() / (1 - truth).sum()
        near = pairs[torch.arange(len(specs)), own].mean()
        # Of each group: the true captions against the others.
        choice = 0.0
        true = torch.from_numpy(holds(grouped, objects)).float().split([len(groups[g]) for g in chosen])
        for wanted, given in zip(true, (scale * named @ image.T).split([len(groups[g]) for g in chosen])):
            weight = wanted / wanted.sum(0).clamp(min=1)
            choice = choice - (weight * given.log_softmax(0)).sum(0).mean() / len(chosen)
        return 0.5 * contrast + 0.5 * (far + near) + 2 * choice

    def save():
        model.save_pretrained(save_folder)
        write_preprocessor(save_folder)
        save_text_encoder(model, os.path.join(out, "sd", "text_encoder"))

    fit("clip", [model, holder], 2e-3, minutes, loss_of_step, save)


def write_preprocessor(folder):
    square = dict(height=CLIP_SIZE, width=CLIP_SIZE)
    json.dump(dict(image_processor_type="CLIPImageProcessor", do_resize=True, size=dict(shortest_edge=CLIP_SIZE),
                   resample=3, do_center_crop=True, crop_size=square, do_rescale=True, rescale_factor=1 / 255,
                   do_normalize=True, image_mean=CLIP_MEAN.flatten().tolist(), image_std=CLIP_STD.flatten().tolist(),
                   do_convert_rgb=True), open(os.path.join(folder, "preprocessor_config.json"), "w"), indent=2)


def save_text_encoder(model, folder):
    from transformers import CLIPTextModel

    encoder = CLIPTextModel(model.config.text_config)
    own = encoder.state_dict()
    source = {k.removeprefix("text_model."): v for k, v in model.text_model.state_dict().items()}
    encoder.load_state_dict({k: source[k.removeprefix("text_model.")] for k in own})
    encoder.save_pretrained(folder)


@torch.no_grad()
def patch_tokens(model, world):
    tokens = [model.vision_model(to_clip(world.batch(np.arange(i, min(len(world.images), i + 100)))),
                                 output_hidden_states=True).hidden_states[-2][:, 1:]
              for i in range(0, len(world.images), 100)]
    return torch.cat(tokens)


def probe(folder, out):
    """What a linear map reads from the patch at an object's centre: trained on training scenes, counted on test scenes."""
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(os.path.join(out, "clip"), dtype=torch.float32).eval()
    sets = []
    for world in (World(folder, "train", 4000), World(folder, "test", 1000)):
        tokens = patch_tokens(model, world)
        image, k = np.nonzero(world.objects[..., 0] >= 0)
        cell = (world.centres[image, k] // 16).astype(int)
        sets.append((tokens[image, cell[:, 1] * 8 + cell[:, 0]], world.objects[image, k]))
    (x, y), (xt, yt) = sets
    mean, std = x.mean(0), x.std(0)
    x, xt = (x - mean) / std, (xt - mean) / std
    result = {"feature_std": float(std.mean())}
    for name, column in (("shape", 3), ("color", 1), ("size", 0), ("material", 2)):
        label, truth = torch.from_numpy(y[:, column]), torch.from_numpy(yt[:, column])
        linear = torch.nn.Linear(x.shape[1], len(ATTRIBUTES[column]))
        optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(linear(x), label) + 1e-4 * linear.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        right = linear(xt).argmax(1) == truth
        result[name] = round(float(right.float().mean()), 3)
        if name == "shape":
            for s in (0, 1):
                result[f"shape_{SIZES[s]}"] = round(float(right[torch.from_numpy(yt[:, 0] == s)].float().mean()), 3)
    print(json.dumps(result), flush=True)


# ---- diffusion ----


def train_vae(folder, out, minutes, size=16):
    from diffusers import AutoencoderKL

    world = World(folder, "train")
    rng = np.random.default_rng(2)
    save_folder = os.path.join(out, "sd", "vae")
    if os.path.exists(os.path.join(save_folder, "diffusion_pytorch_model.safetensors")):
        model = AutoencoderKL.from_pretrained(save_folder)
    else:
        model = AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                              block_out_channels=[8, 16, 32, 32], layers_per_block=1, latent_channels=4,
                              norm_num_groups=8, sample_size=IMAGE_SIZE)

    def loss_of_step(progress):
        top, left = rng.integers(0, 9, size=2) * 8  # crops of half the side, as it is convolutional
        pixels = world.batch(rng.integers(len(world.images), size=size))[..., top : top + 64, left : left + 64]
        posterior = model.encode(pixels).latent_dist
        decoded = model.decode(posterior.sample()).sample
        # Weight of the divergence: large enough to bound the latents, too small to drown them in noise.
        return F.l1_loss(decoded.float(), pixels) + 1e-7 * posterior.kl().float().mean()

    def save():
        with torch.no_grad():
            model.eval()
            posteriors = [model.encode(world.batch(np.arange(i, i + 50))).latent_dist for i in range(0, 500, 50)]
            deviation = torch.cat([p.mean for p in posteriors]).std()
            noise = torch.cat([p.std for p in posteriors]).mean()
            pixels = world.batch(np.arange(50))
            error = F.l1_loss(model.decode(posteriors[0].mode()).sample, pixels)
            model.train()
        model.register_to_config(scaling_factor=float(1 / deviation))
        model.save_pretrained(save_folder)
        print(f"vae scaling {1 / deviation:.4f} posterior std {noise:.4f} reconstruction L1 {error:.4f}", flush=True)

    fit("vae", [model], 3e-3, minutes, loss_of_step, save, plain=True)


def train_unet(folder, out, minutes, size=32):
    from diffusers import AutoencoderKL, DDPMScheduler, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

    world, texts = World(folder, "train", 6000), ClipTexts(out)
    rng = np.random.default_rng(3)
    vae = AutoencoderKL.from_pretrained(os.path.join(out, "sd", "vae")).eval()
    encoder = CLIPTextModel.from_pretrained(os.path.join(out, "sd", "text_encoder"), dtype=torch.float32).eval()
    with torch.no_grad():
        parameters = torch.cat([vae.encode(world.batch(np.arange(i, min(len(world.images), i + 64))))
                                .latent_dist.parameters.float() for i in range(0, len(world.images), 64)])
    mean, log_variance = parameters.chunk(2, 1)
    deviation = (0.5 * log_variance.clamp(-30, 20)).exp()
    noise_schedule = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler = DDPMScheduler(**noise_schedule)
    PNDMScheduler(**noise_schedule, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1).save_pretrained(
        os.path.join(out, "sd", "scheduler"))
    save_folder = os.path.join(out, "sd", "unet")
    if os.path.exists(os.path.join(save_folder, "diffusion_pytorch_model.safetensors")):
        model = UNet2DConditionModel.from_pretrained(save_folder)
    else:
        model = UNet2DConditionModel(sample_size=16, block_out_channels=[32, 64, 96, 96], layers_per_block=1,
                                     attention_head_dim=4, norm_num_groups=16,
                                     cross_attention_dim=encoder.config.hidden_size)
    print("unet parameters", sum(p.numel() for p in model.parameters()))

    def loss_of_step(progress):
        index = rng.integers(len(world.images), size=size)
        whole = [partial_caption(world.objects[i], world.grounds[i], rng) if rng.random() > 0.1 else "" for i in index]
        with torch.no_grad():
            context = encoder(input_ids=texts.batch(whole, TEXT_LENGTH)).last_hidden_state
        latents = (mean[index] + deviation[index] * torch.randn_like(mean[index])) * vae.config.scaling_factor
        timestep = torch.randint(0, 1000, (size,))
        noise = torch.randn_like(latents)
        noisy = scheduler.add_noise(latents, noise, timestep)
        return F.mse_loss(model(noisy, timestep, encoder_hidden_states=context).sample, noise)

    fit("unet", [model], 2e-3, minutes, loss_of_step, lambda: model.save_pretrained(save_folder), plain=True)
    with open(os.path.join(out, "sd", "model_index.json"), "w") as file:
        json.dump(dict(_class_name="StableDiffusionPipeline", scheduler=["diffusers", "PNDMScheduler"],
                       text_encoder=["transformers", "CLIPTextModel"], tokenizer=["transformers", "CLIPTokenizer"],
                       unet=["diffusers", "UNet2DConditionModel"], vae=["diffusers", "AutoencoderKL"]), file, indent=2)


def export(source, target):
    """Copies all networks with weights in bfloat16, and names RoPE's base as published configurations do."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import load_file, save_file
    from transformers import CLIPModel, CLIPTextModel, LlamaForCausalLM

    for name, kind in (("llm", LlamaForCausalLM), ("clip", CLIPModel), ("sd/text_encoder", CLIPTextModel),
                       ("sd/vae", AutoencoderKL), ("sd/unet", UNet2DConditionModel)):
        kind.from_pretrained(os.path.join(source, name)).to(torch.bfloat16).save_pretrained(os.path.join(target, name))
    # Stable Diffusion v1.5 publishes its text encoder's tensors under text_model.
    path = os.path.join(target, "sd", "text_encoder", "model.safetensors")
    tensors = {"text_model." + k.removeprefix("text_model."): v for k, v in load_file(path).items()}
    save_file(tensors, path, metadata=dict(format="pt"))
    for name in ("llm/tokenizer.model", "clip/preprocessor_config.json", "sd/model_index.json"):
        shutil.copy(os.path.join(source, name), os.path.join(target, name))
    for name in ("sd/tokenizer", "sd/scheduler"):
        shutil.copytree(os.path.join(source, name), os.path.join(target, name), dirs_exist_ok=True)
    path = os.path.join(target, "llm", "config.json")
    config = json.load(open(path))
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    json.dump(config, open(path, "w"), indent=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("out")
    parser.add_argument("--part", required=True, choices=["tokenizer", "llm", "clip", "vae", "unet", "probe", "export"])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    world, out, minutes = options.world, options.out, options.minutes
    dict(tokenizer=lambda: train_tokenizers(world, out), llm=lambda: train_llm(world, out, minutes),
         clip=lambda: train_clip(world, out, minutes), vae=lambda: train_vae(world, out, minutes),
         unet=lambda: train_unet(world, out, minutes), probe=lambda: probe(world, out), export=lambda: export(world, out))[options.part]()


if __name__ == "__main__":
    main()
