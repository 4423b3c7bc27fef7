"""Strip a picture file to what its pixels need, before any decoder sees it.

Discarded parts (texts, XMP, previews, second pictures, camera metadata) can then neither fail a sound picture by being broken, nor do harm
by being huge. Only the orientation and the colour description are kept.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from executors.decoding import ACCEPTED, Unacceptable, colours


@dataclass(frozen=True)
class Bare:
    """A stripped file, `data`, still of its kind. `profile`: an ICC profile, or None for sRGB. `orientation`: 1 to 8, as in EXIF."""

    data: bytes
    profile: bytes | None = None
    orientation: int = 1


def _coded(primaries: int, transfer: int) -> bytes | None:
    """Return the profile of two code points of ITU-T H.273. Raises `Unacceptable` for HDR, which the models do not support."""
    if name := colours.HDR.get(transfer):
        raise Unacceptable(f"The reference is an HDR picture ({name}). {ACCEPTED} of ordinary range: export it as a JPEG and use that.")
    return colours.coded(primaries, transfer)


# -- PNG (W3C, third edition) ------------------------------------------------------------------------------------------------------------

_PNG_NOTED = (b"tRNS", b"acTL", b"fdAT", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"eXIf")


def png(data: bytes) -> Bare:
    noted: dict[bytes, bytes] = {}
    kept, at = [data[:8]], 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if not name[0] & 0x20:  # critical chunk (§5.4), left to the decoder
            kept.append(data[at:end])
        elif name in _PNG_NOTED and zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big"):
            noted.setdefault(name, data[at + 8 : end - 4])
            if name == b"tRNS":
                kept.append(data[at:end])
        at = end
        if name == b"IEND":
            break
    else:
        kept.append(struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")))
    frames = noted.get(b"acTL", b"")
    if len(frames) == 8 and int.from_bytes(frames[:4], "big") > 1 and b"fdAT" in noted:
        raise Unacceptable(f"The reference is animated. {ACCEPTED} that stands still.")
    return Bare(b"".join(kept), _png_profile(noted), exif(noted.get(b"eXIf", b"")).orientation)


def _png_profile(noted: Mapping[bytes, bytes]) -> bytes | None:
    """Return the profile by the order of precedence of §4.3: cICP, iCCP, sRGB, then gAMA and cHRM."""
    code = noted.get(b"cICP", b"")
    if len(code) == 4 and code[2:] == b"\0\1":  # RGB, full range: all that PNG allows
        return _coded(code[0], code[1])
    if b"iCCP" in noted:
        packed = noted[b"iCCP"].partition(b"\0")[2][1:]
        inflate = zlib.decompressobj()
        try:
            profile = inflate.decompress(packed, colours.PROFILE_MAX)
        except zlib.error:
            return None
        return profile if inflate.eof else None
    if b"sRGB" in noted:
        return None
    gamma, chroma = noted.get(b"gAMA", b""), noted.get(b"cHRM", b"")
    exponent = 100_000 / (int.from_bytes(gamma, "big") or 1) if len(gamma) == 4 else None
    primaries = None
    if len(chroma) == 32:
        white, red, green, blue = ((x / 100_000, y / 100_000) for x, y in struct.iter_unpack(">II", chroma))
        primaries = (red, green, blue, white)
    return colours.described(primaries, exponent)


# -- JPEG (ITU-T T.81; ICC.1, Annex B.4) -------------------------------------------------------------------------------------------------


_CHANNELS = {b"JFIF\0": 14, b"Adobe": 12}
"""The two APPn segments, with their minimum lengths, that tell a decoder the colour space of three channels."""


def jpeg(data: bytes) -> Bare:
    parts: dict[int, bytes] = {}
    kept, found, at = [data[:2]], Exif(), 2
    for marker, start, end in _segments(data):
        at = end
        body = data[start + 4 : end]
        if marker == 0xE1 and body.startswith(b"Exif\0") and found == Exif():
            found = exif(body[6:])
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            parts.setdefault(body[12], body[14:])
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE) or len(body) >= _CHANNELS.get(body[:5], len(body) + 1):
            kept.append(data[start:end])
    kept.append(data[at:])
    whole = sorted(parts) == list(range(1, len(parts) + 1)) and bool(parts)
    profile = b"".join(parts[n] for n in sorted(parts)) if whole else None
    if not parts and found.adobe_rgb:
        profile = colours.described(colours.ADOBE_RGB, colours.ADOBE_GAMMA)
    return Bare(b"".join(kept), profile, found.orientation)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment before the first scan. Bytes between segments are dropped, as libjpeg skips them."""
    at = 2
    while at + 4 <= len(data):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            return
        marker = data[at + 1]
        if marker in (0xDA, 0xD9):
            return
        if marker < 0xC0 or 0xD0 <= marker <= 0xD8 or marker == 0xFF:  # not a segment's marker: fill bytes, or an unexpected marker
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return
        yield marker, at, end
        at = end


# -- WebP (Google, WebP Container Specification) -----------------------------------------------------------------------------------------


def webp(data: bytes) -> Bare:
    kept: list[bytes] = []
    noted: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if name in (b"ICCP", b"EXIF", b"XMP "):
            if at + 8 + length <= len(data):
                noted.setdefault(name, data[at + 8 : at + 8 + length])
        elif name == b"VP8X" and length == 10:
            flags = data[at + 8] & ~(0x20 | 0x08 | 0x04)  # clear the flags of these three chunks
            kept.append(data[at : at + 8] + bytes([flags]) + data[at + 9 : end])
        elif name in (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"VP8X"):
            kept.append(data[at:end])
        at = end
    body = b"".join(kept)
    found = exif(noted.get(b"EXIF", b"").removeprefix(b"Exif\0\0"))
    return Bare(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body, noted.get(b"ICCP"), found.orientation)


# -- HEIC and AVIF (ISO/IEC 23008-12 in ISO/IEC 14496-12) --------------------------------------------------------------------------------

_ITEM = re.compile(rb"(infe(?:\x02\0\0.....|\x03\0\0.......))(?:Exif|mime)", re.DOTALL)
"""An item entry (`infe`: version, flags, id, protection, then the type) for EXIF or XMP."""


def iso(data: bytes) -> Bare:
    """Change the type of EXIF and XMP items to one that no decoder reads. Their orientation is ignored: decoders apply the file's own
    (`irot`, `imir`)."""
    codes = _nclx(data)
    return Bare(_ITEM.sub(rb"\1skip", data), _coded(*codes) if codes else None)


def _nclx(data: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer (ITU-T H.273) of the primary item, if stated; a gain map or a depth map may have others."""
    try:
        (meta,) = _boxes(data, b"meta")
        inner = meta[4:]
        (primary,) = _boxes(inner, b"pitm")
        chosen = int.from_bytes(primary[4:] if primary[0] else primary[4:6], "big")
        (properties,) = _boxes(inner, b"iprp")
        (container,) = _boxes(properties, b"ipco")
        listed = list(_boxes(container))
        for place in _associated(next(_boxes(properties, b"ipma")), chosen):
            name, body = listed[place - 1]
            if name == b"colr" and body[:4] == b"nclx":
                return int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big")
    except (ValueError, IndexError, StopIteration, struct.error):
        return None  # a broken file, which the decoder refuses, or one without colour information
    return None


def _boxes(data: bytes, only: bytes | None = None) -> Iterator:  # type: ignore[type-arg]  # of bodies, or of names and bodies
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size else len(data)
        if size and size < head:
            return
        if only is None:
            yield name, data[at + head : end]
        elif name == only:
            yield data[at + head : end]
        at = end


def _associated(ipma: bytes, item: int) -> list[int]:
    """Return the 1-based indices of an item's properties (ISO/IEC 23008-12, §9.3)."""
    version, wide = ipma[0], ipma[3] & 1
    (entries,) = struct.unpack_from(">I", ipma, 4)
    at, id_size, place_size = 8, 4 if version else 2, 2 if wide else 1
    for _ in range(min(entries, len(ipma))):
        found = int.from_bytes(ipma[at : at + id_size], "big")
        count = ipma[at + id_size]
        at += id_size + 1
        if found == item:
            mask = 0x7FFF if wide else 0x7F  # without the "essential" bit
            return [int.from_bytes(ipma[n : n + place_size], "big") & mask for n in range(at, at + count * place_size, place_size)]
        at += count * place_size
    return []


# -- EXIF (CIPA DC-008, over TIFF 6.0) ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exif:
    orientation: int = 1
    adobe_rgb: bool = False  # interoperability index R03, set by cameras that embed no profile


def exif(tiff: bytes) -> Exif:
    """Read two fields of an EXIF block; an unreadable field counts as absent."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return Exif()
    first = _directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
    camera = _directory(tiff, order, _number(first.get(0x8769), order))
    interop = _directory(tiff, order, _number(camera.get(0xA005), order))
    turned = _number(first.get(0x0112), order)
    return Exif(turned if 1 <= turned <= 8 else 1, interop.get(1, (0, b""))[1][:3] == b"R03")


def _directory(tiff: bytes, order: str, at: int) -> dict[int, tuple[int, bytes]]:
    """Read a directory: tag → type, and the four bytes with its value or the value's offset."""
    if not 0 < at <= len(tiff) - 2:
        return {}
    (count,) = struct.unpack_from(order + "H", tiff, at)
    found: dict[int, tuple[int, bytes]] = {}
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        found.setdefault(tag, (kind, tiff[entry + 8 : entry + 12]))
    return found


def _number(value: tuple[int, bytes] | None, order: str) -> int:
    """Return a value's first number, of any integer type (not all programs write the type of the standard). 0: none."""
    form = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I"}.get(value[0]) if value else None
    return int(struct.unpack_from(order + form, value[1])[0]) if form and value else 0


BARE: Mapping[str, Callable[[bytes], Bare]] = {"PNG": png, "JPEG": jpeg, "WEBP": webp, "HEIF": iso, "AVIF": iso}
