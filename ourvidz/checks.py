"""What a check finds, whoever looks: a line of `ourvidz doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """`state` is ok, warn, or missing: what the program cannot do without. `mend` says what to do where it is not ok."""

    state: str
    what: str
    found: str
    mend: str = ""
