"""Reports of outputs: what may be reported, by when it is decided, and what a decision does. Data, copied into `ourvidz.report_rules` and
`ourvidz.report_moves`, where the database decides by them; the report page's list is made from `CATEGORIES` too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

HOUR: Final = 3600.0


@dataclass(frozen=True)
class Category:
    """`deadline`: seconds from filing to a decision. `hides`: when the output is hidden at filing, before a person has looked: always, when
    the request is valid (signed, in good faith, with a contact), or never. `per_hour`: how many of this category are taken in an hour."""

    name: str
    label: str
    deadline: float
    hides: Literal["always", "valid", "never"]
    per_hour: int
    signed: bool = False


CATEGORIES: Final = (
    # TAKE IT DOWN Act, section 3: 48 hours from a valid request.
    Category("ncii", "It shows me, or someone I speak for, in an intimate way without consent", 48 * HOUR, "valid", 2_000, signed=True),
    Category("minor", "It shows a minor, or someone who looks like one, in a sexual way", 24 * HOUR, "always", 2_000),
    Category("illegal", "It is illegal for another reason", 7 * 24 * HOUR, "never", 500),
    Category("impersonation", "It pretends to be me or someone else", 7 * 24 * HOUR, "never", 500),
    Category("other", "Something else", 14 * 24 * HOUR, "never", 500),
)


@dataclass(frozen=True)
class Move:
    """What an operator's verb does with a report: from which statuses, to which, and what state the
    reported output gets (None: it keeps its own)."""

    verb: str
    sources: tuple[str, ...]
    target: str
    output: str | None = None


OPEN: Final = ("filed", "seen")
STATUSES: Final = (*OPEN, "dismissed", "upheld")
MOVES: Final = (
    Move("see", OPEN, "seen"),
    Move("hide", OPEN, "seen", "hidden"),
    Move("restore", (*OPEN, "upheld"), "dismissed", "restored"),
    Move("dismiss", OPEN, "dismissed", "restored"),
    Move("uphold", OPEN, "upheld", "hidden"),
    Move("block", (*OPEN, "upheld"), "upheld", "blocked"),
    Move("reopen", ("dismissed", "upheld"), "seen"),
)


def rules() -> list[dict[str, Any]]:
    """As `ourvidz.report_rules` has them."""
    return [dict(c.__dict__) for c in CATEGORIES]


def moves() -> list[dict[str, Any]]:
    """As `ourvidz.report_moves` has them: one row a verb and source."""
    return [{"verb": m.verb, "source": source, "target": m.target, "output": m.output} for m in MOVES for source in m.sources]
