"""References keep the colours that people see: any declared colour space is converted to sRGB; an unreadable one is ignored."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from colour_files import (
    ADOBE,
    BT2020,
    DISPLAY_P3,
    P3,
    PROPHOTO,
    SRGB,
    Curve,
    chrm,
    curv,
    described,
    encoded,
    flat,
    gama,
    gamma,
    grey,
    iccp,
    in_srgb,
    matrix,
    para,
    printer,
    profile,
    segments,
    srgb_curve,
    tiff,
    with_chunks,
)  # fmt: skip
from PIL import Image

from executors.decoder import picture
from executors.decoding import Unacceptable
from executors.reference_files import load_reference

COLOUR = (180, 90, 60)
ADOBE_ICC, PROPHOTO_ICC = matrix(ADOBE, curv(563 / 256)), matrix(PROPHOTO, curv(1.8))


def decoded(data: bytes) -> Image.Image:
    """Decode in this process: a separate one would only be slower."""
    return picture(data, 20_000_000, 25_000_000, 1)[1]


def centre(data: bytes) -> list[int]:
    return [int(v) for v in decoded(data).getpixel((48, 32))]  # type: ignore[union-attr]


PLAIN = encoded(flat(COLOUR), "PNG")
R03 = b"Exif\0\0" + tiff((0x8769, 4, 1, struct.pack("<I", 26)))[:-4] + struct.pack("<I", 0) + (
    struct.pack("<HHHII", 1, 0xA005, 4, 1, 44) + struct.pack("<I", 0) + struct.pack("<HHHI", 1, 1, 2, 4) + b"R03\0" + struct.pack("<I", 0)
)  # fmt: skip
WIDE: dict[str, tuple[bytes, Any, Curve]] = {
    "Display P3, PNG": (encoded(flat(COLOUR), "PNG", icc_profile=DISPLAY_P3), P3, srgb_curve),
    "Display P3, JPEG": (encoded(flat(COLOUR), "JPEG", icc_profile=DISPLAY_P3), P3, srgb_curve),
    "Display P3, WebP": (encoded(flat(COLOUR), "WEBP", icc_profile=DISPLAY_P3), P3, srgb_curve),
    "Display P3, AVIF": (encoded(flat(COLOUR), "AVIF", icc_profile=DISPLAY_P3), P3, srgb_curve),
    "Display P3, HEIC": (encoded(flat(COLOUR), "HEIF", icc_profile=DISPLAY_P3), P3, srgb_curve),
    "Display P3, a palette": (encoded(flat(COLOUR).quantize(2), "PNG", icc_profile=DISPLAY_P3), P3, srgb_curve),
    "Adobe RGB": (encoded(flat(COLOUR), "JPEG", icc_profile=ADOBE_ICC), ADOBE, gamma(563 / 256)),
    "Adobe RGB by EXIF": (segments(encoded(flat(COLOUR), "JPEG"), (0xE1, R03)), ADOBE, gamma(563 / 256)),
    "ProPhoto": (encoded(flat(COLOUR), "PNG", icc_profile=PROPHOTO_ICC), PROPHOTO, gamma(1.8)),
    "gAMA and cHRM": (with_chunks(PLAIN, gama(1.8), chrm(P3)), P3, gamma(1.8)),
    "gAMA of light itself": (with_chunks(PLAIN, gama(1)), SRGB, gamma(1)),
    "cHRM alone": (with_chunks(PLAIN, chrm(P3)), P3, srgb_curve),
    "cICP": (with_chunks(PLAIN, (b"cICP", bytes([12, 13, 0, 1]))), P3, srgb_curve),
    "cICP before iCCP": (with_chunks(PLAIN, iccp(PROPHOTO_ICC), (b"cICP", bytes([12, 13, 0, 1]))), P3, srgb_curve),
    "iCCP before sRGB and gAMA": (with_chunks(PLAIN, gama(1), (b"sRGB", b"\0"), iccp(DISPLAY_P3)), P3, srgb_curve),
    "an AVIF's numbers": (described(12, 13, encoded(flat(COLOUR), "AVIF")), P3, srgb_curve),
    "a HEIC's numbers": (described(12, 13, encoded(flat(COLOUR), "HEIF")), P3, srgb_curve),
    "BT.2020": (described(9, 1, encoded(flat(COLOUR), "AVIF")), BT2020, srgb_curve),
}


@pytest.mark.parametrize("name", WIDE)
def test_declared_colours_are_converted_to_srgb(name: str) -> None:
    data, primaries, curve = WIDE[name]
    wanted = in_srgb(COLOUR, primaries, curve)
    assert max(abs(a - b) for a, b in zip(wanted, COLOUR, strict=True)) > 8, "a conversion that nobody saw would prove nothing"
    assert centre(data) == pytest.approx(wanted, abs=4), "a lossy format's own loss, enlarged"


def test_the_decoder_process_applies_profile_and_rotation() -> None:
    """Pixels from the decoder process have profile and rotation applied."""
    photo = Image.new("RGB", (128, 96), (255, 0, 0))
    photo.paste(COLOUR, (0, 0, 128, 48))
    for kind in ("JPEG", "HEIF", "AVIF"):
        exif = Image.Exif()
        exif[0x0112] = 6
        loaded = load_reference(encoded(photo, kind, icc_profile=DISPLAY_P3, exif=exif.tobytes()))
        assert (loaded.size, loaded.info) == ((96, 128), {})
        assert loaded.getpixel((80, 64)) == pytest.approx(in_srgb(COLOUR, P3, srgb_curve), abs=4), kind
        assert loaded.getpixel((10, 64)) == pytest.approx((255, 0, 0), abs=4), "outside of sRGB: its nearest"


MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff\xe0": "image/jpeg", b"RIFF": "image/webp"}
NOT_IN_BROWSERS = ("Adobe RGB by EXIF", "cHRM alone", "Display P3, HEIC", "a HEIC's numbers")
"""Browsers ignore these. The first two appear as tested in photo management programs."""


@pytest.mark.parametrize("name", [name for name in WIDE if name not in NOT_IN_BROWSERS])
def test_colours_match_a_browser(name: str, browser: Browser, tmp_path: Path) -> None:
    data, file = WIDE[name][0], tmp_path / "reference"
    file.write_bytes(data)
    shown = browser.shown(file, MEDIA_TYPES.get(data[:4], "image/avif"), (96, 64))
    assert centre(data) == pytest.approx(shown.getpixel((48, 32)), abs=2)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_profiles_are_applied(mode: str) -> None:
    level = 128 if mode != "1" else 255
    made = flat((level, 255) if mode == "LA" else level, mode)
    wanted = in_srgb((level,) * 3, SRGB, gamma(1.4))
    assert centre(encoded(made, "PNG", icc_profile=grey(1.4))) == pytest.approx(wanted, abs=2)


def test_sixteen_bit_grey_profiles_are_applied() -> None:
    made = Image.fromarray(np.full((64, 96), 32_896, np.uint16))
    assert centre(encoded(made, "PNG", icc_profile=grey(1.4))) == pytest.approx(in_srgb((128,) * 3, SRGB, gamma(1.4)), abs=2)


def test_cmyk_is_converted() -> None:
    ink = flat((0, 0, 0, 128), "CMYK")
    assert centre(encoded(ink, "JPEG", icc_profile=printer())) == pytest.approx([119] * 3, abs=3)  # L* 50
    assert centre(encoded(ink, "JPEG")) == pytest.approx([127] * 3, abs=2)


def test_transparency_survives_colour_conversion() -> None:
    made = flat((*COLOUR, 255), "RGBA")
    made.paste((0, 0, 0, 0), (0, 0, 20, 64))
    loaded = decoded(encoded(made, "PNG", icc_profile=DISPLAY_P3))
    assert loaded.getpixel((4, 4)) == (255, 255, 255)
    assert loaded.getpixel((48, 32)) == pytest.approx(in_srgb(COLOUR, P3, srgb_curve), abs=2.5)


@pytest.mark.parametrize(
    "added",
    [
        (gama(2.2),), (gama(2.2), chrm(SRGB)), ((b"sRGB", b"\0"), gama(1)), (iccp(matrix(SRGB, para(None), 4)),),
        ((b"cICP", bytes([1, 13, 0, 1])),), ((b"cICP", bytes([2, 2, 0, 1])),),
    ],
    ids=["gAMA", "gAMA and cHRM", "sRGB", "its profile", "cICP", "unspecified"],
)  # fmt: skip
def test_srgb_images_keep_their_exact_pixels(added: tuple[tuple[bytes, bytes], ...]) -> None:
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 96, 3), np.uint8))
    assert np.array_equal(np.asarray(decoded(with_chunks(encoded(noise, "PNG"), *added))), np.asarray(noise))


AWRY = bytearray(DISPLAY_P3)
for entry in range(132, 132 + 12 * 7, 12):
    AWRY[entry + 4] = 0x7F  # the first byte of a tag's offset
BROKEN = {
    "nothing": b"",
    "no profile": b"these are words" * 40,
    "cut short": DISPLAY_P3[:200],
    "other colours' profile": grey(1.4),
    "a printer's": printer(),
    "no curves": matrix(P3, b""),
    "another kind": profile(b"RGB ", {}, kind=b"nmcl"),
    "offsets beyond it": AWRY,
    "a thousand tags": DISPLAY_P3[:128] + struct.pack(">I", 1_000) + DISPLAY_P3[132:],
    "larger than any": DISPLAY_P3 + bytes(9_000_000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_profile_is_ignored(name: str) -> None:
    assert centre(with_chunks(PLAIN, iccp(bytes(BROKEN[name])))) == list(COLOUR)
    assert centre(encoded(flat(COLOUR), "JPEG", icc_profile=bytes(BROKEN[name]))) == pytest.approx(COLOUR, abs=2)


@pytest.mark.parametrize(
    "added",
    [
        (b"cHRM", bytes(32)), (b"cHRM", b"\xff" * 32), (b"cHRM", b"short"), (b"gAMA", bytes(4)), (b"gAMA", b"\xff" * 4), (b"cICP", b"\x0c"),
        (b"cICP", bytes([12, 13, 6, 1])), (b"iCCP", b"no end of its name"), (b"iCCP", b"x\0\0not deflate"),
    ],
    ids=str,
)  # fmt: skip
def test_invalid_colour_chunks_are_ignored(added: tuple[bytes, bytes]) -> None:
    assert centre(with_chunks(PLAIN, added)) == list(COLOUR)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused_by_name(transfer: int) -> None:
    for data in (
        described(9, transfer, encoded(flat(COLOUR), "AVIF")),
        described(9, transfer, encoded(flat(COLOUR), "HEIF")),
        with_chunks(PLAIN, (b"cICP", bytes([9, transfer, 0, 1]))),
    ):
        with pytest.raises(Unacceptable, match=r"HDR picture \((PQ|HLG)\).*export it as a JPEG"):
            decoded(data)
