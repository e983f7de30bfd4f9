#!/usr/bin/env python3
"""Measures everything that is held to PyTorch's speed, beside PyTorch, in turns, and says which targets hold. Builds nothing.

    VENV/bin/python tests/bench/compare_with_pytorch.py [--build build] [--weights FOLDER] [--turns 6] [--seconds 0.4]
        [--threads 2] [--clock wall|cpu] [--quick] [--part instruction|products|attention|conv2d|recipe|tiny|generation]...

VENV has torch, transformers, diffusers, numpy and safetensors. Products, convolutions and attention are bench_ops's at the
official shapes. --weights: what make_official_weights.py wrote (with 32 layers or with 4), for the whole step
(bench_recipe beside torch_step.py, with gradient checkpointing and without); without it that part is left out. --quick:
few shapes, turns and steps, some ten minutes on a machine that others use. --clock cpu: one thread and time on the
processor, for such a machine. --part may be given several times; otherwise all.

Each figure is a median over turns (ours, PyTorch's, ours, PyTorch's, ...), between which the instruction's own rate is
measured. Exit 0 whether targets hold or not, 1 where something could not be measured. From the repository's root.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))

# Names and sizes as in bench_ops.c. Products: rows, k, n. Convolutions: batch, size, in, out, kernel. Attention: queries,
# keys, heads, dim, causal.
PRODUCTS = {
    "LLM 616 x 4096 -> 11008": (616, 4096, 11008),
    "LLM 616 x 4096 -> 4096": (616, 4096, 4096),
    "LLM 616 x 11008 -> 4096": (616, 11008, 4096),
    "CLIP 577 x 1024 -> 4096": (577, 1024, 4096),
    "U-Net 2304 x 320 -> 2560": (2304, 320, 2560),
    "U-Net 144 x 1280 -> 10240": (144, 1280, 10240),
}
CONVOLUTIONS = {
    "U-Net 48^2 320 -> 320": (1, 48, 320, 320, 3),
    "U-Net 24^2 640 -> 640": (1, 24, 640, 640, 3),
    "U-Net 12^2 1280 -> 1280": (1, 12, 1280, 1280, 3),
    "VAE 96^2 512 -> 512": (1, 96, 512, 512, 3),
}
ATTENTION = {
    "LLM 616 causal, 32 x 128": (616, 616, 32, 128, True),
    "CLIP 577, 16 x 64": (577, 577, 16, 64, False),
    "U-Net 2304, 8 x 40": (2304, 2304, 8, 40, False),
    "U-Net 576, 8 x 80": (576, 576, 8, 80, False),
}
PARTS = ["instruction", "products", "attention", "conv2d", "recipe", "tiny", "generation"]
KINDS = ["bfloat16", "float32"]
WARMUPS, MOST_CALLS = 2, 1000


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--weights")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", action="append", choices=PARTS)
    settings = parser.parse_args()
    if settings.clock == "cpu":
        settings.threads = 1
    if settings.quick:
        settings.turns, settings.seconds = min(settings.turns, 3), min(settings.seconds, 0.05)
    if settings.turns < 1 or settings.seconds <= 0 or settings.threads < 1:
        parser.error("expected --turns >= 1, --seconds > 0, --threads >= 1")
    return settings


class Comparison:
    def __init__(self, settings):
        self.settings, self.rows, self.rates = settings, [], {}
        self.clock = time.process_time if settings.clock == "cpu" else time.perf_counter

    def program(self, name):
        return os.path.join(self.settings.build, "tests", "bench", name)

    def run(self, *command):
        result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        if result.returncode:
            sys.exit("compare_with_pytorch.py: '%s' ended with %d" % (" ".join(map(str, command)), result.returncode))
        return result.stdout

    def threads(self):
        return ["--processor-time"] if self.settings.clock == "cpu" else ["--threads", self.settings.threads]

    def instruction(self):
        text = self.run(self.program("bench_instruction"), *self.threads(), "--seconds", self.settings.seconds)
        for kind, name, rate in re.findall(r"^(\S+) +(\S+) +([\d.]+) GFLOP/s", text, re.M):
            self.rates.setdefault((kind, name), []).append(float(rate))

    def row(self, what, ours, theirs, unit, target, faster=True):
        """ours and theirs are lists by turn; a target is a ratio of speeds (faster) or of times."""
        ours, theirs = statistics.median(ours), statistics.median(theirs)
        ratio = ours / theirs
        holds = "" if target is None else "holds" if (ratio >= target if faster else ratio <= target) else "MISSED"
        wanted = "" if target is None else "%s %.2f" % (">=" if faster else "<=", target)
        self.rows.append((what, "%.4g" % ours, "%.4g" % theirs, unit, "%.3f" % ratio, wanted, holds))
        print("%-52s %10s %10s %-8s %7s %8s %s" % self.rows[-1], flush=True)

    # ---- operations

    def measure(self, call):
        """Median seconds of a call."""
        for _ in range(WARMUPS):
            call()
        times, begin = [], self.clock()
        while len(times) < MOST_CALLS and (len(times) < 3 or self.clock() - begin < self.settings.seconds):
            start = self.clock()
            call()
            times.append(self.clock() - start)
        return statistics.median(times)

    def ours_of_op(self, family, name, kind):
        text = self.run(self.program("bench_ops"), *self.threads(), "--type", kind, "--seconds",
                        self.settings.seconds, family, name)
        return [float(speed) for speed in re.findall(r"([\d.]+) GF/s", text)]

    def compare_op(self, family, name, kind, flops, calls, target):
        """calls: PyTorch's forward and input gradient; flops likewise."""
        ours, theirs = ([], []), ([], [])
        for _ in range(self.settings.turns):
            for direction, speed in enumerate(self.ours_of_op(family, name, kind)):
                ours[direction].append(speed)
            for direction, call in enumerate(calls):
                theirs[direction].append(1e-9 * flops[direction] / self.measure(call))
            self.instruction()
        for direction, way in enumerate(("forward", "gradient")):
            self.row("%s, %s, %s" % (name, kind, way), ours[direction], theirs[direction], "GFLOP/s",
                     target if kind == "bfloat16" else None)

    def shapes(self, table):
        return dict(list(table.items())[:2]) if self.settings.quick else table

    def products(self):
        for name, (rows, k, n) in self.shapes(PRODUCTS).items():
            for kind in KINDS:
                sizes = ((rows, k), (n, k), (rows, n))
                x, weight, y = (torch.randn(size, dtype=getattr(torch, kind)) for size in sizes)
                with torch.no_grad():
                    self.compare_op("linear", name, kind, [2 * rows * k * n] * 2,
                                    [lambda: F.linear(x, weight), lambda: y @ weight], 1.15)

    def conv2d(self):
        for name, (batch, size, channels, out, kernel) in self.shapes(CONVOLUTIONS).items():
            for kind in KINDS:
                sizes = ((batch, channels, size, size), (batch, out, size, size), (out, channels, kernel, kernel))
                x, y, weight = (torch.randn(shape, dtype=getattr(torch, kind)).to(memory_format=torch.channels_last)
                                for shape in sizes)
                flops = 2 * batch * size * size * out * channels * kernel * kernel
                with torch.no_grad():
                    self.compare_op("conv2d", name, kind, [flops] * 2,
                                    [lambda: F.conv2d(x, weight, padding=kernel // 2),
                                     lambda: torch.nn.grad.conv2d_input(x.shape, weight, y, padding=kernel // 2)], None)

    def attention(self):
        for name, (queries, keys, heads, dim, causal) in self.shapes(ATTENTION).items():
            for kind in KINDS:
                q, k, v = (torch.randn(1, heads, rows, dim, dtype=getattr(torch, kind), requires_grad=True)
                           for rows in (queries, keys, keys))
                y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
                direction = torch.randn_like(y)

                def forward():
                    with torch.no_grad():
                        F.scaled_dot_product_attention(q, k, v, is_causal=causal)
                products = queries * heads * dim * (keys - (queries - 1) / 2 if causal else keys)
                self.compare_op("attention", name, kind, [4 * products, 10 * products],
                                [forward, lambda: torch.autograd.grad(y, (q, k, v), direction, retain_graph=True)], 1.3)

    # ---- whole steps

    def seconds_and_memory(self, text):
        """Of all steps but the first."""
        steps = [float(s) for s in re.findall(r"^step \d+: ([\d.]+) s", text, re.M)]
        return statistics.median(steps[1:] or steps), float(re.search(r"memory: ([\d.]+) GiB", text).group(1))

    def recipe(self):
        if not self.settings.weights:
            print("recipe: left out, without --weights", flush=True)
            return
        turns, steps = (1, 2) if self.settings.quick else (min(self.settings.turns, 3), 3)
        clock = ["--processor-time"] if self.settings.clock == "cpu" else []
        measured = {"ours": [], "checkpointing": [], "none": []}
        for _ in range(turns):
            measured["ours"].append(self.seconds_and_memory(self.run(
                self.program("bench_recipe"), self.settings.weights, "--steps", steps, "--threads", self.settings.threads,
                "--lock", 1, *clock)))
            for way in ("checkpointing", "none"):
                extra = ["--checkpointing"] if way == "checkpointing" else []
                measured[way].append(self.seconds_and_memory(self.run(
                    sys.executable, os.path.join(HERE, "torch_step.py"), self.settings.weights, "--steps", steps, "--threads",
                    self.settings.threads, "--clock", self.settings.clock, *extra)))
                self.instruction()
        ours, memory = zip(*measured["ours"])
        for way, name, target in (("checkpointing", "with checkpointing", 0.55), ("none", "without checkpointing", 0.70)):
            seconds, bytes_of = zip(*measured[way])
            self.row("stage-1 step; PyTorch " + name, ours, seconds, "s", target, faster=False)
            self.row("  memory", memory, bytes_of, "GiB", 1.0 if way == "checkpointing" else None, faster=False)

    def last_line(self, text, pattern):
        return [float(x) for x in re.search(pattern, text.strip().splitlines()[-1]).groups()]

    def tiny(self):
        turns, steps = (2, 4) if self.settings.quick else (self.settings.turns, 12)
        for features in ("cached", "computed"):
            text = self.run(sys.executable, os.path.join(HERE, "torch_tiny_step.py"), self.program("bench_step"),
                            "--rounds", turns, "--steps", steps, "--threads", self.settings.threads, "--clock",
                            self.settings.clock, "--features", features)
            ours, theirs = self.last_line(text, r"ours ([\d.]+) ms, PyTorch ([\d.]+) ms")
            self.instruction()
            self.row("tiny stage-1 step, features %s" % features, [ours], [theirs], "ms", 0.5, faster=False)

    def generation(self):
        layers, tokens, turns = (1, 6, 1) if self.settings.quick else (4, 24, self.settings.turns)
        text = self.run(sys.executable, os.path.join(HERE, "torch_generate.py"), self.program("bench_generate"),
                        "--layers", layers, "--tokens", tokens, "--rounds", turns, "--threads", self.settings.threads,
                        "--clock", self.settings.clock)
        ours, theirs = (float(re.search(r"^%s +([\d.]+) s, " % name, text, re.M).group(1)) for name in ("ours", "transformers"))
        self.instruction()
        self.row("generation, %d layers, a token" % layers, [ours], [theirs], "s", None, faster=False)

    def report(self):
        print("\n%-52s %10s %10s %-8s %7s %8s" % ("", "ours", "PyTorch", "", "ratio", "target"))
        for row in self.rows:
            print("%-52s %10s %10s %-8s %7s %8s %s" % row)
        for (kind, name), rates in self.rates.items():
            print("the instruction alone, %s (%s): %.0f GFLOP/s, %.0f to %.0f in %d measurements"
                  % (kind, name, statistics.median(rates), min(rates), max(rates), len(rates)))
        missed = sum(row[-1].startswith("MISSED") for row in self.rows)
        print("%d targets hold, %d are missed" % (sum(row[-1].startswith("holds") for row in self.rows), missed))


def main():
    settings = options()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    comparison = Comparison(settings)
    for part in settings.part or PARTS:
        getattr(comparison, part)()
    comparison.report()


if __name__ == "__main__":
    main()
