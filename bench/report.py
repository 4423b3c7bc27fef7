"""Output of a benchmark: aligned tables, and a description of the machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "xformers", "torchao", "psycopg", "av", "pillow")


def text(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Format aligned columns under a title. None (no figure) becomes a dash."""
    cells = [tuple(head), *(tuple(map(_cell, row)) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))) for r in cells]
    return "\n".join([title, *(line.rstrip() for line in lines)])


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Print the same to stdout, and return it."""
    made = text(title, head, rows)
    print(f"\n{made}", flush=True)
    return made


def _cell(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.2f}"
        case int():
            return f"{value:,}"
    return str(value)


def machine(device: str | None = None) -> dict[str, Any]:
    """Describe the machine: no host names, only what a reader needs to compare. `device` defaults to the processor."""
    return {
        "device": device or processor(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "load": round(os.getloadavg()[0], 1),  # average of the last minute, this benchmark included
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def processor() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def commit() -> str:
    """Return the measured commit, with a plus if files differ from it; empty outside a checkout."""
    ask = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*ask, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=20, check=True)
        dirty = subprocess.run([*ask, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + "+" * bool(dirty.stdout.strip())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def save(name: str, facts: Mapping[str, Any], figures: Any, tables: Sequence[str], folder: Path = RESULTS) -> Path:
    """Store a run as `<date>-<name>.json` and, for a reader, `.txt`. A second run of the same day gets a number: nothing is overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{facts['date']}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"
    free = (folder / f"{stem}{number}.json" for number in ("", *(f"-{n}" for n in range(2, 1000))))
    json_file = next(file for file in free if not file.exists())
    json_file.write_text(json.dumps({"machine": dict(facts), "figures": figures}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    about = "\n".join(f"{key}: {_flat(value)}" for key, value in facts.items())
    json_file.with_suffix(".txt").write_text("\n\n".join([about, *tables]) + "\n", encoding="utf-8")
    return json_file


def _flat(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
