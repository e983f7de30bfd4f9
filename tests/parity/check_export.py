#!/usr/bin/env python3
"""Holds the program's published files to PyTorch, PEFT and transformers, both ways, on the tiny networks.

    python tests/parity/check_export.py PROGRAM [--folder DIR]        (PROGRAM: build/difflmm; from the repository's root)

Trains both stages for a few steps (DiffLMM, and the CLIP-only baseline), exports, and checks that
  - a module built from the specification, names as published, loads mm_projector and non_lora_trainables with strict=True
    and computes the context and visual tokens that `difflmm features` writes; so does one of another model.projector_width;
  - PEFT loads the adapter onto transformers' Llama, and the logits agree; so do those of the merged model;
  - every merged weight is W + scale * B A, rounded once;
  - files that torch.save() and PEFT's save_pretrained() wrote give the same in the program as the modules that they came from.
Needs the tiny world (runs/tiny-world; train/quickstart.sh draws it), torch, transformers, peft, safetensors.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from projectors import DiffLMMProjector, LlavaProjector  # noqa: E402

WORLD, LLM = "runs/tiny-world", "checkpoints/tiny/llm"
IMAGE_TOKEN = -200
PROMPT = "<image>\nDescribe the image in detail."
TEXT = "There is a red ring above a blue star."
# float32: a sum of K products errs by about sqrt(K) * 2^-24 of their size, K at most 432 here; some twenty sums follow each other.
ADAPTER_TOLERANCE, LOGITS_TOLERANCE = 4e-6, 5e-5


def projector_of(architecture, width=None):
    sizes = dict(clip=128, llm=160, width=width)
    return LlavaProjector(**sizes) if architecture == "llava" else DiffLMMProjector(64, context=96, unet=96, **sizes)


class Check:
    def __init__(self, program, folder):
        self.program, self.folder, self.failures = program, folder, 0

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def expect(self, what, holds, figure=""):
        self.failures += not holds
        print(f"{'ok    ' if holds else 'FAILED'} {what}{'  ' if figure else ''}{figure}")

    def close(self, what, ours, theirs, tolerance):
        error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        self.expect(what, ours.shape == theirs.shape and error <= tolerance, f"{error:.1e} (at most {tolerance:.0e})")

    def features(self, config, *settings):
        """`difflmm features` on one test image, in float32."""
        out = self.path("features.safetensors")
        image = sorted(os.listdir(f"{WORLD}/test/images"))[0]
        self.run("features", config, f"{WORLD}/test/images/{image}", "--out", out, "--text", TEXT,
                 "model.dtype=float32", "data.version=vicuna_v1", f"eval.prompt={PROMPT}", *settings)
        return load_file(out)

    def train(self, stage, architecture, *settings):
        config = f"configs/tiny{'_llava' if architecture == 'llava' else ''}_stage{stage}.yaml"
        folder = self.path(f"{architecture}-stage{stage}")
        self.run("train", config, "data.eval=null", "data.cache_features=false", "training.tensorboard=false",
                 "training.per_device_train_batch_size=4", "training.max_steps=6", "training.learning_rate=1e-2",
                 f"training.output_dir={folder}", *settings)
        return config, folder


def by_projector_names(state):
    return {name.split("mm_projector.")[1]: value for name, value in state.items()}


def load(path):
    return load_file(path) if path.endswith(".safetensors") else torch.load(path, weights_only=True, map_location="cpu")


def llama(folder=LLM):
    return LlamaForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()


def logits_of(model, features):
    """Of the sequence in which visual tokens stand for the image token."""
    ids = features["token_ids"].long()
    at = (ids == IMAGE_TOKEN).nonzero().item()
    embed = model.get_input_embeddings()
    parts = [embed(ids[:at]), features["visual_tokens"][0], embed(ids[at + 1:])]
    with torch.no_grad():
        return model(inputs_embeds=torch.cat(parts)[None]).logits[0]


def check_projector(check, what, module, features):
    with torch.no_grad():
        clip = features["clip_features"]
        if isinstance(module, DiffLMMProjector):
            check.close(f"{what}: context", features["context"], module.context(clip), ADAPTER_TOLERANCE)
        tokens = module(clip, features.get("unet_feature"))
        check.close(f"{what}: visual tokens", features["visual_tokens"], tokens, ADAPTER_TOLERANCE)


def check_bits(check, what, a, b):
    check.expect(what, a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a))


def check_exported(check, architecture, config, run, file, *settings):
    """Our file in PyTorch's module, and back in our program."""
    for kind in ("bin", "safetensors"):
        folder = check.path(f"{architecture}-{file}-{kind}")
        check.run("export", run, folder, "--format", kind)
        path = os.path.join(folder, f"{file}.{kind}")
        state, module = load(path), projector_of(architecture)
        prefix = "base_model.model.model." if file == "non_lora_trainables" else "model."
        check.expect(f"{architecture} {file}.{kind}: names as published",
                     all(name.startswith(prefix + "mm_projector.") for name in state))
        module.load_state_dict(by_projector_names(state), strict=True)
        features = check.features(config, f"eval.checkpoint={folder}", *settings)
        check_projector(check, f"{architecture} {file}.{kind}", module, features)
        check_bits(check, f"{architecture} {file}.{kind}: to the bit what the checkpoint gives",
                   features, check.features(config, f"eval.checkpoint={run}", *settings))
    return folder


def check_lora(check, architecture, folder, config):
    features = check.features(config, f"eval.checkpoint={folder}")
    model = PeftModel.from_pretrained(llama(), folder).eval()
    check.close(f"{architecture}: logits with PEFT's LoRA", features["logits"], logits_of(model, features), LOGITS_TOLERANCE)
    plain = logits_of(llama(), features)
    check.expect(f"{architecture}: LoRA changes the logits", (plain - features["logits"]).abs().max() > 0.05)


def check_merged(check, architecture, config, run):
    folder = check.path(f"{architecture}-merged")
    check.run("export", run, folder, "--merge")
    published = check.path(f"{architecture}-non_lora_trainables-bin")
    with open(f"{published}/adapter_config.json") as file:
        options = json.load(file)
    adapters = load_file(f"{published}/adapter_model.safetensors")
    base, merged = load_file(f"{LLM}/model.safetensors"), load_file(f"{folder}/model.safetensors")
    scale, wrong, count = options["lora_alpha"] / options["r"], 0, 0
    check.expect(f"{architecture} merged: the model's names", merged.keys() == base.keys())
    for name, weight in base.items():
        a = adapters.get(f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight")
        if a is None:
            if not torch.equal(weight, merged[name]):
                check.expect(f"{architecture} merged: {name} unchanged", False)
            continue
        b = adapters[f"base_model.model.{name.removesuffix('.weight')}.lora_B.weight"]
        exact = (weight.double() + scale * b.double() @ a.double()).float().to(weight.dtype)
        wrong, count = wrong + (exact != merged[name]).sum().item(), count + weight.numel()
    # float32's rounding moves about one in 2^16 / sqrt(r) values across the middle between two bfloat16 numbers.
    check.expect(f"{architecture} merged: weights are W + scale B A, rounded", wrong <= count / 2000, f"{wrong} of {count} differ by a rounding")
    again = check.path(f"{architecture}-merged-again")
    check.run("export", published, again, "--merge", f"model.llm={LLM}")
    check_bits(check, f"{architecture} merged: the same from the published files", load_file(f"{again}/model.safetensors"), merged)
    features = check.features(config, f"eval.checkpoint={folder}/mm_projector.bin", f"model.llm={folder}", "lora.lora_enable=false")
    check.close(f"{architecture} merged: logits with transformers", features["logits"], logits_of(llama(folder), features), LOGITS_TOLERANCE)
    unmerged = check.features(config, f"eval.checkpoint={run}")
    # Every weight was rounded to 8 bits.
    check.close(f"{architecture} merged: logits of the unmerged model", features["logits"], unmerged["logits"], 0.05)


def randomized(architecture):
    module = projector_of(architecture)
    for p in module.parameters():
        p.data = torch.randn_like(p) / (p[0].numel() ** 0.5 if p.ndim > 1 else 2) + (p.ndim == 1)
    return module


def adapter_of(**options):
    model = get_peft_model(llama(), LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data = 0.1 * torch.randn_like(p)
    return model


def write_state(module, prefix, path, dtype=torch.float32):
    state = {f"{prefix}{name}": value.detach().to(dtype).contiguous() for name, value in module.state_dict().items()}
    save_file(state, path) if path.endswith(".safetensors") else torch.save(state, path)
    module.load_state_dict(by_projector_names(state))


ADAPTERS = [
    ("as LLaVA trains", dict(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])),
    ("all-linear, rsLoRA", dict(r=6, lora_alpha=5, use_rslora=True, target_modules="all-linear")),
    ("a regular expression", dict(r=4, lora_alpha=12, target_modules=r".*\.self_attn\.(q|v)_proj")),
    ("ends of paths", dict(r=3, lora_alpha=4, target_modules=["self_attn.o_proj", "down_proj"])),
]


def check_imported(check, architecture, config):
    """Files of PyTorch's and PEFT's in our program."""
    kinds = ("bin", "safetensors")
    for kind in kinds:
        for dtype, prefix in ((torch.float32, "model.mm_projector."), (torch.bfloat16, "mm_projector."), (torch.float16, "base_model.model.model.mm_projector.")):
            module, path = randomized(architecture), check.path(f"mm_projector.{kind}")
            write_state(module, prefix, path, dtype)
            check_projector(check, f"{architecture}: {dtype} {prefix}* in .{kind}", module,
                            check.features(config, f"eval.checkpoint={path}", "lora.lora_enable=false"))
    for (name, options), kind in ((a, k) for a in ADAPTERS for k in kinds):
        folder, module, model = check.path("official"), randomized(architecture), adapter_of(**options)
        shutil.rmtree(folder, ignore_errors=True)
        if kind == "safetensors":
            model.save_pretrained(folder)
        else:
            save_pretrained_bin(model, folder)
        write_state(module, "base_model.model.model.mm_projector.", f"{folder}/non_lora_trainables.{kind}")
        stage1 = config.replace("stage2", "stage1")  # says nothing about LoRA
        features = check.features(stage1, f"eval.checkpoint={folder}")
        check_projector(check, f"{architecture}: PEFT, {name}, .{kind}", module, features)
        check.close(f"{architecture}: PEFT, {name}, .{kind}: logits", features["logits"], logits_of(model, features), LOGITS_TOLERANCE)


def save_pretrained_bin(model, folder):
    """As save_pretrained() did before safetensors, and no version still does."""
    os.makedirs(folder)
    model.peft_config["default"].save_pretrained(folder)
    torch.save(get_peft_model_state_dict(model), f"{folder}/adapter_model.bin")


def check_training(check):
    """Stage 2 begins with PyTorch's stage-1 file: a step of size zero leaves its values."""
    module, path = randomized("difflmm"), check.path("mm_projector.bin")
    write_state(module, "model.mm_projector.", path)
    _, run = check.train(2, "difflmm", f"model.adapters={path}", "training.max_steps=1", "training.learning_rate=0", f"training.output_dir={check.path('zero')}")
    check.run("export", check.path("zero"), check.path("zero-published"))
    state = by_projector_names(load(check.path("zero-published", "non_lora_trainables.bin")))
    check_bits(check, "stage 2 begins with a file of PyTorch's", state, dict(module.state_dict()))


def check_width(check, architecture, width):
    """A projector of its own width in PyTorch's module of that width, and back; the configuration is told nothing of it."""
    run, folder = check.path(f"{architecture}-wide"), check.path(f"{architecture}-wide-published")
    config, _ = check.train(1, architecture, f"model.projector_width={width}", f"training.output_dir={run}")
    check.run("export", run, folder)
    with open(f"{folder}/config.json") as file:
        check.expect(f"{architecture}, {width} wide: config.json says so", json.load(file)["projector_width"] == width)
    module = projector_of(architecture, width)
    module.load_state_dict(by_projector_names(load(f"{folder}/mm_projector.bin")), strict=True)
    check_projector(check, f"{architecture}, {width} wide", module, check.features(config, f"eval.checkpoint={folder}"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--folder", help="where files are made and left; by default a temporary one")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = arguments.folder or tempfile.mkdtemp(prefix="check-export-")
    os.makedirs(folder, exist_ok=True)
    check = Check(os.path.abspath(arguments.program), folder)
    for architecture in ("difflmm", "llava"):
        config1, run1 = check.train(1, architecture)
        config2, run2 = check.train(2, architecture, f"model.adapters={run1}")
        check_exported(check, architecture, config1, run1, "mm_projector")
        check_exported(check, architecture, config2, run2, "non_lora_trainables")
        check_lora(check, architecture, check.path(f"{architecture}-non_lora_trainables-bin"), config2)
        check_merged(check, architecture, config2, run2)
        check_imported(check, architecture, config2)
        check_width(check, architecture, 52)
    check_training(check)
    if not arguments.folder:
        shutil.rmtree(folder)
    sys.exit(f"{check.failures} checks failed" if check.failures else 0)


if __name__ == "__main__":
    main()
