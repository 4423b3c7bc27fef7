"""Blocked pictures, at both places where one could come in: each reference before any model sees it, each output before it is recorded. The
list is the database's (ourvidz.blocked_hashes); what is learned here is yes or no, and what the user reads is `blocked`."""

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
    """Raises `Refused`. In every orientation: to mirror a picture is the first thing that people try."""
    if run.jobs.blocked(run.claim, sha256, perceptual.orientations([picture])):
        raise Refused(_VERDICT, "reference", f"reference {slot}", sha256)


def output(run: Run, made: Made, sha256: str, pictures: Sequence[Image.Image]) -> None:
    """Raises `Refused`. `sha256` of the file that would be published."""
    if run.jobs.blocked(run.claim, sha256, perceptual.orientations(pictures)):
        raise Refused(_VERDICT, "output", f"output {made.index}", sha256)


def shown(made: Made) -> list[Image.Image]:
    """What of an output is compared: the picture, or the frames of a clip that the image screen looks at too."""
    if isinstance(made.output, Clip):
        return [made.output.frames[n] for n in sampled(len(made.output.frames))]
    return [made.output.image]
