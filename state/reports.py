"""Reports of outputs: categories, deadlines, and the effect of each decision. Data, copied into `ourvidz.report_rules` and
`ourvidz.report_moves`, by which the database decides; the report page's list is generated from `CATEGORIES` too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

HOUR: Final = 3600.0


@dataclass(frozen=True)
class Category:
    """`deadline`: seconds from filing to a decision. `hides`: whether filing hides the output before a person has looked: always, only if
    the request is valid (signed, in good faith, with a contact), or never. `per_hour`: how many of this category are accepted in an
    hour."""

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
    """Effect of an operator's verb on a report: source statuses, target status, and the new state of the reported output (None:
    unchanged)."""

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
    """The rows of `ourvidz.report_rules`."""
    return [dict(c.__dict__) for c in CATEGORIES]


def moves() -> list[dict[str, Any]]:
    """The rows of `ourvidz.report_moves`: one per verb and source."""
    return [{"verb": m.verb, "source": source, "target": m.target, "output": m.output} for m in MOVES for source in m.sources]
