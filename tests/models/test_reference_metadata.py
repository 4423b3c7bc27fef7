"""A file's metadata is discarded: broken or huge, it never causes a valid image to be refused."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from colour_files import encoded, segments, tiff, with_chunks
from hostile_files import chunk
from PIL import Image

from executors.decoder import picture
from executors.decoding import Unacceptable
from executors.decoding.bare import exif

NOISE = Image.fromarray(np.random.default_rng(4).integers(0, 256, (70, 80, 3), np.uint8))
KINDS = {kind: encoded(NOISE, kind) for kind in ("PNG", "JPEG", "WEBP", "AVIF", "HEIF")}
PNG, JPEG, WEBP = KINDS["PNG"], KINDS["JPEG"], KINDS["WEBP"]


def decoded(data: bytes) -> Image.Image:
    return picture(data, 20_000_000, 25_000_000, 1)[1]


def png_with(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def bad_sum(name: bytes, body: bytes) -> bytes:
    return chunk(name, body)[:-4] + b"\0\0\0\0"


def webp_with(*chunks: tuple[bytes, bytes], flags: int = 0x2C) -> bytes:
    """The extended format, with flags for a profile, EXIF and XMP whether or not they are present."""
    parts = [(b"VP8X", bytes([flags, 0, 0, 0]) + (79).to_bytes(3, "little") + (69).to_bytes(3, "little"))]
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in parts)
    body += WEBP[12:] + b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def odd_exif(data: bytes) -> bytes:
    """Overwrite a HEIC's or AVIF's EXIF block with garbage."""
    at = data.index(b"Exif\0\0II*\0" if b"Exif\0\0II*\0" in data else b"II*\0")
    return data[:at] + b"\xff" * 12 + data[at + 12 :]


NAMES = (b"gAMA", b"cHRM", b"pHYs", b"tIME", b"eXIf", b"bKGD", b"sBIT", b"sRGB", b"acTL", b"cICP", b"hIST")
CIRCLE = tiff((0x8769, 4, 1, b"\x08\0\0\0"), (0xA005, 4, 1, b"\x08\0\0\0"))
BOMB = zlib.compress(bytes(50_000_000), 9)
HUGE = b"<x:xmpmeta>" + b"&lol;" * 13_000
FILES: dict[str, bytes] = {
    "PNG: a text with a wrong sum": png_with(bad_sum(b"tEXt", b"a\0b")),
    "PNG: every other chunk with a wrong sum": png_with(*(bad_sum(name, b"?") for name in NAMES)),
    "PNG: a text of ten megabytes": png_with(chunk(b"tEXt", b"Comment\0" + b"x" * 10_000_000)),
    "PNG: a bomb of text": png_with(chunk(b"zTXt", b"x\0\0" + BOMB)),
    "PNG: a bomb of XMP": png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB)),
    "PNG: a bomb of a profile": png_with(chunk(b"iCCP", b"x\0\0" + BOMB)),
    "PNG: a text that does not inflate": png_with(chunk(b"zTXt", b"x\0\0nonsense")),
    "PNG: texts without a form": png_with(chunk(b"iTXt", b""), chunk(b"tEXt", b""), chunk(b"zTXt", b"x")),
    "PNG: chunks of a wrong length": png_with(*(chunk(name, b"!") for name in NAMES)),
    "PNG: texts behind the pixels": PNG[:-12] + chunk(b"zTXt", b"x\0\0" + BOMB) + bad_sum(b"tEXt", b"a\0b") + PNG[-12:],
    "PNG: without its end": PNG[:-12],
    "PNG: cut off within a text behind the pixels": PNG[:-12] + chunk(b"tEXt", b"a\0" + b"b" * 1_000)[:300],
    "PNG: EXIF that is none": with_chunks(PNG, (b"eXIf", b"II*\0\xff\xff\xff\xff")),
    "PNG: a count of frames of one": with_chunks(PNG, (b"acTL", struct.pack(">II", 1, 0))),
    "PNG: a count of frames that are not there": with_chunks(PNG, (b"acTL", struct.pack(">II", 9, 0))),
    "JPEG: EXIF cut short": segments(JPEG, (0xE1, b"Exif\0\0II*\0\x08\0\0\0\x30\0\x12")),
    "JPEG: EXIF of all types": segments(JPEG, (0xE1, b"Exif\0\0" + tiff(*((n, n, 2**31, b"\xff" * 4) for n in range(20))))),
    "JPEG: EXIF that points at itself": segments(JPEG, (0xE1, b"Exif\0\0" + CIRCLE)),
    "JPEG: XMP of its largest size, twice": segments(JPEG, *[(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + HUGE[:65_000])] * 2),
    "JPEG: a list of pictures that is none": segments(JPEG, (0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff")),
    "JPEG: a part of a profile": segments(JPEG, (0xE2, b"ICC_PROFILE\0\2\3" + bytes(300))),
    "JPEG: Photoshop's notes": segments(JPEG, (0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\xff"), (0xEE, b"Adobe")),
    "JPEG: three hundred comments": segments(JPEG, *[(0xFE, b"\xff" * 1_000)] * 300),
    "JPEG: a JFIF segment of two bytes": segments(JPEG, (0xE0, b"JF")),
    "JPEG: bytes between its segments": JPEG[:20] + b"junk\xff\0\xff" + JPEG[20:],
    "JPEG: a second picture and a film behind it": JPEG + encoded(NOISE.rotate(180), "JPEG") + b"\0\0\0\x18ftypmp42" + bytes(5_000),
    "WebP: EXIF, XMP and a profile of nonsense": webp_with((b"EXIF", b"?" * 99), (b"XMP ", HUGE), (b"ICCP", b"?" * 99)),
    "WebP: flags for what is not there": webp_with(),
    "WebP: cut off within its XMP": webp_with((b"XMP ", HUGE))[:-20_000],
    "WebP: a chunk that nobody knows": webp_with((b"ZZZZ", b"?" * 9)),
    "AVIF: EXIF of nonsense": odd_exif(encoded(NOISE, "AVIF", exif=tiff((0x0100, 4, 1, b"\1\0\0\0")))),
    "HEIC: EXIF of nonsense": odd_exif(encoded(NOISE, "HEIF", exif=b"Exif\0\0" + tiff((0x0100, 4, 1, b"\1\0\0\0")))),
    "AVIF: XMP of its largest size": encoded(NOISE, "AVIF", xmp=HUGE * 20),
    "HEIC: XMP of its largest size": encoded(NOISE, "HEIF", xmp=HUGE * 20),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_broken_metadata_does_not_affect_the_pixels(name: str) -> None:
    kind = {"HEIC": "HEIF", "WebP": "WEBP"}.get(name.partition(":")[0], name.partition(":")[0])
    made = decoded(FILES[name])
    assert np.array_equal(np.asarray(made), np.asarray(decoded(KINDS[kind])))


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_pixels_are_refused(kind: str) -> None:
    with pytest.raises(Unacceptable, match="damaged"):
        decoded(KINDS[kind][: len(KINDS[kind]) * 2 // 3])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "form", "turned"),
    [(3, "H", 6), (4, "I", 6), (1, "B", 6), (9, "i", 6), (8, "h", 6), (2, "4s", 1), (5, "I", 1), (11, "f", 1), (12, "I", 1), (99, "I", 1)],
)
def test_orientation_is_read_from_any_integer_type(kind: int, form: str, turned: int, order: str) -> None:
    value = struct.pack(order + form, b"6\0\0\0" if form == "4s" else 6).ljust(4, b"\0")
    assert exif(tiff((0x0112, kind, 1, value), order=order)).orientation == turned


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_invalid_orientations_are_ignored(value: int) -> None:
    assert exif(tiff((0x0112, 3, 1, struct.pack("<HH", value, 0)))).orientation == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_applied_in_each_format(kind: str, orientation: int) -> None:
    corner = Image.new("RGB", (96, 64), (20, 20, 200))
    corner.paste((220, 30, 30), (0, 0, 32, 32))
    block = tiff((0x0112, 3, 1, struct.pack("<HH", orientation, 0)))
    made = decoded(encoded(corner, kind, exif=block if kind in ("PNG", "WEBP", "AVIF") else b"Exif\0\0" + block))
    # Position of the file's first pixel afterwards (EXIF 2.32, 4.6.4, tag 274).
    places = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    assert made.size == ((96, 64) if orientation < 5 else (64, 96))
    x, y = (8 if side == 0 else length - 9 for side, length in zip(places[orientation], made.size, strict=True))
    red: Any = made.getpixel((x, y))
    assert red[0] > 180 and red[2] < 80


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GIF89a" + bytes(20), "a GIF"), (b"II*\0" + bytes(20), "a TIFF or a camera's raw file"), (b"BM" + bytes(20), "a BMP"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL"), (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL"), (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera's raw file"), (b"\0\0\0\x14ftypqt  " + bytes(20), "a film"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "a film"), (b"8BPS\0\1", "a Photoshop file"), (b"\n<SVG xmlns=''>", "an SVG"),
    ],
    ids=str,
)  # fmt: skip
def test_unsupported_formats_are_named_with_a_remedy(data: bytes, name: str) -> None:
    with pytest.raises(Unacceptable, match=f"is {name}, which is not read.*JPEG, WebP, HEIC or AVIF picture: export it as a JPEG"):
        decoded(data)


def heif(frames: int) -> bytes:
    from pillow_heif import HeifFile

    file = HeifFile()
    for n in range(frames):
        file.add_from_pillow(NOISE.rotate(90 * n, expand=False))
    out = io.BytesIO()
    file.save(out, quality=100)
    return out.getvalue()


def test_the_primary_image_of_a_heic_is_used() -> None:
    assert np.abs(np.asarray(decoded(heif(3)), float) - np.asarray(decoded(KINDS["HEIF"]), float)).mean() < 3


def test_sequences_are_refused_as_animations_are() -> None:
    out = io.BytesIO()
    NOISE.save(out, "AVIF", save_all=True, append_images=[NOISE.rotate(180)])
    for data in (out.getvalue(), heif(1).replace(b"ftypheic", b"ftyphevc")):
        with pytest.raises(Unacceptable, match="animated"):
            decoded(data)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_transparent_parts_of_heif_become_white(kind: str) -> None:
    made = Image.new("RGBA", (96, 64), (0, 0, 0, 0))
    made.paste((200, 30, 30, 255), (0, 0, 48, 64))
    loaded = decoded(encoded(made, kind))
    assert loaded.getpixel((8, 8)) == pytest.approx((200, 30, 30), abs=4)
    assert loaded.getpixel((90, 8)) == pytest.approx((255, 255, 255), abs=2)


def test_ten_bit_images_keep_their_brightness() -> None:
    from pillow_heif import from_bytes

    ramp = np.repeat(np.tile(np.linspace(0, 65_535, 96).astype(np.uint16), (64, 1))[:, :, None], 3, axis=2)
    out = io.BytesIO()
    from_bytes("RGB;16", (96, 64), ramp.tobytes()).save(out, quality=100)
    loaded = np.asarray(decoded(out.getvalue()), float)
    assert loaded[32, :, 1] == pytest.approx(np.linspace(0, 255, 96), abs=3)
