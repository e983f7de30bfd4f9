"""Records what Pillow, PyTorch, LLaVA's padding and CLIPImageProcessor make of small pictures, for test_image.c.

    python tests/parity/record_images.py

writes tests/parity/data/images.safetensors:

    decode/NAME/file      bytes of an image file          decode/NAME/pixels    [H,W,3] Pillow's RGB
    resize/FILTER/I/from  [H,W,3]                         resize/FILTER/I/to    [H',W',3] Pillow's resize
    square/ASPECT/I/from  [H,W,3]                         square/ASPECT/I/to    [S,S,3] what the networks see
    float/I/from          [H,W] float32                   float/I/to            [H',W'] PyTorch's bicubic

Needs Pillow before 13: data/images/resize.h promises the horizontal pass first, as LLaVA and CLIP were trained with.
"""

import io
import pathlib
import struct
import zlib

import numpy as np
import PIL
import torch
from PIL import Image
from safetensors.numpy import save_file
from transformers import CLIPImageProcessorPil

if int(PIL.__version__.split(".")[0]) >= 13:
    raise SystemExit(
        f"Pillow {PIL.__version__} begins some resizes with the vertical pass, which rounds otherwise; "
        "expected a version before 13: pip install 'pillow<13'"
    )

random = np.random.default_rng(7)
tensors = {}


def picture(width, height):
    """A smooth gradient with hard edges: both the filter's tails and its clipping show."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    channels = [128 + 127 * np.sin(x / (2 + c) + y / (5 - c)) for c in range(3)]
    pixels = np.stack(channels, axis=-1)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = [255, 0, 255]
    return Image.fromarray(pixels.astype(np.uint8))


def png(pixels, colour_type, interlaced):
    """A PNG file written by hand, for what Pillow cannot write: 16 bits per channel and interlacing (Adam7)."""
    height, width = pixels.shape[:2]
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for y, x, step_y, step_x in passes if interlaced else [(0, 0, 1, 1)]:
        part = pixels[y::step_y, x::step_x]
        if part.size:
            data += b"".join(b"\0" + row.tobytes() for row in part)
    bits = 8 * pixels.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    file = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
        file += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return file


def record_decode(name, file):
    pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    tensors[f"decode/{name}/file"] = np.frombuffer(file, dtype=np.uint8)
    tensors[f"decode/{name}/pixels"] = np.ascontiguousarray(pixels)


def record_saved(name, image, **options):
    file = io.BytesIO()
    image.save(file, format="JPEG" if name.endswith("jpg") else "PNG", **options)
    record_decode(name, file.getvalue())


def record_formats():
    image = picture(23, 17)
    record_saved("rgb.jpg", image, quality=90)
    record_saved("rgb444.jpg", image, quality=95, subsampling=0)
    record_saved("progressive.jpg", image, progressive=True)
    record_saved("grey.jpg", image.convert("L"))
    record_saved("cmyk.jpg", image.convert("CMYK"), quality=95)
    record_saved("rgb.png", image)
    record_saved("grey.png", image.convert("L"))
    record_saved("bits1.png", image.convert("1"))
    for bits in (1, 2, 4):
        record_saved(f"palette{bits}.png", image.quantize(2**bits), bits=bits)
    record_saved("palette8.png", image.quantize(100))
    record_saved("palette_transparent.png", image.quantize(16), transparency=3)
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.fromarray(random.integers(0, 256, (17, 23), dtype=np.uint8)))
    record_saved("alpha.png", alpha)
    record_saved("grey_alpha.png", alpha.convert("LA"))
    record_decode("interlaced.png", png(np.asarray(image), 2, True))
    record_decode("interlaced_tiny.png", png(np.asarray(picture(3, 1)), 2, True))
    deep = random.integers(0, 65536, (5, 9, 3)).astype(">u2")
    record_decode("rgb16.png", png(deep, 2, False))
    record_decode("grey16.png", png(deep[..., 0], 0, False))


def record_pair(name, before, after):
    tensors[f"{name}/from"] = np.ascontiguousarray(before)
    tensors[f"{name}/to"] = np.ascontiguousarray(after)


def record_resize():
    sizes = [(23, 17, 8, 8), (23, 17, 40, 31), (37, 5, 7, 11), (3, 2, 9, 10), (16, 16, 16, 9), (64, 48, 5, 4), (1, 1, 4, 3)]
    for index, (width, height, out_width, out_height) in enumerate(sizes):
        image = picture(width, height)
        for label, filter in (("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)):
            record_pair(f"resize/{label}/{index}", image, image.resize((out_width, out_height), filter))


def expand_to_square(image):
    side = max(image.size)
    result = Image.new("RGB", (side, side), (127, 127, 127))
    result.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return result


def record_squares():
    for index, (width, height, size) in enumerate([(23, 17, 16), (17, 24, 16), (19, 19, 28), (50, 7, 14), (8, 61, 21)]):
        image = picture(width, height)
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}, do_rescale=False, do_normalize=False
        )
        for label, prepared in (("pad", expand_to_square(image)), ("square", image)):
            result = processor.preprocess(prepared, return_tensors="np")["pixel_values"][0]
            record_pair(f"square/{label}/{index}", image, result.transpose(1, 2, 0).astype(np.uint8))


def record_float():
    for index, (height, width, out_height, out_width) in enumerate([(8, 8, 32, 32), (5, 7, 13, 9), (1, 3, 4, 10), (6, 6, 4, 3)]):
        values = torch.from_numpy(random.standard_normal((1, 1, height, width)).astype(np.float32))
        result = torch.nn.functional.interpolate(values, (out_height, out_width), mode="bicubic", align_corners=False)
        record_pair(f"float/{index}", values[0, 0].numpy(), result[0, 0].numpy())


record_formats()
record_resize()
record_squares()
record_float()
save_file(tensors, pathlib.Path(__file__).parent / "data" / "images.safetensors")
