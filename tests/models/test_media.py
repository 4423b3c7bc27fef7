"""Output files: playable in a browser and traceable to their job."""

from __future__ import annotations

import io
import resource
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from executors.errors import DiskFull
from executors.media import AI_MADE, encode_mp4, encode_png, encode_webp_thumbnail, middle_frame, probe_mp4, probe_png

INFO = {"job_id": "3f0c", "seed": "4294967295", "model": "wan2.1-t2v-1.3b", "prompt": "zwei Tänzer 😀, “night”"}


def noise(seed: int, size: tuple[int, int] = (48, 80)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def grey_clip(count: int, size: tuple[int, int] = (48, 80)) -> list[Image.Image]:
    """Each frame a little lighter than the previous one, so that order and loss are visible."""
    return [Image.new("RGB", size, (20 + 2 * number,) * 3) for number in range(count)]


def test_a_png_has_exact_pixels_parameters_and_the_ai_mark() -> None:
    image = noise(1)
    data = encode_png(image, INFO)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(image))
    facts = probe_png(data)
    assert (facts.width, facts.height, facts.ai_made) == (48, 80, True)
    assert INFO.items() <= facts.text.items()
    assert Image.open(io.BytesIO(data)).info["srgb"] == 0, "its colours are said, as a film's are"
    assert b"XML:com.adobe.xmp" in data and AI_MADE.encode() in data  # uncompressed, so that any tool finds it


def test_a_png_without_the_mark_does_not_count_as_ai_made() -> None:
    plain = io.BytesIO()
    noise(1).save(plain, "PNG")
    assert not probe_png(plain.getvalue()).ai_made


@pytest.mark.parametrize(
    ("size", "thumbnail"), [((1024, 1024), (256, 256)), ((480, 832), (148, 256)), ((832, 480), (256, 148)), ((48, 80), (48, 80))]
)
def test_a_thumbnail_keeps_its_proportions_and_is_never_enlarged(size: tuple[int, int], thumbnail: tuple[int, int]) -> None:
    made = Image.open(io.BytesIO(encode_webp_thumbnail(noise(1, size))))
    assert (made.format, made.size) == ("WEBP", thumbnail)


def test_a_video_plays_five_seconds_at_exactly_16_frames_a_second(tmp_path: Path) -> None:
    path = tmp_path / "0.mp4"
    encode_mp4(grey_clip(81), 16, path, INFO)
    facts = probe_mp4(path)
    assert (facts.width, facts.height, facts.frames, facts.fps) == (48, 80, 81, 16)
    assert (facts.codec, facts.pix_fmt) == ("h264", "yuv420p")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(81, 16)
        times = [frame.pts * frame.time_base for frame in file.decode(stream)]
    assert times == [Fraction(number, 16) for number in range(81)]


def test_a_video_shows_its_frames_in_order(tmp_path: Path) -> None:
    clip = grey_clip(41)
    encode_mp4(clip, 16, tmp_path / "0.mp4", {})
    with av.open(str(tmp_path / "0.mp4")) as file:
        levels = [frame.to_ndarray(format="rgb24").mean() for frame in file.decode(video=0)]
    assert levels == pytest.approx([np.asarray(frame).mean() for frame in clip], abs=3)  # yuv420p rounds


def test_a_video_is_faststart(tmp_path: Path) -> None:
    encode_mp4([noise(number) for number in range(9)], 16, tmp_path / "fast.mp4", {})
    assert probe_mp4(tmp_path / "fast.mp4").faststart
    with av.open(str(tmp_path / "slow.mp4"), "w") as file:  # the same without the flag is detected
        stream = file.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 48, 80, "yuv420p"
        for number in range(9):
            file.mux(stream.encode(av.VideoFrame.from_image(noise(number))))
        file.mux(stream.encode())
    assert not probe_mp4(tmp_path / "slow.mp4").faststart


def test_a_video_has_its_parameters_and_the_ai_mark(tmp_path: Path) -> None:
    encode_mp4(grey_clip(9), 16, tmp_path / "0.mp4", INFO)
    facts = probe_mp4(tmp_path / "0.mp4")
    assert INFO.items() <= facts.tags.items()
    assert facts.ai_made
    assert INFO["job_id"] in facts.tags["comment"]  # the one tag that every player shows
    assert AI_MADE.encode() in (tmp_path / "0.mp4").read_bytes()


@pytest.mark.parametrize(
    "frames",
    [[], [noise(1, (49, 80))], [noise(1, (48, 81))], [noise(1), noise(2, (80, 48))]],
    ids=["none", "odd width", "odd height", "mixed"],
)
def test_invalid_frames_are_refused_and_leave_no_file(tmp_path: Path, frames: list[Image.Image]) -> None:
    with pytest.raises(ValueError, match=r"frame|sizes"):
        encode_mp4(frames, 16, tmp_path / "0.mp4", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [1000, 60_000], ids=["at the start", "in the middle"])
def test_a_full_disk_is_reported_and_leaves_no_partial_file(tmp_path: Path, room: int) -> None:
    clip = [noise(number) for number in range(81)]  # 160 kB, because noise does not compress
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(DiskFull, match=r"0\.mp4"):
            encode_mp4(clip, 16, tmp_path / "0.mp4", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_videos_thumbnail_is_its_middle_frame() -> None:
    clip = grey_clip(81)
    assert middle_frame(clip) is clip[40]
