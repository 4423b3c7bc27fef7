"""Layout of `ourvidz top`: turns figures into a rich renderable. On a narrow terminal the least important columns are dropped first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ourvidz.cli import formatting

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Row = dict[str, Any]
BAR = 10
# mark and style of an executor, by what it is doing
LOOKS = {
    "works": ("●", "green"), "waits": ("○", "dim"), "drains": ("◐", "yellow"), "silent": ("✗", "red"), "gone": ("·", "dim"),
}  # fmt: skip
BECAME = {"retry_scheduled": "tries again", "lease_expired": "given to another", "failed": "failed"}


@dataclass(frozen=True)
class Column:
    """`gives`: order in which columns are dropped if there is no room, the largest first; 0 is never dropped."""

    name: str
    gives: int
    cell: Callable[[Row], tuple[str, str]]  # text, style
    right: bool = False
    style: str = ""


def page(told: Row, width: int, *, trouble: str = "", live: bool = False) -> RenderableType:
    """The whole page. `trouble`: why the figures are old."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    width -= 2 if live else 0  # the margins
    parts: list[RenderableType] = [_head(told, width), Text("")]
    if trouble:
        parts += [Text(f"These figures are old: {trouble}", style="red", overflow="ellipsis", no_wrap=True), Text("")]
    if told.get("why_not"):
        said = f"The database takes no writes: {told['why_not']}. Everything waits; `ourvidz doctor` says what to do."
        parts += [Text(said, style="red"), Text("")]
    for one in told["troubles"]:
        waited = formatting.duration((told["at"] - one["since"]).total_seconds())
        parts += [Text(f"{one['part']} waits, for {waited}: {one['said']}", style="yellow"), Text("")]
    parts += [_executors(told, width), Text(""), _queue(told, width), Text(""), _failures(told, width)]
    if live:
        parts += [Text(""), Text("q quits", style="dim")]
    return Padding(Group(*parts), (1, 1, 0, 1)) if live else Group(*parts)


# -- parts --------------------------------------------------------------------------------------------------------------------------


def _head(told: Row, width: int) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    states = [state(e) for e in told["executors"]]
    now = Text.assemble(("ourvidz", "bold"), "  ")
    for n, (name, style) in enumerate((("works", "green"), ("waits", "dim"), ("drains", "yellow"), ("silent", "red"))):
        if (count := states.count(name)) or n < 2:
            now.append(" · " if n else "", "dim").append(f"{count} {name.rstrip('s')}ing" if name != "silent" else f"{count} silent",
                                                         style if count else "dim")  # fmt: skip
    pace = told["pace"]
    ended = Text(f"{pace['completed']} done")
    for name, style in (("failed", "red"), ("retried", "yellow"), ("cancelled", "dim")):
        if pace[name]:
            ended.append(", ").append(f"{pace[name]} {name}", style)
    per_minute = pace["completed"] / max(pace["seen_s"] or 0.0, 1.0) * 60
    ended.append(" in 5 min, ", "dim").append(f"{per_minute:.1f}", "bold").append(" jobs/min", "dim")
    if now.cell_len + ended.cell_len + 4 > width:
        return Group(now, ended)
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(now, ended)
    return line


def _executors(told: Row, width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    rows = told["executors"]
    if not rows:
        return Text("No executor is alive. `ourvidz up` starts them.", style="yellow")
    notes = [note for row in rows if (note := _note(row))]
    return Group(_grid(EXECUTOR, rows, width), *notes)


def _note(row: Row) -> RenderableType | None:
    from rich.padding import Padding
    from rich.text import Text

    closed = (row["info"] or {}).get("closed")
    if not closed or not row["alive"]:
        return None
    lanes = f"lane {closed[0]}" if len(closed) == 1 else f"lanes {', '.join(closed)}"
    said = (
        f"{row['name']}: {lanes} closed, the model kept killing it. Check the files: `ourvidz models verify`; then SIGHUP to `ourvidz up`."
    )
    return Padding(Text(said, style="yellow"), (0, 0, 0, 2))


def _queue(told: Row, width: int) -> RenderableType:
    from rich.text import Text

    if not told["queue"]:
        return Text("Nothing waits.", style="dim")
    return _grid(LANE, told["queue"], width)


def _failures(told: Row, width: int) -> RenderableType:
    from rich.text import Text

    if not told["failures"]:
        return Text("No failures lately.", style="dim")
    return _grid(FAILURE, [{**row, "now": told["at"]} for row in told["failures"]], width)


def _grid(columns: Sequence[Column], rows: Sequence[Row], width: int) -> Table:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = {c: [c.cell(row) for row in rows] for c in columns}
    widths = {c: 2 + max(len(c.name), *(cell_len(text) for text, _ in cells[c])) for c in columns}
    shown = list(columns)
    while sum(widths[c] for c in shown) - 2 > width and (least := max(shown, key=lambda c: c.gives)).gives:
        shown.remove(least)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for c in shown:
        grid.add_column(c.name, justify="right" if c.right else "left", no_wrap=True, overflow="ellipsis")
    for line in zip(*(cells[c] for c in shown), strict=True):
        grid.add_row(*(Text(text, style=style or c.style) for c, (text, style) in zip(shown, line, strict=True)))
    return grid


# -- cells --------------------------------------------------------------------------------------------------------------------------


def state(row: Row) -> str:
    """One word of `LOOKS`."""
    if row["state"] == "gone":
        return "gone"
    if not row["alive"]:
        return "silent"
    if row["job_id"] is not None:
        return "works"
    return "drains" if row["state"] == "draining" else "waits"


def _name(row: Row) -> tuple[str, str]:
    mark, style = LOOKS[state(row)]
    return f"{mark} {row['name']}", style if style != "green" else ""


def _doing(row: Row) -> tuple[str, str]:
    now = state(row)
    if now == "silent":
        return f"silent for {_short(row['beat_s'])}", "red"
    if now == "gone":
        return f"gone {_short(row['beat_s'])}", "dim"
    if row["job_id"] is None:
        return now, "dim"
    more = f" +{row['held'] - 1}" if row["held"] > 1 else ""
    return f"{str(row['job_id'])[:8]} {row['job_type']}{more}", ""


def _info(row: Row) -> Row:
    """The executor's info if it is about the job shown in this row; else empty."""
    info = row["info"] or {}
    return info if row["job_id"] is not None and info.get("job") == str(row["job_id"]) else {}


def _stage(row: Row) -> tuple[str, str]:
    if row["job_id"] is None or not row["alive"]:
        return "", ""
    return str(_info(row).get("stage") or row["status"]), "blue"


def _bar(row: Row) -> tuple[str, str]:
    info = _info(row)
    done, total = info.get("done") or 0, info.get("total") or 0
    if not total or not row["alive"]:
        return "", ""
    full = min(BAR, round(BAR * done / total))
    return "━" * full + "╌" * (BAR - full), "blue"


def _step(row: Row) -> tuple[str, str]:
    info = _info(row)
    return (f"{info.get('done') or 0}/{info['total']}", "") if info.get("total") and row["alive"] else ("", "")


def _finished(row: Row) -> tuple[str, str]:
    count = (row["info"] or {}).get("finished")
    return ("" if count is None else f"{count:,}"), ""


def _beat(row: Row) -> tuple[str, str]:
    if row["state"] == "gone":
        return "", ""
    return _short(row["beat_s"]), "dim" if row["beat_s"] < 15 else "yellow" if row["alive"] else "red"


def _memory(row: Row) -> tuple[str, str]:
    info = row["info"] or {}
    if not row["alive"]:
        return "", ""
    if info.get("vram_total"):
        full = info["vram_used"] / info["vram_total"]
        return f"{info['vram_used'] / 1e9:.1f}/{info['vram_total'] / 1e9:.0f} GB", "yellow" if full > 0.95 else ""
    return (formatting.size(info["rss"]), "dim") if info.get("rss") else ("", "")


def _use(row: Row) -> tuple[str, str]:
    info = row["info"] or {}
    if not row["alive"]:
        return "", ""
    share = info.get("utilisation", info.get("cpu"))
    return ("" if share is None else f"{share * 100:.0f}%"), "" if "utilisation" in info else "dim"


def _short(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s" if seconds < 60 else formatting.duration(seconds)


def _count(name: str, style: str = "") -> Callable[[Row], tuple[str, str]]:
    return lambda row: (f"{row[name]:,}" if row[name] else "·", style if row[name] else "dim")


def _oldest(row: Row) -> tuple[str, str]:
    waits = row["waiting_longest_s"]
    return _short(waits), "yellow" if waits and waits > 60 else ""


def _served(row: Row) -> tuple[str, str]:
    if row["executors"]:
        return formatting.count(row["executors"], "executor"), "dim"
    return ("nobody: `ourvidz up`", "yellow") if row["ready"] else ("nobody", "dim")


EXECUTOR = (
    Column("executor", 0, _name),
    Column("host", 6, lambda row: (row["host"], ""), style="dim"),
    Column("does", 0, _doing),
    Column("stage", 0, _stage),
    Column("", 5, _bar),
    Column("step", 0, _step, right=True),
    Column("done", 2, _finished, right=True),
    Column("beat", 1, _beat, right=True),
    Column("memory", 4, _memory, right=True),
    Column("use", 3, _use, right=True),
)
LANE = (
    Column("lane", 0, lambda row: (row["lane"], "")),
    Column("ready", 0, _count("ready", "cyan"), right=True),
    Column("later", 0, _count("scheduled"), right=True),
    Column("running", 0, _count("held", "blue"), right=True),
    Column("oldest", 0, _oldest, right=True),
    Column("served by", 1, _served),
)
FAILURE = (
    Column("failure", 0, lambda row: (formatting.ago(row["occurred_at"], row["now"]), ""), style="dim"),
    Column("job", 0, lambda row: (str(row["job_id"])[:8], "")),
    Column("type", 1, lambda row: (row["job_type"], "")),
    Column("reason", 0, lambda row: (row["reason"] or "?", "red" if row["type"] == "failed" else "yellow")),
    Column("", 0, lambda row: (BECAME[row["type"]], "red" if row["type"] == "failed" else "dim")),
    Column("now", 2, lambda row: (row["status"], "dim")),
)
