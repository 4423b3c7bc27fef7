"""Convert a picture's colours to sRGB with LittleCMS; build ICC profiles for pictures that describe their colours in other ways."""

from __future__ import annotations

import io
import struct

from PIL import Image, ImageCms

XY = tuple[float, float]
Primaries = tuple[XY, XY, XY, XY]
"""CIE x and y of red, green, blue and white."""
Matrix = tuple[tuple[float, float, float], ...]

_D65 = (0.3127, 0.329)
SRGB: Primaries = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), _D65)
ADOBE_RGB: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65)  # Adobe RGB (1998) Color Image Encoding, §4.3
ADOBE_GAMMA = 563 / 256

# ITU-T H.273, tables 2 and 3. Values not listed, and "unspecified", are treated as sRGB.
_PRIMARIES: dict[int, Primaries] = {
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.31, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.6), (0.15, 0.06), _D65),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65),
    9: ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), _D65),
    11: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351)),
    12: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), _D65),
    22: ((0.63, 0.34), (0.295, 0.605), (0.155, 0.077), _D65),
}
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}
HDR = {16: "PQ", 18: "HLG"}

PROFILE_MAX = 8 << 20  # bytes; printer profiles have up to three million
_ALIKE = 2  # levels of 256: a profile that changes no colour by more counts as sRGB
_INTENT, _FLAGS = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to RGB, or RGBA if `image` has an alpha channel. An unreadable profile, or one for other channels, is ignored: sRGB."""
    alpha = image.mode in ("LA", "RGBA")
    given = profile if profile and len(profile) <= PROFILE_MAX else b""
    try:
        return _converted(image, ImageCms.ImageCmsProfile(io.BytesIO(given)), alpha)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, _NotItsOwn):
        # A bad profile is not reported: the picture itself is sound.
        return image.convert("RGBA" if alpha else "RGB")


class _NotItsOwn(Exception):
    """The profile is for other channels than the picture's."""


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile, alpha: bool) -> Image.Image:
    space = profile.profile.xcolor_space.strip()
    if space == "GRAY" and image.mode in ("1", "L", "LA"):
        grey = image.convert("L") if image.mode == "1" else image.getchannel("L") if alpha else image
        made = _transform(profile, "L", "RGB").apply(grey)
        if alpha:
            made.putalpha(image.getchannel("A"))
        return made
    if space == "CMYK" and image.mode == "CMYK":
        return _transform(profile, "CMYK", "RGB").apply(image)
    if space != "RGB" or image.mode == "CMYK":
        raise _NotItsOwn
    mode = "RGBA" if alpha else "RGB"
    transform, made = _transform(profile, mode, mode), image.convert(mode)
    if not _changes_little(transform, mode):
        transform.apply_in_place(made)  # a second copy of the largest picture would count against the memory limit
    return made


def _transform(profile: ImageCms.ImageCmsProfile, mode: str, to: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.ImageCmsTransform(profile, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), mode, to, _INTENT, flags=_FLAGS)


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = range(0, 256, 17)
    cube = bytes(level for r in levels for g in levels for b in levels for level in ((r, g, b, 255) if mode == "RGBA" else (r, g, b)))
    before = Image.frombytes(mode, (len(levels), len(levels) ** 2), cube)
    after = transform.apply(before).tobytes()
    return max(abs(a - b) for a, b in zip(cube, after, strict=True)) <= _ALIKE


def coded(primaries: int, transfer: int) -> bytes | None:
    """Return the profile of H.273's code points; None for sRGB and unspecified values. HDR transfers have no profile: see `HDR`."""
    return described(_PRIMARIES.get(primaries), _EXPONENTS.get(transfer))


def described(primaries: Primaries | None, exponent: float | None) -> bytes | None:
    """Build an ICC profile of these primaries (None: sRGB's) and this gamma exponent (None: sRGB's curve). None if that is sRGB, or no
    valid colours."""
    if exponent is not None and (not 0.2 <= exponent <= 5 or abs(exponent - 2.2) <= 0.11):
        exponent = None  # nonsense; or 2.2 within libpng's 5 %, by which programs have always meant sRGB
    if primaries is not None and max(abs(a - b) for p, q in zip(primaries, SRGB, strict=True) for a, b in zip(p, q, strict=True)) < 0.003:
        primaries = None
    if primaries is None and exponent is None:
        return None
    try:
        return _profile(_to_d50(primaries or SRGB), exponent)
    except (ZeroDivisionError, OverflowError, ValueError, struct.error):
        return None


# -- ICC.1:2022 --------------------------------------------------------------------------------------------------------------------------

_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD: Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))  # Annex E.3


def _to_d50(primaries: Primaries) -> Matrix:
    """XYZ of red, green and blue, one column each, adapted to the profile white point D50."""
    columns = [(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]
    raw: Matrix = tuple(zip(*columns[:3], strict=True))
    white = columns[3]
    scale = _times(_inverse(raw), white)
    scaled: Matrix = tuple(tuple(v * s for v, s in zip(row, scale, strict=True)) for row in raw)  # type: ignore[misc]
    ratio = [b / a for a, b in zip(_times(_BRADFORD, white), _times(_BRADFORD, _D50), strict=True)]
    cones: Matrix = tuple(tuple(v * r for v in row) for row, r in zip(_product(_BRADFORD, scaled), ratio, strict=True))  # type: ignore[misc]
    return _product(_inverse(_BRADFORD), cones)


def _profile(matrix: Matrix, exponent: float | None) -> bytes:
    curve = (0, (exponent,)) if exponent else (3, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    para = b"para\0\0\0\0" + struct.pack(">HH", curve[0], 0) + b"".join(map(_fixed, curve[1]))
    colourants = [b"XYZ \0\0\0\0" + b"".join(map(_fixed, column)) for column in zip(*matrix, strict=True)]
    white = b"XYZ \0\0\0\0" + b"".join(map(_fixed, _D50))
    names = (b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    bodies = [white, *colourants, para, para, para]
    table, at = struct.pack(">I", len(names)), 128 + 4 + 12 * len(names)
    for name, body in zip(names, bodies, strict=True):
        table += struct.pack(">4sII", name, at, len(body))
        at += len(body)
    head = struct.pack(">I4x4s4s4s4s", at, b"\x04\x20\0\0", b"mntr", b"RGB ", b"XYZ ").ljust(36, b"\0") + b"acsp"
    return head.ljust(68, b"\0") + b"".join(map(_fixed, _D50)).ljust(60, b"\0") + table + b"".join(bodies)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65_536))


def _times(matrix: Matrix, vector: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def _product(a: Matrix, b: Matrix) -> Matrix:
    return tuple(zip(*(_times(a, column) for column in zip(*b, strict=True)), strict=True))


def _inverse(m: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = m
    det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    rows = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    first, second, third = ((x / det, y / det, z / det) for x, y, z in rows)
    return first, second, third
