"""Encode pixels into files: PNG, MP4, WebP thumbnails. Runs off the device thread; needs no torch.

Every PNG and MP4 carries the job's parameters and a mark that it was made by AI: IPTC's digital source type `trainedAlgorithmicMedia`
(https://cv.iptc.org/newscodes/digitalsourcetype/), in PNG as XMP, in MP4 as tags. Each declares its colour space too: models make sRGB,
and a viewer that has to guess shows a video in other colours than its picture (docs/decisions/0047).
"""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from executors.errors import DiskFull

AI_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
AI_TAG = "digital_source_type"  # the MP4 tag that holds AI_MADE
XMP_KEY = "XML:com.adobe.xmp"  # the PNG keyword for XMP (Adobe, XMP specification part 3, §1.1.5)
THUMBNAIL = 256  # pixels, the longest side

SMPTE_170M = 6  # BT.601's matrix in ITU-T H.273; PyAV uses swscale's numbers, in which it is ITU601
COLOUR = (int(ColorPrimaries.BT709), int(ColorTrc.IEC61966_2_1), SMPTE_170M, int(ColorRange.MPEG))
"""A video's colour description (H.273): sRGB's primaries and transfer, and the matrix and range that `encode_mp4` converts with.

Browsers without a GPU convert in integers, in which BT.709's factor for blue (2.11) does not fit and becomes 2: 0,0,255 shows 12 levels
darker. BT.601's (2.02) fits. Measured in docs/decisions/0047; with a GPU both are right.
"""


def encode_png(image: Image.Image, info: dict[str, str]) -> bytes:
    """Encode `image` as PNG, tagged as sRGB, with `info` as text chunks beside the AI mark.

    Compression level 1: 0.08 s for 1024², where level 6 takes 0.31 s and is hardly smaller.
    """
    chunks = PngInfo()
    # Intent: perceptual (PNG §11.3.2.5). Without the chunk a wide-gamut screen may stretch the picture's colours, but not its video's.
    chunks.add(b"sRGB", b"\0")
    for key, value in info.items():
        # Pillow writes tEXt for Latin-1 and iTXt for the rest; keys are Latin-1, up to 79 characters (PNG §11.3.3).
        chunks.add_text(key, value)
    chunks.add_itxt(XMP_KEY, _xmp())
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1, pnginfo=chunks)
    return file.getvalue()


def encode_webp_thumbnail(image: Image.Image, size: int = THUMBNAIL) -> bytes:
    """Encode a WebP, quality 80, at most `size` pixels on its longest side, with the picture's aspect ratio.

    A smaller picture keeps its size: enlarging adds bytes and no detail.
    """
    small = image.convert("RGB")
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=80)
    return file.getvalue()


def encode_mp4(frames: Sequence[Image.Image], fps: int, path: Path, info: dict[str, str]) -> None:
    """Encode `frames` (RGB, all of one even size) as H.264 in MP4 at exactly `fps`, atomically.

    libx264 veryfast takes 1.8 s for 81 frames of 480×832 on two cores. yuv420p, because browsers play nothing else; hence the even sizes.
    The index comes first (faststart), so that playback starts before the download ends. Raises `ValueError` for frames of wrong sizes,
    `DiskFull`.
    """
    width, height = _common_size(frames)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.mp4")
    try:
        options = {
            "movflags": "+faststart+use_metadata_tags",
            "movie_timescale": str(1000 * fps),  # the default is milliseconds, which cannot represent 81/16 s
        }
        with _disk(path), av.open(str(aside), "w", format="mp4", options=options) as file:
            file.metadata.update({**info, "comment": json.dumps(info, sort_keys=True, ensure_ascii=False), AI_TAG: AI_MADE})
            stream = file.add_stream("libx264", rate=fps, options={"preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            context = stream.codec_context
            context.time_base = Fraction(1, fps)
            # Written to the stream's header (VUI) and, by the muxer, to the container's `colr` box.
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = COLOUR
            for number, image in enumerate(frames):
                frame = _converted(av.VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), format="rgb24"))
                frame.pts, frame.time_base = number, Fraction(1, fps)
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _converted(frame: av.VideoFrame) -> av.VideoFrame:
    """Convert `frame` (rgb24) to the colour space of `COLOUR`. Rounds to nearest, and averages chroma over four pixels: swscale's default
    is off by up to one level of 256 (docs/decisions/0047)."""
    return frame.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU601,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
    )


def middle_frame(frames: Sequence[Image.Image]) -> Image.Image:
    """Return the frame for a video's thumbnail: neither the first, often a reference, nor the last."""
    return frames[len(frames) // 2]


def frames_at(file: BinaryIO, wanted: Sequence[int]) -> list[Image.Image]:
    """Return these frames of a video; `wanted` is ascending. Raises `av.FFmpegError`, and `ValueError` when it has fewer."""
    found: list[Image.Image] = []
    with av.open(file, mode="r") as video:
        for number, frame in enumerate(video.decode(video=0)):
            if number in wanted:
                found.append(frame.to_image())
    if len(found) < len(wanted):
        raise ValueError(f"a video ends before frame {wanted[len(found)]}")
    return found


def _common_size(frames: Sequence[Image.Image]) -> tuple[int, int]:
    if not frames:
        raise ValueError("a video needs at least one frame")
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        raise ValueError(f"the frames of a video have one size, not {len(sizes)}: {sorted(sizes)[:3]}")
    width, height = sizes.pop()
    if width % 2 or height % 2:
        raise ValueError(f"H.264 in yuv420p needs even sizes, not {width}×{height}")
    return width, height


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # PyAV's errors derive from OSError too, with the same numbers
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # full disk, quota, the process's file size limit
            raise DiskFull(f"no room for {path.name} in {path.parent}") from error
        raise


def _xmp() -> str:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f"Iptc4xmpExt:DigitalSourceType={quoteattr(AI_MADE)}/></rdf:RDF></x:xmpmeta>"
    )


# Inspecting files: for tests, and for `ourvidz doctor`.


@dataclass(frozen=True)
class PngFacts:
    width: int
    height: int
    text: dict[str, str]
    ai_made: bool


@dataclass(frozen=True)
class Mp4Facts:
    width: int
    height: int
    frames: int  # counted by decoding, not read from the header
    fps: Fraction
    codec: str
    pix_fmt: str
    colour: tuple[int, int, int, int]  # primaries, transfer, matrix (H.273), range (1 limited, 2 full, 0 unspecified)
    faststart: bool
    tags: dict[str, str]
    ai_made: bool


def probe_png(data: bytes) -> PngFacts:
    """Read a PNG's facts. Raises `OSError` or `SyntaxError` (Pillow's) for a file that is no complete PNG."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image.load()
        text = {key: str(value) for key, value in image.text.items()}  # type: ignore[attr-defined]  # of PngImageFile
        return PngFacts(*image.size, text, AI_MADE in text.get(XMP_KEY, ""))


def probe_mp4(path: Path) -> Mp4Facts:
    """Read an MP4's facts. Raises `av.FFmpegError` for another file."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        frames = sum(1 for _ in file.decode(stream))
        tags = dict(file.metadata)
        context = stream.codec_context
        return Mp4Facts(
            width=context.width,
            height=context.height,
            frames=frames,
            fps=stream.average_rate or Fraction(0),
            codec=context.name,
            pix_fmt=str(context.pix_fmt),
            colour=(context.color_primaries, context.color_trc, context.colorspace, context.color_range),
            faststart=_faststart(path),
            tags=tags,
            ai_made=tags.get(AI_TAG) == AI_MADE,
        )


def _faststart(path: Path) -> bool:
    """Check if the box `moov` comes before `mdat` (ISO/IEC 14496-12, §4.2: each box begins with its length and name)."""
    names = []
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, name = struct.unpack(">I4s", head)
            names.append(name)
            used = 8
            if size == 1:  # a 64-bit length follows
                (size,) = struct.unpack(">Q", file.read(8))
                used = 16
            if size == 0:  # up to the end of the file
                break
            file.seek(max(size, used) - used, os.SEEK_CUR)
    return b"moov" in names and b"mdat" in names and names.index(b"moov") < names.index(b"mdat")
