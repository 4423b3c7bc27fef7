"""`ourvidz models plan`: compute the residency of models on a GPU, without a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from ourvidz.cli import formatting, options, out

EXAMPLES = ("ourvidz models plan --vram 48GB", "ourvidz models plan --vram 24GB --json | jq '.jobs[] | select(.fits != \"yes\")'")
FITS = {"yes": ("✓ yes", "green"), "smaller": ("~ in tiles", "yellow"), "no": ("✗ no", "red")}


def plan(
    vram: Annotated[str | None, typer.Option("--vram", metavar="SIZE", help="The card's memory: 48GB, 24GiB. Else the budget's.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show which model components fit on a GPU together, what each kind of job needs, and what it costs to change from one to another.

    Sizes are counted from the files' headers where the real models are there, else stated: tiny models stand in for real ones, and are not
    counted. Nothing is loaded, and no GPU is needed.
    """
    from ourvidz.cli import executor
    from ourvidz.config import config, parse_bytes

    settings = config()  # outside the try: errors in the environment are not --vram's
    try:
        card = None if vram is None else parse_bytes(vram)
        told = executor.found().plan_models(settings, card)
    except ValueError as error:
        raise out.Problem(f"--vram: {error}", 2) from error
    if as_json:
        out.emit(told)
        return
    _budget(told)
    _components(told)
    _jobs(told["jobs"])
    _switches(told)
    _together(told)


def _budget(told: Mapping[str, Any]) -> None:
    on = f"A card of {formatting.size(told['vram'])}" if told["vram"] else "A card"
    rest = formatting.size(told["all"])
    out.say(f"{on}: {formatting.size(told['budget'])} for weights and working room. All the weights together are {rest}.", "bold")
    if told["all"] > told["budget"]:
        out.say("They take turns: each stage of a job holds what it needs, and what is least worth keeping goes for it.", "dim")


def _components(told: Mapping[str, Any]) -> None:
    out.heading("Components")
    rows = []
    for part in told["components"]:
        shared = f"{formatting.size(part['shared'])} of it are wan.t2v's" if part["shared"] else ""
        source = "counted" if part["counted"] else "stated"
        rows.append([out.cell(part["name"]), out.cell(part["what"]), out.cell(part["precision"]), size(part["bytes"]),
                     out.cell(source, "" if part["counted"] else "dim"), out.cell(shared, "dim")])  # fmt: skip
    out.table(("component", "what", "precision", "bytes", "size is", ""), rows, right=("bytes",))
    if not all(part["counted"] for part in told["components"]):
        out.say("Stated sizes are the real models'; they are counted once the files are under OURVIDZ_MODELS.", "dim")


def _jobs(jobs: Iterable[Mapping[str, Any]]) -> None:
    """One line for all job types with the same needs."""
    out.heading("What a job holds at once, at its widest stage")
    groups: dict[tuple[Any, ...], list[str]] = {}
    for job in jobs:
        widest = max(job["stages"], key=lambda stage: stage["weights"] + stage["working"])
        room = max(stage["working"] for stage in job["stages"])
        key = (job["reference"], widest["stage"], widest["weights"], widest["working"], job["most"], room, job["fits"])
        groups.setdefault(key, []).append(job["job_type"])
    rows = []
    for (reference, stage, weights, working, most, room, fits), names in groups.items():
        mark, style = FITS[fits]
        rows.append([out.cell(_short(names)), out.cell("picture" if reference else "", "dim"), out.cell(stage), size(weights),
                     size(working), size(most), size(room), out.Cell(mark, fits, style)])  # fmt: skip
    right = ("weights", "room", "at once", "most room")
    out.table(("job types", "with", "widest", "weights", "room", "at once", "most room", "fits"), rows, right=right, folds=("job types",))


def _short(names: list[str]) -> str:
    """Shorten sdxl_image_fast and sdxl_image_high to `sdxl_image_fast, …high`."""
    first, shown = names[0], [names[0]]
    stem = first.rpartition("_fast")[0] + "_" if "_fast" in first else "\0"
    shown += [f"…{name.removeprefix(stem)}" if name.startswith(stem) else name for name in names[1:]]
    return ", ".join(shown)


def _switches(told: Mapping[str, Any]) -> None:
    link = f"{told['link'] / 1e9:.0f} GB/s"
    out.heading(f"Changing from one kind of job to another, over a link of {link}")
    rows, free = [], 0
    for switch in told["switches"]:
        free += not switch["bytes"]
        if switch["bytes"]:
            rows.append([out.cell(switch["from"]), out.cell(switch["to"]), size(switch["bytes"]),
                         out.lasted(switch["seconds"]), out.cell(", ".join(switch["evicted"]) or "–", "dim")])  # fmt: skip
    if rows:
        out.table(("from", "to", "copied", "takes", "goes for it"), rows, right=("copied", "takes"))
    if free:
        out.say(f"{formatting.count(free, 'other change copies', 'other changes copy')} nothing.", "dim")


def _together(told: Mapping[str, Any]) -> None:
    out.heading("On the device after each kind of job, when every kind has had its turn")
    rows = [[out.cell(row["after"]), size(row["weights"]), out.cell(", ".join(row["on_device"]))] for row in told["together"]]
    out.table(("after", "bytes", "components"), rows, right=("bytes",))


def size(count: int) -> out.Cell:
    return out.Cell(formatting.size(count), str(count))
