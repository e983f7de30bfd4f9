"""Records zip and tar archives, whole and damaged, and what unpacking them gives by Python's zipfile and tarfile, for test_archive.c.

    python tests/parity/record_image_archives.py

writes tests/parity/data/image_archives.safetensors: the archives, a tensor of bytes each. Its metadata say of each what is expected, a
line per file, "NAME\tCRC-32 of its bytes" or "NAME\trefused: PART OF THE MESSAGE"; "refused: ..." alone where the archive cannot be opened.
"""

import io
import pathlib
import struct
import tarfile
import zipfile
import zlib

import numpy as np
from safetensors.numpy import save_file

random = np.random.default_rng(4)
NOISE = random.integers(0, 256, 700, dtype=np.uint8).tobytes()
FILES = {"0001/a.jpg": NOISE, "0001/b.png": b"b" * 900, "0002/c.jpg": b"", "d.gif": b"GIF89a" + NOISE[:50]}
archives, expected = {}, {}


def lines(files):
    return "\n".join(f"{name}\t{value if isinstance(value, str) else zlib.crc32(value)}" for name, value in files.items())


def add(name, archive, files):
    archives[name] = np.frombuffer(archive, np.uint8)
    expected[name] = files if isinstance(files, str) else lines(files)


def zipped(files, method=zipfile.ZIP_STORED, stream=False, comment=b"", zip64=False):
    target = io.BytesIO()

    class Pipe(io.RawIOBase):  # cannot seek: sizes come behind the data
        def writable(self):
            return True

        def write(self, data):
            return target.write(data)

    with zipfile.ZipFile(Pipe() if stream else target, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            with archive.open(zipfile.ZipInfo(name) if method == 0 else info(name, method), "w", force_zip64=zip64) as file:
                file.write(content)
    return target.getvalue()


def info(name, method):
    entry = zipfile.ZipInfo(name)
    entry.compress_type = method
    return entry


def zip_end_64(archive):
    """The end record again in 64 bits, with nothing but that in the old one."""
    at = archive.rindex(b"PK\5\6")
    count, size, offset = struct.unpack("<HII", archive[at + 10 : at + 20])
    end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    old = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return archive[:at] + end + locator + old


def changed(archive, mark, offset, new, which=0):
    """Bytes behind the which-th mark become others."""
    at = -1
    for _ in range(which + 1):
        at = archive.index(mark, at + 1)
    return archive[: at + offset] + new + archive[at + offset + len(new) :]


def zips():
    whole = zipped(FILES)
    deflated = zipped(FILES, zipfile.ZIP_DEFLATED)
    add("zip/stored", whole, FILES)
    add("zip/deflated", deflated, FILES)
    add("zip/written_to_a_pipe", zipped(FILES, zipfile.ZIP_DEFLATED, stream=True), FILES)
    add("zip/sizes_of_64_bits", zipped(FILES, zip64=True), FILES)
    add("zip/end_of_64_bits", zip_end_64(whole), FILES)
    add("zip/comment", zipped(FILES, comment=b"PK\5\6 is no end here" * 20), FILES)
    add("zip/folders", zipped({"0001/": b"", **FILES}), FILES | {"0001": "refused: none"})
    lying = {"0001/../../etc/passwd": b"x", "/root.jpg": b"absolute", "./here//there.jpg": b"dots", **FILES}
    add("zip/odd_names", zipped(lying), FILES | {"root.jpg": b"absolute", "here/there.jpg": b"dots", "etc/passwd": "refused: none"})
    below = {"images/" + name: content for name, content in FILES.items()}
    macos = {"__MACOSX/images/._d.gif": b"resource", **below}
    add("zip/one_folder", zipped(below), FILES | below)
    add("zip/one_folder_of_macos", zipped(macos), FILES | below)
    add("zip/two_folders", zipped({**below, "more/e.jpg": b"e"}), below | {"d.gif": "refused: none", "more/e.jpg": b"e"})
    add("zip/windows", zipped(FILES).replace(b"0001/a.jpg", b"0001\\a.jpg"), FILES)
    add("zip/not_utf_8", zipped({"na_ve.jpg": b"n", **FILES}).replace(b"na_ve", b"na\xefve"), FILES)
    twice = zipped({"a.jpg": b"first", "b.jpg": b"second"}).replace(b"b.jpg", b"a.jpg")
    add("zip/twice", twice, {"a.jpg": b"second"})
    refused = {name: "refused: {}" for name in FILES}
    encrypted = changed(whole, b"PK\1\2", 8, b"\1\0")
    add("zip/encrypted", encrypted, FILES | {"0001/a.jpg": "refused: is encrypted"})
    add("zip/bzip2", zipped(FILES, zipfile.ZIP_BZIP2), {name: "refused: method 12" for name in FILES})
    lzma = changed(changed(whole, b"PK\1\2", 10, b"\x0e\0"), b"PK\3\4", 8, b"\x0e\0")
    add("zip/lzma", lzma, FILES | {"0001/a.jpg": "refused: method 14"})
    at = whole.index(NOISE)
    add("zip/checksum", whole[: at + 9] + b"?" + whole[at + 10 :], FILES | {"0001/a.jpg": "refused: its checksum is wrong"})
    b = FILES["0001/b.png"]
    packed_b = deflated.index(b"0001/b.png") + 10
    add("zip/deflate_damaged", deflated[:packed_b] + b"\xff" + deflated[packed_b + 1 :], FILES | {"0001/b.png": "refused: cannot be unpacked"})
    size = struct.pack("<I", 800)
    add("zip/longer_than_it_says", changed(deflated, b"PK\1\2", 24, size, 1), FILES | {"0001/b.png": "refused: its checksum is wrong"})
    size = struct.pack("<I", 1000)
    add("zip/shorter_than_it_says", changed(deflated, b"PK\1\2", 24, size, 1), FILES | {"0001/b.png": "refused: shorter than it says"})
    size = struct.pack("<I", 900000)
    add("zip/bomb", changed(deflated, b"PK\1\2", 24, size, 1), FILES | {"0001/b.png": "refused: sizes do not fit each other"})
    size = struct.pack("<I", 0x7FFFFFFF)
    add("zip/too_large", changed(deflated, b"PK\1\2", 24, size, 1), FILES | {"0001/b.png": "refused: more than the limit"})
    add("zip/moved", changed(whole, b"PK\1\2", 42, struct.pack("<I", 7)), FILES | {"0001/a.jpg": "refused: does not begin where"})
    add("zip/outside", changed(whole, b"PK\1\2", 42, struct.pack("<I", 1 << 30)), FILES | {"0001/a.jpg": "refused: outside of the archive"})
    del refused
    add("zip/cut", whole[: len(whole) // 2], "refused: without its end: cut off")
    add("zip/cut_in_directory", whole[:-40], "refused: without its end: cut off")
    add("zip/directory_elsewhere", changed(whole, b"PK\5\6", 16, struct.pack("<I", 1 << 31)), "refused: does not fit the file")
    add("zip/count", changed(whole, b"PK\5\6", 8, b"\3\0\3\0"), "refused: another number of records")
    add("zip/parts", changed(whole, b"PK\5\6", 8, b"\3\0"), "refused: in several parts")
    add("zip/empty", zipped({}), "refused: there is no file in the archive")


def tarred(files, format, links=(), types=()):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as archive:
        folder = tarfile.TarInfo("0001")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for kind, name, to in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, to
            archive.addfile(entry)
    return target.getvalue().rstrip(b"\0") + bytes(1024 + 512 - len(target.getvalue().rstrip(b"\0")) % 512)


def header(block):
    """A header with its checksum right."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def edited(archive, at, offset, new):
    block = archive[at : at + 512]
    return archive[:at] + header(block[:offset] + new + block[offset + len(new) :]) + archive[at + 512 :]


def tars():
    long = {"e" * 90 + "/" + "f" * 120 + ".jpg": b"long", **FILES}
    middle = {"e" * 90 + "/" + "f" * 80 + ".jpg": b"middle", **FILES}
    unicode = {"n\u00e4he/\u56fe.jpg": b"unicode", **FILES}
    add("tar/ustar", tarred(FILES, tarfile.USTAR_FORMAT), FILES)
    add("tar/ustar_prefix", tarred(middle, tarfile.USTAR_FORMAT), middle)
    add("tar/gnu", tarred(FILES, tarfile.GNU_FORMAT), FILES)
    add("tar/gnu_long", tarred(long, tarfile.GNU_FORMAT), long)
    add("tar/pax", tarred(long | unicode, tarfile.PAX_FORMAT), long | unicode)
    links = [(tarfile.LNKTYPE, "hard.jpg", "0001/a.jpg"), (tarfile.SYMTYPE, "soft.jpg", "0001/a.jpg"), (tarfile.LNKTYPE, "lost.jpg", "none.jpg")]
    linked = FILES | {"hard.jpg": NOISE, "soft.jpg": "refused: a symbolic link", "lost.jpg": "refused: a link to a file that is not there"}
    add("tar/links", tarred(FILES, tarfile.GNU_FORMAT, links), linked)
    dotted = {"./" + name: content for name, content in FILES.items()}
    add("tar/dots", tarred(dotted, tarfile.GNU_FORMAT), FILES)
    below = {"images/" + name: content for name, content in FILES.items()}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in below.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    add("tar/one_folder", target.getvalue().rstrip(b"\0") + bytes(2048 - len(target.getvalue().rstrip(b"\0")) % 512), FILES | below)
    whole = tarred(FILES, tarfile.USTAR_FORMAT)
    first = 512  # behind the folder
    add("tar/without_end", whole[:-1024], FILES)
    add("tar/twice", tarred({**FILES, "0001/x.jpg": b"again"}, tarfile.USTAR_FORMAT).replace(b"0001/x.jpg", b"0001/a.jpg"), "refused: no header")
    again = tarred({**FILES, "0001/x.jpg": b"again"}, tarfile.USTAR_FORMAT)
    at = again.index(b"0001/x.jpg")
    add("tar/later_counts", edited(again, at, 0, b"0001/a.jpg"), FILES | {"0001/a.jpg": b"again"})
    add("tar/binary_size", edited(whole, first, 124, b"\x80" + bytes(9) + struct.pack(">H", 700)), FILES)
    add("tar/sparse", edited(whole, first, 156, b"S"), FILES | {"0001/a.jpg": "refused: with holes"})
    add("tar/device", edited(whole, first + 512 + 1024, 156, b"3"), "refused: no header")
    add("tar/parts", edited(whole, first, 156, b"M"), "refused: in several parts")
    add("tar/cut", whole[: first + 512 + 300], "refused: cut off")
    add("tar/cut_in_header", whole[: first + 100], "refused: cut off")
    add("tar/size_negative", edited(whole, first, 124, b"\xff" * 12), "refused: no header")
    add("tar/size_huge", edited(whole, first, 124, b"\x80" + b"\x7f" * 11), "refused: no header")
    add("tar/size_beyond", edited(whole, first, 124, b"77777777777\0"), "refused: cut off")
    add("tar/size_no_number", edited(whole, first, 124, b"12x4\0"), "refused: no header")
    broken = whole[: first + 3] + b"?" + whole[first + 4 :]
    add("tar/checksum", broken, "refused: no header")
    pax = tarred(unicode, tarfile.PAX_FORMAT)
    at = pax.index(b" path=")
    add("tar/pax_damaged", pax[: at - 2] + b"9x" + pax[at:], "refused: no header")
    add("tar/only_folders", tarred({}, tarfile.GNU_FORMAT), "refused: there is no file in the archive")
    import gzip

    add("tar/gzip", gzip.compress(whole, mtime=0), "refused: packed as a whole")
    add("tar/xz", b"\xfd7zXZ\0" + bytes(100), "refused: packed as a whole")
    add("other/text", b"no archive at all", "refused: neither a folder nor a zip or tar archive")
    add("other/jpeg", b"\xff\xd8\xff\xe0" + bytes(600), "refused: but a JPEG image")


zips()
tars()
target = pathlib.Path(__file__).parent / "data" / "image_archives.safetensors"
save_file(archives, target, metadata=expected)
print(len(archives), "archives,", target.stat().st_size, "bytes")
