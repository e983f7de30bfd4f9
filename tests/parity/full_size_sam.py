"""Full-size parity of Segment Anything with segment-anything: random weights of exactly the published shapes of ViT-B, L or H, run by
both on one picture of 1024 pixels and one point.

    pip install segment_anything
    python tests/parity/full_size_sam.py --model vit_b --dtype bfloat16 [--program build/tests/parity/network_outputs]

Prints the relative error of every block of the image encoder, of the embedding, of every layer of the mask decoder, and of the logits and
the predicted quality of all masks: the Euclidean norm of the difference over that of the reference, and the largest difference over the
largest value of the reference. Exit code 1 if one is beyond its bound.

Weights are random with the variance that keeps activations near one, and rounded to bfloat16, so that both types compute the same function.
Bounds are those of full_size_vision.py: 1e-4 in float32; in bfloat16 PyTorch's own error against its float32 run, times 1.5. The few
numbers of a token or of the quality stray from the expected error more than that: 2.5 for those.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file, save_file
from segment_anything import sam_model_registry
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom

FLOAT32_BOUND, BFLOAT16_FACTOR, BFLOAT16_FACTOR_OF_FEW = 1e-4, 1.5, 2.5
FEW = 10000

generator = torch.Generator().manual_seed(5)


def normal(*shape):
    return torch.randn(shape, generator=generator)


def make(model, folder):
    """A file as published, in bfloat16."""
    state = {}
    for name, tensor in model.state_dict().items():
        if "pos_embed" in name or "rel_pos" in name or "token" in name or "embed" in name and tensor.shape[0] == 1:
            value = normal(*tensor.shape) * 0.3
        elif "gaussian" in name:
            value = normal(*tensor.shape)
        elif "mask_decoder" in name and name.endswith(("q_proj.weight", "k_proj.weight")):
            # Scores near one over thousands of places: a softmax passes relative errors of its scores on times their size.
            value = normal(*tensor.shape) * (0.4 / tensor[0].numel()) ** 0.5
        elif tensor.dim() > 1:
            value = normal(*tensor.shape) * (1.2 / tensor[0].numel()) ** 0.5
        elif name.endswith("weight"):
            value = 1 + 0.2 * normal(*tensor.shape)
        else:
            value = 0.2 * normal(*tensor.shape)
        state[name] = value.bfloat16()
    torch.save(state, folder / "sam.pth")
    model.load_state_dict(state, assign=True)


def make_inputs():
    """A picture of 1024 x 683 pixels at the top left of the square, and a point on it."""
    pixels = torch.zeros(1, 3, 1024, 1024)
    coarse = torch.nn.functional.interpolate(normal(1, 3, 22, 33), size=(683, 1024), mode="bicubic")
    pixels[:, :, :683] = coarse + 0.3 * normal(1, 3, 683, 1024)
    return {"pixels": pixels, "point": torch.tensor([[400.25, 310.5]])}


def reference(model, inputs):
    """Blocks and results in the model's type, and the seconds of the encoder, of the rest, and of the processor."""
    out, hooks = {}, []
    dtype = next(model.parameters()).dtype

    def keep(name):
        def hook(module, arguments, output):
            if "transformer" in name:
                out[f"{name}.queries"], out[f"{name}.keys"] = output
            else:
                out[name] = output
        return hook

    for i, block in enumerate(model.image_encoder.blocks):
        hooks.append(block.register_forward_hook(keep(f"image_encoder.blocks.{i}")))
    for i, layer in enumerate(model.mask_decoder.transformer.layers):
        hooks.append(layer.register_forward_hook(keep(f"mask_decoder.transformer.layers.{i}")))
    with torch.no_grad():
        processor, begin = time.process_time(), time.perf_counter()
        embedding = model.image_encoder(inputs["pixels"].to(dtype))
        middle = time.perf_counter()
        # Positions in single precision whatever the type, as ours: rounded frequencies would be another function.
        points, labels = inputs["point"][None], torch.ones(1, 1, dtype=torch.int)
        sparse, dense = (x.to(dtype) for x in model.prompt_encoder((points, labels), None, None))
        places = model.prompt_encoder.get_dense_pe().to(dtype)
        logits, iou = model.mask_decoder.predict_masks(embedding, places, sparse, dense)
        end, processor = time.perf_counter(), time.process_time() - processor
    for hook in hooks:
        hook.remove()
    out.update(embedding=embedding.permute(0, 2, 3, 1), logits=logits[0], iou=iou)
    return {name: x.float() for name, x in out.items()}, (middle - begin, end - middle, processor)


def run_ours(program, folder, inputs, dtype, repeat):
    stored = {"pixels": inputs["pixels"].permute(0, 2, 3, 1).contiguous(), "point": inputs["point"]}
    save_file(stored, folder / "inputs.safetensors")
    command = [program, "sam", folder / "sam.pth", folder / "inputs.safetensors", folder / "outputs.safetensors", f"dtype={dtype}",
               f"repeat={repeat}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    lines = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    processor = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return load_file(folder / "outputs.safetensors"), [json.loads(line) for line in lines.splitlines()], processor


def errors(got, want):
    difference = got.reshape(want.shape).double() - want.double()
    return float(difference.norm() / want.double().norm()), float(difference.abs().max() / want.abs().max())


def compare(ours, exact, rounded):
    """Prints the table; whether all is within the bounds."""
    within = True
    for name, want in exact.items():
        error, largest = errors(ours[name], want)
        line, bound = f"{name:44} {error:9.2e} {largest:9.2e}", FLOAT32_BOUND
        if rounded:
            theirs = errors(rounded[name], want)[0]
            bound = theirs * (BFLOAT16_FACTOR_OF_FEW if want.numel() < FEW else BFLOAT16_FACTOR)
            line += f" {theirs:9.2e} {error / theirs:6.2f}"
        within &= error <= bound
        print(line + ("" if error <= bound else f"   beyond {bound:.2e}"))
    return within


def run_parity(arguments, folder):
    encode = PositionEmbeddingRandom._pe_encoding

    def encode_in_single(self, coordinates):
        self.positional_encoding_gaussian_matrix = self.positional_encoding_gaussian_matrix.float()
        return encode(self, coordinates.float())

    PositionEmbeddingRandom._pe_encoding = encode_in_single
    with torch.device("meta"):
        model = sam_model_registry[arguments.model]()
    make(model, folder)
    model.eval().requires_grad_(False)
    inputs = make_inputs()
    ours, times, processor = run_ours(arguments.program, folder, inputs, arguments.dtype, arguments.repeat)
    rounded, seconds_rounded = reference(model, inputs) if arguments.dtype == "bfloat16" else (None, None)
    exact, seconds = reference(model.float(), inputs)
    print(f"{arguments.model} {arguments.dtype}")
    print(f"{'':44} {'relative':>9} {'largest':>9}" + (f" {'PyTorch':>9} {'ratio':>6}" if rounded else ""))
    within = compare(ours, exact, rounded)
    print(f"ours: {times}; {processor:.1f} s of the processor for loading and {arguments.repeat} runs")
    for name, pair in (("float32", seconds), ("bfloat16", seconds_rounded)):
        if pair:
            print(f"PyTorch {name}: image encoder {pair[0]:.1f} s, prompt and mask decoder {pair[1]:.2f} s, "
                  f"{pair[2]:.1f} s of the processor")
    print(f"PyTorch's memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    return within


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="vit_b", choices=("vit_b", "vit_l", "vit_h"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--repeat", type=int, default=2, help="runs of our program; the first is compared, the last is the one to time")
    parser.add_argument("--program", type=pathlib.Path, default="build/tests/parity/network_outputs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="difflmm-full-size-") as folder:
        sys.exit(0 if run_parity(arguments, pathlib.Path(folder)) else 1)


if __name__ == "__main__":
    main()
