"""Result of one check: a line of `ourvidz doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """`state` is ok, warn, or missing (the program cannot work without it). `remedy` says what to do if it is not ok."""

    state: str
    what: str
    found: str
    remedy: str = ""
