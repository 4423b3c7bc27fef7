"""An executor: register, claim and run jobs; drain on a signal; register again after being declared gone."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO, TypeVar

from executors import credentials, language
from executors.context import ExecutorContext, Fetch
from executors.device import Device
from executors.dialog import of_shelf
from executors.enhancer.client import RemoteEnhancer
from executors.heartbeat import Heartbeat, Hold
from executors.progress_report import ProgressReport
from executors.provenance import Seal
from executors.run import attempt
from executors.shelf import Shelf
from executors.spool import Spool
from ourvidz.audit import heads_file, publish_heads
from ourvidz.db.connection import PATIENCE, Ambiguous, DatabaseAway, Listener
from ourvidz.fetch import fetch
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.progress import Observer, Progress
from ourvidz.safety.images import Watchful
from ourvidz.storage.base import ArtifactStore
from state.errors import ExecutorGone, RateLimited
from state.policy import Policy

log = logging.getLogger("ourvidz.worker")

T = TypeVar("T")

POLL = 1.0  # seconds between two polls, a fallback for NOTIFY; with jitter
TIDY = 60.0  # seconds between two rounds of housekeeping
IN_FLIGHT = 6
"""Jobs at once: one ahead of the device, one on it, four behind it. Four concurrent uploads hide a store that takes four times as long as
the device, and memory stays bounded: the 81 frames of a clip are 100 MB until they are in the spool."""
FIRST_CLAIM = 1.0  # seconds that a warm-up waits for the first claim; a claim takes milliseconds
HUNG = 75  # exit code EX_TEMPFAIL of sysexits.h: temporary failure, try again


class Worker:
    """One executor. Three kinds of threads: the one that calls `run` is the device thread, one claims, and each claimed job has its own
    (`executors.run`). The bound is on claims: an unclaimed job takes no memory here, and another executor can claim it."""

    def __init__(
        self,
        jobs: Jobs,
        store: ArtifactStore,
        shelf: Shelf,
        home: Path,
        *,
        name: str | None = None,
        lanes: Sequence[str] | None = None,
        observe: Observer | None = None,
        policy: Policy | None = None,
        own_process: bool = False,
        warm: Sequence[str] | None = (),
        enhancer: RemoteEnhancer | None = None,
        fetch: Fetch = fetch,
        seal: Seal | None = None,
        image_screen: Watchful | None = None,
        no_image_screen: bool = False,
    ) -> None:
        """`own_process`: nothing else runs in this process, so it may exit when its device hangs. `warm`: lanes to load before a job asks
        for them; None: those that the queue needs first. `seal` signs the outputs, by default with the development certificate under
        `home`; `no_image_screen`: the operator wants none."""
        self.jobs, self.store, self.shelf, self.home = jobs, store, shelf, home
        self.policy = policy or jobs.policy()
        self.spool = Spool(home / "spool", self.policy.spool_bytes)
        self._wanted = None if lanes is None else frozenset(lanes)
        self._slot, self.name = _take_slot(home, name)
        self._progress = ProgressReport(observe)
        self._enhancer, self._fetch, self._image_screen, self._no_image_screen = enhancer, fetch, image_screen, no_image_screen
        self._seal = seal or Seal(credentials.development(home))
        self._own_process = own_process
        self._warm = warm
        self._threads: set[threading.Thread] = set()  # job threads; a hung one stays here after its claim is given up
        self._failed: BaseException | None = None
        self._dialog, self._answers_at = of_shelf(jobs, shelf), 0.0
        self.draining = self.unserved = False
        self._patience, self._unserved_since = math.inf, math.inf
        self.heartbeat: Heartbeat | None = None

    @property
    def lanes(self) -> list[str]:
        return [lane for lane in self.shelf.lanes if self._wanted is None or lane in self._wanted]

    @property
    def _in_flight(self) -> int:
        return IN_FLIGHT + 2 * (self.shelf.at_once - 1)  # a shared pass needs more jobs ahead of the device and on it

    def run(self, *, until: Collection[str] | None = None, idle_exit: float | None = None, patience: float = math.inf) -> None:
        """Work until drained; or until the jobs in `until` have ended; or until there was no job for `idle_exit` seconds; or until all that
        is left of `until` has waited `patience` seconds in lanes that no executor, this one included, serves (then `unserved` is true).

        Waits for an unreachable database. At the start only for as long as `jobs` is patient: then raises `DatabaseAway`.
        """
        self._patience = patience
        try:
            self.shelf.ready()
            executor_id = self._register()
            while not self._work(executor_id, until, idle_exit):
                log.warning("Declared gone: registering anew.")
                while (again := self._patiently(self._register)) is None:
                    if self.draining:
                        return
                executor_id = again
        finally:
            self._slot.close()

    def stop(self) -> None:
        """Drain: finish the jobs that have begun, give back those only prepared, then leave. A second call gives back all jobs at their
        next step. Safe to call from a signal handler."""
        if self.heartbeat is not None:
            self.heartbeat.abort = self.draining
            self.heartbeat.draining = True
            self.heartbeat.wake.ring()
        self.jobs.db.longest_wait = 0.0 if self.draining else PATIENCE  # do not wait for the database forever while leaving
        self.draining = True

    def _register(self) -> str:
        if not self.shelf.guarded:
            language.ready()  # without a guard, texts in an unknown language are refused (executors/steps/screen.py)
        # Must agree with ExecutorContext.refuses_pictures.
        unscreened = "unscreened" if self._no_image_screen else "refused"
        pictures = "screened" if self._image_screen else unscreened if self.shelf.guarded else "tiny"
        return self.jobs.register(
            self.name, socket.gethostname(), os.getpid(), self.lanes, {"tiny": self.shelf.tiny, "references": pictures}
        )

    def _work(self, executor_id: str, until: Collection[str] | None, idle_exit: float | None) -> bool:
        """Work under one registration. Returns True when the work is over, False when this executor must register again."""
        beat = Heartbeat(self.jobs, executor_id, self.policy, report=self._progress.report, stuck=self._stuck, hung=self._hung)
        self.heartbeat, beat.draining = beat, self.draining
        self._tell(beat)
        device = Device(self.shelf, self.policy, beat, tell=lambda: self._tell(beat))
        context = ExecutorContext(
            self.jobs, self.store, self.shelf, self.spool, device.generate, self.policy, self._progress.see, self._seal,
            enhancer=self._enhancer, fetch=self._fetch, image_screen=self._image_screen, no_image_screen=self._no_image_screen,
        )  # fmt: skip
        listener = Listener(self.jobs.db.url, executor_id, beat.ring)
        beat.start()
        log.info("Executor %s serves %s.", self.name, ", ".join(self.lanes))
        threading.Thread(target=self._keep_claiming, args=(context, device, until, idle_exit), name="claims", daemon=True).start()
        try:
            self._warm_up(device, beat)
            self._serve(device, beat)
            if self._failed is not None:
                raise self._failed
            return self.draining or not (beat.gone or beat.unsure)
        except BaseException:
            beat.abort = True
            raise
        finally:
            beat.wake.ring()
            self._serve(device, beat)  # after an error: only gives back the prepared jobs
            self._leave(beat, listener)

    def _serve(self, device: Device, beat: Heartbeat) -> None:
        """Device thread: run the turns of prepared jobs until no more can come."""
        while not device.closing or (beat.holds and not beat.gone):
            turn = device.next(timeout=1.0)
            if turn is not None and not turn.left:
                device.perform(turn)
            elif turn is None and self._may_answer(device, beat):
                device.meanwhile(self._answer)

    def _may_answer(self, device: Device, beat: Heartbeat) -> bool:
        """Check if this executor's model should serve the prompt dialog now: only when idle, and when no enhancer process does."""
        idle = not (device.closing or self.draining or beat.holds) and time.monotonic() >= self._answers_at
        return self._dialog is not None and idle and not (self._enhancer is not None and (self._enhancer.only or self._enhancer.there()))

    def _answer(self) -> None:
        try:
            if self._dialog is None or not self._dialog.once():
                self._answers_at = time.monotonic() + POLL
        except Exception as error:  # noqa: BLE001  (whatever it is, no job waits for this, and the lease on the prompt runs out)
            log.warning("Prompts of the dialog wait: %s", type(error).__name__)
            self._answers_at = time.monotonic() + TIDY

    def _warm_up(self, device: Device, beat: Heartbeat) -> None:
        """Device thread: load models while the first job is prepared. Stops as soon as a job is ready for the device."""
        wanted, self._warm = self._warm, ()  # once per process
        lanes = wanted if wanted is not None else self._needed_first(beat)
        for lane in lanes:
            if self.draining or beat.gone or device.asked_for:
                return
            if lane in self.lanes:
                device.warm(lane)

    def _needed_first(self, beat: Heartbeat) -> list[str]:
        """Lanes to warm: that of the job being claimed, then those of waiting jobs in claim order. Waits up to `FIRST_CLAIM` for the claim,
        so that a model that kills this process can be blamed on the job that it was loaded for."""
        until = time.monotonic() + FIRST_CLAIM
        waiting = self._patiently(lambda: self.jobs.waiting_lanes(self.lanes)) or []
        while waiting and not beat.holds and time.monotonic() < until and not self.draining:
            time.sleep(0.01)
        return list(dict.fromkeys([*(hold.claim.lane for hold in list(beat.holds.values())), *waiting]))

    def _tell(self, beat: Heartbeat) -> None:
        """Publish the lanes and the residency. Device thread only: no other thread may look at models while it moves them."""
        beat.lanes, beat.resident = self.lanes, self.shelf.resident

    # -- the thread that claims ---------------------------------------------------------------------------------------------------

    def _keep_claiming(self, context: ExecutorContext, device: Device, until: Collection[str] | None, idle_exit: float | None) -> None:
        beat, worked, tidied = device.heartbeat, time.monotonic(), 0.0
        try:
            while not (beat.gone or beat.unsure or self.draining or beat.abort):
                beat.wake.clear()
                worked = time.monotonic() if beat.holds else worked
                unended, waiting = self._asked(until)
                if not unended or (idle_exit is not None and time.monotonic() - worked > idle_exit):
                    break
                if waiting and self._has_room(device) and (claim := self._claim(beat)) is not None:
                    self._begin(context, device, claim)
                    continue
                if time.monotonic() - tidied > TIDY:
                    self._tidy()
                    tidied = time.monotonic()
                if until is not None and self._nobody_serves(until, unended):
                    self.unserved = True
                    break
                beat.wake.wait(POLL * random.uniform(0.5, 1.5))
        except BaseException as error:  # noqa: BLE001  (raised by the caller's thread, which leaves)
            self._failed = error
        finally:
            beat.draining = True  # a job that is only prepared is given back, whatever the reason for leaving
            device.close()

    def _asked(self, until: Collection[str] | None) -> tuple[int, int]:
        """Count the jobs of `until` that have not ended, and those of them that nobody holds. When all are held, no other job is claimed:
        it would have to be finished after them."""
        if until is None:
            return 1, 1
        return self._patiently(lambda: self.jobs.unended(until)) or (1, 0)

    def _nobody_serves(self, until: Collection[str], unended: int) -> bool:
        """Check if all jobs left have waited `patience` seconds in lanes without an executor (one may still start)."""
        now = time.monotonic()
        alone = not math.isinf(self._patience) and self._patiently(lambda: self.jobs.unserved(until, self.lanes)) == unended
        self._unserved_since = min(self._unserved_since, now) if alone else math.inf
        return now - self._unserved_since >= self._patience

    def _has_room(self, device: Device) -> bool:
        """Check if another job may be claimed: one ahead of the device (or as many as share a pass), only when the device is free soon, and
        at most `_in_flight` in all."""
        ahead = sum(not hold.begun for hold in list(device.heartbeat.holds.values()))
        return ahead < self.shelf.at_once and len(self._threads) < self._in_flight and device.free_soon

    def _claim(self, beat: Heartbeat) -> Claim | None:
        """Claim the next job; None when there is none, or the answer is unknown."""
        if beat.away:
            return None  # the lease must be renewed before another job is claimed
        try:
            for _ in range(2):
                # Twice: the first empty answer marks this executor as waiting, so that later submits wake it; the second claim finds what
                # was submitted in between. `beat.resident` is what will be in memory when this job's turn comes.
                claims = self.jobs.claim(beat.executor_id, lanes=beat.lanes, resident=beat.resident)
                if claims:
                    return claims[0]
        except Ambiguous:
            log.warning("A claim's answer was lost.")
            beat.unsure = "lost answer"
        except ExecutorGone:
            beat.beat_now()  # after a database outage the lease has expired but may be renewable: a heartbeat finds out
        except DatabaseAway as error:  # an outage, already logged
            log.debug("Nothing was claimed: %s", error)
        except RateLimited as error:
            log.warning("%s", error)
        return None

    def _begin(self, context: ExecutorContext, device: Device, claim: Claim) -> None:
        hold = device.heartbeat.hold(claim)
        thread = threading.Thread(target=self._attempt, args=(context, device, hold), name=f"job-{claim.job_id[:8]}", daemon=True)
        self._threads.add(thread)
        thread.start()

    # -- a job's thread -----------------------------------------------------------------------------------------------------------

    def _attempt(self, context: ExecutorContext, device: Device, hold: Hold) -> None:
        claim, beat = hold.claim, device.heartbeat
        try:
            outcome = attempt(context, hold)
            if outcome == "unknown":
                beat.unsure = beat.unsure or "lost"
            context.observe(Progress(claim.job_id, claim.job_type, outcome))
            log.info("Job %s (%s): %s.", claim.job_id, claim.job_type, outcome)
        except BaseException as error:  # noqa: BLE001  (raised by the caller's thread, which leaves)
            self._failed = error
            beat.unsure = beat.unsure or "lost"
        finally:
            self._progress.forget(claim.job_id)
            self._threads.discard(threading.current_thread())
            beat.let_go(hold)
            device.ring()

    # -- hangs --------------------------------------------------------------------------------------------------------------------

    def _stuck(self) -> bool:
        """Check if every slot is taken by a hung thread whose claim is given up: nothing more can be claimed here."""
        return len(self._threads) >= self._in_flight and self.heartbeat is not None and not self.heartbeat.holds

    def _hung(self) -> None:
        """Exit the process, since a hung thread cannot be killed; the supervisor starts another."""
        if self._own_process:
            at = self._progress.report()
            said = "The device hangs at job %s (%s), and the lease is lost: this process ends itself with exit code %s, to be replaced."
            log.critical(said, at.get("job", "none"), at.get("stage", "idle"), HUNG)
            os._exit(HUNG)

    # -- the rest -----------------------------------------------------------------------------------------------------------------

    def _patiently(self, ask: Callable[[], T]) -> T | None:
        """Return the answer, or None while the database is away: a worker survives an outage of any length."""
        try:
            return ask()
        except DatabaseAway as error:
            log.warning("%s", error)
            return None

    def _tidy(self) -> None:
        """Housekeeping: keep the spool within its limit, and publish the chain's newest heads outside the database."""
        try:
            self.spool.sweep()
            publish_heads(self.jobs.db, heads_file(self.jobs.db, self.home))
        except Exception as error:  # noqa: BLE001  (the database away, a full disk: the next round comes, and no job waits for this one)
            log.warning("Housekeeping was not finished this time: %s: %s", type(error).__name__, error)

    def _leave(self, beat: Heartbeat, listener: Listener) -> None:
        self._tidy()
        beat.stop()
        listener.close()
        if beat.unsure and not beat.gone:
            # This executor may still hold a job that no thread works on, and a heartbeat would keep the hold. Only a new registration
            # certainly ends it; if the database is away, it ends when the old registration's lease expires.
            self._patiently(lambda: self.jobs.executor_gone(beat.executor_id, beat.unsure))
        try:
            self.jobs.drain(beat.executor_id, done=True)
        except (DatabaseAway, ExecutorGone) as error:
            log.warning("Left without saying so (%s): the lease will run out.", error)


def handle_signals(worker: Worker) -> None:
    """Install handlers: SIGTERM and Ctrl-C drain; a second one gives the jobs back at their next step; a third kills."""

    def on_signal(number: int, _frame: object) -> None:
        if worker.draining:
            signal.signal(number, signal.SIG_DFL)
        log.warning("Giving the jobs back." if worker.draining else "Finishing what runs; once more to give it back.")
        worker.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def _take_slot(home: Path, name: str | None) -> tuple[IO[str], str]:
    """Lock an executor name that is stable over restarts and unique on this host: the host's name and the first free number.

    A job that killed its executor is kept away from the executor of that name, so a restart must not look like another machine.
    """
    folder = home / "executors"
    folder.mkdir(parents=True, exist_ok=True)
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:60] or "host"
    candidates = [name] if name else [f"{host}-{n}" for n in range(256)]
    for candidate in candidates:
        slot = (folder / f"{candidate}.lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            slot.close()
            continue
        return slot, candidate
    raise RuntimeError(f"An executor called {candidates[0]} runs here already. Choose another --name.")
