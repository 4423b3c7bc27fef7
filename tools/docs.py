"""Pages generated from the code, so that they cannot disagree with it: `make docs` writes them, a test checks that they are current."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ourvidz import secret_risks
from ourvidz.db import schema_objects
from ourvidz.safety import edge_data, help_page, report_page
from state import bounds, catalog, errors, events, machine, policy, schedulers
from state.client_names import MODEL_VARIANTS
from tools import reference

ROOT = Path(__file__).resolve().parents[1]
_MADE = "<!-- Made from the code by `make docs`; change it there. -->\n\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page's path and its whole text."""
    yield ROOT / "docs/state-machine.md", _MADE + _state_machine()
    yield ROOT / "docs/catalog.md", _MADE + _catalog()
    yield ROOT / "docs/errors.md", _MADE + _errors()
    yield ROOT / "docs/limits.md", _MADE + _limits()
    yield ROOT / "docs/secrets.md", _MADE + _secrets()
    yield ROOT / "docs/reference.md", _MADE + reference.page(ROOT)
    yield ROOT / "supabase/functions/_shared/screen/terms.json", edge_data.terms_json()
    yield ROOT / "supabase/functions/_shared/screen/texts.json", edge_data.texts_json()
    yield ROOT / "supabase/functions/_shared/screen/negative.json", edge_data.negative_json()
    yield ROOT / "supabase/functions/_shared/catalog.ts", _edge_catalog()
    yield ROOT / "supabase/functions/verify/page.ts", help_page.edge_module()
    yield ROOT / "supabase/functions/report/page.ts", report_page.edge_module()
    # Numbers the SQL of the schema objects. On a merge conflict in it, take either side and run `make docs`.
    yield ROOT / "ourvidz/db/sql/release.json", schema_objects.next_numbered()
    yield from _within("README.md", "state machine", f"```mermaid\n{machine.mermaid()}```\n")
    yield from _within("docs/security.md", "limits", _login_limits())


def _within(page: str, name: str, text: str) -> Iterator[tuple[Path, str]]:
    """A hand-written page, with a generated part between two marks."""
    before, begin, rest = (ROOT / page).read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    if begin:
        end = f"<!-- /{name} -->"
        yield ROOT / page, before + begin + text + end + rest.partition(end)[2]


def _login_limits() -> str:
    rows: list[tuple[object, ...]] = [
        (
            f"`{role}`",
            f"{limit.statement_s} s",
            f"{limit.lock_s} s",
            f"{limit.idle_s} s",
            "–" if limit.connections is None else f"{limit.transaction_s} s",
            f"{limit.work_mem_mb} MB",
            limit.connections or "PostgREST's",
        )
        for role, limit in policy.LIMITS.items()
    ]
    head = ("role", "statement", "waits for a lock", "idle in a transaction", "transaction", "work_mem", "connections of a login")
    return _table(head, rows)


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def _state_machine() -> str:
    rows: list[tuple[object, ...]] = []
    for event in machine.EventType:
        steps = [t for t in machine.TRANSITIONS if t.event is event]
        moves = ", ".join(f"{t.source or '∅'} → {t.target}" if t.source != t.target else str(t.source) for t in steps)
        if event is machine.EventType.IMPORTED:
            moves = "∅ → any"
        keys = ", ".join(f"`{key}`" for key in events.DATA_KEYS[event]) or "–"
        rows.append((f"`{event}`", moves, steps[0].before, steps[0].after, keys))
    return (
        "# The state machine\n\n```mermaid\n" + machine.mermaid() + "```\n\n"
        "A job is `queued` before and after it is claimed: a claim is ownership, not progress. So each event also says whether an "
        "executor must hold the job (held, free, any) and what becomes of that (takes, keeps, ends).\n\n"
        + _table(("event", "from → to (one status: no change)", "claim before", "claim after", "data"), rows)
    )


def _catalog() -> str:
    types: list[tuple[object, ...]] = [
        (
            f"`{t.name}`",
            t.queue,
            t.steps,
            t.guidance,
            f"{t.sizes[0][0]}×{t.sizes[0][1]}",
            f"MP4, {t.frames} frames, {catalog.FPS} fps" if t.video else f"{', '.join(map(str, t.images))} PNG",
            "Qwen 7B" if t.enhance else "–",
            f"{t.bucket_mb} MB",
            t.price,
            f"{t.time_limit // 60} min",
            f"`{policy.FALLBACKS[t.name]}`" if t.name in policy.FALLBACKS else "–",
        )
        for t in catalog.JOB_TYPES.values()
    ]
    head = ("job type", "queue", "steps", "guidance", "size", "output", "enhance", "bucket limit", "tokens", "time limit", "fallback")
    said = {name: "off" if value is None else f"{value:g}" for name, value in policy.settings().items()}
    figures: list[tuple[object, ...]] = [(f"`{name}`", value) for name, value in said.items()]
    plans: list[tuple[object, ...]] = [(name, p.weight, p.unfinished, p.submits_per_minute) for name, p in policy.PLANS.items()]
    return (
        "# Job types\n\n"
        + _table(head, types)
        + _schedulers()
        + "\n## Policy\n\nTimes in seconds.\n\n"
        + _table(("figure", "value"), figures)
        + "\n## Plans\n\n"
        + _table(("plan", "weight", "unfinished jobs", "submits a minute"), plans)
    )


def _schedulers() -> str:
    """The table of state/schedulers.py, for those who name a scheduler."""
    parts = [
        "\n## Schedulers\n\nThe setting `scheduler` of SDXL's types (also called `sampler` and `sampler_name`), and `sampler` of Wan's "
        "(also `sample_solver`, `sampler_name`); `ourvidz submit --scheduler NAME` for both. Spelling does not count: "
        "case, spaces, dashes, underscores, and `+` for `p`. A job keeps "
        "the name in the first column. As in ComfyUI and newer releases of A1111, `sampler_name` may come with a `scheduler` of `karras` "
        "or `normal`. A name that is not here is refused. Without one, SDXL's types take the model's own schedule and Wan's `unipc`.\n"
    ]
    for family, rows in schedulers.OF.items():
        cells: list[tuple[object, ...]] = []
        for row in rows:
            options = ", ".join(f"{option}={value}" for option, value in row.options.items() if value is not None)
            cells.append((f"`{row.name}`", ", ".join(f"`{name}`" for name in row.also) or "–", f"{row.kind}Scheduler", options or "–"))
        parts.append(f"\n{family}:\n\n" + _table(("name", "also", "diffusers' class", "made with"), cells))
    return "".join(parts)


def _errors() -> str:
    rows: list[tuple[object, ...]] = [
        (f"`{kind.sqlstate}`", f"`{kind.__name__}`", " ".join((kind.__doc__ or "").split()))
        for kind in sorted(errors.BY_SQLSTATE.values(), key=lambda kind: kind.sqlstate)
    ]
    return "# Errors\n\nThe database refuses with these SQLSTATEs; in Python each is a leaf of `state.errors.JobError`.\n\n" + _table(
        ("SQLSTATE", "Python", "meaning"), rows
    )


def _limits() -> str:
    figures: list[tuple[object, ...]] = [(f"`{name}`", f"{value:,}") for name, value in bounds.limits().items()]
    tables: list[tuple[object, ...]] = [
        (
            f"`{name}`",
            f"`{b.owner}`" if b.rows else "–",
            f"{b.rows:,}" if b.rows else "–",
            f"{b.bytes / bounds.MB:g} MiB" if b.bytes else "–",
            b.other or ("the oldest goes" if b.over == "oldest" else "refused, `OV041`"),
        )
        for name, b in bounds.ROWS.items()
    ]
    said = bounds.COST.__dict__
    return (
        "# Limits\n\n"
        + _REQUESTS
        + _table(("figure", "value"), figures)
        + _COSTS.format(**said)
        + _table(("table", "owner", "rows", "together", "beyond that, or what bounds it instead"), tables)
    )


_REQUESTS = """What one request through the API may hold, in bytes (docs/decisions/0042). What is larger is refused by field: `OV009`, or
`OV040` for the whole body. An operator may change `request_bytes` and `upload_objects` in `ourvidz.limits`; an upgrade leaves them.

"""
_COSTS = """
JSON has at most 20 levels. A number has at most 310 digits before its point and 360 behind it, which every number of JavaScript has; so a
JSON value of n bytes prints in at most 40 n characters. A text holds no number with an exponent of three digits or more: PostgREST casts
what it reads (`select=title::jsonb`), and `1e131000` prints in 131,000 characters.

Whatever a request sends, it costs Postgres at most {seconds:g} s of processor time, {megabytes:g} MB of memory (25 MB of that are a new
connection's caches) and {wal_megabytes:g} MB of WAL, to which tests hold every function and column that a user can reach. Rows of one's
own that a request reads or deletes cost what they cost, up to the role's `statement_timeout`.

## Rows

How many rows one owner may have in a table, and how large these may be together. A counter (`ourvidz.row_counts`) is locked until the
transaction ends, so requests at once do not overshoot.

"""


def _secrets() -> str:
    rows: list[tuple[object, ...]] = [
        (", ".join(f"`{name}`" for name in s.names) + f": {s.what}", s.opens, s.not_opened, s.after) for s in secret_risks.SECRETS
    ]
    return "# Secrets\n\nWhat a leak of each would cost. `ourvidz doctor` says it of those that are set where it runs.\n\n" + _table(
        ("secret", "opens", "does not open", "after a leak"), rows
    )


def _edge_catalog() -> str:
    """The job types that the edge functions need, formatted as `deno fmt` would."""
    rows = "".join(
        f"""  {t.name}: {{
    name: "{t.name}",
    queue: "{t.queue}",
    modelVariant: "{MODEL_VARIANTS[t.family]}",
    isSDXL: {str(t.family == "sdxl").lower()},
    price: {t.price},
  }},
"""
        for t in catalog.JOB_TYPES.values()
    )
    return f"""// Made from state/catalog.py by `make docs`; change it there.

export interface JobType {{
  readonly name: string;
  readonly queue: string;
  readonly modelVariant: string;
  readonly isSDXL: boolean;
  /** Tokens for an image, or for a video. */
  readonly price: number;
}}

export const JOB_TYPES: Readonly<Record<string, JobType>> = {{
{rows}}};
"""


def main() -> None:
    for path, text in pages():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
