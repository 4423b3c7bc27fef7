"""Detect letters drawn over several lines with other characters (ASCII art). No term table can read them, so they are refused."""

from __future__ import annotations

LINES = 4  # drawn lines in a row that make a drawing; letters need at least five, or four of half blocks


def is_drawing(text: str) -> bool:
    """Return True if four lines in a row, ignoring empty ones, consist of symbols or of few characters that repeat."""
    if text.count("\n") < LINES - 1:
        return False
    row = 0
    for line in text.split("\n"):
        seen = "".join(line.split())
        if seen:
            row = row + 1 if _drawn(seen) else 0
        if row == LINES:
            return True
    return False


def _drawn(seen: str) -> bool:
    kinds = len(set(seen))
    symbols = 2 * sum(map(str.isalnum, seen)) < len(seen)
    return symbols or (kinds <= 2 and len(seen) > kinds) or (kinds <= 6 and len(seen) >= 3 * kinds)
