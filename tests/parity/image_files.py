"""Image files of every format that is read, in every mode, and damaged ones, for record_image_formats.py and check_images.py.

What Pillow cannot write is put together by hand: interlaced and 16-bit PNG, GIF, BMP, WebP's containers, TIFF.
"""

import io
import itertools
import struct
import zlib

import numpy as np
from PIL import Image

CUT_OFF = "its data end early (a truncated file?)"


class Maker:
    def __init__(self, seed, width, height):
        self.random = np.random.default_rng(seed)
        self.width, self.height = width, height
        y, x = np.mgrid[0:height, 0:width].astype(float)
        channels = [128 + 127 * np.sin(x / (2 + c) + y / (5 - c) + seed) for c in range(4)]
        self.rgba = np.stack(channels, axis=-1).astype(np.uint8)
        self.rgb = np.ascontiguousarray(self.rgba[..., :3])
        self.rgb[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = [255, 0, 255]
        self.grey = np.ascontiguousarray(self.rgba[..., 3])
        self.image = Image.fromarray(self.rgb)

    def bits(self, bits, channels=1):
        shape = (self.height, self.width) + ((channels,) if channels > 1 else ())
        return self.random.integers(0, 1 << bits, shape, dtype=np.uint32).astype(np.uint16 if bits > 8 else np.uint8)

    def palette(self, count):
        return self.random.integers(0, 256, (count, 3), dtype=np.uint8)


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


def packed(rows, bits):
    """[H, N] numbers to rows of bytes, the first in the highest bits."""
    if bits == 16:
        return rows.astype(">u2").view(np.uint8).reshape(rows.shape[0], -1)
    expanded = (rows[..., None] >> np.arange(bits - 1, -1, -1).astype(np.uint8)) & 1
    return np.packbits(expanded.reshape(rows.shape[0], -1).astype(np.uint8), axis=1)


# ---- JPEG


def jpegs(maker):
    image, grey = maker.image, Image.fromarray(maker.grey)
    for quality, subsampling in itertools.product((20, 75, 95), ("4:4:4", "4:2:2", "4:2:0")):
        name = f"{quality}_{subsampling.replace(':', '')}"
        yield f"jpeg/{name}", saved(image, "JPEG", quality=quality, subsampling=subsampling)
    yield "jpeg/4_1_1", saved(image, "JPEG", subsampling="4:1:1")
    yield "jpeg/progressive", saved(image, "JPEG", progressive=True)
    yield "jpeg/progressive_grey", saved(grey, "JPEG", progressive=True)
    yield "jpeg/optimized", saved(image, "JPEG", optimize=True)
    yield "jpeg/restarts", saved(image, "JPEG", restart_marker_blocks=1)
    yield "jpeg/stored_as_rgb", saved(image, "JPEG", keep_rgb=True, quality=90)
    yield "jpeg/grey", saved(grey, "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "jpeg/orientation_is_not_applied", saved(image, "JPEG", exif=exif)
    cmyk = saved(image.convert("CMYK"), "JPEG", quality=90)
    yield "jpeg/cmyk", cmyk
    yield "jpeg/cmyk_progressive", saved(image.convert("CMYK"), "JPEG", progressive=True)
    at = cmyk.find(b"Adobe")
    yield "jpeg/ycck", cmyk[: at + 11] + b"\2" + cmyk[at + 12 :]
    yield "jpeg/cmyk_without_adobe", cmyk[: at - 4] + cmyk[at + 12 :]


# ---- PNG


def png(rows, width, bits, colour, interlaced=False, chunks=(), tail=True):
    """rows: [H, W * channels]."""
    height = rows.shape[0]
    channels = rows.shape[1] // width
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    pixels = rows.reshape(height, width, channels)
    data = b""
    for y, x, step_y, step_x in passes if interlaced else [(0, 0, 1, 1)]:
        part = pixels[y::step_y, x::step_x]
        if part.size:
            data += b"".join(b"\0" + row.tobytes() for row in packed(part.reshape(part.shape[0], -1), bits))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    file = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
        file += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return file


def pngs(maker):
    width = maker.width
    kinds = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
    for colour, (channels, depths) in kinds.items():
        for bits, interlaced in itertools.product(depths, (False, True)):
            rows = maker.bits(bits, channels).reshape(maker.height, -1)
            chunks = [(b"PLTE", maker.palette(1 << bits).tobytes())] if colour == 3 else []
            name = f"png/{('grey', '', 'rgb', 'palette', 'grey_alpha', '', 'rgba')[colour]}{bits}"
            yield name + "_interlaced" * interlaced, png(rows, width, bits, colour, interlaced, chunks)
    indices = maker.bits(4)
    palette = (b"PLTE", maker.palette(16).tobytes())
    yield "png/palette_transparent", png(indices, width, 4, 3, chunks=[palette, (b"tRNS", bytes([255, 0, 128]))])
    yield "png/palette_short", png(indices, width, 4, 3, chunks=[(b"PLTE", maker.palette(10).tobytes())])
    yield "png/grey_transparent", png(maker.grey, width, 8, 0, chunks=[(b"tRNS", b"\0\x80")])
    yield "png/rgb_transparent", png(maker.rgb.reshape(maker.height, -1), width, 8, 2, chunks=[(b"tRNS", b"\0\xff\0\0\0\xff")])
    small = png(np.minimum(maker.bits(16), 300), width, 16, 0)
    yield "png/grey16_dark", small
    other = Image.fromarray(255 - maker.rgb)
    yield "png/animated", saved(maker.image, "PNG", save_all=True, append_images=[other])
    yield "png/profile_and_gamma", png(maker.grey, width, 8, 0, chunks=[(b"gAMA", struct.pack(">I", 100000)), (b"tEXt", b"a\0b")])


# ---- GIF


def gif_codes(indices, bits):
    """LZW without growth: the table is cleared before it is needed."""
    clear, size = 1 << bits, bits + 1
    codes = []
    for i, index in enumerate(indices):
        if i % (clear - 2 if clear > 2 else 1) == 0:
            codes.append(clear)
        codes.append(int(index))
    codes.append(clear + 1)
    text = sum(code << (size * i) for i, code in enumerate(codes))
    data = text.to_bytes((size * len(codes) + 7) // 8, "little")
    return b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255)) + b"\0"


def gif_flags(palette):
    return 0x80 | max(0, (len(palette) - 1).bit_length() - 1) if palette is not None else 0


def gif(indices, bits=8, palette=None, local=None, screen=None, at=(0, 0), interlaced=False, before=b"", version=b"89a", background=0):
    height, width = indices.shape
    rows = indices
    if interlaced:
        rows = np.concatenate([indices[first::step] for first, step in ((0, 8), (4, 8), (2, 4), (1, 2))])
    screen = screen or (width, height)
    file = b"GIF" + version + struct.pack("<HHBBB", *screen, gif_flags(palette), background, 0)
    file += palette.tobytes() if palette is not None else b""
    file += before + b"," + struct.pack("<HHHHB", *at, width, height, gif_flags(local) | 64 * interlaced)
    file += local.tobytes() if local is not None else b""
    return file + bytes([max(bits, 2)]) + gif_codes(rows.reshape(-1), max(bits, 2)) + b";"


def gif_control(transparent=None):
    return b"!\xf9\4" + bytes([transparent is not None, 0, 0, transparent or 0, 0])


def gifs(maker):
    width, height = maker.width, maker.height
    for bits, interlaced in itertools.product(range(1, 9), (False, True)):
        name = f"gif/{bits}_bits" + "_interlaced" * interlaced
        yield name, gif(maker.bits(bits), bits, maker.palette(1 << bits), interlaced=interlaced)
    indices, palette, local = maker.bits(4), maker.palette(16), maker.palette(16)
    wide = (width + 5, height + 4)
    yield "gif/87a", gif(indices, 4, palette, version=b"87a")
    yield "gif/local_palette", gif(indices, 4, palette, local=local)
    yield "gif/only_local_palette", gif(indices, 4, None, local=local)
    yield "gif/no_palette", gif(maker.bits(8), 8)
    yield "gif/greys", gif(indices, 4, np.arange(16, dtype=np.uint8)[:, None].repeat(3, axis=1))
    yield "gif/palette_too_short", gif(maker.bits(4), 4, maker.palette(8))
    yield "gif/greys_too_short", gif(maker.bits(4), 4, np.arange(8, dtype=np.uint8)[:, None].repeat(3, axis=1))
    yield "gif/transparent", gif(indices, 4, palette, before=gif_control(3))
    yield "gif/frame_within", gif(indices, 4, palette, screen=wide, at=(3, 2), background=5)
    yield "gif/frame_within_transparent", gif(indices, 4, palette, screen=wide, at=(3, 2), before=gif_control(7), background=5)
    yield "gif/frame_within_no_colour", gif(indices, 4, palette, screen=wide, at=(3, 2), before=gif_control(200))
    yield "gif/frame_beyond", gif(indices, 4, palette, at=(3, 2))
    yield "gif/screen_of_nothing", gif(indices, 4, palette, screen=(0, 0))
    yield "gif/comment", gif(indices, 4, palette, before=b"!\xfe\5hello\0" + gif_control())
    yield "gif/two_controls", gif(indices, 4, palette, screen=wide, before=gif_control(4) + gif_control())
    yield "gif/without_end", gif(indices, 4, palette)[:-1]
    yield "gif/pillow", saved(maker.image.quantize(60), "GIF")
    frames = [maker.image.quantize(40), Image.fromarray(255 - maker.rgb).quantize(30)]
    yield "gif/animated", saved(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0)


# ---- WebP


def riff(*chunks):
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def three(number):
    return struct.pack("<I", number)[:3]


def webp_frame(file, x, y, width, height):
    """An animation of one frame out of a simple file, on a canvas."""
    image = Image.open(io.BytesIO(file))
    frame = three(x // 2) + three(y // 2) + three(image.width - 1) + three(image.height - 1) + three(100) + b"\2" + file[12:]
    header = bytes([2 | 16, 0, 0, 0]) + three(width - 1) + three(height - 1)
    return riff((b"VP8X", header), (b"ANIM", b"\xff\x80\x40\x20\0\0"), (b"ANMF", frame))


def webps(maker):
    alpha = Image.fromarray(maker.rgba)
    for quality in (1, 50, 80, 100):
        yield f"webp/{quality}", saved(maker.image, "WEBP", quality=quality)
    yield "webp/grey", saved(Image.fromarray(maker.grey), "WEBP")
    yield "webp/lossless", saved(maker.image, "WEBP", lossless=True)
    yield "webp/palette", saved(maker.image.quantize(9).convert("RGB"), "WEBP", lossless=True)
    yield "webp/alpha", saved(alpha, "WEBP", quality=70)
    yield "webp/alpha_packed", saved(alpha, "WEBP", quality=70, alpha_quality=30)
    yield "webp/alpha_lossless", saved(alpha, "WEBP", lossless=True)
    clear = maker.rgba.copy()
    clear[2:5, 2:7, 3] = 0
    yield "webp/colours_beneath_clear", saved(Image.fromarray(clear), "WEBP", lossless=True, exact=True)
    yield "webp/metadata", saved(maker.image, "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", xmp=b"<x/>")
    other = Image.fromarray(255 - maker.rgba)
    for lossless in (False, True):
        yield f"webp/animated_{'lossless' if lossless else 'lossy'}", saved(
            alpha, "WEBP", save_all=True, append_images=[other], lossless=lossless, duration=50
        )
        file = saved(maker.image, "WEBP", lossless=lossless)
        name = f"webp/frame_within_{'lossless' if lossless else 'lossy'}"
        yield name, webp_frame(file, 4, 2, maker.width + 6, maker.height + 5)
    yield "webp/trailing_bytes", saved(maker.image, "WEBP") + b"more"


# ---- BMP


def bmp(rows, width, bits, height=None, palette=b"", compression=0, colours=0, header=40, masks=b"", offset=None):
    """rows: the pixels' bytes as they are stored; height: negative for rows from the top."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows), 0, 0, colours, 0)
        info += masks[: header - 40].ljust(header - 40, b"\0") + masks[header - 40 :]
    if offset is None:
        offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(palette) + len(rows), 0, 0, offset) + info + palette + rows


def bmp_rows(rows):
    return b"".join(row.tobytes() + b"\0" * (-len(row) % 4) for row in rows[::-1])


def bgrx(palette):
    return np.concatenate([palette[:, ::-1], np.zeros((len(palette), 1), np.uint8)], axis=1).tobytes()


def runs8(indices):
    """Runs and literal stretches in turns, a delta, ends of lines."""
    data = b""
    for row in indices[::-1]:
        x = 0
        while x < len(row):
            count = min(4, len(row) - x)
            if x % 8 and count >= 3:
                part = row[x : x + count].tobytes()
                data += bytes([0, count]) + part + b"\0" * (count % 2)
            else:
                count = min(count, 3)
                data += bytes([count, row[x]])
            x += count
        data += b"\0\0"
    return data + b"\0\1"


def runs4(width, height):
    """Whole rows as one run of two colours, or as literal pixels."""
    data = b""
    for y in range(height):
        if y % 2:
            literal = bytes((16 * ((x + y) % 16) + (x + y + 1) % 16) for x in range(0, width, 2))
            data += bytes([0, width]) + literal + b"\0" * (len(literal) % 2) if width >= 3 else bytes([width, 0x21])
        else:
            data += bytes([width, 16 * (y % 16) + 5])
        data += b"\0\0"
    return data + b"\0\1"


def bmps(maker):
    width, height = maker.width, maker.height
    for bits in (1, 4, 8):
        indices, palette = maker.bits(bits), maker.palette(1 << bits)
        rows = bmp_rows(packed(indices, bits))
        yield f"bmp/{bits}_bits", bmp(rows, width, bits, height, bgrx(palette))
        yield f"bmp/{bits}_bits_core_header", bmp(rows, width, bits, height, palette[:, ::-1].tobytes(), header=12)
        yield f"bmp/{bits}_bits_top_down", bmp(bmp_rows(packed(indices, bits)[::-1]), width, bits, -height, bgrx(palette))
        fewer = max(1, (1 << bits) - 3)
        if bits > 1:
            yield f"bmp/{bits}_bits_short_palette", bmp(rows, width, bits, height, bgrx(palette[:fewer]), colours=fewer)
        yield f"bmp/{bits}_bits_offset_forgotten", bmp(rows, width, bits, height, bgrx(palette), offset=54)
        yield f"bmp/{bits}_bits_no_offset", bmp(rows, width, bits, height, bgrx(palette), offset=0)
    greys = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    yield "bmp/8_bits_grey", bmp(bmp_rows(maker.grey), width, 8, height, bgrx(greys))
    yield "bmp/8_bits_some_greys", bmp(bmp_rows(maker.grey), width, 8, height, bgrx(greys[:20]), colours=20)
    yield "bmp/1_bit_black_and_white", bmp(bmp_rows(packed(maker.bits(1), 1)), width, 1, height, bgrx(greys[[0, 255]]))
    deep = maker.bits(16).astype("<u2").view(np.uint8)
    fields = {"555": (0x7C00, 0x3E0, 0x1F), "565": (0xF800, 0x7E0, 0x1F)}
    yield "bmp/16_bits", bmp(bmp_rows(deep), width, 16, height)
    for name, masks in fields.items():
        yield f"bmp/16_bits_{name}", bmp(bmp_rows(deep), width, 16, height, compression=3, masks=struct.pack("<3I", *masks))
    bgr = np.ascontiguousarray(maker.rgb[..., ::-1]).reshape(height, -1)
    yield "bmp/24_bits", bmp(bmp_rows(bgr), width, 24, height)
    yield "bmp/24_bits_top_down", bmp(bmp_rows(bgr[::-1]), width, 24, -height)
    yield "bmp/24_bits_core_header", bmp(bmp_rows(bgr), width, 24, height, header=12)
    yield "bmp/24_bits_no_last_padding", bmp(bmp_rows(bgr)[: -(-3 * width % 4) or None], width, 24, height)
    four = maker.rgba.reshape(height, -1)
    yield "bmp/32_bits", bmp(bmp_rows(four), width, 32, height)
    masks32 = [
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        (0, 0, 0, 0),
    ]
    for i, masks in enumerate(masks32):
        yield f"bmp/32_bits_masks_{i}", bmp(bmp_rows(four), width, 32, height, compression=3, header=124, masks=struct.pack("<4I", *masks))
    for header in (52, 56, 64, 108, 124):
        yield f"bmp/header_{header}", bmp(bmp_rows(bgr), width, 24, height, header=header)
    indices, palette = maker.bits(8) // 64 * 3, maker.palette(256)
    yield "bmp/runs_8", bmp(runs8(indices), width, 8, height, bgrx(palette), compression=1)
    yield "bmp/runs_8_top_down", bmp(runs8(indices), width, 8, -height, bgrx(palette), compression=1)
    yield "bmp/runs_4", bmp(runs4(width, height), width, 4, height, bgrx(palette[:16]), compression=2)
    delta = bytes([2, 9, 0, 2, 1, 1]) + runs8(indices)
    yield "bmp/runs_8_delta", bmp(delta, width, 8, height, bgrx(palette), compression=1)
    over = bytes([255, 7, 0, 0]) * height + b"\0\1"
    yield "bmp/runs_8_longer_than_a_row", bmp(over, width, 8, height, bgrx(palette), compression=1)
    yield "bmp/pillow_rgba", saved(Image.fromarray(maker.rgba), "BMP")
    yield "bmp/pillow_palette", saved(maker.image.quantize(77), "BMP")


# ---- TIFF


def pack_bits(data):
    packed_data = b""
    for i in range(0, len(data), 100):
        part = data[i : i + 100]
        packed_data += bytes([257 - len(part), part[0]]) if len(part) > 1 and len(set(part)) == 1 else bytes([len(part) - 1]) + part
    return packed_data


def tiff(blocks, tags, order="<", big=False):
    """blocks: strips or tiles, packed; tags: number to (type, values), of which the blocks' places are added."""
    tags = dict(tags)
    is_tiled = 322 in tags
    sizes = {1: "B", 3: "H", 4: "I", 16: "Q"}
    header = 16 if big else 8
    places, at = [], header
    for block in blocks:
        places.append(at)
        at += len(block)
    tags[324 if is_tiled else 273] = (4, places)
    tags[325 if is_tiled else 279] = (4, [len(block) for block in blocks])
    at += at % 2
    inline = 8 if big else 4
    entry = 20 if big else 12
    directory = struct.pack(order + ("Q" if big else "H"), len(tags))
    beyond = b""
    start = at + len(directory) + entry * len(tags) + inline
    for tag in sorted(tags):
        kind, values = tags[tag]
        data = struct.pack(f"{order}{len(values)}{sizes[kind]}", *values)
        directory += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(values))
        if len(data) <= inline:
            directory += data.ljust(inline, b"\0")
        else:
            directory += struct.pack(order + ("Q" if big else "I"), start + len(beyond))
            beyond += data + b"\0" * (len(data) % 2)
    directory += b"\0" * inline
    mark = b"II" if order == "<" else b"MM"
    first = struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at)
    body = b"".join(blocks)
    return (mark + first + body).ljust(at, b"\0") + directory + beyond


def tiff_bytes(rows, bits, order):
    if bits == 16:
        return rows.astype(order + "u2").view(np.uint8).reshape(rows.shape[0], -1)
    return packed(rows, bits)


PACKERS = {1: bytes, 8: zlib.compress, 32773: None, 32946: zlib.compress}


def tiff_pack(rows, compression):
    if compression == 32773:
        return b"".join(pack_bits(row.tobytes()) for row in rows)
    return PACKERS[compression](rows.tobytes())


def tiff_of(pixels, bits, photometric, order="<", compression=1, rows_per_strip=4, tile=None, planar=False, extra=(), colour_map=None, predictor=1, orientation=None, fill_order=1, big=False):
    """pixels: [H, W, S]."""
    height, width, samples = pixels.shape
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [compression]), 262: (3, [photometric]), 277: (3, [samples])}
    if planar:
        tags[284] = (3, [2])
    if extra:
        tags[338] = (3, list(extra))
    if colour_map is not None:
        tags[320] = (3, [int(v) for v in colour_map.T.reshape(-1)])
    if orientation:
        tags[274] = (3, [orientation])
    if predictor == 2:
        tags[317] = (3, [2])
        pixels = np.concatenate([pixels[:, :1], pixels[:, 1:] - pixels[:, :-1]], axis=1)
    if fill_order == 2:
        tags[266] = (3, [2])
    planes = [pixels[..., s : s + 1] for s in range(samples)] if planar else [pixels]
    blocks = []
    for plane in planes:
        if tile:
            tags[322], tags[323] = (4, [tile[0]]), (4, [tile[1]])
            padded = np.pad(plane, ((0, -height % tile[1]), (0, -width % tile[0]), (0, 0)))
            for y, x in itertools.product(range(0, padded.shape[0], tile[1]), range(0, padded.shape[1], tile[0])):
                part = padded[y : y + tile[1], x : x + tile[0]]
                blocks.append(tiff_pack(tiff_bytes(part.reshape(part.shape[0], -1), bits, order), compression))
        else:
            tags[278] = (4, [rows_per_strip])
            for y in range(0, height, rows_per_strip):
                part = plane[y : y + rows_per_strip]
                blocks.append(tiff_pack(tiff_bytes(part.reshape(part.shape[0], -1), bits, order), compression))
    if fill_order == 2:
        blocks = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in block) for block in blocks]
    return tiff(blocks, tags, order, big)


def tiffs(maker):
    def cube(bits, samples):
        return maker.bits(bits, samples).reshape(maker.height, maker.width, samples)

    orders = (("<", "little"), (">", "big"))
    for bits, photometric in itertools.product((1, 2, 4, 8), (0, 1)):
        for order, _ in orders:
            if (order == ">") == (bits in (2, 8)):
                yield f"tiff/grey{bits}_{'black' if photometric else 'white'}_is_0", tiff_of(cube(bits, 1), bits, photometric, order)
    for order, word in orders:
        yield f"tiff/grey16_{word}", tiff_of(cube(16, 1), 16, 1, order)
        yield f"tiff/rgb16_{word}", tiff_of(cube(16, 3), 16, 2, order)
        yield f"tiff/rgba16_{word}", tiff_of(cube(16, 4), 16, 2, order, extra=(2,), compression=8)
        yield f"tiff/cmyk16_{word}", tiff_of(cube(16, 4), 16, 5, order)
    yield "tiff/grey16_dark", tiff_of(np.minimum(cube(16, 1), 300), 16, 1)
    yield "tiff/grey16_white_is_0", tiff_of(np.minimum(cube(16, 1), 300), 16, 0)
    for bits in (1, 2, 4, 8):
        colours = maker.random.integers(0, 65536, (1 << bits, 3))
        yield f"tiff/palette{bits}", tiff_of(cube(bits, 1), bits, 3, colour_map=colours)
    yield "tiff/palette_alpha", tiff_of(cube(8, 2), 8, 3, colour_map=maker.random.integers(0, 65536, (256, 3)), extra=(2,))
    for extra in (0, 2):
        yield f"tiff/grey_extra_{extra}", tiff_of(cube(8, 2), 8, 1, extra=(extra,))
    for extra in (0, 1, 2):
        yield f"tiff/rgb_extra_{extra}", tiff_of(cube(8, 4), 8, 2, extra=(extra,))
        yield f"tiff/rgb16_extra_{extra}", tiff_of(cube(16, 4), 16, 2, extra=(extra,))
    yield "tiff/rgb_two_extra", tiff_of(cube(8, 5), 8, 2, extra=(1, 0))
    yield "tiff/rgb_three_extra", tiff_of(cube(8, 6), 8, 2, extra=(0, 0, 0))
    yield "tiff/rgb_extra_without_name", tiff_of(cube(8, 4), 8, 2)
    yield "tiff/cmyk", tiff_of(cube(8, 4), 8, 5)
    yield "tiff/cmyk_extra", tiff_of(cube(8, 5), 8, 5, extra=(0,))
    smooth = maker.rgb
    for compression in (1, 8, 32773, 32946):
        yield f"tiff/strips_{compression}", tiff_of(smooth, 8, 2, compression=compression)
        yield f"tiff/one_strip_{compression}", tiff_of(smooth, 8, 2, ">", compression=compression, rows_per_strip=1 << 20)
        yield f"tiff/tiles_{compression}", tiff_of(smooth, 8, 2, compression=compression, tile=(16, 16))
        yield f"tiff/planar_{compression}", tiff_of(smooth, 8, 2, compression=compression, planar=True)
    yield "tiff/tiles_planar", tiff_of(smooth, 8, 2, compression=8, tile=(16, 32), planar=True)
    yield "tiff/tiles_grey1", tiff_of(cube(1, 1), 1, 1, compression=8, tile=(16, 16))
    yield "tiff/predictor", tiff_of(smooth, 8, 2, compression=8, predictor=2)
    yield "tiff/predictor16", tiff_of(cube(16, 3), 16, 2, compression=8, predictor=2)
    yield "tiff/fill_order", tiff_of(cube(1, 1), 1, 1, fill_order=2)
    yield "tiff/big", tiff_of(smooth, 8, 2, big=True)
    for orientation in range(1, 9):
        yield f"tiff/orientation_{orientation}", tiff_of(smooth, 8, 2, orientation=orientation, compression=8 if orientation % 2 else 1)
    for compression in ("tiff_lzw", "packbits", "tiff_deflate", "tiff_adobe_deflate", "jpeg"):
        yield f"tiff/pillow_{compression}", saved(maker.image, "TIFF", compression=compression)
        yield f"tiff/pillow_grey_{compression}", saved(Image.fromarray(maker.grey), "TIFF", compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield f"tiff/pillow_{compression}", saved(Image.fromarray(maker.grey).convert("1"), "TIFF", compression=compression)
    yield "tiff/pillow_jpeg_ycbcr", saved(maker.image.convert("YCbCr"), "TIFF", compression="jpeg")
    yield "tiff/pillow_lzw_palette", saved(maker.image.quantize(30), "TIFF", compression="tiff_lzw")
    yield "tiff/pages", saved(maker.image, "TIFF", save_all=True, append_images=[Image.fromarray(255 - maker.rgb)])


def whole(maker):
    """(name, bytes): Pillow reads them."""
    for make in (jpegs, pngs, gifs, webps, bmps, tiffs):
        yield from make(maker)


# ---- what must be refused


def damaged(maker):
    """(name, bytes, part of the message)."""
    width, height = maker.width, maker.height
    indices, palette = maker.bits(4), maker.palette(16)
    deep = {
        "gif": gif(indices, 4, palette),
        "bmp": bmp(bmp_rows(maker.rgb.reshape(height, -1)), width, 24, height),
        "bmp_runs": bmp(runs8(maker.bits(8)), width, 8, height, bgrx(maker.palette(256)), compression=1),
        "webp": saved(maker.image, "WEBP"),
        "webp_lossless": saved(maker.image, "WEBP", lossless=True),
        "jpeg": saved(maker.image, "JPEG"),
        "png": saved(maker.image, "PNG"),
    }
    for name, file in deep.items():
        yield f"damaged/{name}_cut", file[: len(file) * 9 // 10], "end early"
        yield f"damaged/{name}_cut_in_header", file[:20], "damaged"
    for name, file in (("tiff", tiff_of(maker.rgb, 8, 2)), ("tiff_packed", tiff_of(maker.rgb, 8, 2, compression=8))):
        yield f"damaged/{name}_cut_in_half", file[: len(file) // 2], "damaged TIFF"
        yield f"damaged/{name}_cut_in_header", file[:20], "damaged TIFF"
    yield "damaged/gif_65535", gif(indices, 4, palette, screen=(65535, 65535)), "65535 x 65535 pixels are more than the limit"
    yield "damaged/gif_frame_at_65535", gif(indices, 4, palette, at=(65535, 65535)), "more than the limit"
    yield "damaged/gif_no_image", gif(indices, 4, palette)[: 13 + 48] + b";", "a GIF file without an image"
    yield "damaged/gif_frame_of_nothing", gif(np.zeros((0, 4), np.uint8), 4, palette, screen=(9, 9)), "has no pixels"
    yield "damaged/bmp_65535", bmp(b"", 65535, 24, 65535), "65535 x 65535 pixels are more than the limit"
    yield "damaged/bmp_65535_runs", bmp(b"\0\1", 13000, 8, 13000, bgrx(maker.palette(256)), compression=1), "end early"
    yield "damaged/bmp_no_pixels", bmp(b"", 0, 24, 5), "no pixels"
    yield "damaged/bmp_negative_width", bmp(b"", -5, 24, 5), "more than the limit"
    yield "damaged/bmp_bits", bmp(bytes(999), 5, 7, 5), "bits: 7"
    yield "damaged/bmp_jpeg_inside", bmp(bytes(999), 5, 24, 5, compression=4), "compression 4"
    yield "damaged/bmp_masks", bmp(bytes(999), 5, 32, 5, compression=3, masks=struct.pack("<3I", 0xF0, 0xF00, 0xF)), "masks"
    yield "damaged/bmp_colours", bmp(bytes(999), 5, 8, 5, colours=70000), "colours"
    webp = saved(maker.image, "WEBP", lossless=True)
    yield "damaged/webp_canvas_16m", webp_frame(webp, 0, 0, 1 << 24, 1 << 24), "damaged WebP"
    yield "damaged/webp_canvas_60000", webp_frame(webp, 0, 0, 60000, 60000), "more than the limit"
    yield "damaged/webp_frame_outside", webp_frame(webp, 40, 40, width, height), "damaged WebP"
    yield "damaged/webp_bits", webp[:40] + bytes(255 - byte for byte in webp[40:60]) + webp[60:], "damaged WebP"
    for name, tags, message in (
        ("65535", {256: (4, [65535]), 257: (4, [65535])}, "65535 x 65535 pixels are more than the limit"),
        ("no_pixels", {256: (4, [0])}, ""),
        ("float", {258: (3, [32]), 339: (3, [3])}, "samples of format 3"),
        ("bits_32", {258: (3, [32])}, "bits: 32"),
        ("bits_12", {258: (3, [12])}, "bits: 12"),
        ("lzma", {259: (3, [34925])}, "compression 34925"),
        ("old_jpeg", {259: (3, [6])}, ""),
        ("lab", {262: (3, [8])}, "photometric interpretation 8"),
        ("ycbcr", {262: (3, [6]), 277: (3, [3])}, "photometric interpretation 6"),
        ("samples", {277: (3, [9])}, "samples: 9"),
        ("tile_65536", {322: (4, [65536]), 323: (4, [65536])}, ""),
    ):
        usual = {256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 277: (3, [1]), 278: (4, [height])}
        yield f"damaged/tiff_{name}", tiff([maker.grey.tobytes()], usual | tags), message
    yield "damaged/tiff_big_endian_of_64_bits", tiff_of(maker.rgb, 8, 2, ">", big=True), "not an image that is read"
    yield "damaged/empty", b"", "an empty file"
    yield "damaged/html", b"<!DOCTYPE html><html>", "an HTML page"
    yield "damaged/lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"
    yield "damaged/text", b"no image at all", "not an image that is read (JPEG, PNG, GIF, WebP, BMP, TIFF)"
    yield "damaged/avif", b"\0\0\0\x20ftypavif" + bytes(30), "an AVIF image"
    yield "damaged/heic", b"\0\0\0\x20ftypheic" + bytes(30), "a HEIC image"
    yield "damaged/jpeg_2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30), "a JPEG 2000 image"
    yield "damaged/pdf", b"%PDF-1.5\n" + bytes(30), "a PDF document"
    yield "damaged/zip", b"PK\3\4" + bytes(30), "a zip archive"
    yield "damaged/zeros", bytes(64), "not an image"
