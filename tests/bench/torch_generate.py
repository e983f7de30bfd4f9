#!/usr/bin/env python3
"""Runs bench_generate and transformers in turns: generation at the shape of Vicuna-7B with random weights, in bfloat16 with
the same number of threads, transformers with eager attention and output_attentions=True, as evaluation asks.

    torch_generate.py build/tests/bench/bench_generate [--layers 4] [--batch 1] [--prompt 640] [--tokens 24] [--rounds 3]
                      [--threads 2] [--clock wall|cpu]

--clock cpu counts time on the processor in place of what passes, for a machine that others use; with one thread it means
something. Prints a line for each turn, then the medians over turns of a step's median and of its least. Needs torch and transformers.
"""
import argparse
import re
import statistics
import subprocess
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    for name, value in [("layers", 4), ("batch", 1), ("prompt", 640), ("tokens", 24), ("rounds", 3), ("threads", 2)]:
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    return parser.parse_args()


def random_model(layers):
    config = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers, num_attention_heads=32,
                         num_key_value_heads=32, vocab_size=32000, attn_implementation="eager")
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.to_empty(device="cpu")
    block = torch.empty(1 << 20).uniform_(-0.03, 0.03)
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.view(-1)
            for first in range(0, flat.numel(), block.numel()):
                part = flat[first:first + block.numel()]
                part.copy_(block[:part.numel()])
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its buffers are not parameters
    return model.eval()


@torch.inference_mode()
def steps_of(model, settings):
    """Seconds of each step, after the prompts and one step."""
    ids = (torch.arange(settings.batch * settings.prompt) * 7919 % 32000).view(settings.batch, settings.prompt)
    out = model(ids, use_cache=True, output_attentions=True, logits_to_keep=1)
    times, clock = [], time.process_time if settings.clock == "cpu" else time.perf_counter
    for _ in range(settings.tokens + 1):
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        begin = clock()
        out = model(token, past_key_values=out.past_key_values, use_cache=True, output_attentions=True)
        times.append(clock() - begin)
        assert out.attentions[0].shape[2] == 1
    return times[1:]


def ours(settings):
    command = [settings.bench, "--rounds", "1"]
    for name in ["layers", "batch", "prompt", "tokens", "threads", "clock"]:
        command += ["--" + name, str(getattr(settings, name))]
    line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    print("ours          ", line, flush=True)
    step, least = map(float, re.search(r"step ([\d.]+) s \(least ([\d.]+)\)", line).groups())
    return step, least


def main():
    settings = options()
    torch.set_num_threads(settings.threads)
    model = random_model(settings.layers)
    results = {"ours": [], "transformers": []}
    for _ in range(settings.rounds):
        results["ours"].append(ours(settings))
        times = steps_of(model, settings)
        results["transformers"].append((statistics.median(times), min(times)))
        print("transformers   step %.4f s (least %.4f)" % results["transformers"][-1], flush=True)
    for name, figures in results.items():
        median, least = (statistics.median(column) for column in zip(*figures))
        print("%-14s %.4f s, %.2f tokens/s; least %.4f s, %.2f tokens/s"
              % (name, median, settings.batch / median, least, settings.batch / least))


if __name__ == "__main__":
    main()
