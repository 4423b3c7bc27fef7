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


class SafeStream:
    """A text stream that writes only what is safe. All else is the stream's own."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(safe(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
