"""Full-size parity of the vision networks with transformers and diffusers: random weights of exactly the published shapes, written by
those libraries into a temporary folder, run by both at the official input.

    python tests/parity/full_size_vision.py --network unet15 --dtype bfloat16 [--program build/tests/parity/network_outputs]

Networks: clip-l14-336, clip-l14, clip-b16 (vision towers), text15, text21 (Stable Diffusion's text encoders), vae (384 pixels), unet15,
unet21 (latents 48x48, a context of 576 tokens, up to up block --block, with the gradients of a random functional of the feature in
context and latents). Prints the relative error of every block, of what the network gives and of its gradients: the Euclidean norm of
the difference over that of the reference, and the largest difference over the largest value of the reference. Exit code 1 if
one is beyond its bound. It takes up to 5 GiB of memory and 2 GiB of disk.

With --speed it compares seconds instead, in bfloat16 on --threads threads, ours and PyTorch's in turns, twice; the U-Net's backward is
then the one of training, to the context alone.

Weights are random with the variance that keeps activations near one (norms and biases are random too), and rounded to bfloat16, so that
both types compute the same function and a difference is the arithmetic's alone.

Bounds. float32: 1e-4 everywhere. bfloat16: PyTorch's own error against its float32 run, times 1.5. Both implementations round the same
quantities to the same type (sums are accumulated in float32), one after the other, and pass the errors on through the same
network; so each one's expected squared error is the number of its roundings times the same square of unit and gain. Ours has no
more roundings than PyTorch, which rounds every op's result; the norm of an error of 1e4 and more elements strays by
percents from its expectation. 1.5 lets through 2.25 times the variance: a quarter more roundings would not show, a wrong constant, a
norm or a softmax in bfloat16 would.
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
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

FLOAT32_BOUND, BFLOAT16_FACTOR = 1e-4, 1.5

generator = torch.Generator().manual_seed(3)
clock = time.perf_counter


def clip(width, layers, heads, size, patch):
    return CLIPVisionConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
                            image_size=size, patch_size=patch, hidden_act="quick_gelu")


def text(width, layers, heads, activation):
    return CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
                          vocab_size=49408, max_position_embeddings=77, hidden_act=activation, bos_token_id=0, eos_token_id=2)


def unet(heads, context, **others):
    cross_down, cross_up = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
    return dict(block_out_channels=(320, 640, 1280, 1280), layers_per_block=2, attention_head_dim=heads,
                cross_attention_dim=context, down_block_types=(cross_down, cross_down, cross_down, "DownBlock2D"),
                up_block_types=("UpBlock2D", cross_up, cross_up, cross_up), sample_size=64, **others)


VAE = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
           down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)

NETWORKS = {
    "clip-l14-336": (CLIPVisionModel, clip(1024, 24, 16, 336, 14)),
    "clip-l14": (CLIPVisionModel, clip(1024, 24, 16, 224, 14)),
    "clip-b16": (CLIPVisionModel, clip(768, 12, 12, 224, 16)),
    "text15": (CLIPTextModel, text(768, 12, 12, "quick_gelu")),
    "text21": (CLIPTextModel, text(1024, 23, 16, "gelu")),
    "vae": (AutoencoderKL, VAE),
    "unet15": (UNet2DConditionModel, unet(8, 768)),
    "unet21": (UNet2DConditionModel, unet((5, 10, 20, 20), 1024, use_linear_projection=True, upcast_attention=True)),
}


def normal(*shape):
    return torch.randn(shape, generator=generator)


# ---- the published folder


def random_weights(model):
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            value = normal(*parameter.shape) * (1.2 / parameter[0].numel()) ** 0.5
        elif "norm" in name and name.endswith("weight"):
            value = 1 + 0.2 * normal(*parameter.shape)
        else:
            value = 0.2 * normal(*parameter.shape)
        parameter.data.copy_(value)


def make(network, folder):
    """The folder as the library saves it, weights in bfloat16."""
    kind, config = NETWORKS[network]
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("meta"):
        model = kind(**config) if isinstance(config, dict) else kind(config)
    torch.set_default_dtype(torch.float32)
    if kind is AutoencoderKL:
        del model.decoder, model.post_quant_conv
    model = model.to_empty(device="cpu")
    random_weights(model)
    model.save_pretrained(folder)


def open_reference(network, folder, block):
    """The reference model in bfloat16 without what is not run."""
    kind = NETWORKS[network][0]
    if kind is AutoencoderKL:
        with torch.device("meta"):
            model = kind(**NETWORKS[network][1])
        del model.decoder, model.post_quant_conv
        model.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"), assign=True)
    else:
        key = "torch_dtype" if kind is UNet2DConditionModel else "dtype"
        model = kind.from_pretrained(folder, **{key: torch.bfloat16})
    if kind is UNet2DConditionModel:
        del model.up_blocks[block + 1:], model.conv_out
    return model.eval().requires_grad_(False)


def make_inputs(network, block):
    """As the reference takes them: images and latents with channels first."""
    kind, config = NETWORKS[network]
    if kind is CLIPVisionModel:
        return {"pixels": normal(1, 3, config.image_size, config.image_size)}
    if kind is CLIPTextModel:
        return {"ids": torch.randint(0, config.vocab_size, (2, 77), generator=generator)}
    if kind is AutoencoderKL:
        return {"image": normal(1, 3, 384, 384).clamp(-1, 1)}
    side = (12, 24, 48, 48)[block]
    return {"latents": normal(1, 4, 48, 48), "context": normal(1, 576, config["cross_attention_dim"]),
            "direction": normal(1, config["block_out_channels"][3 - block], side, side)}


def channels_last(x):
    return x.permute(0, 2, 3, 1).contiguous() if x.dim() == 4 else x.contiguous()


# ---- the reference


class Reached(Exception):
    """The last block that is needed has run."""


def first(output):
    return output[0] if isinstance(output, tuple) else output


def submodule(model, name):
    for prefix in ("", "vision_model.", "text_model."):
        try:
            return model.get_submodule(prefix + name)
        except AttributeError:
            continue
    raise KeyError(name)


def unet_pass(model, inputs, block, out, frozen_latents=False):
    def reached(module, arguments, output):
        out["feature"] = output
        raise Reached

    latents, context = inputs["latents"].to(model.dtype), inputs["context"].to(model.dtype).requires_grad_()
    latents.requires_grad_(not frozen_latents)
    hook = model.up_blocks[block].register_forward_hook(reached)
    try:
        model(latents, 100, context)
    except Reached:
        pass
    hook.remove()
    out["seconds_forward"] = clock()
    (out["feature"] * inputs["direction"].to(model.dtype)).sum().backward()
    out["latents_grad"], out["context_grad"] = latents.grad, context.grad


def reference(network, model, inputs, names, block, frozen_latents=False):
    """Every block of `names`, the output and the gradients, in the model's type; and the seconds of forward and backward."""
    kind, out, hooks = NETWORKS[network][0], {}, []
    dtype = next(model.parameters()).dtype

    def keep(name):
        return lambda module, arguments, output: out.__setitem__(name, first(output))

    for name in names:
        hooks.append(submodule(model, name).register_forward_hook(keep(name)))
    begin = clock()
    if kind is UNet2DConditionModel:
        unet_pass(model, inputs, block, out, frozen_latents)
    else:
        with torch.no_grad():
            if kind is CLIPVisionModel:
                hidden = model(inputs["pixels"].to(dtype), output_hidden_states=True).hidden_states
                out["features"] = hidden[-2][:, 1:]
            elif kind is CLIPTextModel:
                out["hidden"] = model(inputs["ids"]).last_hidden_state
            else:
                out["moments"] = model.quant_conv(model.encoder(inputs["image"].to(dtype)))
    end = clock()
    middle = out.pop("seconds_forward", end)
    for hook in hooks:
        hook.remove()
    out = {name: channels_last(x.detach()).float() for name, x in out.items() if x is not None}
    return out, (middle - begin, end - middle)


# ---- the comparison


def run_ours(program, network, folder, inputs, dtype, block, extra=()):
    kinds = {CLIPVisionModel: "clip_vision", CLIPTextModel: "clip_text", AutoencoderKL: "vae", UNet2DConditionModel: "unet"}
    stored = {name: channels_last(x) if x.is_floating_point() else x.int() for name, x in inputs.items()}
    save_file(stored, folder / "inputs.safetensors")
    command = [program, kinds[NETWORKS[network][0]], folder, folder / "inputs.safetensors", folder / "outputs.safetensors",
               f"dtype={dtype}", f"block={block}", "timestep=100", *extra]
    lines = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return load_file(folder / "outputs.safetensors"), [json.loads(line) for line in lines.splitlines()]


def errors(got, want):
    difference = got.reshape(want.shape).double() - want.double()
    return float(difference.norm() / want.double().norm()), float(difference.abs().max() / want.abs().max())


def in_order(names):
    """Blocks in the order in which they run, then what the network gives."""
    final = ("features", "hidden", "moments", "feature", "context_grad", "latents_grad")
    return [name for name in names if name not in final] + [name for name in final if name in names]


def compare(ours, exact, rounded):
    """Prints the table; whether all is within the bounds."""
    within = True
    for name in in_order(list(exact)):
        error, largest = errors(ours[name], exact[name])
        line = f"{name:34} {error:9.2e} {largest:9.2e}"
        if rounded:
            theirs = errors(rounded[name], exact[name])[0]
            bound = BFLOAT16_FACTOR * theirs
            line += f" {theirs:9.2e} {error / theirs:6.2f}"
        else:
            bound = FLOAT32_BOUND
        within &= error <= bound
        print(line + ("" if error <= bound else f"   beyond {bound:.2e}"))
    return within


def run_parity(arguments, folder):
    network, dtype, block = arguments.network, arguments.dtype, arguments.block
    make(network, folder)
    inputs = make_inputs(network, block)
    ours, times = run_ours(arguments.program, network, folder, inputs, dtype, block)
    model = open_reference(network, folder, block)
    names = [name for name in ours if "." in name or name in ("embeddings", "pre_layrnorm")]
    rounded = reference(network, model, inputs, names, block)[0] if dtype == "bfloat16" else None
    exact, seconds = reference(network, model.float(), inputs, names, block)
    print(f"{network} {dtype}" + (f", up block {block}" if network.startswith("unet") else ""))
    print(f"{'':34} {'relative':>9} {'largest':>9}" + (f" {'PyTorch':>9} {'ratio':>6}" if rounded else ""))
    within = compare(ours, exact, rounded)
    print(f"ours: {times[0]}; PyTorch float32: forward {seconds[0]:.1f} s, backward {seconds[1]:.1f} s, "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    return within


def run_speed(arguments, folder):
    """Fastest of several, each time after one that does not count."""
    network, block, times = arguments.network, arguments.block, arguments.repeat
    torch.set_num_threads(arguments.threads)
    make(network, folder)
    inputs = make_inputs(network, block)
    model = open_reference(network, folder, block)
    print(f"{network} bfloat16, {arguments.threads} threads; seconds forward, backward")
    for turn in range(2):
        extra = (f"threads={arguments.threads}", f"repeat={times + 1}", "frozen_latents=1",
                 "clock=processor" if arguments.processor_time else "clock=wall")
        runs = run_ours(arguments.program, network, folder, inputs, "bfloat16", block, extra)[1][1:]
        ours = [min(run[phase] for run in runs) for phase in ("forward", "backward")]
        runs = [reference(network, model, inputs, [], block, True)[1] for _ in range(times + 1)][1:]
        theirs = [min(run[phase] for run in runs) for phase in (0, 1)]
        ratios = [f"{a / b:.2f}" for a, b in zip(ours, theirs) if b > 1e-3]
        print(f"ours {ours[0]:.3f} {ours[1]:.3f}   PyTorch {theirs[0]:.3f} {theirs[1]:.3f}   ratio {' '.join(ratios)}", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", required=True, choices=NETWORKS)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--block", type=int, default=1, choices=range(4), help="the U-Net's last up block")
    parser.add_argument("--program", type=pathlib.Path, default="build/tests/parity/network_outputs")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--threads", type=int, default=2, help="of --speed")
    parser.add_argument("--repeat", type=int, default=3, help="of --speed")
    parser.add_argument("--processor-time", action="store_true",
                        help="of --speed: seconds of all threads; with --threads 1 for a machine that others use as well")
    arguments = parser.parse_args()
    if arguments.processor_time:
        globals()["clock"] = time.process_time
    with tempfile.TemporaryDirectory(prefix="difflmm-full-size-") as folder:
        run = run_speed if arguments.speed else run_parity
        sys.exit(0 if run(arguments, pathlib.Path(folder)) else 1)


if __name__ == "__main__":
    main()
