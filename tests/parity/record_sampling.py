#!/usr/bin/env python3
"""Records which tokens transformers draws from, by temperature and top_p, and how probable each is: writes tests/parity/data/sampling.json.
Needs torch and transformers."""
import json
from pathlib import Path

import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

generator = torch.Generator().manual_seed(3)
cases = []
for size in (5, 64):
    for spread in (0.5, 3.0):
        logits = torch.randn(1, size, generator=generator) * spread
        for temperature in (0.3, 1.0, 1.7):
            for top_p in (0.01, 0.5, 0.9, 0.99):
                scores = TopPLogitsWarper(top_p)(None, TemperatureLogitsWarper(temperature)(None, logits))[0]
                probabilities = torch.softmax(scores.double(), 0)
                tokens = sorted(torch.nonzero(probabilities)[:, 0].tolist(), key=lambda token: -probabilities[token])
                cases.append({"logits": logits[0].tolist(), "temperature": temperature, "top_p": top_p, "tokens": tokens,
                              "probabilities": [probabilities[token].item() for token in tokens]})
path = Path(__file__).parent / "data" / "sampling.json"
path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
