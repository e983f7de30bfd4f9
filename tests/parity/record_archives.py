#!/usr/bin/env python3
"""Records small files of torch.save() and of pickle, and what they hold: tests/parity/data/archives/. Needs torch and safetensors.

    python3 tests/parity/record_archives.py
    python3 tests/parity/record_archives.py --published FILE...    prints the rows of test_torch_archive.c

NAME.pt is what is read, NAME.safetensors the same tensors under the same names, contiguous, as PyTorch has them. values_PROTOCOL.p are
one object of all plain types in every pickle protocol; python2.p is what Python 2 would write (protocol 0, str and unicode).
"""
import collections
import os
import pickle
import sys

import torch
from safetensors.torch import load_file, save_file

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "archives")


def every_dtype():
    base = torch.tensor([[0.0, -1.5, 3.25], [1e-3, 200.0, -0.0]])
    tensors = {str(t).split(".")[1]: base.to(t) for t in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
    tensors |= {str(t).split(".")[1]: torch.tensor([[1, -2, 3]]).to(t) for t in (torch.int64, torch.int32, torch.int16, torch.int8)}
    tensors["uint8"] = torch.tensor([0, 7, 255], dtype=torch.uint8)
    tensors["bool"] = torch.tensor([True, False, True])
    tensors["scalar"] = torch.tensor(0.1)
    tensors["empty"] = torch.zeros(0, 4)
    return tensors


def views():
    generator = torch.Generator().manual_seed(9)
    base = torch.randn(6, 5, 4, generator=generator)
    shared = torch.arange(24, dtype=torch.float32)
    return collections.OrderedDict(
        whole=base,
        offset=base[2:4],
        transposed=base.permute(2, 0, 1),
        inner=base[1:5, 1:4, 2],
        channels_last=torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        expanded=torch.tensor([[1.0], [2.0]]).expand(2, 1500),  # more than one piece of the reader's
        tied_a=shared,
        tied_b=shared,
        tied_c=shared[8:20].view(3, 4),
        half_transposed=torch.randn(40, 70, generator=generator).half().t(),
        parameter=torch.nn.Parameter(torch.tensor([1.0, 2.0])),
    )


def training():
    """What a training script saves: the model under a key, the rest beside it."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(torch.arange(p.numel()).view_as(p) + 10 * i)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "note": "größer", "lr": 1e-5}


def nested():
    return {"a": {"b": [torch.tensor([1, 2]), {"c": torch.tensor([3.5])}]}, "n": 5, 7: torch.tensor([8.0])}


def newer():
    """dtypes that _rebuild_tensor_v3 brings."""
    return {"uint16": torch.tensor([1, 65535], dtype=torch.uint16), "uint32": torch.tensor([4000000000], dtype=torch.uint32),
            "e4m3": torch.tensor([1.5, -448.0, 0.001953125, float("nan")]).to(torch.float8_e4m3fn),
            "e5m2": torch.tensor([1.5, -57344.0, float("inf")]).to(torch.float8_e5m2)}


def flat(value, name=""):
    if isinstance(value, torch.Tensor):
        return {name: value.detach().contiguous().clone()}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    tensors = {}
    for key, item in items:
        tensors |= flat(item, f"{name}.{key}" if name else str(key))
    return tensors


def save(name, value, expected=None, **options):
    torch.save(value, os.path.join(FOLDER, name + ".pt"), **options)
    save_file(flat(value if expected is None else expected), os.path.join(FOLDER, name + ".safetensors"))


PLAIN = {
    "none": None, "yes": True, "no": False, "ints": [0, 255, 65535, -1, 2**31 - 1, -2**31, 2**40, -2**63, 2**63 - 1],
    "floats": [0.0, -1.5, 1e300, 5e-324, float("inf")], "text": "größer \U0001f600\n\\'\"", "bytes": b"\x00\xff'\\\n",
    "bytearray": bytearray(b"ab"), "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)], "set": {5}, "frozen": frozenset(["x"]),
    "ordered": collections.OrderedDict([("z", 1), ("a", 2)]), "nested": {"deep": [{"er": [[]]}]}, 7: "int key", "long": "x" * 300,
}
# Python 2 is gone; these are the bytes that it writes for [{'sent': 'it\'s a "caf\xc3\xa9"\n', 'raw': u'caf\xe9 \u20ac \U0001f600', 'id': 5L, 'ok': True}].
PYTHON2 = (b"(lp0\n(dp1\nS'sent'\np2\nS'it\\'s a \"caf\\xc3\\xa9\"\\n'\np3\nsS'raw'\np4\nVcaf\xe9 \\u20ac \\U0001f600\np5\n"
           b"sS'id'\np6\nL5L\nsS'ok'\np7\nI01\nsa.")


def crc32c(data, crc=0):
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def print_published(path):
    tensors = load_file(path) if path.endswith(".safetensors") else flat(torch.load(path, map_location="cpu", weights_only=True))
    total = 0
    for name, tensor in tensors.items():
        total += crc32c(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes(), crc32c(name.encode()))
    print(f'    {{"{os.path.basename(path)}", {len(tensors)}, 0x{total % 2**32:08x}}},')


def main():
    if sys.argv[1:2] == ["--published"]:
        for path in sys.argv[2:]:
            print_published(path)
        return
    os.makedirs(FOLDER, exist_ok=True)
    legacy = {"_use_new_zipfile_serialization": False}
    save("dtypes", every_dtype())
    save("dtypes_legacy", every_dtype(), **legacy)
    save("views", views())
    save("views_legacy", views(), **legacy)
    save("training", training(), training()["state_dict"])
    save("nested", nested())
    save("newer", newer())
    for protocol in (3, 4, 5):
        save(f"nested_{protocol}", nested(), pickle_protocol=protocol)
    save("nested_legacy_4", nested(), pickle_protocol=4, **legacy)
    save("list", [torch.tensor([1.0]), torch.tensor([2.0, 3.0])])
    for protocol in range(6):
        with open(os.path.join(FOLDER, f"values_{protocol}.p"), "wb") as file:
            pickle.dump(PLAIN, file, protocol=protocol)
    with open(os.path.join(FOLDER, "python2.p"), "wb") as file:
        file.write(PYTHON2)


if __name__ == "__main__":
    main()
