"""Records what transformers and diffusers compute with tiny random CLIP towers, VAEs and U-Nets, for test_clip.c, test_vae.c
and test_unet.c.

    python tests/parity/record_vision.py

writes under tests/parity/data one model directory per case, as the libraries save them (float16 weights, which every type holds
exactly or rounds alike), less the parts that are never read, and beside them

    clip.safetensors, open_clip.safetensors, vae.safetensors, unet.safetensors      CASE/NAME: inputs, outputs and gradients

computed in float64 with the weights as stored. Images and latents are stored channels last. Arguments name the groups to record:
clip, vae, unet, clip_text, open_clip; without any all of them.
"""

import json
import os
import pathlib
import shutil
import sys

import open_clip as open_clip_library
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

DATA = pathlib.Path(__file__).parent / "data"
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64)

generator = torch.Generator().manual_seed(11)


def normal(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64).float().double()


def randomise(model):
    """Weights of a size that keeps activations near one, and norms and biases that are not what they start as."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                value = normal(*parameter.shape) * (1.2 / parameter[0].numel()) ** 0.5
            elif "norm" in name and name.endswith("weight"):
                value = 1 + 0.2 * normal(*parameter.shape)
            else:
                value = 0.2 * normal(*parameter.shape)
            parameter.copy_(value)
    model.half()


def save(model, name, keep=None, rename=None, forget=(), **options):
    """Saves the model as its library does; then drops tensors that are not kept, renames others, and forgets keys of config.json."""
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, **options)
    for unused in ("generation_config.json",):
        (folder / unused).unlink(missing_ok=True)
    index_path = next(folder.glob("*.index.json"), None)
    index = json.loads(index_path.read_text()) if index_path else None
    for path in sorted(folder.glob("*.safetensors")):
        tensors = {key: value.contiguous() for key, value in load_file(path).items() if keep is None or keep(key)}
        if rename:
            tensors = {rename(key): value for key, value in tensors.items()}
        save_file(tensors, path) if tensors else path.unlink()
    if index:
        index["weight_map"] = {rename(key) if rename else key: file for key, file in index["weight_map"].items()
                               if keep is None or keep(key)}
        index_path.write_text(json.dumps(index, indent=1))
        print(name, len(set(index["weight_map"].values())), "shards")
    config = json.loads((folder / "config.json").read_text())
    for key in forget:
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    model.double()


def write(name, tensors):
    stored = {key: (value if value.dtype == torch.int32 else value.float()).contiguous() for key, value in tensors.items()}
    save_file(stored, DATA / f"{name}.safetensors")


def last(image):
    return image.detach().permute(0, 2, 3, 1)


# ---- CLIP


def record_vision_tower(out, name, model, image_size, batch, from_size):
    """`model` gives hidden_states; the image is in [-1,1] of another size, resized and normalised first."""
    image = (normal(batch, 3, from_size, from_size) * 0.5).clamp(-1, 1)
    pixels = F.interpolate(image, size=(image_size, image_size), mode="bilinear", align_corners=False)
    pixels = ((pixels + 1) / 2 - MEAN[:, None, None]) / STD[:, None, None]
    with torch.no_grad():
        hidden = model(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    out[f"{name}/image"], out[f"{name}/pixels"], out[f"{name}/features"] = last(image), last(pixels), hidden


def record_text_tower(out, name, model, empty_prompt, vocabulary):
    ids = torch.randint(0, vocabulary, (2, 5), generator=generator)
    with torch.no_grad():
        out[f"{name}/hidden"] = model(ids).last_hidden_state
        out[f"{name}/empty"] = model(torch.tensor([empty_prompt])).last_hidden_state[0]
    out[f"{name}/ids"] = ids.int()


def clip():
    out = {}
    vision = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3, image_size=28,
                  patch_size=7, hidden_act="quick_gelu")
    model = CLIPVisionModel(CLIPVisionConfig(**vision))
    randomise(model)
    save(model, "clip_vision")
    record_vision_tower(out, "clip_vision", model, 28, 2, 32)

    # A whole CLIPModel, whose patches leave a rest of the image, with the exact GELU and special tokens in its configuration.
    model = CLIPModel(CLIPConfig(
        text_config=dict(vocab_size=37, hidden_size=20, intermediate_size=28, num_hidden_layers=2, num_attention_heads=2,
                         max_position_embeddings=9, hidden_act="gelu", bos_token_id=30, eos_token_id=31, pad_token_id=1),
        vision_config=dict(hidden_size=20, intermediate_size=36, num_hidden_layers=2, num_attention_heads=2, image_size=36,
                           patch_size=8, hidden_act="gelu", layer_norm_eps=1e-3),
        projection_dim=16))
    randomise(model)
    save(model, "clip_whole")
    record_vision_tower(out, "clip_whole", model.vision_model, 36, 3, 36)
    record_text_tower(out, "clip_whole", model.text_model, [30, 31] + [31] * 7, 37)

    # Shards, and names as the models published before transformers 5 have them.
    model = CLIPVisionModel(CLIPVisionConfig(**dict(vision, hidden_size=32, num_attention_heads=4, num_hidden_layers=4,
                                                    image_size=30, patch_size=5)))
    randomise(model)
    save(model, "clip_shards", keep=lambda key: "layers.3." not in key and "post_layernorm" not in key,
         rename=lambda key: "vision_model." + key, max_shard_size="24KB")
    record_vision_tower(out, "clip_shards", model, 30, 1, 35)

    # The folders of Stable Diffusion v1.5: special tokens by the tokenizer; eos_token_id 2 in config.json is wrong, as there.
    vocabulary = 29
    model = CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
                                         num_attention_heads=3, max_position_embeddings=11, hidden_act="quick_gelu",
                                         bos_token_id=0, eos_token_id=2, pad_token_id=1))
    randomise(model)
    save(model, "clip_sd/text_encoder", rename=lambda key: key if key.startswith("text_model.") else "text_model." + key)
    tokenizer = DATA / "clip_sd" / "tokenizer"
    shutil.rmtree(tokenizer, ignore_errors=True)
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text(json.dumps({"<|startoftext|>": 25, "<|endoftext|>": 27, "!": 4}) + "\n")
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({
        "bos_token": {"__type": "AddedToken", "content": "<|startoftext|>"},
        "eos_token": {"__type": "AddedToken", "content": "<|endoftext|>"}, "pad_token": "!"}, indent=1) + "\n")
    record_text_tower(out, "clip_sd", model, [25, 27] + [4] * 9, vocabulary)
    write("clip", out)


# ---- VAE

OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old_name(key):
    if "attentions" in key:
        for new, old in OLD_ATTENTION.items():
            key = key.replace(f".{new}.", f".{old}.")
    return key


def vae():
    out = {}
    cases = {
        # Names and a configuration as published for Stable Diffusion v1.5.
        "vae_old": (dict(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4),
                    (2, 36, 36), dict(rename=old_name, forget=["scaling_factor", "use_quant_conv", "use_post_quant_conv",
                                                               "shift_factor", "mid_block_add_attention", "force_upcast"])),
        "vae_odd": (dict(block_out_channels=(8, 12, 16), layers_per_block=2, norm_num_groups=4, latent_channels=3,
                         use_quant_conv=False, scaling_factor=0.5), (1, 37, 29), {}),
        "vae_shards": (dict(block_out_channels=(8, 24), layers_per_block=1, norm_num_groups=8,
                            mid_block_add_attention=False, scaling_factor=0.13025), (3, 10, 20),
                       dict(max_shard_size="30KB")),
    }
    for name, (config, (batch, height, width), options) in cases.items():
        levels = len(config["block_out_channels"])
        model = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * levels,
                              up_block_types=("UpDecoderBlock2D",) * levels, **config)
        randomise(model)
        save(model, name, keep=lambda key: key.startswith(("encoder.", "quant_conv.")), **options)
        image = normal(batch, 3, height, width).clamp(-1, 1)
        with torch.no_grad():
            moments = model.encoder(image)
            if model.quant_conv is not None:
                moments = model.quant_conv(moments)
        out[f"{name}/image"], out[f"{name}/moments"] = last(image), last(moments)
    write("vae", out)


# ---- U-Net and noise schedule


def unet_features(model, block, latents, timestep, context):
    feature = []
    hook = model.up_blocks[block].register_forward_hook(lambda module, inputs, output: feature.append(output))
    model(latents, timestep, context)
    hook.remove()
    return feature[0]


def unet():
    out = {}
    down, cross_down, up, cross_up = "DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"
    cases = {
        # As Stable Diffusion v1.5 (attention_head_dim is the number of heads), the feature of DiffLMM.
        "unet_sd1": (dict(block_out_channels=(8, 16, 16), down_block_types=(cross_down, cross_down, down),
                          up_block_types=(up, cross_up, cross_up), layers_per_block=2, attention_head_dim=2,
                          cross_attention_dim=12, norm_num_groups=4), 1, (2, 12, 12), 7, 100, {}),
        # As Stable Diffusion v2, odd sizes, the other sinusoids.
        "unet_sd2": (dict(block_out_channels=(8, 16, 24), down_block_types=(cross_down, cross_down, cross_down),
                          up_block_types=(cross_up, cross_up, cross_up), layers_per_block=1, attention_head_dim=(1, 2, 3),
                          cross_attention_dim=10, norm_num_groups=8, use_linear_projection=True,
                          transformer_layers_per_block=2, flip_sin_to_cos=False, freq_shift=1), 0, (1, 9, 7), 5, 0, {}),
        # Shards, the very last block, which has no upsampler, padding on one side, and no attention in the first level.
        "unet_last": (dict(block_out_channels=(8, 16), down_block_types=(down, cross_down), up_block_types=(cross_up, up),
                           layers_per_block=(1, 2), attention_head_dim=4, cross_attention_dim=6, norm_num_groups=4,
                           downsample_padding=0, time_embedding_dim=20, norm_eps=1e-3), 1, (3, 11, 6), 4, 999,
                      dict(max_shard_size="40KB")),
    }
    for name, (config, block, (batch, height, width), tokens, timestep, options) in cases.items():
        model = UNet2DConditionModel(**config)
        randomise(model)
        used = tuple(f"up_blocks.{i}." for i in range(block + 1))
        save(model, name, keep=lambda key: key.startswith(used) or not key.startswith(("up_blocks.", "conv_out", "conv_norm_out")),
             **options)
        model.requires_grad_(False)
        latents = normal(batch, 4, height, width).requires_grad_()
        context = normal(batch, tokens, config["cross_attention_dim"]).requires_grad_()
        feature = unet_features(model, block, latents, timestep, context)
        direction = normal(*feature.shape)
        (feature * direction).sum().backward()
        out[f"{name}/latents"], out[f"{name}/context"] = last(latents), context.detach()
        out[f"{name}/feature"], out[f"{name}/direction"] = last(feature), last(direction)
        out[f"{name}/context_grad"], out[f"{name}/latents_grad"] = context.grad, last(latents.grad)
    record_schedules(out)
    write("unet", out)


def record_schedules(out):
    for name, config in {"schedule_scaled_linear": dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
                         "schedule_linear": dict(num_train_timesteps=50)}.items():
        schedule = DDPMScheduler(**config)
        folder = DATA / name
        schedule.save_pretrained(folder)
        z, noise = normal(2, 3, 3, 4), normal(2, 3, 3, 4)
        out[f"{name}/alphas_cumprod"] = schedule.alphas_cumprod
        out[f"{name}/z"], out[f"{name}/noise"] = z, noise
        out[f"{name}/noised"] = schedule.add_noise(z, noise, torch.tensor([40, 40]))


def clip_text():
    """A third text tower: heads of nine channels, three layers, shards, special tokens in its configuration."""
    out = {}
    model = CLIPTextModel(CLIPTextConfig(vocab_size=23, hidden_size=36, intermediate_size=44, num_hidden_layers=3,
                                         num_attention_heads=4, max_position_embeddings=6, hidden_act="gelu",
                                         bos_token_id=3, eos_token_id=4, pad_token_id=4))
    randomise(model)
    save(model, "clip_text", rename=lambda key: key if key.startswith("text_model.") else "text_model." + key,
         max_shard_size="24KB")
    record_text_tower(out, "clip_text", model, [3, 4, 4, 4, 4, 4], 23)
    write("clip_text", out)


def record_open_clip_tower(out, name, model, mean, std):
    """OpenCLIP's vision tower up to its last layer but one."""
    hidden = []
    blocks = model.visual.transformer.resblocks
    hook = blocks[len(blocks) - 2].register_forward_hook(lambda module, inputs, output: hidden.append(output))
    size = model.visual.image_size[0]
    image = (normal(2, 3, size, size) * 0.5).clamp(-1, 1)
    pixels = ((image + 1) / 2 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        model.visual(pixels)
    hook.remove()
    out[f"{name}/image"], out[f"{name}/pixels"], out[f"{name}/features"] = last(image), last(pixels), hidden[0][:, 1:]


def open_clip():
    """OpenCLIP's vision tower in the folder that it publishes, with another mean and the exact GELU; and a configuration alone
    beside weights in the form of OpenAI's release, which has QuickGELU."""
    generator.manual_seed(12)
    out = {}
    vision = dict(image_size=28, layers=3, width=24, head_width=8, patch_size=7, mlp_ratio=2.5)
    text = dict(context_length=5, vocab_size=11, width=16, heads=2, layers=1)
    unused = ("visual.transformer.resblocks.2.", "visual.ln_post", "visual.proj")
    for name, quick in {"clip_open": False, "clip_openai": True}.items():
        model = open_clip_library.CLIP(12, vision_cfg=vision, text_cfg=text, quick_gelu=quick).eval()
        randomise(model)
        model.double()
        tensors = {key: value.half().contiguous() for key, value in model.state_dict().items()
                   if key.startswith("visual.") and not key.startswith(unused)}
        config = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}
        mean, std = (MEAN.tolist(), STD.tolist()) if quick else ([0.5] * 3, [0.25, 0.5, 0.75])
        folder = DATA / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if quick:
            tensors |= {key: torch.tensor(value) for key, value in
                        dict(input_resolution=28, context_length=5, vocab_size=11).items()}
            (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
            save_file(tensors, folder / "model.safetensors")
        else:
            config = {"model_cfg": config, "preprocess_cfg": {"mean": mean, "std": std}}
            (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")
            save_file(tensors, folder / "open_clip_model.safetensors")
        record_open_clip_tower(out, name, model, mean, std)
    write("open_clip", out)


if __name__ == "__main__":
    os.makedirs(DATA, exist_ok=True)
    for group in sys.argv[1:] or ("clip", "vae", "unet", "clip_text", "open_clip"):
        globals()[group]()
