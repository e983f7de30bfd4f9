#!/usr/bin/env python3
"""Records what stock transformers computes with small random decoders of every kind that models/language/llama.c takes:
tests/unit/models/test_llama_decoders.c holds the C code to it.

    python tests/parity/record_decoders.py            (writes tests/parity/data/decoders)

decoders/<case>/             config.json and weights as save_pretrained() leaves them, bfloat16; where the case says so, the
                             configuration in the form that transformers 4 wrote
decoders/inputs.safetensors  embeddings [T,C] of packed sequences, their lengths, a direction [T,V], lengths of prompts
decoders/golden.safetensors  <case>/layers.N, logits, grad (of <logits, direction>); by how much each of these is off, relative to its
                             length, when transformers computes in bfloat16: bfloat16.<part>; greedy.N, continuations of prompts
decoders/rope.json           configurations, mostly published ones, with the frequencies that transformers makes of them
"""
import copy
import json
import os
import shutil

import torch
from safetensors.torch import save_file

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "decoders")
LENGTHS = [9, 1, 30]  # of which the last is longer than any case's window or original length
PROMPTS = [9, 12]     # the first of them, and the first rows of the last, generate across those lengths
NEW_TOKENS = 12
SIZES = dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             vocab_size=37, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0)

CASES = {
    "linear": ("llama", dict(head_dim=12, max_position_embeddings=64), dict(type="linear", factor=2.5)),
    "dynamic": ("llama", dict(head_dim=12, max_position_embeddings=16,
                              rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=300.0)), None),
    "llama3": ("llama", dict(head_dim=12, max_position_embeddings=128,
                             rope_parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                  original_max_position_embeddings=16, rope_theta=500.0)), None),
    "yarn": ("llama", dict(head_dim=12, max_position_embeddings=64, rope_theta=100.0),
             dict(rope_type="yarn", factor=4.0, beta_fast=4.0, original_max_position_embeddings=16)),
    "mistral": ("mistral", dict(head_dim=10, sliding_window=7, max_position_embeddings=64), None),
    "qwen2": ("qwen2", dict(num_hidden_layers=3, tie_word_embeddings=True, use_sliding_window=True, sliding_window=11,
                            max_window_layers=2, max_position_embeddings=64), None),
}

ROPES = {  # the first by what their publishers' config.json says
    "Vicuna 7B v1.5 16k": (128, 1, dict(max_position_embeddings=4096, rope_scaling=dict(type="linear", factor=4.0))),
    "Llama 3.1 8B": (128, 1, dict(max_position_embeddings=131072, rope_theta=500000.0, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192))),
    "Llama 3.2 1B": (64, 1, dict(max_position_embeddings=131072, rope_theta=500000.0, rope_scaling=dict(
        rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192))),
    "Qwen2.5 7B with yarn": (128, 1, dict(max_position_embeddings=32768, rope_theta=1000000.0, rope_scaling=dict(
        type="yarn", factor=4.0, original_max_position_embeddings=32768))),
    "Llama 2 7B dynamic, short": (128, 4096, dict(max_position_embeddings=4096,
                                                  rope_scaling=dict(type="dynamic", factor=2.0))),
    "Llama 2 7B dynamic, long": (128, 9000, dict(max_position_embeddings=4096,
                                                 rope_scaling=dict(type="dynamic", factor=2.0))),
    "yarn, whole range": (64, 1, dict(max_position_embeddings=8192, rope_theta=50000.0, rope_scaling=dict(
        rope_type="yarn", factor=16.0, beta_fast=24.0, beta_slow=2.0, truncate=False,
        original_max_position_embeddings=2048))),
    "yarn, two mscales": (64, 1, dict(max_position_embeddings=8192, rope_scaling=dict(
        rope_type="yarn", factor=40.0, mscale=0.707, mscale_all_dim=0.3, original_max_position_embeddings=4096))),
    "yarn, attention_factor": (32, 1, dict(max_position_embeddings=8192, rope_parameters=dict(
        rope_type="yarn", factor=8.0, attention_factor=1.25, original_max_position_embeddings=1024, rope_theta=10000.0))),
}


def classes(kind):
    import transformers as t

    return {"llama": (t.LlamaConfig, t.LlamaForCausalLM), "mistral": (t.MistralConfig, t.MistralForCausalLM),
            "qwen2": (t.Qwen2Config, t.Qwen2ForCausalLM)}[kind]


def randomize(model):
    """Weights of a size at which every part of the network matters; norms and biases away from 1 and 0."""
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data = (1.0 if name.endswith("weight") else 0.0) + 0.3 * torch.randn_like(p)
        elif "embed" in name:
            p.data = 0.5 * torch.randn_like(p)
        else:
            p.data = 1.5 * torch.randn_like(p) / p.shape[1] ** 0.5
    model.tie_weights()


def old_form(folder, options, scaling):
    """The configuration as transformers 4 wrote it."""
    path = os.path.join(folder, "config.json")
    config = json.load(open(path))
    config.pop("rope_parameters", None)
    config.pop("layer_types", None)
    config |= dict(rope_scaling=scaling, rope_theta=options.get("rope_theta", 10000.0), pretraining_tp=1,
                   torch_dtype=config.pop("dtype", "bfloat16"), transformers_version="4.31.0")
    json.dump(config, open(path, "w"), indent=2)


def load_recorded(kind, options, scaling, folder):
    config_class, model_class = classes(kind)
    if scaling:
        options = dict(options, rope_scaling=dict(scaling))
    model = model_class(config_class(**{**SIZES, **options})).eval()
    randomize(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    if scaling:
        old_form(folder, options, scaling)
    os.remove(os.path.join(folder, "generation_config.json"))
    return model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def run_packed(model, embeddings, direction):
    """Every sequence by itself: what packing must equal."""
    kept, at = {}, 0
    for n in LENGTHS:
        x = embeddings[None, at : at + n].clone().requires_grad_()
        layers = []
        hooks = [layer.register_forward_hook(lambda m, a, out: layers.append(out)) for layer in model.model.layers]
        logits = model(inputs_embeds=x, use_cache=False).logits
        for hook in hooks:
            hook.remove()
        (logits[0] * direction[at : at + n]).sum().backward()
        for i, layer in enumerate(layers):
            kept.setdefault(f"layers.{i}", []).append((layer[0] if isinstance(layer, tuple) else layer).reshape(n, -1).detach())
        kept.setdefault("logits", []).append(logits[0].detach())
        kept.setdefault("grad", []).append(x.grad[0])
        at += n
    return {part: torch.cat(values).float().contiguous() for part, values in kept.items()}


def record_case(name, embeddings, direction, golden):
    torch.manual_seed(40 + list(CASES).index(name))
    model = load_recorded(*CASES[name], os.path.join(FOLDER, name)).requires_grad_(False)
    wide = run_packed(model, embeddings, direction)
    narrow = run_packed(copy.deepcopy(model).to(torch.bfloat16), embeddings.bfloat16(), direction.bfloat16())
    for part, value in wide.items():
        golden[f"{name}/{part}"] = value
        golden[f"{name}/bfloat16.{part}"] = ((narrow[part] - value).norm() / value.norm())[None]
    for i, n in enumerate(PROMPTS):
        first = 0 if i == 0 else LENGTHS[0] + LENGTHS[1]
        out = model.generate(inputs_embeds=embeddings[None, first : first + n], max_new_tokens=NEW_TOKENS, do_sample=False,
                             pad_token_id=0)
        golden[f"{name}/greedy.{i}"] = out[0].int()


def record_ropes():
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    records = []
    for name, (head_dim, length, options) in ROPES.items():
        config = LlamaConfig(hidden_size=head_dim * 2, num_attention_heads=2, **json.loads(json.dumps(options)))
        make = ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]]
        frequencies, factor = make(config, "cpu", seq_len=length)
        records.append(dict(name=name, head_dim=head_dim, length=length, config=options, rotation_factor=factor,
                            frequencies=[float(f) for f in frequencies]))
    with open(os.path.join(FOLDER, "rope.json"), "w") as file:
        json.dump(records, file, separators=(",", ":"))
        file.write("\n")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    torch.manual_seed(39)
    rows = sum(LENGTHS)
    embeddings = torch.randn(rows, SIZES["hidden_size"])
    direction = torch.randn(rows, SIZES["vocab_size"])
    save_file({"packed/embeddings": embeddings, "packed/direction": direction,
               "packed/lengths": torch.tensor(LENGTHS, dtype=torch.int32),
               "packed/prompts": torch.tensor(PROMPTS, dtype=torch.int32)}, os.path.join(FOLDER, "inputs.safetensors"))
    golden = {}
    for name in CASES:
        record_case(name, embeddings, direction, golden)
    save_file(golden, os.path.join(FOLDER, "golden.safetensors"))
    record_ropes()


if __name__ == "__main__":
    main()
