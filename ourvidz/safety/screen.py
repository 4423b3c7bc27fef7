"""What a prompt screen is: it looks at a text and says whether any model may see it.

A screen fails closed. When it cannot answer it raises `ScreenUnavailable`, and the caller must not run the job; there is no default
verdict. Neither verdicts nor errors carry the text or any word of it: they end up in events and logs.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Verdict:
    """What a screen says of one text. When refused, `category` and `rule_id` name the reason, never the words; both are None when
    allowed. `policy_version` names the exact rules. The caller adds the text's hash, salted for its job.
    """

    allowed: bool
    policy_version: str
    category: str | None = None
    rule_id: str | None = None


class ScreenUnavailable(Exception):
    """The screen cannot answer, so the job must not run. Worth a retry: data can be mended, a guard model can come back."""

    error_class = "screen_unavailable"
    retryable = True


class PromptScreen(Protocol):
    """One screen. Safe to use from several threads."""

    def check(self, text: str) -> Verdict:
        """Judge one text (a prompt, an enhanced prompt). Raises `ScreenUnavailable`."""


def guarded_check(screen: PromptScreen, text: str, timeout_s: float = 10.0) -> Verdict:
    """The way to ask any screen: whatever goes wrong in it, slowness and a strange answer too, becomes `ScreenUnavailable`.

    `timeout_s` is in seconds. A screen that hangs keeps its thread (a daemon) until the process ends.
    """
    answers: queue.SimpleQueue[Verdict | str] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer = screen.check(text)
            answers.put(answer if _whole(answer) else "it gave no verdict")
        except BaseException as error:  # noqa: BLE001  (MemoryError, SystemExit: nothing may let a job through)
            answers.put(type(error).__name__)

    threading.Thread(target=ask, name="prompt-screen", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        answer = f"no answer within {timeout_s:g} s"
    if isinstance(answer, str):
        # The screen's own exception is left out, chained or not: its message could quote the prompt.
        raise ScreenUnavailable(f"the prompt screen could not answer ({answer}); the job does not run")
    return answer


def _whole(answer: object) -> bool:
    """A verdict that says yes or no, under which rules, and for a no why. A screen written elsewhere may return anything."""
    return (
        isinstance(answer, Verdict)
        and isinstance(answer.allowed, bool)
        and bool(answer.policy_version)
        and answer.allowed == (answer.category is None)
    )
