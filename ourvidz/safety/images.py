"""Image screens: they check a reference before any model sees it, and every output before it is published.

The operator selects one with `OURVIDZ_IMAGE_SCREEN`: `local`, the classifier in a folder (`executors.image_screen`), or an entry point of
the group `ourvidz.image_screens`. It fails closed, like the prompt screens. Without one, real models accept no reference pictures of users,
unless the operator sets `none`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal, Protocol

from ourvidz.safety.screen import ScreenUnavailable, Verdict, guarded_many

GROUP = "ourvidz.image_screens"
NONE, LOCAL = "none", "local"
REFUSED = (
    "No image screen is set, and these are real models: reference pictures that users bring are refused, and nothing looks at outputs. "
    "Set OURVIDZ_IMAGE_SCREEN=local and OURVIDZ_IMAGE_SCREEN_MODEL to a classifier's folder, or name another screen (docs/safety.md)."
)
UNSEEN = (
    "OURVIDZ_IMAGE_SCREEN=none: NOTHING LOOKS AT THE PICTURES that users bring, nor at what these real models make of them. "
    "Whoever runs this answers for each of them (docs/safety.md)."
)
NEEDLESS = "No image screen looks at references and outputs; what tiny models make needs none."


def without(name: str | None, *, real: bool) -> str:
    """The message if there is no screen. `name`: as in the environment; `real`: real models, not tiny ones."""
    return NEEDLESS if not real else UNSEEN if name == NONE else REFUSED


HANGING = 12  # checks at once: twice what an executor's jobs have in progress


@dataclass(frozen=True)
class Sight:
    """The origin of a picture: `index` of the output, and `frame` of a clip; or `slot` of the reference."""

    job_id: str
    job_type: str
    kind: Literal["output", "reference"]
    index: int | None = None
    frame: int | None = None
    slot: str | None = None

    @property
    def name(self) -> str:
        frame = "" if self.frame is None else f", frame {self.frame}"
        return f"reference {self.slot}" if self.kind == "reference" else f"output {self.index}{frame}"


class ImageScreen(Protocol):
    """An image screen. Created once, at the executor's start, which is the time to load a model. Must be thread-safe.

    A screen that judges several pictures in one pass has `at_once`, how many, and `check_many(pictures, sights)`: a list of verdicts.
    """

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        """Judge one picture, an RGB PNG. Raises `ScreenUnavailable`."""


class NoImageScreen(Exception):
    """The configured image screen cannot be loaded: the executor does not start."""


class Watchful:
    """A guarded image screen: every failure in it becomes `ScreenUnavailable`, and a hanging screen occupies at most `HANGING` threads.
    All callers use this."""

    def __init__(self, screen: ImageScreen, timeout_s: float = 30.0) -> None:
        """`timeout_s`: seconds for one picture, or for one pass over several."""
        self._screen, self._timeout = screen, timeout_s
        self.at_once: int = getattr(screen, "at_once", 1) if hasattr(screen, "check_many") else 1
        self._places = threading.BoundedSemaphore(HANGING)

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        """Raises `ScreenUnavailable`."""
        return self._asked(lambda: [self._screen.check(picture, sight)], 1)[0]

    def check_many(self, pictures: Sequence[bytes], sights: Sequence[Sight]) -> list[Verdict]:
        """A verdict for each of at most `at_once` pictures. Raises `ScreenUnavailable`."""
        if len(pictures) == 1:
            return [self.check(pictures[0], sights[0])]
        many = getattr(self._screen, "check_many")  # noqa: B009  (the protocol does not ask for it)
        return self._asked(lambda: many(pictures, sights), len(pictures))

    def _asked(self, ask: Callable[[], object], count: int) -> list[Verdict]:
        if not self._places.acquire(blocking=False):
            raise ScreenUnavailable("the image screen hangs at earlier pictures; the job does not run")

        def look() -> object:
            try:
                return ask()
            finally:
                self._places.release()

        return guarded_many("image screen", look, count, self._timeout)


def find(name: str | None, local: Callable[[], ImageScreen] | None = None) -> Watchful | None:
    """Load the screen called `name`; None if it is None or `none`. `local` creates the screen of that name. Raises `NoImageScreen`: a
    configured screen is never left out."""
    if name is None or name == NONE:
        return None
    if name == LOCAL and local is not None:
        make: Callable[[], ImageScreen] = local
    else:
        known = {entry.name: entry for entry in entry_points(group=GROUP)}
        if name not in known:
            there = f"Installed: {', '.join(sorted(known))}." if known else "None is installed."
            said = f"OURVIDZ_IMAGE_SCREEN is {name!r}, and no package has such an entry point in the group {GROUP}. {there}"
            raise NoImageScreen(f"{said} `{LOCAL}` is a classifier of your own; `{NONE}` goes without.")
        make = lambda: known[name].load()()  # noqa: E731
    try:
        screen = make()
    except NoImageScreen:
        raise
    except Exception as error:
        raise NoImageScreen(f"The image screen {name} cannot be made ({type(error).__name__}: {error}).") from error
    if not callable(getattr(screen, "check", None)):
        raise NoImageScreen(f"The image screen {name} has no method `check(picture, sight)`.")
    return Watchful(screen)
