"""`ourvidz models pin`: write down by SHA-256 which files are the right ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ourvidz.cli import options, out, words

EXAMPLES = ("ourvidz models pin --screen", "ourvidz models pin --screen --folder /models/classifier --yes")


def pin(
    screen: Annotated[bool, typer.Option("--screen", help="The image screen's folder (OURVIDZ_IMAGE_SCREEN_MODEL).")] = False,
    folder: Annotated[Path | None, typer.Option("--folder", metavar="DIR", help="Another folder than the environment's.")] = None,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Pin the files that lie in a model folder now. From then on nothing else is loaded from it.

    Look at where they come from first: whoever could put a file there decides what is pinned.
    """
    from ourvidz.cli import executor
    from ourvidz.config import config

    if not screen:
        raise out.Problem("Say what to pin: --screen.", 2)
    where = folder or config().ourvidz_image_screen_model
    if where is None:
        raise out.Problem("Name the image screen's folder: OURVIDZ_IMAGE_SCREEN_MODEL, or --folder.", 2)
    root = where.expanduser().absolute()
    out.confirm(f"Pin the files in {root}, as they are now?", yes=yes)
    pins = executor.found().pin_screen(root)
    if as_json:
        return out.emit({"folder": str(root), "files": pins})
    out.table(
        ("file", "bytes", "sha256"),
        [[out.cell(name), out.Cell(words.size(pin["bytes"]), str(pin["bytes"])), out.cell(pin["sha256"])] for name, pin in pins.items()],
        right=("bytes",),
    )
