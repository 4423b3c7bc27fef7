"""Serve the prompt dialog (edge function enhance-prompt): take a prompt from the database, screen, enhance, screen again, answer.

Runs in the enhancer process where there is one, in a thread beside those that serve its socket; else in an executor that has the model,
while its device is idle. If the process dies, the prompt's lease expires within seconds and another process takes it.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Protocol

from executors.enhancer.client import RemoteEnhancer
from executors.errors import EnhancementFailed, EnhancerAway, Left, TextUnreadable
from executors.language import unknown
from executors.texts import for_guard, read
from ourvidz.db import enhancement
from ourvidz.db.connection import Ambiguous, Database, DatabaseAway, Listener
from ourvidz.safety import texts
from ourvidz.safety.lexical import LexicalScreen
from ourvidz.safety.rules import languages
from ourvidz.safety.screen import PromptScreen, ScreenUnavailable, Verdict

if TYPE_CHECKING:
    from executors.enhance import Enhanced
    from executors.shelf import Shelf
    from ourvidz.lifecycle import Jobs

log = logging.getLogger("ourvidz.enhancer")

POLL = 1.0  # seconds between two polls, a fallback for NOTIFY
RENEW = 2.0  # seconds between two renewals of the lease, which lasts six
TROUBLE = 10.0  # seconds to wait after something that is not the prompt's fault


class Model(Protocol):
    """The part of `Enhancer` and `RemoteEnhancer` that a `Dialog` uses."""

    def enhance(self, prompt: str, family: str, *, deadline_s: float, should_stop: Callable[[], None]) -> Enhanced: ...


Judge = Callable[[str, float, Callable[[], None]], Verdict]


class Refused(Exception):
    """A screen refused the prompt or the enhanced text."""


class Dialog:
    """Prompts of the dialog: `once` serves one, `run` serves until `stop`. `judge`: the guard; None with tiny models."""

    def __init__(self, db: Database, name: str, model: Callable[[], Model], screen: PromptScreen, judge: Judge | None) -> None:
        self._db, self._name, self._model, self._screen, self._judge = db, name, model, screen, judge
        self._stop, self._bell = threading.Event(), threading.Event()
        self._able_at = 0.0

    def once(self) -> bool:
        """Serve one prompt; return whether there was one. Raises `DatabaseAway`, `Ambiguous`."""
        if time.monotonic() < self._able_at:
            return False
        asked = enhancement.take(self._db, self._name)
        if asked is None:
            return False
        try:
            text, figures = self._enhanced(asked)
        except Refused:
            enhancement.fail(self._db, asked, "refused")
        except (EnhancerAway, ScreenUnavailable) as error:
            log.warning("A prompt was not enhanced, and is left to another enhancer: %s", error)
            enhancement.give_back(self._db, asked)
            self._able_at = time.monotonic() + TROUBLE  # else this process would take the same prompt again at once
        except (EnhancementFailed, TextUnreadable) as error:
            log.info("A prompt was not enhanced: %s", error)
            enhancement.fail(self._db, asked, "no_description")
        except Left:
            log.info("A prompt went to another enhancer, or nobody waits for it any more.")
        except (DatabaseAway, Ambiguous):
            raise
        except Exception as error:  # noqa: BLE001  (not quoted: what a tokenizer complains of may be the prompt)
            log.warning("A prompt was not enhanced: %s", type(error).__name__)
            enhancement.fail(self._db, asked, "unexpected")
        else:
            enhancement.answer(self._db, asked, text, figures)
        return True

    def _enhanced(self, asked: enhancement.Request) -> tuple[str, dict[str, object]]:
        until, renewed = time.monotonic() + asked.seconds_left, time.monotonic()

        def should_stop() -> None:
            nonlocal renewed
            if self._stop.is_set():
                raise EnhancerAway("the enhancer is leaving")
            if time.monotonic() - renewed > RENEW:
                renewed = time.monotonic()
                if not enhancement.hold(self._db, self._name, asked):
                    raise Left

        prompt = self._read("prompt", asked.prompt, until, should_stop)
        if self._judge is None and unknown(prompt, languages()):
            raise Refused
        done = self._model().enhance(prompt, asked.style, deadline_s=max(0.1, until - time.monotonic()), should_stop=should_stop)
        text = self._read("enhanced", done.text, until, should_stop)
        return text, {"seconds": round(done.seconds, 3), "tokens": done.tokens, **({"note": done.note} if done.note else {})}

    def _read(self, field: str, written: str, until: float, should_stop: Callable[[], None]) -> str:
        """Return the text in canonical form, screened. Fails closed: raises `Refused`, `TextUnreadable`, `ScreenUnavailable`, and what
        `should_stop` raises."""
        text = read(field, written)
        if not texts.check(self._screen, text).allowed:
            raise Refused
        if self._judge is not None:
            for _, reading in for_guard((text,)):
                if not self._judge(reading, max(0.1, until - time.monotonic()), should_stop).allowed:
                    raise Refused
        return text.text

    def run(self) -> None:
        """Serve prompts until `stop`, in a thread of its own. Survives a database outage, and a database without these requests yet."""
        listener = Listener(self._db.url, enhancement.CHANNEL, self._bell.set)
        try:
            while not self._stop.is_set():
                self._bell.clear()
                try:
                    if not self.once():
                        self._bell.wait(POLL)
                except Exception as error:  # noqa: BLE001  (on any error the socket is still served)
                    log.warning("Prompts of the dialog are not answered just now (%s); trying again.", type(error).__name__)
                    self._stop.wait(TROUBLE)
        finally:
            listener.close()

    def stop(self) -> None:
        self._stop.set()
        self._bell.set()


def name_of(what: str) -> str:
    """Name this process, unique among all enhancing processes."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', gethostname())[:80]}:{what}:{os.getpid()}"


@contextmanager
def beside(address: Path, db: Database | None, *, guarded: bool) -> Iterator[Callable[[], None]]:
    """For the enhancer process: yield a function that starts the dialog's thread, which stops at the end of the `with`. It enhances over
    the process's own socket, so that its prompts wait in the same queue as those of executors."""
    if db is None:
        yield lambda: None
        return
    remote = RemoteEnhancer(address, only=True)

    def judge(text: str, deadline_s: float, should_stop: Callable[[], None]) -> Verdict:
        return remote.judge(text, deadline_s=deadline_s, should_stop=should_stop)

    dialog = Dialog(db, name_of("enhancer"), lambda: remote, LexicalScreen(), judge if guarded else None)
    thread = threading.Thread(target=dialog.run, name="dialog", daemon=True)
    try:
        yield thread.start
    finally:
        dialog.stop()
        if thread.ident is not None:
            thread.join(10)


def of_shelf(jobs: Jobs, shelf: Shelf) -> Dialog | None:
    """For an executor: a `Dialog` on its own model, for the device thread. None if it has no such model."""
    if not shelf.can_enhance:
        return None

    def judge(text: str, deadline_s: float, should_stop: Callable[[], None]) -> Verdict:
        return shelf.guard().check(text)

    return Dialog(jobs.db, name_of("executor"), shelf.enhancer, jobs.screen, judge if shelf.guarded else None)
