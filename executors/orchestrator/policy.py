"""What a supervisor decides, without processes or clocks of its own: when to start again, when to stop trying, who is hung, which lane
is closed. Times are seconds; `now` is the caller's monotonic clock unless said otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rules:
    first_delay: float = 1.0  # before the first restart; then twice as long each time …
    longest_delay: float = 60.0  # … up to this
    settled: float = 60.0  # a process that lived so long is well again: the next delay is the first one
    crashes: int = 5  # so many that no job explains …
    window: float = 600.0  # … within this: given up
    start_limit: float = 600.0  # from the start to the first sign of life; checking real model files takes minutes
    pulse_limit: float = 60.0  # silence of a process that has no lease; a look at a database that is away may take half of it
    lane_crashes: int = 3  # in a row, with the same lane at work: the lane is closed
    lane_window: float = 6 * 3_600.0
    drain_limit: float = 960.0  # the longest attempt (a video's 900 s) and its upload
    give_back: float = 60.0  # from the second signal to the third: a denoising step's stall limit


# -- starting again -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restarts:
    """What is remembered of one process's deaths."""

    unexplained: tuple[float, ...] = ()  # when it crashed by itself, within the window
    in_a_row: int = 0

    def died(self, now: float, lived: float, *, explained: bool, rules: Rules) -> Restarts:
        """`explained`: it ended in order, or a job was on its device, which the jobs' own policy and the lanes' count deal with."""
        recent = tuple(at for at in self.unexplained if now - at < rules.window)
        return Restarts(recent if explained else (*recent, now), 1 if lived >= rules.settled else self.in_a_row + 1)

    def given_up(self, rules: Rules) -> bool:
        return len(self.unexplained) >= rules.crashes

    def delay(self, rules: Rules) -> float:
        return min(rules.longest_delay, rules.first_delay * 2.0 ** min(max(self.in_a_row, 1) - 1, 60))  # beyond 1,023 a float overflows


# -- health -------------------------------------------------------------------------------------------------------------------------


UNREGISTERED = "it never registered"


@dataclass(frozen=True)
class Held:
    """A job that an executor has, or had when it died."""

    job_id: str
    lane: str
    status: str
    on_device: bool = False  # as the database tells it (on_device.sql)


@dataclass(frozen=True)
class Sight:
    """An executor's row as the database has it: `lease_left` by the database's clock, `done` since its start."""

    executor_id: str
    state: str
    lease_left: float
    held: tuple[Held, ...] = ()
    done: int = 0


@dataclass(frozen=True)
class Health:
    """Since when, as far as we saw, a living process has not shown what it should."""

    since: float
    reason: str | None = UNREGISTERED

    def looked(self, sight: Sight | None, now: float) -> Health:
        """After a look that the database answered. One look in vain proves nothing; they must go on for the whole of a patience."""
        if sight is None:
            wrong = self.reason if self.reason == UNREGISTERED else "its row is gone"
        elif sight.lease_left > 0:
            wrong = None  # also when it was declared gone: it has a lease's time to notice, or to leave
        else:
            wrong = "it was declared gone and does not notice" if sight.state == "gone" else "its lease ran out"
        if wrong is None or self.reason is None:
            return Health(now, wrong)
        return replace(self, reason=wrong)

    def patience(self, heartbeat: float, stall: float, *, outage: bool, rules: Rules) -> float:
        """How long the reason must last. After an outage of the database every lease has run out, and a healthy process may be in the
        middle of a step before it finds out."""
        if self.reason == UNREGISTERED:
            return rules.start_limit
        return stall if outage else 2 * heartbeat

    def hung(self, now: float, patience: float) -> bool:
        return self.reason is not None and now - self.since > patience


# -- lanes --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crash:
    """A death of the process while a lane's model was at work. `at` is wall-clock time: it is kept over restarts."""

    at: float
    jobs: tuple[str, ...]
    loading: bool


def blame(held: Collection[Held], at: float) -> dict[str, Crash]:
    """Which lanes were at work when the process died: those with a job on the device, else those whose model was being loaded for one.
    A job that was only being uploaded did nothing."""
    on_device = [h for h in held if h.on_device]
    # What is encoded or uploaded has left the device, and a prompt may be with the enhancer; for what has not begun a model may be loaded.
    guilty = on_device or [h for h in held if h.status == "queued"]
    return {
        lane: Crash(at, tuple(sorted(h.job_id for h in guilty if h.lane == lane)), not on_device)
        for lane in sorted({h.lane for h in guilty})
    }


def remembered(crashes: Sequence[Crash], crash: Crash, *, served: bool, rules: Rules) -> tuple[Crash, ...]:
    """The lane's crashes in a row, with the newest. `served`: a job of the lane was completed here since the last one."""
    return (*(() if served else (c for c in crashes if crash.at - c.at < rules.lane_window)), crash)


def closes(crashes: Sequence[Crash], rules: Rules) -> bool:
    """Whether it is the model and not a job: a single job that kills is quarantined by itself, so on the device it takes two.
    While the model was loading no job had any part in it."""
    loading = sum(c.loading for c in crashes)
    jobs = {job for c in crashes for job in c.jobs}
    return len(crashes) >= rules.lane_crashes and (loading >= rules.lane_crashes or len(jobs) > 1)
