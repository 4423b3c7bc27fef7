"""Where a job's language model runs: in the enhancer process, called from the job's own thread, or on this executor's device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from executors.enhancer.client import RemoteEnhancer
from executors.errors import EnhancementFailed, EnhancerAway
from executors.heartbeat import Hold, Watch
from executors.shelf import Shelf
from ourvidz.safety.screen import Verdict
from state.policy import Policy

if TYPE_CHECKING:
    from executors.enhance import Enhanced

GUARD_LIMIT = 30.0  # seconds for one verdict of the enhancer process, including its wait in the queue


class EnhancerProcess:
    """A `Place`: the enhancer process of this machine, if there is one. It works while the device is busy with other jobs."""

    on_device = False

    def __init__(self, remote: RemoteEnhancer | None, hold: Hold, policy: Policy, show: Callable[[str], None]) -> None:
        self._remote, self._hold, self._policy, self._show = remote, hold, policy, show
        self.required = remote is not None and remote.only

    @property
    def ready(self) -> bool:
        return self._remote is not None and (self.required or self._remote.there())

    def enter(self, stage: str) -> None:
        self._hold.watch.touch(stage, self._policy.load_stall)
        self._hold.check()
        self._show(stage)

    def judge(self, text: str, negative: bool) -> Verdict:
        return self._client().judge(text, negative=negative, deadline_s=GUARD_LIMIT, should_stop=self._should_stop)

    def enhance(self, prompt: str, style: str) -> Enhanced:
        return self._client().enhance(prompt, style, deadline_s=self._policy.enhance_limit, should_stop=self._should_stop)

    def _client(self) -> RemoteEnhancer:
        if self._remote is None:
            raise EnhancerAway("this executor has no enhancer process")
        return self._remote

    def _should_stop(self) -> None:
        self._hold.watch.touch()
        self._hold.check()


class OnDevice:
    """A `Place`: this executor's own model. Device thread only."""

    on_device = required = ready = True

    def __init__(self, shelf: Shelf, watch: Watch, policy: Policy, check: Callable[[], None], show: Callable[[str], None]) -> None:
        """`check`: raises if the job is no longer wanted."""
        self._shelf, self._watch, self._policy, self._check, self._show = shelf, watch, policy, check, show

    def enter(self, stage: str) -> None:
        self._watch.touch(stage, self._policy.load_stall)
        self._check()
        self._show(stage)

    def judge(self, text: str, negative: bool) -> Verdict:
        return self._shelf.guard().check(text, negative=negative)

    def enhance(self, prompt: str, style: str) -> Enhanced:
        if not self._shelf.can_enhance:
            raise EnhancementFailed("this executor has no enhancement model")
        try:
            return self._shelf.enhancer().enhance(prompt, style, deadline_s=self._policy.enhance_limit, should_stop=self._each_token)
        finally:
            self._watch.touch("enhancing", self._policy.load_stall)  # next is a database write, which may wait in an outage

    def _each_token(self) -> None:
        self._watch.touch("enhancing", self._policy.step_stall)
        self._check()
