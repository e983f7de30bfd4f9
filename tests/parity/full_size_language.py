"""Full-size parity of the language models with transformers: random weights of exactly the published shapes, in folders as they are
published, run by both.

    python tests/parity/full_size_language.py --model llama-7b --layers 2 --dtype bfloat16 [--program build/tests/parity/network_outputs]

Models: llama-7b (Vicuna 7B v1.5), llama3-8b (Llama 3.1 with its scaled rotary embedding), mistral-7b (v0.1, with a window of 32 in place
of 4096, so that it hides something), qwen2-7b, qwen2-0.5b, bert (base, uncased). Decoders get embeddings of three packed sequences, BERT token
ids. Prints for every layer, the last hidden states, the logits and the gradient of a random functional of the logits (BERT: of the
hidden states) with respect to the embeddings: the Euclidean norm of the difference over that of the reference, and the largest
difference over the largest value. Exit code 1 if one is beyond its bound.

--layers: how many of the published ones (default 2; BERT and qwen2-0.5b: all). The reference holds one layer at a time, in float32, whatever their
number; ours holds all of the model: 2 layers of 7B take 2.7 GiB in float32, all 32 take 13 GiB in bfloat16.

Weights are random with the variance that keeps activations near one, and rounded to bfloat16, so that both types compute the same function.
Bounds are those of full_size_vision.py: 1e-4 in float32; in bfloat16 transformers' own error against its float32 run, times 1.5.
"""

import argparse
import gc
import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import torch
import transformers
from full_size_vision import BFLOAT16_FACTOR, FLOAT32_BOUND, errors
from safetensors import safe_open
from safetensors.torch import load_file, save_file

LENGTHS = [40, 1, 71]
BERT_LENGTHS = [9, 1, 60]

LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=8192)
MODELS = {  # kind, published number of layers, and what config.json says beside it
    "llama-7b": ("Llama", 32, dict(hidden_size=4096, intermediate_size=11008, num_attention_heads=32, num_key_value_heads=32,
                                   vocab_size=32000, max_position_embeddings=4096, rms_norm_eps=1e-5)),
    "llama3-8b": ("Llama", 32, dict(hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8,
                                    vocab_size=128256, max_position_embeddings=131072, rms_norm_eps=1e-5, rope_theta=500000.0,
                                    rope_scaling=LLAMA3_ROPE)),
    "mistral-7b": ("Mistral", 32, dict(hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8,
                                       vocab_size=32000, max_position_embeddings=32768, rms_norm_eps=1e-5, sliding_window=32)),
    "qwen2-7b": ("Qwen2", 28, dict(hidden_size=3584, intermediate_size=18944, num_attention_heads=28, num_key_value_heads=4,
                                   vocab_size=152064, max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1000000.0)),
    "qwen2-0.5b": ("Qwen2", 24, dict(hidden_size=896, intermediate_size=4864, num_attention_heads=14, num_key_value_heads=2,
                                     vocab_size=151936, max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1000000.0,
                                     tie_word_embeddings=True)),
    "bert": ("Bert", 12, dict()),
}

generator = torch.Generator().manual_seed(7)


def normal(*shape):
    return torch.randn(shape, generator=generator)


# ---- the published folder


def config_of(model, layers):
    kind, _, options = MODELS[model]
    return getattr(transformers, kind + "Config")(num_hidden_layers=layers, attn_implementation="sdpa", **options)


def class_of(model):
    kind = MODELS[model][0]
    return getattr(transformers, "BertModel" if kind == "Bert" else kind + "ForCausalLM")


def random_tensor(name, shape):
    if len(shape) > 1:
        value = normal(*shape) * (1.0 if "embed" in name else shape[1] ** -0.5)
    elif "norm" in name.lower() and name.endswith("weight"):
        value = 1 + 0.2 * normal(*shape)
    else:
        value = 0.2 * normal(*shape)
    return value.bfloat16()


def shard_of(name):
    """Each layer has a file, and what is outside of layers another."""
    parts = name.split(".")
    for before in ("layers", "layer"):
        if before in parts:
            return 1 + int(parts[parts.index(before) + 1])
    return 0


def make(model, layers, folder):
    """Files as the library shards them, made one at a time."""
    config = config_of(model, layers)
    config.save_pretrained(folder)
    with torch.device("meta"):
        network = class_of(model)(config)
    shapes = {name: p.shape for name, p in network.named_parameters()}  # tied ones once
    count = 1 + max(map(shard_of, shapes))
    files = {}
    for shard in range(count):
        name = f"model-{shard + 1:05}-of-{count:05}.safetensors"
        tensors = {n: random_tensor(n, s) for n, s in shapes.items() if shard_of(n) == shard}
        save_file(tensors, folder / name)
        files |= dict.fromkeys(tensors, name)
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return files


# ---- the reference, one layer at a time


class Reference:
    """Stock modules with weights from the files; a model of one layer, which becomes layer after layer."""

    def __init__(self, model, layers, folder, files, dtype):
        self.folder, self.files, self.dtype, self.layers = folder, files, dtype, layers
        self.bert = model == "bert"
        config = config_of(model, layers)
        config.num_hidden_layers = 1
        with torch.device("meta"):
            self.network = class_of(model)(config).requires_grad_(False).eval()
        self.body = self.network if self.bert else self.network.model
        self.first_layer = self.body.encoder.layer if self.bert else self.body.layers
        self.prefix = "encoder.layer.{}." if self.bert else "model.layers.{}."
        self.tied = getattr(config, "tie_word_embeddings", False)
        if not self.bert:  # its frequencies are no parameter: made anew, for they are on no device
            self.body.rotary_emb = type(self.body.rotary_emb)(config)
        self.current = None

    def tensor(self, name):
        with safe_open(self.folder / self.files[name], "pt") as file:
            return file.get_tensor(name).to(self.dtype)

    def fill(self, module, prefix):
        gc.collect()
        for name, p in list(module.named_parameters()):
            owner, _, leaf = name.rpartition(".")
            value = torch.nn.Parameter(self.tensor(prefix + name), requires_grad=False)
            setattr(module.get_submodule(owner), leaf, value)

    def layer(self, index, x):
        """What the layer of that number makes of one sequence [1,T,C], masks and positions as the stock model makes them."""
        if self.current != index:
            self.first_layer[0].to("meta")
            self.fill(self.first_layer[0], self.prefix.format(index))
            self.current = index
        caught = []
        hook = self.first_layer[0].register_forward_hook(lambda m, a, out: caught.append(out))
        if self.bert:
            self.body.encoder(x, attention_mask=None)
        else:
            self.body.norm.weight = torch.nn.Parameter(torch.ones(x.shape[-1], dtype=self.dtype), requires_grad=False)
            self.body(inputs_embeds=x, use_cache=False)
        hook.remove()
        return caught[0][0] if isinstance(caught[0], tuple) else caught[0]

    def embed(self, ids, lengths):
        self.fill(self.body.embeddings, "embeddings.")
        buffers = {"position_ids": torch.arange(512)[None], "token_type_ids": torch.zeros(1, 512, dtype=torch.long)}
        for name, value in buffers.items():
            self.body.embeddings.register_buffer(name, value, persistent=False)
        return [self.body.embeddings(input_ids=part[None]) for part in ids.split(lengths)]

    def head(self, x):
        """Final hidden states and logits."""
        if self.bert:
            return x, x
        self.fill(self.body.norm, "model.norm.")
        if self.network.lm_head.weight.is_meta:
            name = "model.embed_tokens.weight" if self.tied else "lm_head.weight"
            self.network.lm_head.weight = torch.nn.Parameter(self.tensor(name), requires_grad=False)
        hidden = self.body.norm(x)
        return hidden, self.network.lm_head(hidden)

    def run(self, inputs, lengths):
        """All outputs under the names that network_outputs gives them."""
        out = {}
        if self.bert:
            xs = self.embed(inputs["ids"][0], lengths)
            out["embeddings"] = xs
        else:
            xs = [part[None] for part in inputs["embeddings"].to(self.dtype).split(lengths)]
        states = [xs]
        with torch.no_grad():
            for i in range(self.layers):
                states.append([self.layer(i, x) for x in states[-1]])
                out[self.prefix.format(i)[:-1]] = states[-1]
        grads, out["hidden"], out["logits"] = [], [], []
        for x, direction in zip(states.pop(), inputs["direction"].to(self.dtype).split(lengths)):
            x = x.clone().requires_grad_()
            hidden, logits = self.head(x)
            (logits[0] * direction).sum().backward()
            grads.append(x.grad)
            out["hidden"].append(hidden.detach())
            out["logits"].append(logits.detach())
        if self.bert:
            del out["logits"]
        for i in reversed(range(self.layers)):
            leaves = [x.clone().requires_grad_() for x in states.pop()]
            for leaf, g in zip(leaves, grads):
                self.layer(i, leaf).backward(g)
            grads = [leaf.grad for leaf in leaves]
        out["embeddings_grad"] = grads
        return {name: torch.cat([part[0] for part in parts]).float() for name, parts in out.items()}


# ---- the comparison


def make_inputs(model):
    config = config_of(model, 1)
    lengths = BERT_LENGTHS if model == "bert" else LENGTHS
    inputs = {"lengths": torch.tensor([lengths])}
    if model == "bert":
        inputs["ids"] = torch.randint(0, config.vocab_size, (1, sum(lengths)), generator=generator)
    else:
        inputs["embeddings"] = normal(sum(lengths), config.hidden_size).bfloat16().float()
    width = config.hidden_size if model == "bert" else config.vocab_size
    inputs["direction"] = normal(sum(lengths), width).bfloat16().float()
    return inputs, lengths


def run_ours(program, model, folder, inputs, dtype):
    stored = {name: x if x.is_floating_point() else x.int() for name, x in inputs.items()}
    save_file(stored, folder / "inputs.safetensors")
    command = [program, "bert" if model == "bert" else "llama", folder, folder / "inputs.safetensors",
               folder / "outputs.safetensors", f"dtype={dtype}"]
    line = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return load_file(folder / "outputs.safetensors"), line.strip()


def compare(ours, exact, rounded):
    """Prints the table; whether all is within the bounds."""
    within = True
    print(f"{'':24} {'relative':>9} {'largest':>9}" + (f" {'PyTorch':>9} {'ratio':>6}" if rounded else ""))
    for name, want in exact.items():
        error, largest = errors(ours[name], want)
        line, bound = f"{name:24} {error:9.2e} {largest:9.2e}", FLOAT32_BOUND
        if rounded:
            theirs = errors(rounded[name], want)[0]
            bound = BFLOAT16_FACTOR * theirs
            line += f" {theirs:9.2e} {error / theirs:6.2f}"
        within &= error <= bound
        print(line + ("" if error <= bound else f"   beyond {bound:.2e}"))
    return within


def run_parity(arguments, folder):
    model, dtype, layers = arguments.model, arguments.dtype, arguments.layers
    if layers is None:
        layers = MODELS[model][1] if model in ("bert", "qwen2-0.5b") else 2
    files = make(model, layers, folder)
    inputs, lengths = make_inputs(model)
    ours, line = run_ours(arguments.program, model, folder, inputs, dtype)
    rounded = None
    if dtype == "bfloat16":
        rounded = Reference(model, layers, folder, files, torch.bfloat16).run(inputs, lengths)
        gc.collect()
    exact = Reference(model, layers, folder, files, torch.float32).run(inputs, lengths)
    print(f"{model}, {layers} of {MODELS[model][1]} layers, {dtype}")
    within = compare(ours, exact, rounded)
    print(f"ours: {line}; PyTorch: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    return within


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--program", type=pathlib.Path, default="build/tests/parity/network_outputs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="difflmm-full-size-") as folder:
        sys.exit(0 if run_parity(arguments, pathlib.Path(folder)) else 1)


if __name__ == "__main__":
    main()
