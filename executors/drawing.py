"""Pictures for people: neutral ones to refer to in a demo, and a sheet that shows many small ones at once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

CELL, LABEL, GAP, COLUMNS = 192, 30, 12, 6  # pixels; pictures a line


def references() -> dict[str, bytes]:
    """Neutral pictures as PNG: shapes on a gradient, and two skies for the first and the last frame."""
    shapes = _gradient((512, 512), (236, 228, 214), (168, 190, 200))
    pen = ImageDraw.Draw(shapes)
    pen.ellipse((90, 120, 290, 320), fill=(214, 140, 92))
    pen.rectangle((250, 230, 430, 410), fill=(76, 104, 128))
    pen.polygon([(150, 430), (250, 250), (350, 430)], fill=(120, 152, 112))
    pictures = {"shapes": shapes}
    for name, top, bottom, sun in (("dusk", (34, 44, 84), (224, 132, 92), 640), ("dawn", (122, 164, 208), (246, 214, 170), 300)):
        sky = _gradient((480, 832), top, bottom)
        ImageDraw.Draw(sky).ellipse((190, sun - 50, 290, sun + 50), fill=(252, 226, 168))
        pictures[name] = sky
    return {name: _png(picture) for name, picture in pictures.items()}


def _gradient(size: tuple[int, int], top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Image.Image:
    column = Image.new("RGB", (1, size[1]))
    for y in range(size[1]):
        share = y / (size[1] - 1)
        column.putpixel((0, y), tuple(round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True)))
    return column.resize(size)


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def contact_sheet(cells: Sequence[tuple[str, Path]]) -> Image.Image:
    """Every picture (of a video the frame that its thumbnail shows) in a grid, its job's name beneath."""
    lines = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (CELL + GAP) + GAP, lines * (CELL + LABEL + GAP) + GAP), (248, 247, 244))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, (title, file) in enumerate(cells):
        x, y = GAP + place % COLUMNS * (CELL + GAP), GAP + place // COLUMNS * (CELL + LABEL + GAP)
        with Image.open(file) as picture:
            fitted = ImageOps.contain(picture.convert("RGB"), (CELL, CELL))
        sheet.paste(fitted, (x + (CELL - fitted.width) // 2, y + (CELL - fitted.height) // 2))
        name, _, note = title.partition(" (")
        pen.text((x + CELL // 2, y + CELL + 2), name, font=font, fill=(40, 40, 40), anchor="ma")
        pen.text((x + CELL // 2, y + CELL + 16), note.rstrip(")"), font=font, fill=(130, 130, 130), anchor="ma")
    return sheet
