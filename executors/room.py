"""What an executor works with, and a claim on its way through it: the value that every step takes and gives."""

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
    """A screen refused a text, or a picture: the job fails for good."""

    def __init__(self, verdict: Verdict, stage: str, what: str, sha256: str | None = None) -> None:
        """`stage`: a field of `ourvidz.safety.texts`, reference or output. `sha256` of the picture or of the canonical text, in hex,
        stands in the event for it, salted."""
        category = verdict.category or "refused"
        # Of a block no more is said than that: which list or picture it is would tell how to get past it.
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
    """What an executor works with, the same for all its jobs. Threads share it."""

    jobs: Jobs
    store: ArtifactStore
    shelf: Shelf  # the device thread's
    spool: Spool
    heartbeat: Heartbeat
    device: Device
    policy: Policy
    observe: Observer
    seal: Seal
    enhancer: RemoteEnhancer | None = None  # in a process of its own
    fetch: Fetch = fetch
    consent: Consent = attested
    eye: Watchful | None = None  # the image screen, where an operator has one
    unseen: bool = False  # the operator said in so many words that none is wanted

    @property
    def refuses_pictures(self) -> bool:
        """Whether reference pictures that users bring are refused: real models, and nothing that looks at them first."""
        return self.eye is None and self.shelf.guarded and not self.unseen


@dataclass(frozen=True)
class Run:
    """A claim on its way through the line."""

    room: Room
    hold: Hold
    prompt: str  # canonical, once it is screened
    negative: str = ""  # all of it, our own terms too
    todo: Sequence[int] = ()  # indices of the outputs that still have to be made; looked up once, so that all steps agree
    references: References = field(default_factory=References)
    enhancing: bool = False  # an enhancement was begun beside the device
    texts: tuple[Text, ...] = ()  # all that was screened
    said: Text | None = None  # of `texts`, the user's negative prompt
    kept: Text | None = None  # and the enhanced prompt of an earlier attempt
    judged: frozenset[Text] = frozenset()  # those that the guard has allowed
    worded: bool = False  # the prompt is what it will be: nothing is left to enhance

    @property
    def claim(self) -> Claim:
        return self.hold.claim

    @property
    def jobs(self) -> Jobs:
        return self.room.jobs

    def show(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        self.room.observe(Progress(self.claim.job_id, self.claim.job_type, stage, done, total, note))

    def enter(self, stage: str) -> None:
        """A new stage beside the device. Each of its calls may take as long as loading a model: stores have timeouts of their own."""
        self.hold.watch.touch(stage, self.room.policy.load_stall)
        self.hold.check()
        self.show(stage)

    @property
    def unjudged(self) -> tuple[Text, ...]:
        """What the guard has yet to read."""
        return tuple(text for text in self.texts if text not in self.judged) if self.room.shelf.guarded else ()

    def check_screened(self) -> None:
        """Raises `ScreenUnavailable` where what is about to be made is not made of texts that every screen has allowed."""
        said = self.said.text if self.said else ""
        read = {text.text for text in self.texts if not text.negative}, {"", *(text.text for text in self.texts if text.negative)}
        if self.unjudged or self.prompt not in read[0] or said not in read[1]:
            raise ScreenUnavailable("a text of this job was not screened; the job does not run")

    @property
    def sha256(self) -> str:
        """Of the two texts that a model is about to read."""
        return hashlib.sha256(f"{self.prompt}\0{self.negative}".encode()).hexdigest()

    def screen(self, text: Text) -> None:
        """Raises `Refused`. No model sees a text that was not screened here. Fails closed."""
        self.obey(texts.check(self.jobs.screen, text), text)

    def obey(self, verdict: Verdict, text: Text) -> None:
        if not verdict.allowed:
            raise Refused(verdict, text.field, texts.NAMES[text.field], text.sha256)
