"""The contract's building blocks: a flow is a list of rows; a row is one request and its expected result. Independent of actual requests.

A string `$name.path` in a call, a pattern or a statement stands for a value saved by an earlier row; `${name.path}` inside a longer text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from waiting import LIMIT

from .calls import Call
from .drivers import Answer, Driver


class Any_:
    """Matches any value that is not empty."""

    def __repr__(self) -> str:
        return "<something>"


SOMETHING = Any_()


@dataclass(frozen=True)
class Row:
    """One request: its sender, its call, the expected answer, and conditions that must hold afterwards."""

    id: str
    who: str  # anon | user | other | admin | service
    call: Call
    gives: Any = None  # a pattern for `data`; None: not checked. See `differs`
    count: int | type | None = None
    refused: str | int | Any_ | None = None  # the error's code (SQLSTATE, PGRST…) or HTTP status; None: it must succeed
    saves: str = ""  # `data` under this name
    silent: bool = False  # an empty answer is accepted in place of the refusal
    until: bool = False  # repeated, as the page polls, until it matches
    then: Mapping[str, str] = field(default_factory=dict)  # claim → a query of the database whose one value must be true
    line: str = ""  # the line of CLIENTS.md §5 that it covers


@dataclass(frozen=True)
class Do:
    """An action between two requests by a party other than the client: an executor, an operator, the legacy callback."""

    id: str
    act: Callable[..., Any]  # act(house, *arguments): its return value is saved
    arguments: tuple[Any, ...] = ()
    saves: str = ""
    line: str = ""
    listed: bool = False  # also shown in the printed table


@dataclass(frozen=True)
class Flow:
    name: str
    rows: Sequence[Row | Do]


class Missing(Exception):
    """A row needs a value that an earlier row should have saved."""


def filled(value: Any, known: Mapping[str, Any]) -> Any:
    """`value` with its `$names` replaced by the values in `known`."""
    if isinstance(value, str):
        if whole := re.fullmatch(r"\$([a-z0-9_]+(?:\.[A-Za-z0-9_]+)*)", value):
            return _looked_up(whole[1], known)
        return re.sub(r"\$\{([a-z0-9_]+(?:\.[A-Za-z0-9_]+)*)\}", lambda m: str(_looked_up(m[1], known)), value)
    if isinstance(value, Mapping):
        return {filled(k, known): filled(v, known) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [filled(v, known) for v in value]
    return value


def _looked_up(path: str, known: Mapping[str, Any]) -> Any:
    found: Any = known
    for part in path.split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError):
            raise Missing(f"${path} is not there") from None
    return found


def differs(pattern: Any, found: Any, at: str = "data") -> str | None:
    """Describe the first difference between `found` and `pattern`; None if there is none. An object lists fields that must be present and
    match, a list has the same length, a compiled expression matches the whole text, a function returns true, anything else is equal."""
    if isinstance(pattern, Any_):
        return None if found not in (None, "", [], {}) else f"{at} is {found!r}"
    if isinstance(pattern, re.Pattern):
        return None if isinstance(found, str) and pattern.fullmatch(found) else f"{at} is {found!r}, and not like {pattern.pattern}"
    if isinstance(pattern, Mapping):
        if not isinstance(found, Mapping):
            return f"{at} is {found!r} and no object"
        return next(filter(None, (differs(v, found.get(k, "(not there)"), f"{at}.{k}") for k, v in pattern.items())), None)
    if isinstance(pattern, list):
        if not isinstance(found, list) or len(found) != len(pattern):
            return f"{at} is {found!r}, and should have {len(pattern)} entries"
        return next(filter(None, (differs(p, f, f"{at}.{n}") for n, (p, f) in enumerate(zip(pattern, found, strict=True)))), None)
    if isinstance(pattern, type):
        return None if isinstance(found, pattern) else f"{at} is {found!r} and no {pattern.__name__}"
    if callable(pattern):
        return None if pattern(found) else f"{at} is {found!r}"
    return None if pattern == found and type(pattern) is type(found) else f"{at} is {found!r}, and should be {pattern!r}"


def run(flow: Flow, house: Any, driver: Driver, known: dict[str, Any]) -> dict[str, str | None]:
    """Each row's failure by its id; None if it passed. A failing row does not stop the next ones."""
    done: dict[str, str | None] = {}
    for row in flow.rows:
        try:
            complaint = _do(row, house, known) if isinstance(row, Do) else _ask(row, house, driver, known)
        except (Missing, AssertionError) as error:
            complaint = str(error) or type(error).__name__
        done[row.id] = complaint
    return done


def listed(flow: Flow) -> list[str]:
    """Ids of the rows in the printed table: requests, and actions that stand for one."""
    return [row.id for row in flow.rows if isinstance(row, Row) or row.listed]


def _do(row: Do, house: Any, known: dict[str, Any]) -> None:
    found = row.act(house, *filled(row.arguments, known))
    if row.saves:
        known[row.saves] = found


def _ask(row: Row, house: Any, driver: Driver, known: dict[str, Any]) -> str | None:
    chain, end = filled(row.call.steps, known), time.monotonic() + LIMIT
    while True:
        answer = driver.call(f"{driver.name}/{row.who}", chain)
        complaint = _judged(row, answer, known)
        if complaint is None or not row.until or time.monotonic() > end:
            break
        time.sleep(0.1)
    if row.saves and answer["data"] is not None:
        known[row.saves] = answer["data"]
    if complaint is None:
        for claim, query in row.then.items():
            if house.value(filled(query, known)) is not True:
                return f"not so afterwards: {claim}"
    return complaint


def _judged(row: Row, answer: Answer, known: Mapping[str, Any]) -> str | None:
    error = answer["error"]
    if row.refused is not None:
        if error is None:
            return f"was not refused: {answer['data']!r}"[:300]
        if not isinstance(row.refused, Any_) and str(row.refused) not in (str(error.get("code")), str(error.get("status"))):
            return f"refused by other words than {row.refused}: {error}"
        return differs(filled(row.gives, known), error, "error") if row.gives is not None else None
    if error is not None:
        return None if row.silent else f"refused: {error}"
    if row.count is not None and (wrong := differs(row.count, answer["count"], "count")):
        return wrong
    return differs(filled(row.gives, known), answer["data"]) if row.gives is not None else None
