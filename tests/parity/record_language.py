#!/usr/bin/env python3
"""Records what stock transformers, PEFT, diffusers and PyTorch compute with small random networks: tests/unit/models/test_llama.c,
test_llama_generate.c and test_difflmm.c hold the C code to it.

    python tests/parity/record_language.py            (writes tests/parity/data/llama and tests/parity/data/difflmm)

llama/<case>/           a LlamaForCausalLM as save_pretrained() leaves it
llama/<case>.safetensors    embeddings, logits, loss, gradients, LoRA, attention, greedy continuations
difflmm/sd, clip, llm   a Stable Diffusion, a CLIP vision tower and a Llama
difflmm/golden.safetensors  images, noise, token ids; per case adapters, every intermediate, loss, gradients, one AdamW update
"""
import json
import os
import shutil

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IMAGE_TOKEN, IGNORED = -200, -100


def randomize(model, scale=1.0):
    """Weights of a size at which every part of the network matters; norms and biases away from 1 and 0."""
    for name, p in model.named_parameters():
        if p.ndim == 1:
            base = 1.0 if name.endswith("weight") else 0.0
            p.data = base + 0.2 * torch.randn_like(p)
        elif "embed" in name or "embedding" in name:
            p.data = 0.5 * torch.randn_like(p)
        else:
            p.data = scale * torch.randn_like(p) / (p[0].numel() ** 0.5)


def save_and_load(model, folder, dtype=torch.bfloat16, **options):
    """Saves small files, and returns the float32 model with exactly their weights."""
    model.to(dtype).save_pretrained(folder, **options)
    attention = dict(attn_implementation="eager") if model.__class__.__name__ == "LlamaForCausalLM" else {}
    return type(model).from_pretrained(folder, torch_dtype=torch.float32, **attention).eval()


def peft_of(model, r, alpha):
    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(model, LoraConfig(r=r, lora_alpha=alpha, target_modules=TARGETS, lora_dropout=0.0))
    for name, p in wrapped.named_parameters():
        if "lora_A" in name:
            p.data = torch.randn_like(p) / p.shape[1] ** 0.5
        elif "lora_B" in name:
            p.data = 0.3 * torch.randn_like(p)
    return wrapped


def lora_parameters(wrapped):
    return {n.replace(".default", ""): p for n, p in wrapped.named_parameters() if "lora_" in n}


def positions_of(lengths):
    return torch.cat([torch.arange(n) for n in lengths])


def run_packed(model, embeddings, lengths, **more):
    """Every sequence by itself: what packing must equal."""
    logits, attentions, at = [], [], 0
    for n in lengths:
        out = model(inputs_embeds=embeddings[None, at : at + n], use_cache=False, **more)
        logits.append(out.logits[0])
        attentions.append(out.attentions)
        at += n
    return torch.cat(logits), attentions


def loss_sum(logits, rows, targets):
    return F.cross_entropy(logits[rows].float(), targets, reduction="sum")


# ---- Llama alone

LLAMAS = {
    # grouped-query attention
    "gqa": dict(hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
                vocab_size=101, rms_norm_eps=1e-5),
    # odd widths, heads wider than the model, biases everywhere, tied embeddings, another theta
    "odd": dict(hidden_size=39, intermediate_size=53, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3,
                head_dim=14, vocab_size=67, rms_norm_eps=1e-6, attention_bias=True, mlp_bias=True,
                tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=500.0)),
    # float32 over several files, one key-value head
    "sharded": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=1, vocab_size=97, rms_norm_eps=1e-5),
}


def record_llama(name, seed):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(max_position_embeddings=256, bos_token_id=1, eos_token_id=2, attn_implementation="eager",
                         **LLAMAS[name])
    model = LlamaForCausalLM(config).eval()
    randomize(model, 1.5)
    model.tie_weights()
    folder = os.path.join(HERE, "llama", name)
    if name == "sharded":
        model = save_and_load(model, folder, torch.float32, max_shard_size="30KB")
    else:
        model = save_and_load(model, folder)

    lengths = [11, 1, 23]
    total = sum(lengths)
    embeddings = torch.randn(total, config.hidden_size, requires_grad=True)
    rows = torch.tensor([3, 4, 9, 12, 13, 20, 33])
    targets = torch.randint(0, config.vocab_size, (len(rows),))
    golden = dict(lengths=torch.tensor(lengths), embeddings=embeddings.detach().clone(), rows=rows, targets=targets)

    def record_pass(prefix, network, parameters):
        logits, attentions = run_packed(network, embeddings, lengths, output_attentions=True)
        loss = loss_sum(logits, rows, targets)
        grads = torch.autograd.grad(loss, [embeddings, *parameters.values()])
        golden[prefix + "logits"] = logits.detach()
        golden[prefix + "loss"] = loss.detach()[None]
        golden[prefix + "grad.embeddings"] = grads[0]
        for n, g in zip(parameters, grads[1:]):
            golden[prefix + "grad." + n] = g
        return attentions

    attentions = record_pass("", model, {})
    # rows 4, 10 of the first sequence to its keys 2..6, rows 7, 22 of the third to its keys 3..7: [rows, layers, heads, keys]
    golden["attention"] = torch.stack(
        [torch.stack([layer[0, :, row, first : first + 5] for layer in attentions[sequence]])
         for sequence, row, first in ((0, 4, 2), (0, 10, 2), (2, 7, 3), (2, 22, 3))]).detach()

    # greedy continuations of embedded prompts, each by itself
    prompts = [7, 2, 13]
    ids, at = [], 0
    for n in prompts:
        out = model.generate(inputs_embeds=embeddings[None, at : at + n].detach(), max_new_tokens=24, do_sample=False,
                             pad_token_id=0)
        ids.append(out[0].tolist())
        at += n
    golden["prompts"] = torch.tensor(prompts)
    for i, tokens in enumerate(ids):
        golden[f"greedy.{i}"] = torch.tensor(tokens)

    wrapped = peft_of(model, 3, 6)
    parameters = lora_parameters(wrapped)
    golden |= {"lora." + n: p.detach().clone() for n, p in parameters.items()}
    record_pass("with_lora.", wrapped, parameters)
    save(golden, os.path.join(HERE, "llama", name + ".safetensors"))


def save(tensors, path):
    tensors = {n: (t.int() if t.dtype == torch.int64 else t.float()).contiguous().clone() for n, t in tensors.items()}
    save_file(tensors, path)


# ---- DiffLMM

IMAGE, TOKENS = 64, 16
WIDTHS = dict(clip=28, context=24, llm=32)
UNET_WIDTHS = [16, 16, 16, 8]


class Adapters(torch.nn.Module):
    """Captioner, projector and encodings under the published names."""

    def __init__(self, captioner=True, encodings=True, concat=True, block=1):
        super().__init__()
        nn, clip, context, d = torch.nn, WIDTHS["clip"], WIDTHS["context"], WIDTHS["llm"]
        self.concat = concat
        if captioner:
            self.clip_projector = nn.Sequential(nn.Linear(clip, context), nn.GELU(), nn.Linear(context, context))
            if encodings:
                self.clip_pe = nn.Parameter(torch.randn(TOKENS, context))
        self.sd_norm_layer = nn.LayerNorm(UNET_WIDTHS[block])
        self.sd_proj_layer = nn.Sequential(nn.Conv2d(UNET_WIDTHS[block], d // 4, 1), nn.GELU())
        self.linear = nn.Sequential(nn.Linear(d // 4 + (clip if concat else 0), d), nn.GELU(), nn.Linear(d, d))
        if encodings:
            self.vt_pe = nn.Parameter(torch.randn(TOKENS, d))

    def context(self, clip):
        x = self.clip_projector(clip)
        return x + self.clip_pe if hasattr(self, "clip_pe") else x

    def project(self, clip, feature):
        x = self.sd_norm_layer(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.sd_proj_layer(x).flatten(2).transpose(1, 2)
        x = self.linear(torch.cat([x, clip], -1) if self.concat else x)
        return x + self.vt_pe if hasattr(self, "vt_pe") else x


def make_networks(folder):
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

    vae = AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                        block_out_channels=[4, 4, 8, 8], layers_per_block=1, norm_num_groups=2, latent_channels=4,
                        sample_size=IMAGE, scaling_factor=0.18215)
    unet = UNet2DConditionModel(sample_size=IMAGE // 8, block_out_channels=[8, 16, 16, 16], layers_per_block=1,
                                cross_attention_dim=WIDTHS["context"], attention_head_dim=2, norm_num_groups=4)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=30, hidden_size=WIDTHS["context"], intermediate_size=48,
                                        num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=12,
                                        projection_dim=24, eos_token_id=29, bos_token_id=28, pad_token_id=29))
    clip = CLIPVisionModel(CLIPVisionConfig(hidden_size=WIDTHS["clip"], intermediate_size=40, num_hidden_layers=3,
                                            num_attention_heads=2, image_size=IMAGE * 7 // 8, patch_size=14))
    llm = LlamaForCausalLM(LlamaConfig(hidden_size=WIDTHS["llm"], intermediate_size=56, num_hidden_layers=2,
                                       num_attention_heads=4, num_key_value_heads=2, vocab_size=61,
                                       max_position_embeddings=256, attn_implementation="eager"))
    networks = {"sd/vae": vae, "sd/unet": unet, "sd/text_encoder": text, "clip": clip, "llm": llm}
    for name, network in networks.items():
        randomize(network.eval().requires_grad_(False))
        networks[name] = save_and_load(network, os.path.join(folder, name)).requires_grad_(False)
    PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
                  skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1).save_pretrained(os.path.join(folder, "sd/scheduler"))
    os.makedirs(os.path.join(folder, "sd/tokenizer"))
    vocabulary = {chr(ord("a") + i % 26) + "x" * (i // 26): i for i in range(28)}
    vocabulary |= {"<|startoftext|>": 28, "<|endoftext|>": 29}
    json.dump(vocabulary, open(os.path.join(folder, "sd/tokenizer/vocab.json"), "w"))
    json.dump(dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"),
              open(os.path.join(folder, "sd/tokenizer/special_tokens_map.json"), "w"))
    return networks


def clip_feature(clip, images):
    """The same image for CLIP: smaller, normalised anew; its state before the last layer without the class token."""
    small = F.interpolate(images, size=(IMAGE * 7 // 8,) * 2, mode="bilinear", align_corners=False)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    return clip((small * 0.5 + 0.5 - mean) / std, output_hidden_states=True).hidden_states[-2][:, 1:]


def unet_feature(unet, noisy, timestep, context, block):
    """Output of an up block, caught by a hook on the stock U-Net."""
    caught = []
    hook = unet.up_blocks[block].register_forward_hook(lambda module, args, output: caught.append(output))
    unet(noisy, timestep, encoder_hidden_states=context)
    hook.remove()
    return caught[0]


def image_path(networks, adapters, golden, case, timestep=100, block=1, ensemble=1):
    """Visual tokens of the recorded images; keeps what comes between."""
    from diffusers import DDPMScheduler

    images = golden["images"]
    keep = {}
    keep["clip"] = clip = clip_feature(networks["clip"], images)
    posterior = networks["sd/vae"].encode(images).latent_dist
    keep["moments"] = posterior.parameters
    if hasattr(adapters, "clip_projector"):
        context = adapters.context(clip)
    else:
        ids = torch.tensor([[28] + [29] * 11])
        context = networks["sd/text_encoder"](ids)[0].expand(len(images), -1, -1)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
    features = []
    for e in range(ensemble):
        latents = (posterior.mean + posterior.std * golden["noise.vae"][e]) * networks["sd/vae"].config.scaling_factor
        t = torch.full((len(images),), timestep)
        noisy = scheduler.add_noise(latents, golden["noise.diffusion"][e], t)
        features.append(unet_feature(networks["sd/unet"], noisy, timestep, context, block))
    feature = torch.stack(features).mean(0)
    side = int(TOKENS ** 0.5)
    if feature.shape[-1] != side:
        feature = F.interpolate(feature, size=(side, side), mode="bilinear", align_corners=False)
    keep |= dict(latents=latents, noisy_latents=noisy, context=context, unet_feature=feature)
    keep["visual_tokens"] = adapters.project(clip, feature)
    for name, value in keep.items():
        golden[f"{case}.{name}"] = channels_last(value.detach())
    return keep["visual_tokens"]


def channels_last(x):
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


SAMPLES = [  # token ids and labels; image index or None
    ([1, 17, 23, IMAGE_TOKEN, 5, 9, 33, 2], [IGNORED] * 5 + [9, 33, 2], 1),
    ([1, 40, 41, 8, 19, 2, 7, 12, 2], [IGNORED] * 3 + [8, 19, 2, IGNORED, 12, 2], None),
    ([IMAGE_TOKEN, 13, 14, 15, 16, 17, 18, 19, 20, 21], [IGNORED, 13, 14, 15, 16, 17, 18, 19, 20, 21], 0),
]
MAX_LENGTH = 23  # cuts the third sample's last two tokens


def language_path(llm, embed, visual):
    """Sum of cross-entropies, number of supervised tokens, logits of every sample."""
    total, count, all_logits = 0.0, 0, []
    for ids, labels, image in SAMPLES:
        pieces, targets = [], []
        for token, label in zip(ids, labels):
            if token == IMAGE_TOKEN:
                pieces.append(visual[image])
                targets += [IGNORED] * TOKENS
            else:
                pieces.append(embed(torch.tensor([token])))
                targets.append(label)
        x, targets = torch.cat(pieces)[:MAX_LENGTH], torch.tensor(targets)[:MAX_LENGTH]
        logits = llm(inputs_embeds=x[None], use_cache=False).logits[0]
        total = total + F.cross_entropy(logits[:-1], targets[1:], ignore_index=IGNORED, reduction="sum")
        count += int((targets[1:] != IGNORED).sum())
        all_logits.append(logits.detach())
    return total, count, torch.cat(all_logits)


def record_step(case, golden, parameters, groups, loss_total, count, logits):
    """Loss, gradients of the mean, and the parameters after clipping and one AdamW update."""
    loss = loss_total / count
    golden[f"{case}.loss_sum"] = loss_total.detach()[None]
    golden[f"{case}.num_supervised"] = torch.tensor([count])
    golden[f"{case}.logits"] = logits
    before = {n: p.detach().clone() for n, p in parameters.items()}
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    loss.backward()
    for n, p in parameters.items():
        golden[f"{case}.before.{n}"] = before[n]
        golden[f"{case}.grad.{n}"] = p.grad.clone()
    golden[f"{case}.grad_norm"] = torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)[None]
    optimizer.step()
    for n, p in parameters.items():
        golden[f"{case}.after.{n}"] = p.detach().clone()


def no_decay(parameters, rate):
    """The HF Trainer's two groups: no decay on vectors."""
    return [dict(params=[p for p in parameters if p.ndim >= 2], lr=rate),
            dict(params=[p for p in parameters if p.ndim < 2], lr=rate, weight_decay=0.0)]


def named(adapters):
    return {"mm_projector." + n: p for n, p in adapters.named_parameters()}


def record_difflmm(seed):
    torch.manual_seed(seed)
    folder = os.path.join(HERE, "difflmm")
    networks = make_networks(folder)
    llm, embed = networks["llm"], networks["llm"].get_input_embeddings()
    side = IMAGE // 8
    golden = {"images": torch.rand(2, 3, IMAGE, IMAGE) * 2 - 1, "noise.vae": torch.randn(2, 2, 4, side, side),
              "noise.diffusion": torch.randn(2, 2, 4, side, side)}

    def step(case, lora):
        adapters = Adapters()
        parameters = named(adapters)
        groups = no_decay(list(parameters.values()), 1e-3)
        model = llm
        if lora:
            model = peft_of(llm, 4, 8)
            parameters |= lora_parameters(model)
            groups = no_decay(list(named(adapters).values()), 2e-5) + no_decay(list(lora_parameters(model).values()), 2e-4)
        visual = image_path(networks, adapters, golden, case)
        record_step(case, golden, parameters, groups, *language_path(model, embed, visual))
        if not lora:
            record_generation(golden, llm, embed, visual.detach())
        return model

    step("stage1", False)
    step("stage2", True).unload()

    for case, options, more in (
        ("no_captioner", dict(captioner=False), {}), ("no_encodings", dict(encodings=False), {}),
        ("no_concat", dict(concat=False), {}), ("block0", dict(block=0), dict(block=0)),
        ("block2", dict(block=2), dict(block=2)), ("block3", dict(block=3), dict(block=3)),
        ("timestep261", {}, dict(timestep=261)), ("ensemble2", {}, dict(ensemble=2)),
    ):
        adapters = Adapters(**options)
        visual = image_path(networks, adapters, golden, case, **more)
        for name in ("clip", "moments", "logits", "latents", "noisy_latents", "context"):
            golden.pop(f"{case}.{name}", None)
        record_ablation(case, golden, named(adapters), *language_path(llm, embed, visual)[:2])

    d = WIDTHS["llm"]
    llava = torch.nn.Sequential(torch.nn.Linear(WIDTHS["clip"], d), torch.nn.GELU(), torch.nn.Linear(d, d))
    visual = llava(golden["stage1.clip"])
    golden["llava.visual_tokens"] = visual.detach()
    record_ablation("llava", golden, named(llava), *language_path(llm, embed, visual)[:2])

    golden["images"] = channels_last(golden["images"])
    for name in ("noise.vae", "noise.diffusion"):
        golden[name] = golden[name].permute(0, 1, 3, 4, 2)
    save(golden, os.path.join(folder, "golden.safetensors"))


def record_ablation(case, golden, parameters, total, count):
    """Loss, and the gradients of the sum of cross-entropies."""
    golden[f"{case}.loss_sum"] = total.detach()[None]
    golden[f"{case}.num_supervised"] = torch.tensor([count])
    grads = torch.autograd.grad(total, list(parameters.values()))
    for (n, p), g in zip(parameters.items(), grads):
        golden[f"{case}.before.{n}"] = p.detach()
        golden[f"{case}.grad.{n}"] = g


def record_generation(golden, llm, embed, visual):
    """Greedy continuation of a prompt with the second image, and the attention of the producing rows to its tokens."""
    ids = [1, 17, 23, IMAGE_TOKEN, 5, 9]
    x = torch.cat([visual[1] if t == IMAGE_TOKEN else embed(torch.tensor([t])) for t in ids])
    out = llm.generate(inputs_embeds=x[None], max_new_tokens=12, do_sample=False, pad_token_id=0,
                       return_dict_in_generate=True, output_attentions=True)
    golden["generate.ids"] = out.sequences[0]
    golden["generate.attention"] = torch.stack(
        [torch.stack([layer[0, :, -1, 3 : 3 + TOKENS] for layer in step]) for step in out.attentions])


if __name__ == "__main__":
    for part in ("llama", "difflmm"):
        shutil.rmtree(os.path.join(HERE, part), ignore_errors=True)
        os.makedirs(os.path.join(HERE, part))
    for index, case in enumerate(LLAMAS):
        record_llama(case, 10 + index)
    record_difflmm(20)
