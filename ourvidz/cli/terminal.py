"""Text from elsewhere (prompts, names, letters, messages of servers) never reaches a terminal, a pipe or a log as it came.

A control character in it could move the cursor, rename the window, write over a line, or forge one; a bidirectional override could show
it in another order. They are written as JSON writes them (\\u001b), which keeps JSON what it was. What commands print goes through
`SafeStream`, which `main` puts in the place of stdout and stderr; what rich prints through `SafeConsole` (console.py), which adds its
colours afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import IO, Any

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 but tab and newline, DEL, C1, line and paragraph separators, bidirectional embeddings, overrides and isolates, lone surrogates."""


def safe(text: str) -> str:
    """The text with each unsafe character as \\uXXXX."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """`safe`, and newlines too: for a log, where a line is a record."""
    return safe(text).replace("\n", "\\n")


PLAIN = {
    **dict.fromkeys(map(chr, range(0x2800, 0x2900)), "*"),  # the dots of a spinner
    **dict.fromkeys(map(chr, range(0x2580, 0x25A0)), "#"),  # blocks
    **dict.fromkeys(map(chr, range(0x2500, 0x2580)), "+"),  # corners and crossings of boxes
    **dict.fromkeys("─━╌╍┄┅┈┉═╴╶╸╺╼╾–—−·‐‑", "-"),
    **dict.fromkeys("│┃┆┇┊┋╎╏║╵╷╹╻╽╿", "|"),
    **dict.fromkeys("“”„«»", '"'),
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("\u00a0\u202f\u2009", " "),
    "…": "...", "→": "->", "←": "<-", "↳": ">", "✓": "+", "✗": "x", "×": "x", "•": "*", "●": "*", "○": "o", "◐": "o", "≥": ">=", "≤": "<=",
    "≠": "!=", "²": "2", "³": "3", "∅": "-",
}  # fmt: skip
"""What stands for our own signs, and for box drawing, where a stream's encoding has not got them."""


def unicode_stream(stream: Any) -> bool:
    """Whether every character can be written to it."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "").startswith("utf")


def encodable(text: str, encoding: str) -> str:
    """The text as a terminal, pipe or file of this encoding can hold it: our own signs as PLAIN has them, others as \\uXXXX."""
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return "".join(_fallback(character, encoding) for character in text)


def _fallback(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
        return character
    except UnicodeEncodeError:
        return PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode()


class SafeStream:
    """A text stream that writes only what is safe, and what its encoding holds. All else is the stream's own, but for its `buffer`: click
    would write UTF-8 there, past us, to a stream that is not."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    @property
    def buffer(self) -> None:
        raise AttributeError("write text")

    def write(self, text: str) -> int:
        self.stream.write(encodable(safe(text), getattr(self.stream, "encoding", None) or "utf-8"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
