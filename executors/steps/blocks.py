"""Check for blocked pictures: each reference before any model sees it, each output before it is recorded.

The list is in the database (ourvidz.blocked_hashes), which answers only yes or no; the user is told `blocked`.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from executors import perceptual
from executors.context import JobRun
from executors.errors import Refused
from executors.models.base import DeviceOutput
from ourvidz.safety.screen import Verdict

_VERDICT = Verdict(False, "blocks", "blocked")


def reference(run: JobRun, slot: str, sha256: str, picture: Image.Image) -> None:
    """Raise `Refused` for a blocked reference. Checks every orientation: mirroring is the usual way to evade a block."""
    if run.jobs.blocked(run.claim, sha256, perceptual.orientations([picture])):
        raise Refused(_VERDICT, "reference", f"reference {slot}", sha256)


def output(run: JobRun, made: DeviceOutput, sha256: str, pictures: Sequence[Image.Image]) -> None:
    """Raise `Refused` for a blocked output. `sha256`: of the file to be published."""
    if run.jobs.blocked(run.claim, sha256, perceptual.orientations(pictures)):
        raise Refused(_VERDICT, "output", f"output {made.index}", sha256)
