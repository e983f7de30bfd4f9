#!/usr/bin/env python3
"""Runs bench_step and the same step in PyTorch in turns: stage 1 of the tiny model with the networks of checkpoints/tiny
in diffusers and transformers (torch_step.py).

    torch_tiny_step.py build/tests/bench/bench_step [--batch 32] [--text 40] [--steps 12] [--rounds 3] [--threads 2]
                       [--type bfloat16|float32] [--features cached|computed] [--clock wall|cpu] [CHECKPOINTS]

First it holds PyTorch's loss to ours on the same batch, noise and parameters in float32: so it is the same step. Frozen
networks are of --type, trained parameters float32 (bfloat16: under autocast). --clock cpu: one thread, time on the
processor, for a machine that others use. Prints a line for each turn, then the medians over turns and their ratio. From
the repository's root; needs torch, transformers, diffusers and safetensors.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file
from torch_step import Step

# A sum of K products errs by about sqrt(K) 2^-24 of their size, K at most 432 here; some forty sums follow each other.
LOSS_TOLERANCE = 5e-5

def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("checkpoints", nargs="?", default="checkpoints/tiny")
    for name, value in [("batch", 32), ("text", 40), ("steps", 12), ("rounds", 3), ("threads", 2)]:
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--type", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--features", choices=["cached", "computed"], default="cached")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    settings = parser.parse_args()
    if settings.clock == "cpu":
        settings.threads = 1
    return settings


def same_step(settings, saved, dtype):
    """The step that bench_step saved."""
    folder = settings.checkpoints
    step = Step(f"{folder}/clip", f"{folder}/sd", f"{folder}/llm", dtype, saved["images"].permute(0, 3, 1, 2).contiguous(),
                saved["ids"].long(), saved["supervised"])
    names = {n.removeprefix("mm_projector."): v for n, v in saved.items() if n.startswith("mm_projector.")}
    step.adapters.load_state_dict(names)
    return step


def run_bench(settings, *more):
    command = [settings.bench, "--only", "difflmm stage 1", "--batch", str(settings.batch), "--text", str(settings.text),
               "--features", settings.features, "--threads", str(settings.threads), *more, settings.checkpoints]
    if settings.clock == "cpu":
        command.insert(1, "--processor-time")
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return 1e-3 * float(re.search(r"([\d.]+) ms", text).group(1))


def check_loss(settings, saved):
    """That the step is the same."""
    step = same_step(settings, saved, torch.float32)
    noises = (saved[name].permute(0, 3, 1, 2) for name in ("vae_noise", "diffusion_noise"))
    with torch.no_grad():
        loss, ours = float(step.loss(step.features(), *noises)), float(saved["loss"])
    print("loss of the same batch in float32: ours %.6f, PyTorch's %.6f" % (ours, loss), flush=True)
    if not abs(loss - ours) <= LOSS_TOLERANCE * abs(loss):
        sys.exit("torch_tiny_step.py: the losses differ by more than %g of them: these are not the same steps" % LOSS_TOLERANCE)


def main():
    settings = options()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="difflmm-bench-") as folder:
        path = os.path.join(folder, "step.safetensors")
        run_bench(settings, "--save", path, "--type", "float32", "--steps", "1")
        saved = load_file(path)
    check_loss(settings, saved)
    step = same_step(settings, saved, getattr(torch, settings.type))
    features = step.features()
    for _ in range(2):
        step.run(features)
    clock = time.process_time if settings.clock == "cpu" else time.perf_counter
    results = {"ours": [], "PyTorch": []}
    for _ in range(settings.rounds):
        results["ours"].append(run_bench(settings, "--type", settings.type, "--steps", str(settings.steps)))
        times = []
        for _ in range(settings.steps):
            begin = clock()
            step.run(step.features() if settings.features == "computed" else features)
            times.append(clock() - begin)
        results["PyTorch"].append(statistics.median(times))
        print("ours %.1f ms, PyTorch %.1f ms" % (1e3 * results["ours"][-1], 1e3 * results["PyTorch"][-1]), flush=True)
    ours, theirs = (statistics.median(results[name]) for name in ("ours", "PyTorch"))
    print("tiny step, %s, features %s: ours %.1f ms, PyTorch %.1f ms, ratio %.3f"
          % (settings.type, settings.features, 1e3 * ours, 1e3 * theirs, ours / theirs))


if __name__ == "__main__":
    main()
