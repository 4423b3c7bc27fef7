"""The supervisor's decisions as pure functions (no processes, no clock): when to restart, when to give up, which process hangs, which
lane is closed. Times are seconds; `now` is the caller's monotonic clock unless noted otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rules:
    first_delay: float = 1.0  # before the first restart; then twice as long each time …
    longest_delay: float = 60.0  # … up to this
    settled: float = 60.0  # a process that lived this long counts as stable: the next delay is the first one
    crashes: int = 5  # this many crashes that no job explains …
    window: float = 600.0  # … within this time: given up
    start_limit: float = 600.0  # from the start to the first sign of life; checking real model files takes minutes
    pulse_limit: float = 60.0  # silence of a process without a lease; one query of an unreachable database may take half of it
    lane_crashes: int = 3  # in a row, with the same lane running: the lane is closed
    lane_window: float = 6 * 3_600.0
    drain_limit: float = 960.0  # the longest attempt (a video's 900 s) and its upload
    give_back: float = 60.0  # from the second signal to the third: a denoising step's stall limit


# -- restarts -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restarts:
    """History of one process's deaths."""

    unexplained: tuple[float, ...] = ()  # times of crashes that no job explains, within the window
    in_a_row: int = 0

    def died(self, now: float, lived: float, *, explained: bool, rules: Rules) -> Restarts:
        """Record a death. `explained`: a clean exit, or a job was on its device, which the jobs' policy and the lane's count handle."""
        recent = tuple(at for at in self.unexplained if now - at < rules.window)
        return Restarts(recent if explained else (*recent, now), 1 if lived >= rules.settled else self.in_a_row + 1)

    def given_up(self, rules: Rules) -> bool:
        return len(self.unexplained) >= rules.crashes

    def delay(self, rules: Rules) -> float:
        return min(rules.longest_delay, rules.first_delay * 2.0 ** min(max(self.in_a_row, 1) - 1, 60))  # a float overflows beyond 1,023


# -- health -------------------------------------------------------------------------------------------------------------------------


UNREGISTERED = "it never registered"


@dataclass(frozen=True)
class Held:
    """A job that an executor holds, or held when it died."""

    job_id: str
    lane: str
    status: str
    on_device: bool = False  # as the database computes it (on_device.sql)


@dataclass(frozen=True)
class Sight:
    """An executor's row in the database: `lease_left` by the database's clock, `done` jobs since its start."""

    executor_id: str
    state: str
    lease_left: float
    held: tuple[Held, ...] = ()
    done: int = 0


@dataclass(frozen=True)
class Health:
    """Health of a live process: the `reason` why it looks unhealthy (None: healthy), and `since` when it was observed."""

    since: float
    reason: str | None = UNREGISTERED

    def looked(self, sight: Sight | None, now: float) -> Health:
        """Update after a query that the database answered. One bad observation proves nothing: the reason must last for `patience`."""
        if sight is None:
            wrong = self.reason if self.reason == UNREGISTERED else "its row is gone"
        elif sight.lease_left > 0:
            wrong = None  # also when declared gone: it has a lease's time to notice, or to leave
        else:
            wrong = "it was declared gone and does not notice" if sight.state == "gone" else "its lease ran out"
        if wrong is None or self.reason is None:
            return Health(now, wrong)
        return replace(self, reason=wrong)

    def patience(self, heartbeat: float, stall: float, *, outage: bool, rules: Rules) -> float:
        """Return how long the reason must last. After a database outage every lease has expired, and a healthy process may be in the
        middle of a step and not know yet."""
        if self.reason == UNREGISTERED:
            return rules.start_limit
        return stall if outage else 2 * heartbeat

    def hung(self, now: float, patience: float) -> bool:
        return self.reason is not None and now - self.since > patience


# -- lanes --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crash:
    """A death of the process while a lane's model was running. `at` is wall-clock time, since it is stored over restarts."""

    at: float
    jobs: tuple[str, ...]
    loading: bool


def blame(held: Collection[Held], at: float) -> dict[str, Crash]:
    """Return the lanes to blame for the process's death: those with a job on the device, else those whose model was being loaded for a
    job. A job that was only being uploaded is not to blame."""
    on_device = [h for h in held if h.on_device]
    # A job that is encoded or uploaded has left the device, and a prompt may be at the enhancer; for a queued job a model may be loading.
    guilty = on_device or [h for h in held if h.status == "queued"]
    return {
        lane: Crash(at, tuple(sorted(h.job_id for h in guilty if h.lane == lane)), not on_device)
        for lane in sorted({h.lane for h in guilty})
    }


def remembered(crashes: Sequence[Crash], crash: Crash, *, served: bool, rules: Rules) -> tuple[Crash, ...]:
    """Append `crash` to the lane's crashes in a row. `served`: a job of the lane was completed here since the last one."""
    return (*(() if served else (c for c in crashes if crash.at - c.at < rules.lane_window)), crash)


def closes(crashes: Sequence[Crash], rules: Rules) -> bool:
    """Check if the crashes are due to the model and not to one job: a single job that kills is quarantined by itself, so crashes on the
    device need two different jobs. A crash while the model loads is not due to any job."""
    loading = sum(c.loading for c in crashes)
    jobs = {job for c in crashes for job in c.jobs}
    return len(crashes) >= rules.lane_crashes and (loading >= rules.lane_crashes or len(jobs) > 1)
