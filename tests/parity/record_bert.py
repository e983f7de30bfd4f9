#!/usr/bin/env python3
"""Records what stock transformers computes with small random BERTs: tests/unit/models/test_bert.c holds the C code to it.

    python tests/parity/record_bert.py            (writes tests/parity/data/bert)

bert/plain      a BertModel as save_pretrained() leaves it, bfloat16
bert/old        the same weights under the names of old checkpoints: "bert." before all, norms' gamma and beta, no pooler, float32
bert/golden.safetensors   ids [T] and lengths of packed sequences, embeddings, every layer's output, means over the tokens, and for a
                          direction [T,C] the gradient of <last hidden state, direction> with respect to the embeddings
"""
import json
import os
import shutil

import torch
from safetensors.torch import save_file

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "bert")
LENGTHS = [7, 1, 12]


def randomized(model):
    """Weights of a size at which every part of the network matters; norms and biases away from 1 and 0."""
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data = (1.0 if name.endswith("weight") else 0.0) + 0.2 * torch.randn_like(p)
        elif "embeddings" in name:
            p.data = torch.randn_like(p)
        else:
            p.data = 1.5 * torch.randn_like(p) / p.shape[1] ** 0.5
    return model


def save_old(model, folder):
    os.makedirs(folder)
    config = model.config.to_dict()
    # What the first ones did not say, and where this one lay.
    for key in ("layer_norm_eps", "position_embedding_type", "model_type", "_name_or_path"):
        config.pop(key, None)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=1)
    tensors = {}
    for name, value in model.state_dict().items():
        if "pooler" in name:
            continue
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        tensors["bert." + name] = value.clone()
    save_file(tensors, os.path.join(folder, "model.safetensors"))


def main():
    from transformers import BertConfig, BertModel

    torch.manual_seed(31)
    shutil.rmtree(FOLDER, ignore_errors=True)
    config = BertConfig(vocab_size=53, hidden_size=36, num_hidden_layers=3, num_attention_heads=3, intermediate_size=70,
                        max_position_embeddings=16, attn_implementation="eager")
    plain = os.path.join(FOLDER, "plain")
    randomized(BertModel(config)).to(torch.bfloat16).save_pretrained(plain)
    model = BertModel.from_pretrained(plain, dtype=torch.float32, attn_implementation="eager").eval()
    save_old(model, os.path.join(FOLDER, "old"))

    ids = torch.randint(0, config.vocab_size, (sum(LENGTHS),))
    direction = torch.randn(len(ids), config.hidden_size)
    golden = dict(ids=ids.int(), lengths=torch.tensor(LENGTHS, dtype=torch.int32), direction=direction)
    kept = {"embeddings": [], "grad.embeddings": [], "means": []}
    at = 0
    for n in LENGTHS:  # every sequence by itself: what packing must equal
        caught = []
        hook = model.embeddings.register_forward_hook(lambda m, a, out: (caught.append(out), out.retain_grad()) and None)
        out = model(input_ids=ids[None, at : at + n], output_hidden_states=True)
        hook.remove()
        (out.last_hidden_state[0] * direction[at : at + n]).sum().backward()
        kept["embeddings"].append(caught[0][0].detach())
        kept["grad.embeddings"].append(caught[0].grad[0])
        kept["means"].append(out.last_hidden_state[0].mean(0, keepdim=True).detach())
        for i, hidden in enumerate(out.hidden_states[1:]):
            kept.setdefault(f"layers.{i}", []).append(hidden[0].detach())
        at += n
    golden |= {name: torch.cat(parts).contiguous() for name, parts in kept.items()}
    golden = {"packed/" + name: value for name, value in golden.items()}
    save_file(golden, os.path.join(FOLDER, "golden.safetensors"))


if __name__ == "__main__":
    main()
