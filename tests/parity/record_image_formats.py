"""Records small image files of every format and mode, and what Pillow makes of them, for test_image_formats.c.

    python tests/parity/record_image_formats.py

writes tests/parity/data/image_formats.safetensors: the files, a tensor of bytes each. Its metadata say of each what is expected:
"WIDTH HEIGHT CHECKSUM" (the pixels' CRC-32), or "refused: PART OF THE MESSAGE".
"""

import io
import pathlib
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image
from safetensors.numpy import save_file

import image_files

tensors, expected = {}, {"Pillow": PIL.__version__}
maker = image_files.Maker(3, 13, 9)
for name, file in image_files.whole(maker):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(file)).convert("RGB")
    tensors[name] = np.frombuffer(file, np.uint8)
    expected[name] = f"{image.width} {image.height} {zlib.crc32(image.tobytes())}"
for name, file, message in image_files.damaged(maker):
    if file:
        tensors[name] = np.frombuffer(file, np.uint8)
        expected[name] = f"refused: {message}"
target = pathlib.Path(__file__).parent / "data" / "image_formats.safetensors"
save_file(tensors, target, metadata=expected)
print(len(tensors), "files,", target.stat().st_size, "bytes,", sum(t.size for t in tensors.values()), "of them images")
