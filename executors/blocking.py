"""Check for blocked pictures: each reference before any model sees it, each output before it is recorded.

The list is in the database (ourvidz.blocked_hashes), which answers only yes or no; the user is told `blocked`.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from executors import perceptual
from executors.device import Made
from executors.looking import sampled
from executors.models.base import Clip
from executors.room import Refused, Run
from ourvidz.safety.screen import Verdict

_VERDICT = Verdict(False, "blocks", "blocked")


def reference(run: Run, slot: str, sha256: str, picture: Image.Image) -> None:
    """Raise `Refused` for a blocked reference. Checks every orientation: mirroring is the usual way to evade a block."""
    if run.jobs.blocked(run.claim, sha256, perceptual.orientations([picture])):
        raise Refused(_VERDICT, "reference", f"reference {slot}", sha256)


def output(run: Run, made: Made, sha256: str, pictures: Sequence[Image.Image]) -> None:
    """Raise `Refused` for a blocked output. `sha256`: of the file to be published."""
    if run.jobs.blocked(run.claim, sha256, perceptual.orientations(pictures)):
        raise Refused(_VERDICT, "output", f"output {made.index}", sha256)


def shown(made: Made) -> list[Image.Image]:
    """Return the pictures of an output to compare: the picture, or the clip's frames that the image screen looks at too."""
    if isinstance(made.output, Clip):
        return [made.output.frames[n] for n in sampled(len(made.output.frames))]
    return [made.output.image]
