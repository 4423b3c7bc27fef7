"""Contact sheet of many jobs: each job's pictures with the prompt below, a video as a strip of five frames.

Thumbnails of the job's reference pictures stand next to the prompt.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from ourvidz.contact_sheet import Cell

WIDTH, MARGIN, GAP = 1280, 32, 20  # pixels
COLUMNS, STRIPS, FRAMES = 6, 2, 5  # pictures per line, videos per line, frames per video
FILM_GAP, GIVEN = 4, 44  # gap between frames; height of a reference picture
PAPER, INK, GREY, EDGE = (250, 249, 246), (34, 34, 34), (128, 128, 128), (222, 220, 214)
GIVEN_NOTE = "small, beside a prompt: the pictures that its job was given"
LINE = {13: 17, 11: 14, 22: 32}  # font size → line height

Block = tuple[int, Callable[[Image.Image, int, int], None]]  # height, and a function that paints it at (x, y)


def drawn(cells: Sequence[Cell]) -> Image.Image:
    """Draw the sheet: single pictures first, then batches, then videos, each in the order given."""
    films = [cell for cell in cells if cell.files[0].suffix == ".mp4"]
    stills = [cell for cell in cells if cell not in films]
    parts = (
        ("Pictures", [cell for cell in stills if len(cell.files) == 1], COLUMNS),
        ("Batches", [cell for cell in stills if len(cell.files) > 1], 1),
        (f"Films: {FRAMES} frames of each, from its first to its last", films, STRIPS),
    )
    lines: list[Block] = []
    for heading, those, columns in parts:
        if not those:
            continue
        lines.append((LINE[22] + 6, _heading(heading, GIVEN_NOTE if any(cell.references for cell in those) else "")))
        wide = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns
        blocks = [_cell(cell, wide) for cell in those]
        for at in range(0, len(blocks), columns):
            lines.append(_beside(blocks[at : at + columns], wide))
    sheet = Image.new("RGB", (WIDTH, 2 * MARGIN + sum(height for height, _ in lines)), PAPER)
    y = MARGIN
    for height, paint in lines:
        paint(sheet, MARGIN, y)
        y += height
    return sheet


def _heading(text: str, note: str) -> Callable[[Image.Image, int, int], None]:
    def paint(sheet: Image.Image, x: int, y: int) -> None:
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
        pen.text((x, y), text, font=font, fill=INK)
        pen.text((x + font.getlength(text) + 14, y + 9), note, font=ImageFont.load_default(11), fill=GREY)

    return paint


def _beside(blocks: Sequence[Block], wide: int) -> Block:
    def paint(sheet: Image.Image, x: int, y: int) -> None:
        for place, (_, each) in enumerate(blocks):
            each(sheet, x + place * (wide + GAP), y)

    return max(height for height, _ in blocks) + GAP, paint


def _cell(cell: Cell, wide: int) -> Block:
    pictures = _pictures(cell.files)
    each = (wide - (len(pictures) - 1) * FILM_GAP) // len(pictures)
    shape = (each, each if cell.files[0].suffix != ".mp4" else max(each * p.height // p.width for p in pictures))
    fitted = [ImageOps.contain(picture, shape, Image.Resampling.BICUBIC) for picture in pictures]
    given = [ImageOps.contain(Image.open(io.BytesIO(data)).convert("RGB"), (2 * GIVEN, GIVEN)) for data in cell.references]
    indent = sum(picture.width + 6 for picture in given)
    lines = [(line, 13, INK) for line in _wrapped(cell.prompt, 13, wide - indent)]
    if cell.enhanced:
        lines += [(line, 11, GREY) for line in _wrapped(f"enhanced: {cell.enhanced}", 11, wide - indent)]
    lines += [(line, 11, GREY) for line in _wrapped(cell.title, 11, wide - indent)]
    height = shape[1] + 8 + max(sum(LINE[size] for _, size, _ in lines), GIVEN if given else 0)

    def paint(sheet: Image.Image, x: int, y: int) -> None:
        pen = ImageDraw.Draw(sheet)
        for place, picture in enumerate(fitted):
            at = (x + place * (each + FILM_GAP) + (each - picture.width) // 2, y + (shape[1] - picture.height) // 2)
            sheet.paste(picture, at)
            pen.rectangle((at[0] - 1, at[1] - 1, at[0] + picture.width, at[1] + picture.height), outline=EDGE)
        y += shape[1] + 8
        left = x
        for picture in given:
            sheet.paste(picture, (left, y + 2))
            pen.rectangle((left - 1, y + 1, left + picture.width, y + 2 + picture.height), outline=EDGE)
            left += picture.width + 6
        for text, size, colour in lines:
            pen.text((left, y), text, font=ImageFont.load_default(size), fill=colour)
            y += LINE[size]

    return height, paint


def _pictures(files: Sequence[Path]) -> list[Image.Image]:
    if files[0].suffix != ".mp4":
        return [Image.open(file).convert("RGB") for file in files]
    with av.open(str(files[0])) as video:
        frames = list(video.decode(video=0))
    return [frames[round((len(frames) - 1) * n / (FRAMES - 1))].to_image() for n in range(FRAMES)]


def _wrapped(text: str, size: int, wide: int) -> list[str]:
    font, lines = ImageFont.load_default(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > wide:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
