"""Draw reference pictures for the demo's jobs: shapes that the taught tiny models know (tools/teach/scenes.py)."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

COLOURS = {
    "red": (220, 30, 30), "green": (30, 170, 50), "blue": (30, 60, 220), "white": (245, 245, 245), "black": (15, 15, 15),
    "purple": (150, 40, 180),
}  # fmt: skip
FINER = 4  # supersampling factor, for soft edges
SQUARE, WIDE = (512, 512), (832, 480)


def references() -> dict[str, bytes]:
    """Return the pictures as PNG, by name."""
    pictures = {
        "red circle": shape("red", "circle", "blue", SQUARE, (0.62, 0.4)),
        "green ground": shape("black", "circle", "green", SQUARE, (0.5, 0.5)),
        "at the right": shape("black", "circle", "white", SQUARE, (0.74, 0.5)),
        "purple triangle": shape("purple", "triangle", "white", SQUARE, (0.5, 0.5)),
        "begin": shape("red", "circle", "blue", WIDE, (0.2, 0.5), 0.27),
        "end": shape("red", "circle", "blue", WIDE, (0.8, 0.5), 0.27),
    }
    return {name: _png(picture) for name, picture in pictures.items()}


def shape(colour: str, form: str, ground: str, size: tuple[int, int], centre: tuple[float, float], radius: float = 0.23) -> Image.Image:
    """Draw one shape on a background. `centre`: as fractions of `size` (width, height); `radius`: as a fraction of the shorter side."""
    width, height = (FINER * side for side in size)
    picture = Image.new("RGB", (width, height), COLOURS[ground])
    x, y, r = centre[0] * width, centre[1] * height, radius * min(width, height)
    pen = ImageDraw.Draw(picture)
    if form == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=COLOURS[colour])
    elif form == "square":
        pen.rectangle((x - 0.87 * r, y - 0.87 * r, x + 0.87 * r, y + 0.87 * r), fill=COLOURS[colour])
    else:  # upright triangle, its sides rising 2 for 1
        pen.polygon([(x, y - 1.25 * r), (x - r, y + 0.75 * r), (x + r, y + 0.75 * r)], fill=COLOURS[colour])
    return picture.resize(size, Image.Resampling.BOX)


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
