"""What a screen of pictures is: it looks at a reference before any model does, and at every output before it is published.

OurVidz brings none of its own. An operator plugs one in as an entry point of the group `ourvidz.image_screens`, and names it in
`OURVIDZ_IMAGE_SCREEN`. It fails closed, as the screens of prompts do.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal, Protocol

from ourvidz.safety.screen import ScreenUnavailable, Verdict, guarded

GROUP = "ourvidz.image_screens"
NONE = {
    True: "No image screen looks at references and outputs, and these are real models: plug one in with OURVIDZ_IMAGE_SCREEN "
    "(docs/decisions/0018).",
    False: "No image screen looks at references and outputs; what tiny models make needs none.",
}
"""What is said where there is none, by whether the models are real."""
HANGING = 12  # looks at once: twice what an executor's jobs have under way


@dataclass(frozen=True)
class Sight:
    """Where a picture comes from. `index` of the output or `frame` of the clip, else `slot` of the reference."""

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
    """One screen. Made once, at the executor's start: that is the time to load a model. Safe to use from several threads."""

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        """Judge one picture, an RGB PNG. Raises `ScreenUnavailable`."""


class NoImageScreen(Exception):
    """The image screen that the environment names cannot be had: the executor does not start."""


class Watchful:
    """An image screen, asked the only way there is: whatever goes wrong in it is `ScreenUnavailable`, and one that hangs takes no more
    than its share of threads."""

    def __init__(self, screen: ImageScreen, timeout_s: float = 30.0) -> None:
        """`timeout_s`: seconds for one picture."""
        self._screen, self._timeout = screen, timeout_s
        self._places = threading.BoundedSemaphore(HANGING)

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        """Raises `ScreenUnavailable`."""
        if not self._places.acquire(blocking=False):
            raise ScreenUnavailable("the image screen hangs at earlier pictures; the job does not run")

        def look() -> object:
            try:
                return self._screen.check(picture, sight)
            finally:
                self._places.release()

        return guarded("image screen", look, self._timeout)


def find(name: str | None) -> Watchful | None:
    """The screen of that name; None where no name is given. Raises `NoImageScreen`: a screen that is wanted is never done without."""
    if name is None:
        return None
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in known:
        there = f"Installed: {', '.join(sorted(known))}." if known else "None is installed."
        raise NoImageScreen(f"OURVIDZ_IMAGE_SCREEN is {name!r}, and no package has such an entry point in the group {GROUP}. {there}")
    try:
        screen: ImageScreen = known[name].load()()
    except Exception as error:
        raise NoImageScreen(f"The image screen {name} cannot be made ({type(error).__name__}: {error}).") from error
    if not callable(getattr(screen, "check", None)):
        raise NoImageScreen(f"The image screen {name} has no method `check(picture, sight)`.")
    return Watchful(screen)
