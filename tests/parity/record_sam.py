"""Records what segment-anything and transformers compute with tiny random Segment Anything models, for test_sam.c.

    pip install segment_anything
    python tests/parity/record_sam.py

writes under tests/parity/data

    sam_original/        model.pth as segment-anything publishes its models: names of its own, and sizes that only the shapes tell
    sam_transformers/    a SamModel as transformers saves it, with every size in its configuration
    sam_*/image.png      the picture; resized.png: as the encoder is given it
    sam.safetensors      CASE/NAME: blocks, embeddings, and for each prompt its logits and predicted quality; CASE/NAME.noise: how much
                         of a rounding of every module's output arrives there

computed in float64 with the weights as stored (bfloat16, so that every type holds them exactly). Images and embeddings are stored channels last.
"""

import json
import pathlib
import shutil
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from segment_anything.utils.transforms import ResizeLongestSide
from transformers import SamConfig, SamModel

DATA = pathlib.Path(__file__).parent / "data"
MEAN = torch.tensor([123.675, 116.28, 103.53], dtype=torch.float64)
STD = torch.tensor([58.395, 57.12, 57.375], dtype=torch.float64)

UNIT, DRAWS = 2.0**-8, 16

generator = torch.Generator().manual_seed(17)

# In pixels of the picture. A prompt has points with labels, a box, a mask; the last: several masks or one.
PROMPTS = {
    "point": ([[31.25, 20.5]], [1], None, False, True),
    "points_box": ([[10.0, 33.0], [25.0, 12.75], [3.0, 2.0]], [1, 0, -1], [4.0, 6.5, 30.0, 44.0], False, False),
    "box": (None, None, [2.0, 3.0, 33.0, 50.0], False, True),
    "mask": ([[12.0, 40.0], [20.0, 8.0]], [0, 1], None, True, True),
    "mask_box": (None, None, [1.5, 2.5, 28.0, 31.0], True, False),
}


def normal(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64).float().double()


def randomise(model):
    """Weights of a size that keeps activations near one, and norms, biases and positions that are not what they start as."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pos_embed" in name or "rel_pos" in name or "token" in name or "embed.weight" in name or "point_embed" in name:
                value = normal(*parameter.shape) * 0.5
            elif "positional" in name:
                value = normal(*parameter.shape)
            elif "q_proj.weight" in name or "k_proj.weight" in name:
                # Scores near one: a softmax passes relative errors of its scores on times their size.
                value = normal(*parameter.shape) * (0.4 / parameter[0].numel()) ** 0.5
            elif parameter.dim() > 1:
                value = normal(*parameter.shape) * (1.2 / parameter[0].numel()) ** 0.5
            elif name.endswith("weight"):
                value = 1 + 0.2 * normal(*parameter.shape)
            else:
                value = 0.2 * normal(*parameter.shape)
            parameter.copy_(value)
        for name, buffer in model.named_buffers():
            if "gaussian" in name:
                buffer.copy_(normal(*buffer.shape))
    model.bfloat16()


def picture(folder, width, height):
    """Smooth colours with noise on them."""
    coarse = torch.rand((1, 3, 5, 4), generator=generator)
    pixels = F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)[0] * 220
    pixels = pixels + 30 * torch.rand((3, height, width), generator=generator)
    array = pixels.permute(1, 2, 0).round().to(torch.uint8).numpy()
    Image.fromarray(array).save(folder / "image.png")
    return array


def preprocess(folder, array, size):
    """The encoder's input [1,3,S,S] and the size of the picture in it."""
    resized = ResizeLongestSide(size).apply_image(array)
    Image.fromarray(resized).save(folder / "resized.png")
    height, width = resized.shape[:2]
    pixels = ((torch.from_numpy(resized).double() - MEAN) / STD).permute(2, 0, 1)[None]
    return F.pad(pixels, (0, size - width, 0, size - height)), (height, width)


def scaled(prompt, array, size):
    """Points, labels and box of a batch of one, in the encoder's square."""
    points, labels, box = prompt[:3]
    transform = ResizeLongestSide(size)
    if points is not None:
        points = torch.from_numpy(transform.apply_coords(np.array(points), array.shape[:2]))[None]
        labels = torch.tensor(labels, dtype=torch.int)[None]
    if box is not None:
        box = torch.from_numpy(transform.apply_boxes(np.array(box), array.shape[:2]))
    return points, labels, box


def upscale(logits, size, frame, original):
    """segment-anything's postprocess_masks."""
    masks = F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
    masks = masks[..., : frame[0], : frame[1]]
    return F.interpolate(masks, original, mode="bilinear", align_corners=False)


def block_hooks(out, modules):
    """What the named modules give from now on is put into `out` under those names. Returns the hooks."""
    handles = []
    for key, module in modules.items():
        def keep(module, inputs, output, key=key):
            if "transformer" in key:
                out[f"{key}.queries"], out[f"{key}.keys"] = output[0].squeeze(), output[1].squeeze()
            else:
                output = output if torch.is_tensor(output) else output[0]
                out[key] = output.reshape(-1, output.shape[-1])
        handles.append(module.register_forward_hook(keep))
    return handles


def run_prompts(out, size, array, frame, mask, decode):
    """decode(points, labels, box, mask, multimask) gives logits [1,n,4G,4G] and qualities [1,n]."""
    for key, prompt in PROMPTS.items():
        points, labels, box = scaled(prompt, array, size)
        logits, iou = decode(points, labels, box, mask if prompt[3] else None, prompt[4])
        out[f"{key}/logits"], out[f"{key}/iou"] = logits[0], iou[0]
        if key == "point":
            out[f"{key}/upscaled"] = upscale(logits, size, frame, array.shape[:2])[0, -1]


def noise_hooks(model):
    """From now on the output of every elementary module carries relative errors, uniform within UNIT."""
    noise = torch.Generator().manual_seed(23)

    def disturb(module, inputs, output):
        return output * (1 + UNIT * (2 * torch.rand(output.shape, generator=noise, dtype=output.dtype) - 1))

    return [module.register_forward_hook(disturb) for module in model.modules() if not list(module.children())]


def record(out, name, model, run):
    """What run() gives, and how far it moves when every module's output is rounded: the root of the mean square of its relative error
    (Euclidean norm) over DRAWS draws, in units of that rounding."""
    exact = run()
    hooks = noise_hooks(model)
    draws = [run() for _ in range(DRAWS)]
    for hook in hooks:
        hook.remove()
    for key, value in exact.items():
        squares = [((draw[key] - value).norm() / value.norm() / UNIT) ** 2 for draw in draws]
        out[f"{name}/{key}"] = value
        out[f"{name}/{key}.noise"] = torch.stack(squares).mean().sqrt().reshape(1)


def mask_prompt(out, name, grid):
    mask = F.interpolate(normal(1, 1, 6, 6) * 4, size=(4 * grid, 4 * grid), mode="bilinear")
    out[f"{name}/mask_input"] = mask[0, 0]
    return mask


@torch.no_grad()
def original(out):
    name = "sam_original"
    size, patch, width, heads, depth, embed = 48, 4, 20, 2, 3, 32
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # Double precision throughout: the package computes positions in single.
    encode = PositionEmbeddingRandom._pe_encoding
    PositionEmbeddingRandom._pe_encoding = lambda self, coordinates: encode(self, coordinates.double())
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    grid = size // patch
    model = Sam(
        image_encoder=ImageEncoderViT(img_size=size, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads,
                                      mlp_ratio=2, out_chans=embed, norm_layer=norm, use_rel_pos=True, window_size=5,
                                      global_attn_indexes=(1,)),
        prompt_encoder=PromptEncoder(embed_dim=embed, image_embedding_size=(grid, grid), input_image_size=(size, size),
                                     mask_in_chans=8),
        mask_decoder=MaskDecoder(num_multimask_outputs=3, transformer_dim=embed, iou_head_depth=3, iou_head_hidden_dim=20,
                                 transformer=TwoWayTransformer(depth=2, embedding_dim=embed, mlp_dim=40, num_heads=8)))
    randomise(model)
    torch.save(model.state_dict(), folder / "model.pth")
    model.double().eval()
    array = picture(folder, 70, 51)
    pixels, frame = preprocess(folder, array, size)
    mask = mask_prompt(out, name, grid)
    encoder_modules = {f"image_encoder.blocks.{i}": block for i, block in enumerate(model.image_encoder.blocks)}
    modules = {f"mask_decoder.transformer.layers.{i}": layer for i, layer in enumerate(model.mask_decoder.transformer.layers)}

    def run():
        found = {}
        hooks = block_hooks(found, encoder_modules)
        embedding = model.image_encoder(pixels)
        found["embedding"] = embedding.permute(0, 2, 3, 1)

        def decode(points, labels, box, mask, multimask):
            sparse, dense = model.prompt_encoder(None if points is None else (points, labels), box, mask)
            return model.mask_decoder(embedding, model.prompt_encoder.get_dense_pe(), sparse, dense, multimask)

        run_prompts(found, size, array, frame, mask, decode)
        hooks += block_hooks(found, modules)
        points, labels, _ = scaled(PROMPTS["point"], array, size)
        decode(points, labels, None, None, True)
        for hook in hooks:
            hook.remove()
        return found

    record(out, name, model, run)
    PositionEmbeddingRandom._pe_encoding = encode


@torch.no_grad()
def transformers(out):
    name = "sam_transformers"
    size, patch, width, depth, embed = 40, 4, 24, 3, 24
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    grid = size // patch
    model = SamModel(SamConfig(
        vision_config=dict(image_size=size, patch_size=patch, hidden_size=width, num_hidden_layers=depth,
                           num_attention_heads=3, output_channels=embed, window_size=4, global_attn_indexes=[2],
                           mlp_dim=36, num_pos_feats=embed // 2, layer_norm_eps=1e-4),
        prompt_encoder_config=dict(image_size=size, patch_size=patch, hidden_size=embed, mask_input_channels=12,
                                   layer_norm_eps=1e-3),
        mask_decoder_config=dict(hidden_size=embed, mlp_dim=28, num_hidden_layers=3, num_attention_heads=2,
                                 num_multimask_outputs=2, iou_head_depth=4, iou_head_hidden_dim=18, layer_norm_eps=1e-2)))
    # Tables made for another size of window and of grid.
    for layer, lengths in ((0, (9, 5)), (2, (15, 23))):
        attention = model.vision_encoder.layers[layer].attn
        attention.rel_pos_h = torch.nn.Parameter(torch.zeros(lengths[0], width // 3))
        attention.rel_pos_w = torch.nn.Parameter(torch.zeros(lengths[1], width // 3))
    randomise(model)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    model.double().eval()
    array = picture(folder, 37, 61)
    pixels, frame = preprocess(folder, array, size)
    mask = mask_prompt(out, name, grid)
    encoder_modules = {f"image_encoder.blocks.{i}": layer for i, layer in enumerate(model.vision_encoder.layers)}
    modules = {f"mask_decoder.transformer.layers.{i}": layer for i, layer in enumerate(model.mask_decoder.transformer.layers)}

    def run():
        found = {}
        hooks = block_hooks(found, encoder_modules)
        embedding = model.get_image_embeddings(pixels)
        found["embedding"] = embedding.permute(0, 2, 3, 1)

        def decode(points, labels, box, mask, multimask):
            given = model(image_embeddings=embedding, input_points=None if points is None else points[:, None],
                          input_labels=None if labels is None else labels[:, None], input_boxes=None if box is None else box[:, None],
                          input_masks=mask, multimask_output=multimask)
            return given.pred_masks[:, 0], given.iou_scores[:, 0]

        run_prompts(found, size, array, frame, mask, decode)
        hooks += block_hooks(found, modules)
        points, labels, _ = scaled(PROMPTS["point"], array, size)
        decode(points, labels, None, None, True)
        for hook in hooks:
            hook.remove()
        return found

    record(out, name, model, run)


if __name__ == "__main__":
    out = {}
    original(out)
    transformers(out)
    save_file({key: value.float().contiguous() for key, value in out.items()}, DATA / "sam.safetensors")
