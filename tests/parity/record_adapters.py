#!/usr/bin/env python3
"""Records small published adapters as PyTorch and PEFT write them, and what the module computes: tests/unit/models/test_published_adapters.c holds the C code
to it.

    python tests/parity/record_adapters.py            (writes tests/parity/data/adapters)

types.bin               one tensor of every type that the program writes, a scalar and an empty one, by torch.save()
stage1/mm_projector.bin the projector of projectors.py in bfloat16, and outputs.safetensors what it computes with these values
stage2/                 non_lora_trainables.bin, and a PEFT adapter of a Llama of two layers with adapter_model.bin
"""
import os
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from projectors import DiffLMMProjector  # noqa: E402

FOLDER = os.path.join(HERE, "data", "adapters")
SIZES = dict(tokens=4, clip=6, context=5, unet=7, llm=8)


def path(*names):
    full = os.path.join(FOLDER, *names)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    return full


def record_types():
    values = torch.tensor([[-2.5, 0.0, 1.0], [3.25, 7.0, 100.0]])
    types = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8]
    tensors = {str(t).removeprefix("torch."): values.to(t) for t in types}
    tensors.update(uint8=values.abs().to(torch.uint8), bool=values > 0, scalar=torch.tensor(1.5), empty=torch.zeros(0, 3))
    torch.save(tensors, path("types.bin"))


def record_stage1():
    module = DiffLMMProjector(**SIZES).bfloat16()
    torch.save({f"model.mm_projector.{n}": v.contiguous() for n, v in module.state_dict().items()}, path("stage1", "mm_projector.bin"))
    module.float()
    clip, unet = torch.randn(2, 4, SIZES["clip"]), torch.randn(2, 2, 2, SIZES["unet"])
    with torch.no_grad():
        save_file(dict(clip=clip, unet=unet, context=module.context(clip), visual_tokens=module(clip, unet)), path("stage1", "outputs.safetensors"))


def record_stage2():
    config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2)
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, lora_alpha=6, use_rslora=True, task_type="CAUSAL_LM", target_modules=r".*\.(q_proj|down_proj)"))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data = torch.randn_like(p)
    module = DiffLMMProjector(**SIZES)
    torch.save({f"base_model.model.model.mm_projector.{n}": v for n, v in module.state_dict().items()}, path("stage2", "non_lora_trainables.bin"))
    model.peft_config["default"].save_pretrained(path("stage2"))
    torch.save(get_peft_model_state_dict(model), path("stage2", "adapter_model.bin"))


if __name__ == "__main__":
    torch.manual_seed(0)
    shutil.rmtree(FOLDER, ignore_errors=True)
    record_types()
    record_stage1()
    record_stage2()
