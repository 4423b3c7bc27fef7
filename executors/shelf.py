"""The model families of this executor, and the lanes that they serve. `executors.residency` manages what is on the device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    from executors.guard_model import Guard
    from executors.residency import Residency

log = logging.getLogger("ourvidz.models")


@dataclass(frozen=True)
class Lane:
    """Jobs that one set of models serves."""

    family: str
    roles: tuple[str, ...]  # of the model files that it needs (`executors.models.roles`)
    denoiser: str  # the component where its jobs spend their time: if that is on the device, the lane's next job starts at once


LANES: Mapping[str, Lane] = {
    "sdxl": Lane("sdxl", ("sdxl",), "sdxl.unet"),
    "sdxl_ip": Lane("sdxl", ("sdxl", "ip_adapter"), "sdxl.unet"),
    "wan": Lane("wan", ("wan",), "wan.t2v"),
    "wan_vace": Lane("wan", ("vace",), "wan.vace"),
}

MODELS = {"sdxl": "sdxl", "wan": "t2v", "vace": "vace"}
"""Role → the model's name in a profile."""


QWEN = "qwen"
"""The role of the model that enhances and guards prompts."""


class Shelf:
    """The models under `root`. `budget`: bytes on the device, for weights and working memory; `ram`: bytes of weights in RAM. `Residency`
    has the defaults."""

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
        """Create what several threads read, once. Called by the later device thread, before any other thread starts."""
        libraries.import_all(self.lanes, self.profile.needs)
        _ = self.at_once, self.residency
        self._compare()

    def _compare(self) -> None:
        """Close the lanes of real models whose tensors do not match their configs, before any of their jobs is claimed. Takes 2 s.

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
        """The open lanes whose models are all in order."""
        return [name for name, lane in LANES.items() if name not in self._closed and all(self.status[role].ok for role in lane.roles)]

    @cached_property
    def at_once(self) -> int:
        """How many pictures may share a pass of SDXL."""
        return at_once_of(self.profile, self._at_once, gpu=self.residency.device.type == "cuda")

    @property
    def residency(self) -> Residency:
        if self._residency is None:
            from executors.residency import Residency

            self._residency = Residency(budget=self._budget, ram=self._ram)
        return self._residency

    @property
    def resident(self) -> list[str]:
        """The lanes whose denoiser is on the device, or will be after the last `family` call."""
        on_device = {lane.denoiser for lane in LANES.values() if self._residency is not None and self._residency.on_device(lane.denoiser)}
        return [lane for lane in self.lanes if LANES[lane].denoiser in on_device | {self._coming}]

    @property
    def guarded(self) -> bool:
        """Whether the guard model must judge each prompt before any other model reads it. Not with tiny models, which make coloured shapes
        or noise: there only the lexical screen runs."""
        return not self.tiny

    def guard(self) -> Guard:
        """Return the enhancer's model as a classifier. Raises `ScreenUnavailable` if there is none, `ModelFileError`, `OutOfMemory`."""
        from executors.guard_model import Guard

        if not self.can_enhance:
            raise ScreenUnavailable("this executor has no guard model (role qwen); the job does not run")
        return Guard(self.enhancer())

    @property
    def can_enhance(self) -> bool:
        return self.status[QWEN].ok and QWEN not in self._closed

    def family(self, lane: str) -> Family:
        """Return the lane's family, loaded: its weights in RAM, or already on the device. Raises `ModelFileError`, `OutOfMemory`."""
        name = LANES[lane].family
        self._coming = LANES[lane].denoiser
        if name not in self._families:
            family = FAMILIES[name](self)
            try:
                family.load()
            except BaseException:
                family.unload()  # a bad model may be partly loaded, and its files may be replaced later
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
                self._closed.add(QWEN)  # do not read gigabytes again for each prompt
                log.error("The enhancer is closed here: %s", error)
                raise
            self._enhancer = enhancer
        return self._enhancer

    def spoiled(self, lane: str) -> list[Path]:
        """Handle a model of this lane that failed to load: verify its family's files again, quarantine bad ones, close the affected lanes.
        Returns the files moved."""
        name = LANES[lane].family
        roles = {role for other in LANES.values() if other.family == name for role in other.roles}
        try:
            # The whole family, because the bad model may be another lane's, loaded along with this one's.
            found = [s for s in files.verify(self.paths.root, deep=True, structure=True) if s.role in roles]
        except ModelFileError as error:  # the manifest itself is bad, so no file can be verified
            log.error("%s", error)
            self._closed |= LANES.keys()
            return []
        moved = [path for s in found for path in files.quarantine(self.paths.root, s)]
        # Names and shapes again, since their faults move no file: a fault closes all the lanes of the role.
        before, self.status = self.status, {s.role: s for s in files.verify(self.paths.root, deep=False, structure=True)}
        if (family := self._families.pop(name, None)) is not None:
            family.unload()  # created again with the remaining models
        if lane in self.lanes and not moved and all(before[role].ok == self.status[role].ok for role in roles):
            self._closed.add(lane)  # the files look right but do not load: a person must look, other executors serve the lane
        return moved


def _sdxl(shelf: Shelf) -> Family:
    from executors.models.sdxl import Sdxl

    return Sdxl(shelf.paths, profile=shelf.profile, at_once=shelf._at_once, residency=shelf.residency)


def _wan(shelf: Shelf) -> Family:
    from executors.models.speed import T2V, VACE
    from executors.models.wan import Wan

    modes = {mode for mode, role in ((T2V, "wan"), (VACE, "vace")) if shelf.status[role].ok}
    return Wan(shelf.paths, modes, profile=shelf.profile, residency=shelf.residency)


FAMILIES: Mapping[str, Callable[[Shelf], Family]] = {"sdxl": _sdxl, "wan": _wan}


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
    """Prepare the shelf at `root`. Makes tiny models if `tiny` allows it.

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
