"""`ExecutorContext`: the resources that all jobs of an executor share. `JobRun`: one claim in progress, the value that every step takes and
returns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from executors.enhancer.client import RemoteEnhancer
from executors.errors import Refused
from executors.heartbeat import Hold
from executors.models.base import DeviceOutput, References
from executors.provenance import Seal
from executors.shelf import Shelf
from executors.spool import Spool
from ourvidz.fetch import fetch
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.progress import Observer, Progress
from ourvidz.safety import texts
from ourvidz.safety.images import Watchful
from ourvidz.safety.screen import ScreenUnavailable, Verdict
from ourvidz.safety.texts import Text
from ourvidz.storage.base import ArtifactStore
from state.policy import Policy

if TYPE_CHECKING:
    from executors.enhance import Enhanced

Fetch = Callable[[str], bytes]
"""Return a URL's bytes. Raises `FetchRefused` or `FetchUnavailable`."""


@dataclass(frozen=True)
class ExecutorContext:
    """Resources of an executor, shared by all its jobs and threads."""

    jobs: Jobs
    store: ArtifactStore
    shelf: Shelf  # used by the device thread
    spool: Spool
    generate: Callable[[JobRun], Generator[DeviceOutput, None, None]]
    """Wait for the device; yield each output as soon as it is decoded."""
    policy: Policy
    observe: Observer
    seal: Seal
    enhancer: RemoteEnhancer | None = None  # client of the enhancer process
    fetch: Fetch = fetch
    image_screen: Watchful | None = None
    no_image_screen: bool = False  # the operator explicitly wants none

    @property
    def refuses_pictures(self) -> bool:
        """Whether users' own reference pictures are refused: real models without an image screen."""
        return self.image_screen is None and self.shelf.guarded and not self.no_image_screen


class Place(Protocol):
    """Where the language model runs for a job: in the enhancer process, or on this executor's device (`executors.places`)."""

    on_device: bool
    required: bool  # no other place may take over

    @property
    def ready(self) -> bool: ...

    def enter(self, stage: str) -> None:
        """Start a stage. Raises as `Hold.check`."""

    def judge(self, text: str, negative: bool) -> Verdict:
        """Return the guard's verdict. Raises `EnhancerAway` if this place cannot answer."""

    def enhance(self, prompt: str, style: str) -> Enhanced:
        """Enhance a prompt; `style` names a table of `data/enhance.toml`. Raises `EnhancementFailed`, `EnhancerAway`."""


@dataclass(frozen=True)
class JobRun:
    """A claim in progress; each step returns an updated copy."""

    context: ExecutorContext
    hold: Hold
    place: Place
    prompt: str  # canonical, once it is screened
    negative: str = ""  # the full negative prompt, including our own terms
    todo: Sequence[int] = ()  # indices of the outputs still to be made; looked up once, so that all steps agree
    references: References = field(default_factory=References)
    enhancing: bool = False  # the event `enhancement_started` is written
    texts: tuple[Text, ...] = ()  # all screened texts
    said: Text | None = None  # of `texts`, the user's negative prompt
    kept: Text | None = None  # of `texts`, the enhanced prompt of an earlier attempt
    judged: frozenset[Text] = frozenset()  # the texts that the guard has allowed
    prompt_final: bool = False  # nothing is left to enhance
    deferred: tuple[Step, ...] = ()  # steps left to the device, in order

    @property
    def claim(self) -> Claim:
        return self.hold.claim

    @property
    def jobs(self) -> Jobs:
        return self.context.jobs

    def defer(self, step: Step) -> JobRun:
        """Leave a step to the device, because the enhancer process does not answer."""
        return replace(self, deferred=(*self.deferred, step))

    def show(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        self.context.observe(Progress(self.claim.job_id, self.claim.job_type, stage, done, total, note))

    def enter(self, stage: str) -> None:
        """Start a stage in the job's own thread. Each call in it may take as long as loading a model: stores have their own timeouts."""
        self.hold.watch.touch(stage, self.context.policy.load_stall)
        self.hold.check()
        self.show(stage)

    @property
    def unjudged(self) -> tuple[Text, ...]:
        """The texts that the guard has not judged yet."""
        return tuple(text for text in self.texts if text not in self.judged) if self.context.shelf.guarded else ()

    def check_screened(self) -> None:
        """Raise `ScreenUnavailable` unless the prompt and the negative prompt come from texts that every screen has allowed."""
        said = self.said.text if self.said else ""
        read = {text.text for text in self.texts if not text.negative}, {"", *(text.text for text in self.texts if text.negative)}
        if self.unjudged or self.prompt not in read[0] or said not in read[1]:
            raise ScreenUnavailable("a text of this job was not screened; the job does not run")

    @property
    def sha256(self) -> str:
        """SHA-256 of the two texts that the model reads, in hex."""
        return hashlib.sha256(f"{self.prompt}\0{self.negative}".encode()).hexdigest()

    def screen(self, text: Text) -> None:
        """Screen a text, before any model sees it. Fails closed. Raises `Refused`."""
        self.obey(texts.check(self.jobs.screen, text), text)

    def obey(self, verdict: Verdict, text: Text) -> None:
        if not verdict.allowed:
            raise Refused(verdict, text.field, texts.NAMES[text.field], text.sha256)


Step = Callable[[JobRun], JobRun]
