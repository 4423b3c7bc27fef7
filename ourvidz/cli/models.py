"""`ourvidz models ls | verify | make-tiny`; pull and convert are in `model_files`, plan in `model_plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ourvidz import account
from ourvidz.cli import formatting, model_files, model_pins, model_plan, options, out
from ourvidz.cli.help import Sections, about


def add(app: typer.Typer, panel: str) -> None:
    models = typer.Typer(cls=Sections, rich_markup_mode=None, help="The model files: what is there, and is it right.")
    models.command("ls", **about("ourvidz models ls", "ourvidz models ls --json"))(ls)
    models.command("verify", **about("ourvidz models verify", "ourvidz models verify --deep"))(verify)
    models.command("pin", **about(*model_pins.EXAMPLES))(model_pins.pin)
    models.command("make-tiny", **about("ourvidz models make-tiny", "ourvidz models make-tiny --random --to /tmp/models"))(make_tiny)
    models.command("pull", **about(*model_files.EXAMPLES["pull"]))(model_files.pull)
    models.command("convert", **about(*model_files.EXAMPLES["convert"]))(model_files.convert)
    models.command("plan", **about(*model_plan.EXAMPLES))(model_plan.plan)
    app.add_typer(models, name="models", rich_help_panel=panel)


def ls(as_json: options.Json = False) -> None:
    """List the roles, and which files fill them."""
    _show(False, as_json, explain=False)


def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Hash every file too: about a second for each gigabyte.")] = False,
    as_json: options.Json = False,
) -> None:
    """Check the files against their pins, and their tensors against their configs; exit 1 when a role that is there is not in order."""
    roles = _show(deep, as_json, explain=True)
    if any(not role["ok"] for role in roles):
        raise typer.Exit(1)
    if not as_json and not all(role["tiny"] for role in roles):
        _say_what_is_not_converted()


def _say_what_is_not_converted() -> None:
    from ourvidz.cli import executor
    from ourvidz.config import config

    missing = [made["name"] for made in executor.found().conversions(config().models) if made["state"] == "missing"]
    if missing:
        out.say(f"Not converted yet: {', '.join(missing)}. `ourvidz models convert` makes them load faster.", "dim")


def _show(deep: bool, as_json: bool, *, explain: bool) -> list[dict[str, Any]]:
    from ourvidz.cli import executor
    from ourvidz.config import config

    roles = executor.found().check_models(config().models, deep=deep, structure=explain)
    if as_json:
        out.emit(roles)
        return roles
    out.table(("role", "state", "kind", "bytes", "where"), [_line(role) for role in roles], right=("bytes",))
    if explain:
        for role in roles:
            for problem in role["problems"]:
                out.say(f"  {role['role']}: {problem}", "yellow")
            for note in role["notes"]:
                out.say(f"  {role['role']}: {note}.", "dim")
        if not executor.found().can_compare():
            out.say("Names and shapes of tensors were not compared: that needs the extra `models`.", "dim")
    if all(not role["bytes"] for role in roles) and config().tiny:
        out.say("There are none yet. `ourvidz demo` and `ourvidz worker` make tiny ones by themselves.", "dim")
    return roles


def _line(role: dict[str, Any]) -> list[out.Cell]:
    there = role["bytes"] > 0
    state = out.Cell("✗ wrong", "wrong", "red") if there else out.Cell("– missing", "missing", "dim")
    if role["ok"]:
        state = out.Cell("✓ ok", "ok", "green")
    kind = ("tiny, taught" if role["taught"] else "tiny, random" if role["tiny"] else "real") if there else ""
    size = out.Cell(formatting.size(role["bytes"]), str(role["bytes"]))
    return [out.cell(role["role"]), state, out.cell(kind), size, out.cell(role["path"], "dim")]


def make_tiny(
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Where; else the tiny models' folder of this home.")] = None,
    random: Annotated[bool, typer.Option("--random", help="With random weights throughout: their pictures are noise.")] = False,
) -> None:
    """Make small models in the real formats, a few megabytes each, to try everything without a GPU.

    They were taught to draw coloured shapes, which is all that they know. The models of an earlier call are replaced where they differ.
    """
    from ourvidz.cli import executor
    from ourvidz.config import config

    root = account.folder(to) if to else config().models
    if to is None and not config().tiny:
        raise out.Problem(f"OURVIDZ_MODELS is set ({root}): tiny models are not written among real ones. Name another folder with --to.", 2)
    said = executor.able("Making tiny models").make_tiny(root, lambda line: out.say(line, "dim"), random=random)
    out.say(said, "dim")
    print(root)
