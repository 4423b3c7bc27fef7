"""`ourvidz models pull | convert`: fetch real model files from the hub, and convert them to the format that loads fastest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz import account
from ourvidz.cli import formatting, options, out

if TYPE_CHECKING:
    from ourvidz.cli.executor import OnModelFile

EXAMPLES = {
    "pull": (
        "ourvidz models pull --dry-run",
        "ourvidz models pull --sdxl owner/repository:lustify.safetensors",
        "ourvidz models pull sdxl --sdxl ~/Downloads/lustify.safetensors --sdxl-sha256 4f2c…",
        "ourvidz models pull wan vace qwen --to /workspace/models",
    ),
    "convert": ("ourvidz models convert", "ourvidz models convert --prune", "ourvidz models convert --dry-run --json"),
}
To = Annotated[Path | None, typer.Option("--to", metavar="DIR", help="The model folder; else OURVIDZ_MODELS.")]


def pull(
    roles: Annotated[list[str] | None, typer.Argument(metavar="[ROLE]...", help="Only these: sdxl, ip_adapter, wan, vace, qwen.")] = None,
    sdxl: Annotated[
        str | None, typer.Option("--sdxl", metavar="WHERE", help="SDXL's weights: owner/repository:FILE of the hub, a URL, or a file here.")
    ] = None,
    sdxl_sha256: Annotated[str, typer.Option("--sdxl-sha256", metavar="HEX", help="What they must hash to, as their page says.")] = "",
    to: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, how much, and to where.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Accept what has changed at its source since it was first pulled.")] = False,
    locked: Annotated[bool, typer.Option("--locked", help="Stay with the revisions of the first pull, though branches moved on.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Hash what is there already, and fetch again what is damaged.")] = False,
    sources: Annotated[Path | None, typer.Option("--sources", metavar="FILE", help="Another list of sources: of a mirror, say.")] = None,
    as_json: options.Json = False,
) -> None:
    """Fetch the real models, verify and pin them. An interrupted pull goes on where it stopped.

    SDXL's weights (LUSTIFY) are yours to name with --sdxl; all else has its source. HF_TOKEN is used where a licence asks for it.
    """
    from ourvidz.cli import executor

    if update and locked:
        raise out.Problem("--update takes new revisions and --locked refuses them: choose one.", 2)
    root, executors = _folder(to), executor.able("Fetching models", ("huggingface_hub",))
    plan = executors.plan_pull(
        root, roles=roles or (), sdxl=sdxl, sdxl_sha256=sdxl_sha256, sources=sources, update=update, locked=locked, deep=deep
    )
    told = executors.tell_pull(plan)
    if dry_run:
        _show_plan(told, as_json)
        return
    out.say(f"{_sum(told)} into {root}", "dim")
    with meter() as on_progress:
        found = executors.carry_out_pull(plan, on_progress)
    if as_json:
        out.emit({**told, "roles": found})
    _end(found, as_json, "Then `ourvidz models convert` makes them load faster.")


def convert(
    to: To = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove conversions whose source is no longer there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be converted, and how big it gets.")] = False,
    as_json: options.Json = False,
) -> None:
    """Re-save the big models once in the shape that loads fastest: UMT5 in bfloat16, SDXL as a folder. The originals stay.

    Wan as its authors publish it (.pth files) is made into the folder that is loaded. What is loaded afterwards is the same, to the bit.
    Converting again does nothing; a changed source is converted again.
    """
    from ourvidz.cli import executor
    from ourvidz.config import config

    root = account.folder(to) if to else config().models
    executors = executor.able("Converting models")
    found = executors.conversions(root) if dry_run else executors.convert_models(root, lambda line: out.say(line, "dim"), prune=prune)
    if as_json:
        out.emit(found)
        return
    style = {"made": "green", "there": "green", "missing": "yellow"}
    rows = [
        [out.cell(m["name"]), out.cell(m["state"], style.get(m["state"], "dim")), model_size(m["bytes"]), out.cell(m["path"])]
        for m in found
    ]
    out.table(("conversion", "state", "bytes", "where"), rows, right=("bytes",))
    if not found:
        out.say(f"Nothing to convert: no pinned models in {root}. `ourvidz models pull` fetches and pins them.", "dim")


def _folder(to: Path | None) -> Path:
    from ourvidz.config import config

    if to is None and config().tiny:
        raise out.Problem("Real models want a folder of their own, of some 80 GB: set OURVIDZ_MODELS, or name one with --to.", 2)
    return account.folder(to) if to else config().models


def _sum(told: dict[str, Any]) -> str:
    counts = {state: sum(f["state"] == state for f in told["files"]) for state in ("fetch", "link", "there")}
    kept = sum(f["partial"] for f in told["files"] if f["state"] == "fetch")
    parts = {
        f"{formatting.count(counts['fetch'], 'file')} to fetch, {formatting.size(told['bytes'])}": True,
        f"{formatting.size(kept)} are kept from before": kept,
        f"{counts['link']} the same as others": counts["link"],
        f"{counts['there']} there already": counts["there"],
    }
    return ", ".join(text for text, said in parts.items() if said)


def _show_plan(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        out.emit(told)
        return
    style = {"fetch": "", "link": "dim", "there": "green"}
    rows = [
        [
            out.cell(f["role"]),
            out.cell(f["state"], style[f["state"]]),
            model_size(f["bytes"]),
            out.cell(f["file"]),
            out.cell(f["from"].removesuffix(":" + f["file"].partition("/")[2]), "dim"),  # the path twice would not fit a line
        ]
        for f in told["files"]
    ]
    out.table(("role", "state", "bytes", "to", "from"), rows, right=("bytes",))
    out.say(f"{_sum(told)} into {told['root']}. Nothing was fetched.", "dim")


def model_size(count: int | None) -> out.Cell:
    return out.Cell("?") if count is None else out.Cell(formatting.size(count), str(count))


def _end(roles: list[dict[str, Any]], as_json: bool, then: str) -> None:
    for role in roles:
        if not as_json and role["ok"]:
            print(f"{role['role']}\tok\t{role['path']}")
        for problem in role["problems"]:
            out.say(f"  {role['role']}: {problem}", "yellow")
    if any(not role["ok"] for role in roles):
        raise typer.Exit(1)
    out.say(then, "dim")


@contextmanager
def meter() -> Iterator[OnModelFile]:
    """A bar for the current file with bytes and rate, and a line for each finished file; without a terminal only the lines."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28, style="grey30", complete_style="blue", finished_style="green", pulse_style="grey50"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out.stderr(), transient=True) as bars:
        task, now = bars.add_task("", total=None, visible=False), ("", "")
        began, first, latest = 0.0, 0, 0

        def through() -> None:
            seconds = max(time.monotonic() - began, 1e-3)
            if latest > 1e6:  # lines for small files (vocabularies) would hide the weights
                rate = formatting.size((latest - first) / seconds)
                out.say(f"{now[0]}  {formatting.size(latest)} in {formatting.duration(seconds)}, {rate}/s", "dim")

        def on_progress(name: str, doing: str, done: int, total: int | None) -> None:
            nonlocal now, began, first, latest
            if (name, doing) != now:
                if now[1] == "fetching":
                    through()
                now, began, first = (name, doing), time.monotonic(), done
                bars.reset(task, description=f"{doing} {name}", total=total, completed=done, visible=True)
            latest = done
            bars.update(task, completed=done)

        yield on_progress
