"""Escape untrusted text (prompts, names, dead letters, server messages) before it reaches a terminal, a pipe or a log.

A control character in it could move the cursor, rename the window, overwrite or forge a line; a bidirectional override could reorder it.
They are written as JSON escapes (\\u001b), so JSON output stays valid. Commands print through `SafeStream`, which `main` puts in the place
of stdout and stderr; rich prints through `SafeConsole` (console.py), which adds colours afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import IO, Any

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 except tab and newline, DEL, C1, line and paragraph separators, bidirectional embeddings, overrides and isolates, lone surrogates."""


def safe(text: str) -> str:
    """Escape each unsafe character as \\uXXXX."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """`safe`, with newlines escaped too: for a log, where a line is a record."""
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
"""ASCII replacements for our own symbols and box drawing, for streams whose encoding lacks them."""


def unicode_stream(stream: Any) -> bool:
    """Return True if the stream can encode every character."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "").startswith("utf")


def encodable(text: str, encoding: str) -> str:
    """The text in characters that this encoding has: our own symbols replaced as in PLAIN, others by \\uXXXX."""
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
    """A text stream that escapes unsafe and unencodable characters. All other attributes are the stream's own, except `buffer`: click
    would bypass us and write UTF-8 there, even if the stream is not UTF-8."""

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
