"""`docs/reference.md`: every public name of SQL and Python, with one line each, read from the sources without importing them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ourvidz.db import schema_files, statements

PACKAGES = ("state", "ourvidz", "executors")

_SENTENCE = re.compile(r"(.+?\.)(?:\s|$)", re.DOTALL)
_CREATED = re.compile(r"create (?:or replace )?(function|procedure|aggregate|view) ([\w.]+)\s*", re.IGNORECASE)


def page(root: Path) -> str:
    return "# Reference\n\n" + _ABOUT + "\n## SQL\n\n" + "".join(_sql()) + "\n## Python\n\n" + "".join(_python(root))


_ABOUT = """Every public name, with the first sentence of its comment or docstring. Which role may call a
function: [security.md](security.md). What settings and events mean: [catalog.md](catalog.md), [state-machine.md](state-machine.md).
"""


def _sql() -> Iterator[str]:
    """Functions and views, by schema."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for part, body in schema_files.parts():
        if not part.startswith(("functions/", "views/")):
            continue
        for statement in statements.split(body):
            if made := _CREATED.search(statements.bare(statement)):
                area, _, name = made[2].rpartition(".")
                header = statements.bare(statement)[made.end() :].strip()
                arguments = f"({', '.join(_names(header))})" if made[1].lower() != "view" else ""
                found[area].append((f"{name}{arguments}", _comment(statement)))
    for area in sorted(found):
        yield f"### {area}\n\n"
        yield from (f"- `{name}`: {line}\n" if line else f"- `{name}`\n" for name, line in sorted(found[area]))
        yield "\n"


def _names(header: str) -> list[str]:
    """Names of a function's arguments, from the text that begins with its bracket."""
    depth, start, parts = 0, 1, []
    for at, letter in enumerate(header):
        depth += (letter == "(") - (letter == ")")
        if (letter == "," and depth == 1) or depth == 0:
            parts.append(header[start:at].strip())
            start = at + 1
        if depth == 0:
            break
    words = [part.split() for part in parts if part]
    return [f"{word[1]}" if word[0].lower() in ("in", "out", "inout", "variadic") and len(word) > 2 else word[0] for word in words]


def _comment(statement: str) -> str:
    lines = []
    for line in statement.splitlines():
        if line.startswith("--"):
            lines.append(line.removeprefix("--").strip())
        elif line.strip():
            break
    return _first(" ".join(lines))


def _python(root: Path) -> Iterator[str]:
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            names = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
            public = [node for node in names if not node.name.startswith("_")]
            module = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            if public:
                yield f"### {module}\n\n{_first(ast.get_docstring(tree) or '')}\n\n"
                yield from map(_line, public)
                yield "\n"


def _line(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    if said := _first(ast.get_docstring(node) or ""):
        return f"- `{node.name}`: {said}\n"
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"- `{node.name}({bases})`\n" if bases else f"- `{node.name}`\n"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"- `{node.name}({ast.unparse(node.args)}){returns}`\n"


def _first(text: str) -> str:
    """The first sentence, in one line."""
    plain = " ".join(text.split())
    found = _SENTENCE.match(plain)
    return found[1] if found else plain
