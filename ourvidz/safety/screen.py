"""The prompt screen protocol: a screen decides if a text may be shown to any model.

A screen fails closed. When it cannot answer it raises `ScreenUnavailable`, and the caller must not run the job; there is no default
verdict. Neither verdicts nor errors carry the text or any word of it: they end up in events and logs.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Verdict:
    """A screen's verdict on one text. If refused, `category` and `rule_id` name the reason, never the words; both are None if
    allowed. `policy_version` names the exact rules. The caller adds the text's hash, salted for its job.
    """

    allowed: bool
    policy_version: str
    category: str | None = None
    rule_id: str | None = None


class ScreenUnavailable(Exception):
    """The screen cannot answer, so the job must not run. Retryable: data can be fixed, a guard model can come back."""

    error_class = "screen_unavailable"
    retryable = True


class PromptScreen(Protocol):
    """One screen. Safe to use from several threads."""

    def check(self, text: str) -> Verdict:
        """Judge one text (a prompt, an enhanced prompt). Raises `ScreenUnavailable`."""


def guarded_check(screen: PromptScreen, text: str, timeout_s: float = 10.0) -> Verdict:
    """Ask a prompt screen; use this for any of them. See `guarded`."""
    return guarded("prompt screen", lambda: screen.check(text), timeout_s)


def guarded(screen: str, ask: Callable[[], object], timeout_s: float) -> Verdict:
    """Return the verdict of `ask`. Any failure in it, a timeout or an invalid answer too, becomes `ScreenUnavailable`.

    `timeout_s` is in seconds. A screen that hangs keeps its thread (a daemon) until the process ends.
    """
    return guarded_many(screen, lambda: [ask()], 1, timeout_s)[0]


def guarded_many(screen: str, ask: Callable[[], object], count: int, timeout_s: float) -> list[Verdict]:
    """The same for a list of `count` verdicts."""
    answers: queue.SimpleQueue[list[Verdict] | str] = queue.SimpleQueue()

    def answered() -> None:
        try:
            answer = ask()
            whole = isinstance(answer, list) and len(answer) == count and all(isinstance(a, Verdict) and _whole(a) for a in answer)
            answers.put(answer if isinstance(answer, list) and whole else "it gave no verdict")
        except BaseException as error:  # noqa: BLE001  (MemoryError, SystemExit: nothing may let a job through)
            answers.put(type(error).__name__)

    threading.Thread(target=answered, name=screen.replace(" ", "-"), daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        answer = f"no answer within {timeout_s:g} s"
    if isinstance(answer, str):
        # The screen's own exception is left out, chained or not: its message could quote the prompt.
        raise ScreenUnavailable(f"the {screen} could not answer ({answer}); the job does not run")
    return answer


def _whole(answer: Verdict) -> bool:
    """Return True if a verdict has a decision, a policy version and, if refused, a category. A third-party screen may return anything."""
    return (
        isinstance(answer.allowed, bool)
        and _word(answer.policy_version)
        and (answer.category is None if answer.allowed else _word(answer.category))
    )


def _word(value: object) -> bool:
    """Return True for a short identifier: it goes into events, where no prose may."""
    return isinstance(value, str) and re.fullmatch(r"[\w.:+/-]{1,80}", value, re.ASCII) is not None
