"""`Room`: the resources that all jobs of an executor share. `Run`: one claim in progress, the value that every step takes and returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from executors.heartbeat import Heartbeat, Hold
from executors.models.base import References
from executors.provenance import Seal
from executors.referring import Consent, Fetch, attested
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
    from executors.device import Device
    from executors.enhancer.client import RemoteEnhancer


class Refused(Exception):
    """A screen refused a text or a picture: the job fails for good."""

    def __init__(self, verdict: Verdict, stage: str, what: str, sha256: str | None = None) -> None:
        """`stage`: a field of `ourvidz.safety.texts`, "reference" or "output". `sha256` of the picture or of the canonical text, in hex,
        represents it in the event, salted."""
        category = verdict.category or "refused"
        # A block is not explained: naming the list or the picture would help to evade it.
        blocked = category == "blocked"
        super().__init__(f"The {what} is blocked." if blocked else f"The {what} was refused ({category}, policy {verdict.policy_version}).")
        told = {
            "category": category,
            "policy_version": verdict.policy_version,
            "stage": stage,
            "rule_id": verdict.rule_id,
            "sha256": sha256,
        }
        self.verdict = {name: word for name, word in told.items() if word}


@dataclass(frozen=True)
class Room:
    """Resources of an executor, shared by all its jobs and threads."""

    jobs: Jobs
    store: ArtifactStore
    shelf: Shelf  # used by the device thread
    spool: Spool
    heartbeat: Heartbeat
    device: Device
    policy: Policy
    observe: Observer
    seal: Seal
    enhancer: RemoteEnhancer | None = None  # client of the enhancer process
    fetch: Fetch = fetch
    consent: Consent = attested
    eye: Watchful | None = None  # the image screen, if configured
    unseen: bool = False  # the operator explicitly wants no image screen

    @property
    def refuses_pictures(self) -> bool:
        """Whether users' own reference pictures are refused: real models without an image screen."""
        return self.eye is None and self.shelf.guarded and not self.unseen


@dataclass(frozen=True)
class Run:
    """A claim in progress; each step returns an updated copy."""

    room: Room
    hold: Hold
    prompt: str  # canonical, once it is screened
    negative: str = ""  # the full negative prompt, including our own terms
    todo: Sequence[int] = ()  # indices of the outputs still to be made; looked up once, so that all steps agree
    references: References = field(default_factory=References)
    enhancing: bool = False  # an enhancement was started beside the device
    texts: tuple[Text, ...] = ()  # all screened texts
    said: Text | None = None  # of `texts`, the user's negative prompt
    kept: Text | None = None  # of `texts`, the enhanced prompt of an earlier attempt
    judged: frozenset[Text] = frozenset()  # the texts that the guard has allowed
    worded: bool = False  # the prompt is final: nothing is left to enhance

    @property
    def claim(self) -> Claim:
        return self.hold.claim

    @property
    def jobs(self) -> Jobs:
        return self.room.jobs

    def show(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        self.room.observe(Progress(self.claim.job_id, self.claim.job_type, stage, done, total, note))

    def enter(self, stage: str) -> None:
        """Start a stage beside the device. Each call in it may take as long as loading a model: stores have their own timeouts."""
        self.hold.watch.touch(stage, self.room.policy.load_stall)
        self.hold.check()
        self.show(stage)

    @property
    def unjudged(self) -> tuple[Text, ...]:
        """The texts that the guard has not judged yet."""
        return tuple(text for text in self.texts if text not in self.judged) if self.room.shelf.guarded else ()

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
