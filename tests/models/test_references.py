"""Reference images as sent by users and by attackers."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from executors.errors import BadReference
from executors.reference_files import load_reference


def noise(size: tuple[int, int] = (120, 90), mode: str = "RGB") -> Image.Image:
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    return picture.convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_three_types_are_decoded(kind: str) -> None:
    data = encoded(noise(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    loaded = load_reference(data)
    assert (loaded.mode, loaded.size) == ("RGB", (120, 90))
    assert np.array_equal(np.asarray(loaded), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_types_are_refused(kind: str) -> None:
    with pytest.raises(BadReference, match="PNG, JPEG, WebP, HEIC or AVIF"):
        load_reference(encoded(noise(), kind))


@pytest.mark.parametrize("data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>404</html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_non_images_are_refused(data: bytes) -> None:
    with pytest.raises(BadReference, match="PNG, JPEG, WebP, HEIC or AVIF") as refused:
        load_reference(data)
    assert not refused.value.retryable


def test_an_empty_reference_says_so() -> None:
    with pytest.raises(BadReference, match="empty"):
        load_reference(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_truncated_picture_is_refused(kind: str, part: float) -> None:
    data = encoded(noise((300, 300)), kind)
    with pytest.raises(BadReference):
        load_reference(data[: int(len(data) * part)])


def test_a_damaged_picture_is_refused() -> None:
    data = bytearray(encoded(noise(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(BadReference, match="damaged"):
        load_reference(bytes(data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that declares this many pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [5_001, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[object] = []
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: decoded.append(self))
    with pytest.raises(BadReference, match="pixels"):
        load_reference(bomb(side, side))
    assert not decoded


def test_refusals_state_the_limit() -> None:
    data = encoded(noise(), "PNG")
    with pytest.raises(BadReference, match=r"up to 1,000 bytes"):
        load_reference(data, max_bytes=1000)
    with pytest.raises(BadReference, match=r"120×90 pixels.*up to 5,000 pixels"):
        load_reference(data, max_pixels=5000)
    with pytest.raises(BadReference, match=r"at least 100 pixels a side"):
        load_reference(data, min_side=100)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    data = encoded(noise(), kind, save_all=True, append_images=[noise().rotate(180)])
    with pytest.raises(BadReference, match="animated"):
        load_reference(data)


def test_a_jpeg_with_an_appended_image_is_one_image() -> None:
    data = encoded(noise(), "MPO", save_all=True, append_images=[noise().rotate(180)])
    assert load_reference(data).size == (120, 90)


@pytest.mark.parametrize(("orientation", "turn"), [(3, 180), (6, 270), (8, 90)])
def test_a_phones_rotation_is_applied_once_and_its_exif_dropped(orientation: int, turn: int) -> None:
    picture = noise().resize((120, 90)).reduce(10).resize((120, 90))  # smooth, so that JPEG hardly changes it
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a phone"
    loaded = load_reference(encoded(picture, "JPEG", quality=95, exif=exif))
    upright = picture.rotate(turn, expand=True)
    assert loaded.size == upright.size
    assert np.abs(np.asarray(loaded, float) - np.asarray(upright, float)).mean() < 4
    assert not loaded.getexif() and not loaded.info


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_parts_become_white(kind: str) -> None:
    picture = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    picture.paste((200, 30, 30, 255), (0, 0, 50, 100))
    loaded = load_reference(encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert loaded.getpixel((10, 10)) == (200, 30, 30)
    assert loaded.getpixel((90, 10)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_becomes_white_there() -> None:
    picture = Image.new("P", (100, 100), 0)
    picture.putpalette([0, 0, 0, 10, 200, 30])
    picture.paste(1, (0, 0, 50, 100))
    loaded = load_reference(encoded(picture, "PNG", transparency=0))
    assert (loaded.getpixel((10, 10)), loaded.getpixel((90, 10))) == ((10, 200, 30), (255, 255, 255))


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "L"), ("PNG", "LA"), ("PNG", "1"), ("JPEG", "L"), ("JPEG", "CMYK")])
def test_every_mode_becomes_rgb(kind: str, mode: str) -> None:
    assert load_reference(encoded(noise(mode=mode), kind)).mode == "RGB"


def test_sixteen_bits_a_channel_keep_their_brightness() -> None:
    ramp = Image.fromarray(np.tile(np.linspace(0, 65535, 100).astype(np.uint16), (100, 1)))
    loaded = np.asarray(load_reference(encoded(ramp, "PNG")), float)
    assert loaded[0, :, 0] == pytest.approx(np.linspace(0, 255, 100), abs=2)
