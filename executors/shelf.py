"""Which model families this executor has, and which lanes they serve. What of them is on the device is `executors.residency`'s affair."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from executors import libraries
from executors.errors import ModelFileError
from executors.models import attention, files
from executors.models.base import Family, ModelPaths
from executors.models.profiles import DEFAULT, EXACT, Profile, at_once_of, check_needs
from ourvidz.safety.screen import ScreenUnavailable

if TYPE_CHECKING:
    from executors.enhance import Enhancer
    from executors.guard import Guard
    from executors.residency import Residency

log = logging.getLogger("ourvidz.models")

LANE_ROLES = {"sdxl": ("sdxl",), "sdxl_ip": ("sdxl", "ip_adapter"), "wan": ("wan",), "wan_vace": ("vace",)}
"""The model files (roles of `executors.models.files`) without which a lane cannot be served."""


DENOISERS = {"sdxl": "sdxl.unet", "sdxl_ip": "sdxl.unet", "wan": "wan.t2v", "wan_vace": "wan.vace"}
"""The component of each lane that its jobs spend their time in: where it is, the lane's next job starts at once."""


MODELS = {"sdxl": "sdxl", "wan": "t2v", "vace": "vace"}
"""What a profile calls the model of each role."""


QWEN = "qwen"
"""The role of the model that words prompts and guards."""


class Shelf:
    """`budget` and `ram`: bytes on the device, weights and working room, and bytes of weights in RAM. `Residency` has the defaults."""

    def __init__(
        self, root: Path, profile: Profile = DEFAULT, at_once: int | None = None, budget: int | None = None, ram: int | None = None
    ) -> None:
        self.paths, self.profile, self._at_once = ModelPaths(root), profile, at_once
        self._budget, self._ram = budget, ram
        self._residency: Residency | None = None
        self._coming = ""
        self.status = {status.role: status for status in files.check(root)}
        self._closed: set[str] = set()
        self._families: dict[str, Family] = {}
        self._enhancer: Enhancer | None = None

    def ready(self) -> None:
        """By the thread that will be the device's, before any other starts: what several threads look at is made here, once."""
        libraries.import_all(self.lanes, self.profile.needs)
        _ = self.at_once, self.residency
        self._compare()

    def _compare(self) -> None:
        """Close the lanes of real models whose tensors are not those of their configs, before a job of theirs is claimed: two seconds.

        Raises `ModelFileError` when no lane is left."""
        if self.tiny:
            return
        before, self.status = self.status, {s.role: s for s in files.verify(self.paths.root, deep=False, structure=True)}
        for role, status in self.status.items():
            for problem in status.problems if before[role].ok else ():
                log.error("%s", problem)
        if not self.lanes:
            raise ModelFileError(f"No model under {self.paths.root} can be used. `ourvidz models verify` says why.")

    @property
    def tiny(self) -> bool:
        return all(status.tiny for status in self.status.values() if status.present)

    @property
    def lanes(self) -> list[str]:
        """The lanes whose models are all in order."""
        return [lane for lane, roles in LANE_ROLES.items() if lane not in self._closed and all(self.status[r].ok for r in roles)]

    @cached_property
    def at_once(self) -> int:
        """Pictures that may share a pass of SDXL."""
        return at_once_of(self.profile, self._at_once, gpu=self.residency.device.type == "cuda")

    @property
    def residency(self) -> Residency:
        if self._residency is None:
            from executors.residency import Residency

            self._residency = Residency(budget=self._budget, ram=self._ram)
        return self._residency

    @property
    def resident(self) -> list[str]:
        """The lanes whose next job finds its denoiser on the device: where it is now, or where the last `family` brings it."""
        on_device = {name for name in DENOISERS.values() if self._residency is not None and self._residency.on_device(name)}
        return [lane for lane in self.lanes if DENOISERS[lane] in on_device | {self._coming}]

    @property
    def guarded(self) -> bool:
        """Whether a model reads each prompt before any other does. Of tiny models, which make coloured shapes or noise, only the
        lexical screen does."""
        return not self.tiny

    def guard(self) -> Guard:
        """The enhancer's model as a classifier. Raises `ScreenUnavailable` where there is none, `ModelFileError`, `OutOfMemory`."""
        from executors.guard import Guard

        if not self.can_enhance:
            raise ScreenUnavailable("this executor has no guard model (role qwen); the job does not run")
        return Guard(self.enhancer())

    @property
    def can_enhance(self) -> bool:
        return self.status[QWEN].ok and QWEN not in self._closed

    def family(self, lane: str) -> Family:
        """The lane's family, put together: its weights in RAM, or already on the device. Raises `ModelFileError`, `OutOfMemory`."""
        name = family_of(lane)
        self._coming = DENOISERS[lane]
        if name not in self._families:
            family = self._make(name)
            try:
                family.load()
            except BaseException:
                family.unload()  # what is bad may have been read in part, and its files may be mended
                self._coming = ""
                raise
            self._families[name] = family
        return self._families[name]

    def enhancer(self) -> Enhancer:
        if self._enhancer is None:
            from executors.enhance import Enhancer

            enhancer = Enhancer(self.paths, residency=self.residency)
            try:
                enhancer.load()
            except ModelFileError as error:
                enhancer.unload()
                self._closed.add(QWEN)  # gigabytes are not read again for each prompt
                log.error("The enhancer is closed here: %s", error)
                raise
            self._enhancer = enhancer
        return self._enhancer

    def spoiled(self, lane: str) -> list[Path]:
        """A model of this lane would not load: look at its family's files again, put bad ones into quarantine, serve the other lanes."""
        name = family_of(lane)
        roles = {role for other, needs in LANE_ROLES.items() if family_of(other) == name for role in needs}
        try:
            # Of the whole family, because it may have been another lane's model, loaded along with this one's, that is bad.
            found = [s for s in files.verify(self.paths.root, deep=True, structure=True) if s.role in roles]
        except ModelFileError as error:  # the manifest itself: nothing can be said of any file
            log.error("%s", error)
            self._closed |= LANE_ROLES.keys()
            return []
        moved = [path for s in found for path in files.quarantine(self.paths.root, s)]
        # Names and shapes again, whose faults move no file: what is wrong with them closes all the lanes of their role.
        before, self.status = self.status, {s.role: s for s in files.verify(self.paths.root, deep=False, structure=True)}
        if (family := self._families.pop(name, None)) is not None:
            family.unload()  # made again, it has what is left
        if lane in self.lanes and not moved and all(before[role].ok == self.status[role].ok for role in roles):
            self._closed.add(lane)  # the files look right and yet do not load: leave them to a person, and the lane to others
        return moved

    def _make(self, name: str) -> Family:
        if name == "sdxl":
            from executors.models.sdxl import Sdxl

            return Sdxl(self.paths, profile=self.profile, at_once=self._at_once, residency=self.residency)
        from executors.models.wan import T2V, VACE, Wan

        modes = {mode for mode, role in ((T2V, "wan"), (VACE, "vace")) if self.status[role].ok}
        return Wan(self.paths, modes, profile=self.profile, residency=self.residency)


def family_of(lane: str) -> str:
    return lane.split("_")[0]


def prepare(
    root: Path,
    *,
    tiny: bool,
    on_progress: Callable[[str], None],
    profile: Profile = DEFAULT,
    at_once: int | None = None,
    budget: int | None = None,
    ram: int | None = None,
) -> Shelf:
    """The shelf at `root`. Makes tiny models when that is allowed.

    Raises `ModelFileError` when no lane can be served, `UnknownProfile` when the profile lacks a file or a package, `NoAttention` when this
    machine cannot compute attention as the profile asks.
    """
    attention.check(profile.attention, exact=profile.name == EXACT.name)
    if tiny:
        from executors.models.tiny import make_tiny

        make_tiny(root, on_progress)
    shelf = Shelf(root, profile, at_once, budget, ram)
    for status in shelf.status.values():
        for problem in status.problems:
            log.warning("%s", problem)
        files.quarantine(root, status)
    if not shelf.lanes:
        raise ModelFileError(
            f"No model under {root} can be used. Run `ourvidz models verify`, or `ourvidz models make-tiny` to try without."
        )
    check_needs(profile, root, frozenset(model for role, model in MODELS.items() if shelf.status[role].ok))
    return shelf
