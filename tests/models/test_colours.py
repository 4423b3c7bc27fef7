"""Videos, images and thumbnails have the same colours in a browser (docs/decisions/0047)."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from browser import Browser
from numpy.typing import NDArray
from PIL import Image

from executors import credentials, media
from executors.provenance import Seal
from state.catalog import MP4, PNG, PREMIUM_SIZES, WAN_SIZES, WEBP

Colour = tuple[int, int, int]

PATCH, EDGE = 32, 4  # pixels; those at a patch's edge mix with its neighbours, because they share chroma samples
COLOURS: list[Colour] = [
    *((220, 30, 30), (30, 220, 30), (30, 30, 220), (10, 120, 200), (200, 10, 180), (90, 60, 40), (240, 200, 160), (16, 16, 16)),
    *product((0, 128, 255), repeat=3),
]
TINY = (64, 96)  # about the size of tiny models' outputs


def patches(size: tuple[int, int]) -> tuple[Image.Image, dict[tuple[int, int], Colour]]:
    """An image of flat patches, and the colour at each position."""
    picture = Image.new("RGB", size)
    corners = product(range(0, size[1] - PATCH + 1, PATCH), range(0, size[0] - PATCH + 1, PATCH))
    places = {(x, y): COLOURS[n % len(COLOURS)] for n, (y, x) in enumerate(corners)}
    for (x, y), colour in places.items():
        picture.paste(colour, (x, y, x + PATCH, y + PATCH))
    return picture, places


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of sRGB values from 0 to 255 (IEC 61966-2-1, CIE 15)."""
    linear = np.where(rgb <= 0.04045 * 255, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def farthest(shown: Image.Image, places: dict[tuple[int, int], Colour]) -> tuple[float, Colour]:
    """The patch farthest from its colour: mean ΔE*ab (CIE 1976) of its pixels, and the colour."""
    pixels, found = lab(np.asarray(shown, float)), []
    for (x, y), colour in places.items():
        inside = pixels[y + EDGE : y + PATCH - EDGE, x + EDGE : x + PATCH - EDGE]
        found.append((float(np.linalg.norm(inside - lab(np.array(colour, float)), axis=-1).mean()), colour))
    return max(found)


@pytest.fixture(scope="module")
def seal(tmp_path_factory: pytest.TempPathFactory) -> Seal:
    return Seal(credentials.find(tmp_path_factory.mktemp("home"), None, None))


@pytest.mark.parametrize("size", [*WAN_SIZES, TINY], ids=str)
def test_a_browser_shows_a_video_in_its_images_colours(size: tuple[int, int], browser: Browser, seal: Seal, tmp_path: Path) -> None:
    picture, places = patches(size)
    film, still = tmp_path / "0.mp4", tmp_path / "0.png"
    media.encode_mp4([picture] * 5, 16, film, {})
    still.write_bytes(media.encode_png(picture, {}))
    for file, kind in ((film, MP4), (still, PNG)):
        seal.put(file, kind, {})  # as published
    assert farthest(browser.shown(still, PNG, size), places)[0] < 0.01
    assert farthest(browser.shown(film, MP4, size), places) < (2.0,)


@pytest.mark.parametrize("size", [*PREMIUM_SIZES, *WAN_SIZES], ids=str)
def test_a_browser_shows_a_thumbnail_in_its_images_colours(size: tuple[int, int], browser: Browser, tmp_path: Path) -> None:
    scale = max(size) / media.THUMBNAIL
    small = round(size[0] / scale), round(size[1] / scale)
    picture, places = patches(small)
    (tmp_path / "0.webp").write_bytes(media.encode_webp_thumbnail(picture.resize(size, Image.Resampling.NEAREST)))
    assert farthest(browser.shown(tmp_path / "0.webp", WEBP, small), places) < (2.0,)


def test_a_video_declares_its_colours_in_stream_and_container(seal: Seal, tmp_path: Path) -> None:
    film, bare = tmp_path / "0.mp4", tmp_path / "0.h264"
    media.encode_mp4([patches(TINY)[0]] * 5, 16, film, {})
    seal.put(film, MP4, {})  # rewrites the container
    assert media.probe_mp4(film).colour == media.COLOUR == (1, 13, 6, 1)
    # ISO/IEC 14496-12, §12.1.5: size, `colr`, `nclx`, primaries, transfer, matrix (16 bits each), a bit set for full range.
    assert b"\0\0\0\x13colrnclx" + bytes([0, 1, 0, 13, 0, 6, 0]) in film.read_bytes()
    with av.open(str(film)) as packed, av.open(str(bare), "w", format="h264") as stream:
        copied = stream.add_stream_from_template(packed.streams.video[0])
        for packet in packed.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                stream.mux(packet)
    with av.open(str(bare)) as stream:  # the stream's own header, without a container
        frame = next(stream.decode(video=0))
        assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == media.COLOUR


def test_the_image_screen_gets_a_videos_pixels(tmp_path: Path) -> None:
    picture, places = patches(WAN_SIZES[0])
    media.encode_mp4([picture] * 5, 16, tmp_path / "0.mp4", {})
    with (tmp_path / "0.mp4").open("rb") as file:
        (seen,) = media.frames_at(file, [2])
    assert farthest(seen, places) < (2.0,)
