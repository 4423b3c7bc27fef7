"""Mutation tests of the model code: break one connection at a time (inputs swapped, a factor lost …); a content test must fail.

    python tests/content/broken_wires.py [name or family …]        all of them; `make wires`

Each row is a text replacement in one of the program's modules, applied when that module is imported in the process of that run. A family's
rows are in `wires_<family>.py`. A row whose text does not occur exactly once in its file is refused: it would break nothing.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FAMILIES = ("sdxl", "wan", "qwen")
HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "compel",
    "av",
    "numpy",
    "scipy.ndimage",
    "PIL.Image",
    "pytest",
    "psycopg",
    "safetensors.torch",
)


@dataclass(frozen=True)
class Wire:
    file: str  # path in the repository: executors/enhance.py
    old: str  # must occur exactly once
    new: str
    tests: str  # the tests that must fail: files of this folder, or file::test, separated by spaces

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".")

    def broken(self, source: str) -> str:
        if source.count(self.old) != 1:
            raise ValueError(f"{self.file}: holds {source.count(self.old)} times, and not once: {self.old!r}")
        return source.replace(self.old, self.new)


def wires() -> dict[str, Wire]:
    """All rows, by names that start with the family's."""
    sys.path[:0] = [path for path in (str(HERE),) if path not in sys.path]
    found: dict[str, Wire] = {}
    for family in FAMILIES:
        if (HERE / f"wires_{family}.py").is_file():
            rows: dict[str, Wire] = importlib.import_module(f"wires_{family}").WIRES
            found |= {f"{family}: {name}": wire for name, wire in rows.items()}
    return found


def stale() -> list[str]:
    """Rows that would change nothing, or whose tests do not exist."""
    out = []
    for name, wire in wires().items():
        try:
            wire.broken((ROOT / wire.file).read_text(encoding="utf-8"))
            for test in wire.tests.split():
                file, _, function = test.partition("::")
                if function and f"def {function.partition('[')[0]}(" not in (HERE / file).read_text(encoding="utf-8"):
                    raise ValueError(f"{file} has no {function}")
                if not (HERE / file).is_file():
                    raise ValueError(f"there is no {file}")
        except (OSError, ValueError) as error:
            out.append(f"{name}: {error}")
    return out


class _Breaking(importlib.abc.MetaPathFinder):
    """Imports the mutated module from its broken source."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name != self.wire.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None and spec.origin is not None
        wire = self.wire

        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                source = Path(self.path).read_text(encoding="utf-8")
                return compile(wire.broken(source), self.path, "exec", dont_inherit=True)

        spec.loader = Loader(name, spec.origin)
        return spec


def _child(wire: Wire, out: Path) -> int:
    """Run the row's tests in this process, and return pytest's exit code. The process exits with it."""
    import pytest

    with out.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    if wire.module in sys.modules:
        raise RuntimeError(f"{wire.module} was imported before it could be broken")
    os.environ["COLUMNS"] = "250"  # wide enough for pytest's last line to contain a failure's whole message
    sys.meta_path.insert(0, _Breaking(wire))
    tests = [str(HERE / test) for test in wire.tests.split()]
    return int(pytest.main(["-n0", "-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-m", "", *tests]))


def run(chosen: dict[str, Wire], at_once: int) -> Iterator[tuple[str, str, str, float]]:
    """Yield each row's name, the test that failed ("" if none failed or ran), its message, and the seconds taken. One process per row,
    forked from one that has imported the slow libraries."""
    for name in HEAVY:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)  # no threads before a fork
    waiting, running = list(chosen), dict[int, tuple[str, float, Path]]()
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                out = Path(folder) / f"{len(waiting)}.txt"
                sys.stdout.flush()
                if (pid := os.fork()) == 0:
                    code = 99
                    try:
                        code = _child(chosen[name], out)
                    finally:
                        sys.stdout.flush()
                        os._exit(code)
                running[pid] = (name, time.monotonic(), out)
            pid, status = os.wait()
            name, started, out = running.pop(pid)
            said = out.read_text(errors="replace") if out.exists() else ""
            failed = re.search(r"^FAILED \S*?(\w+\.py::.*?)(?: - (.*))?$", said, re.MULTILINE)
            if os.waitstatus_to_exitcode(status) != bool(failed):  # pytest exits with 0 if all passed, 1 if a test failed or could not run
                print(f"{name}: the tests did not run.\n{said[-2_000:]}", flush=True)
                failed = None
            yield name, failed[1] if failed else "", (failed[2] or "") if failed else "", time.monotonic() - started


def main(wanted: list[str]) -> int:
    if found := stale():
        print("These rows break nothing; point them at the wire again:", *found, sep="\n  ")
        return 1
    table = wires()
    chosen = {name: wire for name, wire in table.items() if not wanted or name in wanted or name.partition(":")[0] in wanted}
    if not chosen:
        print(f"No such wire. There are: {', '.join(table)}.")
        return 2
    unseen, widest = [], max(map(len, chosen))
    print(f"{'wire':{widest}}  {'s':>4}  noticed by")
    for name, by, said, seconds in run(chosen, os.cpu_count() or 1):
        print(f"{name:{widest}}  {seconds:4.0f}  {by or 'NO TEST'}  {said[:80]}".rstrip(), flush=True)
        unseen += [] if by else [name]
    print(f"{len(chosen) - len(unseen)} of {len(chosen)} were noticed." + (f" Not: {'; '.join(unseen)}" if unseen else ""))
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    sys.exit(main(sys.argv[1:]))
