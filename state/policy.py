"""Policy figures: data, copied into `ourvidz.policy` and `ourvidz.plans`, by which the database decides.

The small functions compute the same in Python, for estimates shown to people and as an independent check in tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Policy:
    """Times in seconds."""

    max_attempts: int = 3  # failed tries before a person has to decide
    backoff_base: float = 10.0
    backoff_factor: float = 4.0
    backoff_max: float = 600.0
    backoff_jitter: float = 0.2  # the delay is multiplied by a random factor from [1 − j, 1]
    lease: float = 30.0
    heartbeat: float = 5.0
    control_poll: float = 1.0  # polled every second, so that a cancel is noticed within 2 s
    step_stall: float = 60.0
    load_stall: float = 180.0
    crash_limit: int = 3  # crashes with the job on the device
    lapse_limit: int = 10  # leases that expired in any status: something is wrong, though not the job's picture
    affinity_wait: float = 60.0
    overdue_wait: float = 600.0  # a job that has waited this long …
    overdue_share: float = 0.2  # … has this share of its lane's claims, oldest first, whatever its priority
    enhance_limit: float = 60.0
    spool_bytes: int = 10_000_000_000
    executor_forgotten: float = 7 * 86_400.0  # rows of executors gone this long are deleted
    help_url: str | None = None  # the page for age and attestation (ourvidz age page), linked from refusals
    claims_per_minute: int = 600  # prompts handed to one executor login: the most that a stolen one can read
    executors_per_login: int = 64  # alive at a time
    registrations_per_hour: int = 500  # per login
    report_url: str | None = None  # the page where anyone reports an output; each output's link leads to it
    reports_a_day: int = 10  # per source
    report_hides_a_day: int = 3  # outputs that a source's valid requests hide before a person has looked
    report_kept: float = 365 * 86_400.0  # texts and contacts of decided reports
    pdq_distance: int = 31  # of 256 bits: the distance up to which Meta's PDQ counts two pictures as the same
    reroute_after: float | None = None  # a job that waits this long in an unserved lane is rerouted to its fallback; None: never

    @property
    def retake(self) -> float:
        """Seconds after a database outage in which nothing is reaped, so that executors that kept working can renew their leases. They try
        every few seconds, and a connection attempt to a server that is down takes 10 s."""
        return min(self.lease, 20.0)


@dataclass(frozen=True)
class Plan:
    """A subscription plan: its share of the device, and its request limits."""

    level: int
    weight: int
    unfinished: int
    submits_per_minute: int


POLICY: Final = Policy()
PLANS: Final[Mapping[str, Plan]] = {
    "free": Plan(0, 1, 5, 10),
    "starter": Plan(1, 2, 20, 30),
    "pro": Plan(2, 4, 50, 60),
    "premium": Plan(3, 8, 100, 120),
}

PLAN_WORDS: Final[Mapping[str, str]] = {**{name: name for name in PLANS}, "inactive": "free", "creator": "premium"}
"""Values of `profiles.subscription_status`, and the plan that each stands for. OurVidz's front end uses `inactive` and `creator`; an
unknown value stands for `free`."""

FALLBACKS: Final[Mapping[str, str]] = {
    "sdxl_image_fast": "image_fast",
    "sdxl_image_high": "image_high",
    "sdxl_image_premium": "image_high",
}
"""Fallback of a job type when its family cannot run (ourvidz.reroute_settings sets the settings). Automatic only where an operator has set
`reroute_after`; img2img has none."""


@dataclass(frozen=True)
class Limits:
    """Session limits of a role (docs/decisions/0043). Times in whole seconds."""

    statement_s: int
    lock_s: int
    idle_s: int  # idle in a transaction
    transaction_s: int  # the reaper ends longer ones, whatever the session set for itself
    work_mem_mb: int
    connections: int | None  # of each member login; None: PostgREST logs in for the role


LIMITS: Final[Mapping[str, Limits]] = {
    "anon": Limits(3, 2, 10, 30, 4, None),
    "authenticated": Limits(8, 4, 10, 30, 8, None),
    "service_role": Limits(30, 8, 30, 120, 16, None),
    "ourvidz_executor": Limits(60, 20, 20, 120, 16, 64),
    "ourvidz_intake": Limits(60, 20, 20, 120, 32, 16),
    "ourvidz_deliverer": Limits(60, 20, 20, 120, 16, 32),
    "ourvidz_analyst": Limits(120, 2, 60, 300, 64, 8),
}
"""Limits of each role that people or programs act as. Supabase sets 3 s and 8 s for the statements of `anon` and `authenticated`; so do
we."""


def priority(plan: str, *, fast: bool) -> int:
    """Return the priority, 0–7: the subscription first, then fast before high."""
    return PLANS[plan].level * 2 + fast


def head_start(priority: int) -> float:
    """Offset at which a job of this priority enters its lane's order, in turns of one user (docs/decisions/0005).

    Deliberately small: it decides between jobs submitted at about the same time, and no plan can shut the others out.
    """
    return (7 - priority) * 0.1


def backoff(failures: int, policy: Policy = POLICY) -> float:
    """Seconds before the next attempt after the n-th failure (n ≥ 1), without jitter: 10, 40, 160, then 600."""
    return min(policy.backoff_max, policy.backoff_base * policy.backoff_factor ** (failures - 1))


def crash_delay(crashes: int, policy: Policy = POLICY) -> float:
    """Seconds before a job whose lease expired n times is handed out again: none the first time, then as for errors."""
    return 0.0 if crashes <= 1 else backoff(crashes - 1, policy)


OPERATORS: Final = ("reroute_after", "help_url", "report_url", "claims_per_minute", "executors_per_login", "registrations_per_hour")
"""Figures that an operator sets: these are the initial values, and an upgrade keeps the operator's."""


def settings() -> dict[str, Any]:
    """The row of `ourvidz.policy`."""
    return dict(POLICY.__dict__)
