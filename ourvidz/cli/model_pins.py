"""`ourvidz models pin`: record the SHA-256 of trusted model files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ourvidz import account
from ourvidz.cli import formatting, options, out

EXAMPLES = ("ourvidz models pin", "ourvidz models pin sdxl", "ourvidz models pin --screen", "ourvidz models pin --accept")


def pin(
    roles: Annotated[list[str] | None, typer.Argument(metavar="[ROLE]...", help="Only these: sdxl, ip_adapter, wan, vace, qwen.")] = None,
    screen: Annotated[bool, typer.Option("--screen", help="The image screen's folder (OURVIDZ_IMAGE_SCREEN_MODEL) instead.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Take manifest.json as it is, though it is not the one accepted here.")] = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Another folder than the environment's.")] = None,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Pin files that you put into the model folder yourself. Nothing is loaded that is not pinned, or is not what its pin says.

    Look at where they come from first: whoever could put a file there decides what is pinned. A file that is pinned already is not pinned
    again, so what was changed stays refused: `ourvidz models pull ROLE --deep` fetches it again.
    """
    from ourvidz.cli import executor
    from ourvidz.config import config

    where = to or (config().ourvidz_image_screen_model if screen else config().models)
    if where is None:
        raise out.Problem("Name the image screen's folder: OURVIDZ_IMAGE_SCREEN_MODEL, or --to.", 2)
    root, executors = account.folder(where), executor.found()
    if accept:
        out.confirm(f"Take the pins of {root}/manifest.json as they are now?", yes=yes)
        executors.accept_pins(root)
        if screen or not roles:
            return out.say(f"{root}/manifest.json is accepted on this machine.", "green")
    out.confirm(
        f"Pin the files in {root} that are not pinned yet?" if not screen else f"Pin the files in {root}, as they are now?", yes=yes
    )
    pins: dict[str, Any] = executors.pin_screen(root) if screen else executors.pin_models(root, roles or ())
    if as_json:
        return out.emit({"folder": str(root), "files": pins})
    out.table(
        ("file", "bytes", "sha256"),
        [
            [out.cell(name), out.Cell(formatting.size(pin["bytes"]), str(pin["bytes"])), out.cell(pin["sha256"])]
            for name, pin in pins.items()
        ],
        right=("bytes",),
    )
    if not pins:
        out.say("There is nothing to pin that is not pinned.", "dim")
