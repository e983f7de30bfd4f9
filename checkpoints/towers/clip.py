"""CLIP as CLIP is trained: pairs of a picture and a caption, each to be found among those of its batch. No phrase,
place or mask is told apart within a picture."""
import os

import torch
import torch.nn.functional as F

from scenes import CLIP_SIZE, to_clip
from steps import DEVICE, Training
from texts import TEXT_LENGTH, write_preprocessor, write_text_encoder

STEPS, BATCH, RATE = 2000, 128, 2e-3
CROWDED_EVERY = 4
# Share of batches whose captions say what things are and nothing else: where colours tell pictures apart, shapes are
# not learnt.
PLAIN_BATCHES = 0.6
VISION = dict(hidden_size=96, intermediate_size=384, num_hidden_layers=5, num_attention_heads=3, image_size=CLIP_SIZE,
              patch_size=14)
TEXT = dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=TEXT_LENGTH)
EAGER = dict(attn_implementation="eager")  # for these short sequences faster than the fused kernel


def new_clip(texts):
    from transformers import CLIPConfig, CLIPModel

    special = dict(bos_token_id=texts.begin, eos_token_id=texts.end, pad_token_id=texts.end)
    config = CLIPConfig(text_config=dict(TEXT, vocab_size=len(texts.tokenizer), **special), vision_config=VISION,
                        projection_dim=128, **EAGER)
    return CLIPModel(config)


def grid_waves(rows, width):
    """Sines and cosines of the row and of the column of every cell: [rows * rows, width]."""
    frequency = torch.pi / 2 ** torch.linspace(0, 3, width // 4)
    angle = torch.arange(rows)[:, None] * frequency
    waves = torch.cat([angle.sin(), angle.cos()], 1)
    both = torch.cat([waves[:, None].expand(-1, rows, -1), waves[None].expand(rows, -1, -1)], -1)
    return both.reshape(rows * rows, -1)


@torch.no_grad()
def start_local(vision):
    """First weights with which a patch attends to patches like it, near it: positions as waves, and equal, orthonormal
    queries and keys [mimetic initialisation, Trockman & Kolter 2023, arXiv 2305.09828]. From random weights attention
    stays uniform for long, and then colours are all that is found."""
    position = vision.embeddings.position_embedding.weight
    position[1:] = 0.7 * grid_waves(CLIP_SIZE // VISION["patch_size"], position.shape[1])
    for layer in vision.encoder.layers:
        attention = layer.self_attn
        for head in range(attention.num_heads):
            rows = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
            basis = torch.linalg.qr(torch.randn(position.shape[1], attention.head_dim))[0].T
            attention.q_proj.weight[rows] = basis
            attention.k_proj.weight[rows] = basis


def features(output):
    return F.normalize((output if torch.is_tensor(output) else output.pooler_output).float(), dim=-1)


def contrastive_loss(model, pixels, ids):
    with torch.autocast(DEVICE.type, torch.bfloat16):
        image = features(model.get_image_features(pixel_values=pixels))
        text = features(model.get_text_features(input_ids=ids))
    logits = model.logit_scale.exp().clamp(max=100) * image @ text.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_clip(iconic, crowded, texts, out, work, steps=STEPS):
    """Every CROWDED_EVERYth batch is of crowded scenes, the others of iconic ones, as most pictures of the web are."""
    torch.manual_seed(1)
    model = new_clip(texts)
    start_local(model.vision_model)
    print("clip parameters", {k: sum(p.numel() for p in m.parameters()) for k, m in
                              dict(vision=model.vision_model, text=model.text_model).items()})

    def loss_of_step(rng, progress):
        scenes = crowded if rng.integers(CROWDED_EVERY) == 0 else iconic
        index = rng.integers(len(scenes), size=BATCH)
        plain = rng.random() < PLAIN_BATCHES
        ids = texts.batch([scenes.caption(i, rng, plain) for i in index])
        return contrastive_loss(model, to_clip(scenes.batch(index).to(DEVICE)), ids.to(DEVICE))

    def save():
        model.save_pretrained(os.path.join(out, "clip"))
        write_preprocessor(os.path.join(out, "clip"))
        write_text_encoder(model, os.path.join(out, "sd", "text_encoder"))

    Training("clip", model, work, steps, RATE, kernels=True).run(loss_of_step, save)
