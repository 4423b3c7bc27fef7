"""The demo requests what the tiny models were trained on, and its sheet shows the results."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
from judge import right
from PIL import Image

from executors import contact_sheet, demo_references, media
from executors.contact_sheet import FILM_GAP, FRAMES, GAP, MARGIN, STRIPS, WIDTH
from executors.models.tiny import EXAMPLE
from ourvidz.cli.demo_jobs import wishes
from ourvidz.contact_sheet import Cell
from state.catalog import JOB_TYPES
from tools.teach.asking import known_words
from tools.teach.scenes import COLOURS, Scene, arrange, paint

SIZE = (128, 128)


def test_demo_prompts_use_only_trained_words() -> None:
    said = {word for wish in wishes() for word in wish.prompt.lower().replace(",", "").split()}
    assert said | set(EXAMPLE.split()) <= known_words()
    assert {wish.job_type for wish in wishes()} == set(JOB_TYPES)


def test_demo_references_show_trained_scenes() -> None:
    assert demo_references.COLOURS.items() <= COLOURS.items()
    scenes = {
        "red circle": Scene("red", "circle", "blue"),
        "green ground": Scene("black", "circle", "green"),
        "at the right": Scene("black", "circle", "white", place="right"),
        "purple triangle": Scene("purple", "triangle", "white"),
        "begin": Scene("red", "circle", "blue", place="left"),
        "end": Scene("red", "circle", "blue", place="right"),
    }
    assert scenes.keys() == demo_references.references().keys() >= {name for wish in wishes() for name in wish.references.values()}
    for name, data in demo_references.references().items():
        with Image.open(io.BytesIO(data)) as picture:
            assert right(picture.convert("RGB"), scenes[name])["all"], name


def test_the_sheet_shows_each_image_and_five_frames_of_a_video(tmp_path: Path) -> None:
    rng, still = random.Random(1), Scene("red", "circle", "blue")
    Image.fromarray(paint(still, arrange(still, SIZE, rng), SIZE).astype(np.uint8)).save(tmp_path / "still.png")
    shades = [np.full((48, 80, 3), 10 * n, np.uint8) for n in range(21)]
    media.encode_mp4([Image.fromarray(shade) for shade in shades], 16, tmp_path / "film.mp4", {})
    cells = [Cell("sdxl_image_fast", EXAMPLE, "", (tmp_path / "still.png",)), Cell("video_fast", EXAMPLE, "", (tmp_path / "film.mp4",))]
    sheet = np.asarray(contact_sheet.drawn(cells)).astype(int)

    blue = np.argwhere((np.abs(sheet - COLOURS["blue"]) < 4).all(-1))
    (top, left), (bottom, right_edge) = blue.min(0), blue.max(0)
    assert right(sheet[top : bottom + 1, left : right_edge + 1].astype(np.uint8), still)["all"]

    wide = (WIDTH - 2 * MARGIN - (STRIPS - 1) * GAP) // STRIPS
    each = (wide - (FRAMES - 1) * FILM_GAP) // FRAMES
    centres = [MARGIN + n * (each + FILM_GAP) + each // 2 for n in range(FRAMES)]
    wanted = np.array([10 * n for n in (0, 5, 10, 15, 20)])
    assert (np.abs(sheet[:, centres, 0] - wanted) < 6).all(1).sum() > 50  # this many lines of the sheet show all five in order


def test_two_sheets_differ_only_by_their_prompts(tmp_path: Path) -> None:
    Image.new("RGB", SIZE, (30, 60, 220)).save(tmp_path / "one.png")
    one, other = (contact_sheet.drawn([Cell("image_fast", text, "", (tmp_path / "one.png",))]) for text in (EXAMPLE, "two white squares"))
    assert one.tobytes() != other.tobytes()
