"""Images that declare their colour space in each way that file formats offer, and their sRGB values, computed with matrices alone."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hostile_files import chunk
from numpy.typing import NDArray
from PIL import Image

RGB = tuple[int, int, int]
Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
SIZE = (96, 64)

D65, D50 = (0.3127, 0.329), (0.3457, 0.3585)
SRGB = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), D65)
P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), D65)
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)
PROPHOTO = ((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105), D50)
BT2020 = ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), D65)


def srgb_curve(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def gamma(exponent: float) -> Curve:
    return lambda v: v**exponent


def xyz_of(xy: Sequence[float]) -> NDArray[np.float64]:
    return np.array([xy[0] / xy[1], 1, (1 - xy[0] - xy[1]) / xy[1]])


def to_xyz(primaries: Any, white: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix from linear RGB to XYZ, adapted (Bradford) to `white`."""
    raw = np.stack([xyz_of(xy) for xy in primaries[:3]], axis=1)
    own = xyz_of(primaries[3])
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ white) / (bradford @ own)) @ bradford
    return np.asarray(adapt @ raw @ np.diag(np.linalg.solve(raw, own)))


def in_srgb(colour: RGB, primaries: Any, curve: Curve) -> list[float]:
    white = xyz_of(D65)
    linear = np.linalg.solve(to_xyz(SRGB, white), to_xyz(primaries, white) @ curve(np.array(colour) / 255))
    linear = np.clip(linear, 0, 1)
    return list(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


# -- ICC profiles ------------------------------------------------------------------------------------------------------------------------


def profile(space: bytes, tags: dict[bytes, bytes], version: int = 2, pcs: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    table, bodies, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, body in tags.items():
        table += struct.pack(">4sII", name, at + len(bodies), len(body))
        bodies += body + b"\0" * (-len(body) % 4)
    head = struct.pack(">I4xI4s4s4s", at + len(bodies), version << 24, kind, space, pcs).ljust(36, b"\0") + b"acsp"
    return head.ljust(68, b"\0") + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D).ljust(60, b"\0") + table + bodies


def xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(v * 65_536) for v in values))


def curv(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


def para(exponent: float | None) -> bytes:
    """Version 4's parametric curve; None: sRGB's."""
    kind, values = (0, (exponent,)) if exponent else (3, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(struct.pack(">i", round(v * 65_536)) for v in values)


def matrix(primaries: Any, curve: bytes, version: int = 2) -> bytes:
    columns = to_xyz(primaries, xyz_of(D50)).T
    tags = {b"wtpt": xyz(xyz_of(D50)), **{name + b"TRC": curve for name in (b"r", b"g", b"b")}}
    return profile(b"RGB ", tags | {name + b"XYZ": xyz(column) for name, column in zip((b"r", b"g", b"b"), columns, strict=True)}, version)


def grey(exponent: float) -> bytes:
    return profile(b"GRAY", {b"wtpt": xyz(xyz_of(D50)), b"kTRC": curv(exponent)})


def printer() -> bytes:
    """CMYK profile with a table of its corners: lightness falls with each ink, and all colours are grey."""
    lightness = [255 * (1 - k) * (1 - (c + m + y) / 3) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    corners = b"".join(bytes([round(value), 128, 128]) for value in lightness)
    ramp = bytes(range(256))
    unit = struct.pack(">9i", *(65_536 if n % 4 == 0 else 0 for n in range(9)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + ramp * 4 + corners + ramp * 3
    return profile(b"CMYK", {b"wtpt": xyz(xyz_of(D50)), b"A2B0": table}, pcs=b"Lab ", kind=b"prtr")


DISPLAY_P3 = matrix(P3, para(None), 4)


# -- files -------------------------------------------------------------------------------------------------------------------------------


def flat(colour: Any, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, SIZE, colour)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    best: dict[str, Any] = {
        "PNG": {},
        "JPEG": {"quality": 100},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100},
        "HEIF": {"quality": 100},
    }
    if kind == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    out = io.BytesIO()
    picture.save(out, kind, **best[kind] | options)
    return out.getvalue()


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Insert chunks after a PNG's header."""
    return png[:33] + b"".join(chunk(name, body) for name, body in chunks) + png[33:]


def described(primaries: int, transfer: int, data: bytes) -> bytes:
    """A HEIC or AVIF whose `colr` box is changed to these primaries and this transfer."""
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def iccp(icc: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"own\0\0" + zlib.compress(icc)


def chrm(primaries: Any) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(v * 100_000) for xy in (primaries[3], *primaries[:3]) for v in xy))


def gama(exponent: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(100_000 / exponent))


def tiff(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """An EXIF block with one directory of (tag, type, count, four bytes of value)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + struct.pack(order + "H", len(entries))
    return head + b"".join(struct.pack(order + "HHI", tag, kind, count) + value for tag, kind, count, value in entries) + bytes(4)


def segments(jpeg: bytes, *added: tuple[int, bytes]) -> bytes:
    """Insert segments after a JPEG's first marker."""
    return jpeg[:2] + b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in added) + jpeg[2:]
