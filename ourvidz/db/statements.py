"""Split SQL text into statements: no parser, only what must not be mistaken for the end of one (quotes, dollar quotes, comments)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<quoted>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<dollar>\$(?:[A-Za-z_]\w*)?\$)
      | (?P<end>;)
      | (?P<space>\s+)
      | (?P<text>\w+|.)""",
    re.VERBOSE | re.DOTALL,
)


def split(sql: str) -> Iterator[str]:
    """Yield each statement without its semicolon, with the comments before it."""
    begin = at = 0
    while at < len(sql):
        token = _TOKEN.match(sql, at)
        assert token is not None  # `.` takes whatever the others leave
        at = token.end()
        if token.lastgroup == "dollar":
            closing = sql.find(token[0], at)
            at = len(sql) if closing < 0 else closing + len(token[0])
        elif token.lastgroup == "end":
            if bare(found := sql[begin : token.start()].strip()):
                yield found
            begin = at
    if bare(rest := sql[begin:].strip()):
        yield rest


def bare(sql: str) -> str:
    """Remove every comment and reduce every run of white space to one space, inside dollar quotes too: statements that are equal here do
    the same in the database. Quoted text stays as it is."""
    out: list[str] = []
    for token in _TOKEN.finditer(sql):
        if token.lastgroup in ("comment", "space"):
            if out and out[-1] != " ":
                out.append(" ")
        else:
            out.append(token[0])
    return "".join(out).strip()


def separated(text: str) -> list[str]:
    """Split `a, f(b, c), d` at its outer commas; stop at an unmatched closing parenthesis."""
    depth, parts = 0, [""]
    for token in _TOKEN.finditer(text):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth < 0:
            break
        if token[0] == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token[0]
    return [part.strip() for part in parts if part.strip()]


def arguments(header: str) -> list[str]:
    """Return the types of a function's input parameters, from a bare statement that begins with its name: `f(a uuid, b integer default 1)
    …`."""
    return [kind for part in separated(header.partition("(")[2]) if (kind := _type(part))]


_TWO_WORDS = ("double", "timestamp", "time", "character", "bit", "interval")


def _type(parameter: str) -> str:
    """`p_version integer default null` → `integer`; empty for an output parameter."""
    words = re.split(r"\s+default\s+|\s*:?=\s*", parameter, maxsplit=1, flags=re.IGNORECASE)[0].split()
    mode = words.pop(0).lower() if words and words[0].lower() in ("in", "out", "inout", "variadic") else "in"
    if mode == "out":
        return ""
    return " ".join(words if len(words) == 1 or (words[:1] and words[0].lower() in _TWO_WORDS) else words[1:])
