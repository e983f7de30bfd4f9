#!/usr/bin/env python3
"""Holds greedy generation with the real SmolLM2-135M-Instruct to transformers: tokenizer, chat template, decoder, cache, end.

    python tests/parity/check_smollm2.py PROGRAM MODEL [--new-tokens 60]

PROGRAM is build/tests/parity/generate_text, MODEL a directory that checkpoints/convert_smollm2.py made. Both sides compute
in float32 (in bfloat16 near ties may fall either way); the program answers all prompts in one batch with a cache, transformers one
by one. For each prompt the prompt's ids, the new ids, whether the model ended its answer, and the text must be equal.
"""
import argparse
import io
import struct
import subprocess
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "Hello! Who are you?",
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain in two sentences why the sky is blue.",
    "What is 17 + 25?",
    "List three animals that live in Africa.",
    "Übersetze ins Deutsche: \"Where is the railway station?\"",
    "Write a Python function that returns the n-th Fibonacci number.",
    "Is a tomato a fruit or a vegetable?  Answer briefly.\n\nThen name two others like it.",
    "Répondez par un mot: 东京 est la capitale de quel pays? 🗼",
]


def ids(stream):
    count, = struct.unpack("<I", stream.read(4))
    return list(struct.unpack(f"<{count}i", stream.read(4 * count)))


def our_answers(program, model, new_tokens):
    texts = [prompt.encode() for prompt in PROMPTS]
    run = subprocess.run([program, model, "smollm2", str(new_tokens)], input=b"".join(struct.pack("<I", len(t)) + t for t in texts),
                         stdout=subprocess.PIPE)
    if run.returncode:
        sys.exit(f"{program} failed")
    stream = io.BytesIO(run.stdout)
    for _ in texts:
        prompt, new = ids(stream), ids(stream)
        ended, size = struct.unpack("<II", stream.read(8))
        yield prompt, new, bool(ended), stream.read(size).decode()


def their_answers(folder, new_tokens):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for text in PROMPTS:
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False)
        prompt = tokenizer(prompt, add_special_tokens=False).input_ids
        with torch.no_grad():
            whole = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                                   do_sample=False, max_new_tokens=new_tokens)[0].tolist()
        new = whole[len(prompt):]
        ended = new[-1] == model.generation_config.eos_token_id
        new = new[:-1] if ended else new
        yield prompt, new, ended, tokenizer.decode(new, skip_special_tokens=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--new-tokens", type=int, default=60)
    options = parser.parse_args()
    begin = time.perf_counter()
    ours = list(our_answers(options.program, options.model, options.new_tokens))
    middle = time.perf_counter()
    theirs = list(their_answers(options.model, options.new_tokens))
    end = time.perf_counter()
    differ = 0
    for prompt, our, their in zip(PROMPTS, ours, theirs):
        parts = [name for name, a, b in zip(("prompt's ids", "new ids", "end", "text"), our, their) if a != b]
        differ += bool(parts)
        print(f"{prompt!r}\n  {len(their[1])} new tokens{', ended' if their[2] else ''}, "
              f"{'differs in ' + ', '.join(parts) if parts else 'equal'}: {our[3]!r}")
        if parts:
            print(f"  transformers: {their[3]!r}")
            at = next((i for i, (a, b) in enumerate(zip(our[1], their[1])) if a != b), min(len(our[1]), len(their[1])))
            print(f"  new token {at}: {our[1][at : at + 4]}, transformers {their[1][at : at + 4]}")
    print(f"{len(PROMPTS) - differ} of {len(PROMPTS)} prompts equal, {sum(len(t[1]) for t in theirs)} new tokens "
          f"(program {middle - begin:.1f} s, transformers {end - middle:.1f} s, each with loading)")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
