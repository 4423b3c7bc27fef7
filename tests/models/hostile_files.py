"""Hostile and suspicious files, each with its expected outcome: part of the refusal's text, or the image's size.

    python tests/models/hostile_files.py    decode all; print as JSON each outcome and the decoders' peak memory in bytes

Run in a separate process, since a child's peak memory includes its parent's size at the fork.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import zlib
from functools import cache

from PIL import Image

Outcome = str | tuple[int, int]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(body) if length is None else length) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    *extra: bytes,
    width: int = 80,
    height: int = 70,
    depth: int = 8,
    colour: int = 2,
    interlaced: int = 0,
    rows: bytes | None = None,
    idat: bytes = b"",
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    if rows is None:
        rows = (b"\0" + b"\x55" * (width * {0: 1, 2: 3, 3: 1}[colour] * depth // 8)) * height
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", idat or zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (80, 70), **options: object) -> bytes:
    out = io.BytesIO()
    gradient = Image.linear_gradient("L").resize(size)
    gradient.convert(mode).save(out, kind, **options)
    return out.getvalue()


def riff(width: int, height: int) -> bytes:
    """A WebP that declares these sides but holds one pixel."""
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body += encoded("WEBP", size=(1, 1), lossless=True)[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def scans(count: int, size: tuple[int, int]) -> bytes:
    """A progressive JPEG that repeats its last scan; a decoder processes all blocks for each."""
    data = encoded("JPEG", "L", size, progressive=True, quality=30)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def sized(data: bytes, width: int, height: int) -> bytes:
    """A JPEG with other sides in its frame header."""
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]


def photo(kind: str, size: tuple[int, int] = (80, 70)) -> bytes:
    if kind == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return encoded(kind, size=size)


def says(data: bytes, width: int, height: int) -> bytes:
    """A HEIC or AVIF with other sides in its properties (`ispe`)."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


@cache
def nothing(megabytes: int) -> bytes:
    """This many million zero bytes, deflated: one block repeated, so it is fast to make. The Adler-32 of n zero bytes is n mod 65521 in its
    upper half and 1 in its lower."""
    pack = zlib.compressobj(9, wbits=-15)
    block = pack.compress(bytes(10**6)) + pack.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + block * megabytes + b"\x03\0" + struct.pack(">HH", megabytes * 10**6 % 65_521, 1)


def files() -> dict[str, tuple[bytes, Outcome]]:
    jpeg, plain = encoded("JPEG"), png()
    two = {"save_all": True, "append_images": [Image.new("RGB", (80, 70), (9, 9, 9))]}
    cycle = b"Exif\0\0II*\0\x08\0\0\0" + b"\1\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    nan = struct.pack("<d", float("nan"))
    exif_nan = b"II*\0\x08\0\0\0" + b"\1\0" + struct.pack("<HHII", 0x0112, 12, 1, 26) + struct.pack("<I", 0) + nan
    heic, avif = photo("HEIF"), photo("AVIF")
    big_exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0" + b"where it was taken" * 3_600
    return {
        "nothing": (b"", "empty"),
        "words": (b"these are words", "not a picture"),
        "zeros": (bytes(100_000), "not a picture"),
        "a signature alone": (SIGNATURE, "damaged PNG"),
        "another's signature": (SIGNATURE + jpeg, "damaged PNG"),
        "half": (jpeg[: len(jpeg) // 2], "damaged"),
        "half a PNG": (plain[: len(plain) - 30], "damaged"),
        "a sum that is wrong": (plain.replace(b"IDAT", b"IDAT\0", 1), "damaged"),
        "sides of 60,000": (png(width=60_000, height=60_000, rows=b"\0"), "pixels"),
        "sides of 2^31": (png(width=2**31 - 1, height=2**31 - 1, rows=b"\0"), "pixels"),
        "no sides": (png(width=0, height=0, rows=b"\0"), "damaged PNG"),
        "one long side": (png(width=25_000_000, height=1, rows=b"\0"), "at least 64"),
        "a black square that is too big": (png(width=5_001, height=5_001, colour=0, rows=bytes(5_002 * 5_001)), "pixels"),
        "a JPEG's sides": (sized(jpeg, 65_500, 65_500), "pixels"),
        "a WebP's sides": (riff(16_384, 16_384), "pixels"),
        "a WebP of less than it says": (riff(5_000, 5_000), "damaged"),
        "a bomb in its profile": (png(chunk(b"iCCP", b"x\0\0" + nothing(500))), (80, 70)),
        "a bomb in its text": (png(chunk(b"zTXt", b"x\0\0" + nothing(500))), (80, 70)),
        "a bomb in its words": (png(chunk(b"iTXt", b"x\0\1\0\0\0" + nothing(500))), (80, 70)),
        "ninety texts of a megabyte": (png(*[chunk(b"zTXt", b"x\0\0" + nothing(1))] * 90), (80, 70)),
        "a bomb behind its pixels": (png(idat=nothing(500), colour=0), (80, 70)),
        "a chunk of four gigabytes": (SIGNATURE + plain[8:33] + chunk(b"tEXt", b"x", 2**32 - 1), "damaged"),
        "a hundred thousand chunks": (png(*[chunk(b"vpAg", b"")] * 100_000), (80, 70)),
        "colours beyond colour": (png(chunk(b"cHRM", b"\xff" * 32), chunk(b"gAMA", b"\xff" * 4), chunk(b"pHYs", b"\xff" * 9)), (80, 70)),
        "a rotation that is no number": (png(chunk(b"eXIf", exif_nan)), (80, 70)),
        "a palette of nothing": (png(chunk(b"PLTE", b""), colour=3), (80, 70)),
        "a palette without its colours": (png(chunk(b"PLTE", b"\1\2\3"), colour=3), (80, 70)),
        "EXIF that goes in circles": (encoded("JPEG", exif=cycle), (80, 70)),
        "EXIF of its largest size": (encoded("JPEG", exif=big_exif), (80, 70)),
        "16 bits": (png(depth=16, colour=0), (80, 70)),
        "CMYK": (encoded("JPEG", "CMYK"), (80, 70)),
        "interlaced in name": (png(interlaced=1), "damaged"),
        "an archive behind it": (plain + b"PK\x03\x04" + bytes(1_000), (80, 70)),
        "a page in its comment": (encoded("JPEG", comment=b"--><script>alert(1)</script><!--"), (80, 70)),
        "an animated PNG": (encoded("PNG", **two), "animated"),
        "an animated WebP": (encoded("WEBP", **two), "animated"),
        "a phone's two pictures": (encoded("MPO", **two), (80, 70)),
        "a GIF": (encoded("GIF"), "is a GIF"),
        "a GIF that says 65535": (b"GIF89a" + b"\xff" * 4 + bytes(100), "is a GIF"),
        "a TIFF": (encoded("TIFF"), "is a TIFF"),
        "a PDF": (encoded("PDF"), "is a PDF"),
        "an icon with a PNG inside": (encoded("ICO"), "is an icon"),
        "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 80 70\n(/etc/passwd) (r) file\n", "is a PostScript"),
        "an SVG that points elsewhere": (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="https://127.0.0.1/"/></svg>', "is an SVG"),
        "XML that wants a file": (
            b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&b;</svg>',
            "is an SVG or another XML",
        ),
        "a drawing of another program": (
            b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/'\npop graphic-context",
            "not a picture",
        ),
        "a film": (b"\0\0\0\x18ftypmp42" + bytes(1_000), "is a film"),
        "a HEIC": (heic, (80, 70)),
        "half a HEIC": (heic[: len(heic) // 2], "damaged"),
        "a HEIC's sides": (says(heic, 30_000, 30_000), "pixels"),
        "a HEIC of more than it says": (says(photo("HEIF", (1_500, 1_500)), 80, 70), "damaged"),
        "a HEIC whose box is of four gigabytes": (heic.replace(b"iprp", b"iprp\xff\xff\xff\xff", 1), "damaged"),
        "half an AVIF": (avif[: len(avif) // 2], "damaged"),
        "an AVIF's sides": (says(avif, 30_000, 30_000), "damaged|pixels"),
        "an AVIF of more than it says": (says(photo("AVIF", (1_500, 1_500)), 80, 70), (80, 70)),
        "an AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(1_000), "damaged AVIF"),
    }


if __name__ == "__main__":
    from executors.errors import BadReference
    from executors.reference_files import load_reference

    became: dict[str, Outcome] = {}
    for name, (data, _) in files().items():
        try:
            became[name] = load_reference(data).size
        except BadReference as error:
            became[name] = str(error)
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"became": became, "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit}))
