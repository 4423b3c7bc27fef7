"""An executor killed (-9) at every point of a job: the next one finishes it, exactly once, and repeats nothing that was done."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest
from executor_site import ProbeShelf, Site, Zygote
from waiting import wait_for

from state.catalog import JOB_TYPES

Point = tuple[str, str, int]

IMAGES = 3


def points(*verbs: tuple[str, int]) -> list[Point]:
    return [(when, verb, nth) for verb, count in verbs for nth in range(1, count + 1) for when in ("before", "after")]


LINE = points(
    ("claim", 1), ("generation_started", 1), ("artifact_generated", 2 * IMAGES), ("upload_started", 1),
    ("put", 2 * IMAGES), ("artifact_uploaded", 2 * IMAGES), ("complete", 1),
)  # fmt: skip
# Of six files the first and the last matter most; the others run nightly.
SELDOM = {(verb, n) for verb in ("artifact_generated", "put", "artifact_uploaded") for n in (2, 3, 4, 5)}
HALVES: list[Point] = [("inside", "spool", 1), ("inside", "spool", 4), ("inside", "put", 1), ("inside", "put", 4)]
ELSEWHERE: list[Point] = [
    ("after", "generation_started", 1), ("after", "artifact_generated", 1), ("after", "artifact_generated", 4),
    ("after", "upload_started", 1), ("after", "put", 1), ("after", "artifact_uploaded", 1), ("before", "artifact_uploaded", 4),
    ("inside", "put", 5), ("before", "complete", 1),
]  # fmt: skip
ENHANCED = [*points(("enhancement_started", 1), ("enhanced", 1), ("generation_started", 1)), ("after", "artifact_generated", 1),
            ("after", "upload_started", 1), ("before", "complete", 1)]  # fmt: skip
ELSEWHERE_BY_DAY: list[Point] = [("after", "enhanced", 1), ("before", "complete", 1)]

# An executor reports an error, a drain or a cancel from each status; the point at which it is triggered, by status.
STATUSES: dict[str, Point] = {
    "queued": ("before", "enhancement_started", 1),
    "enhancing": ("after", "enhancement_started", 1),
    "generating": ("after", "generation_started", 1),
    "uploading": ("after", "upload_started", 1),
}
REPORTS = {"error": "fail", "drain": "snooze", "cancel": "honour_cancel"}
WHENS = ("before", "after")


def covered(points: list[Any], *which: int) -> list[Any]:
    """All points in nightly runs; otherwise those at these positions."""
    return [pytest.param(*p, marks=[pytest.mark.nightly] * (n not in which)) for n, p in enumerate(points)]


# By default every report from every status, both before and after the report, and no pair of the three twice.
REPORTED = [(what, status, when) for what in REPORTS for status in STATUSES for when in WHENS]
BY_DAY = [n for n, p in enumerate(REPORTED) if (list(REPORTS).index(p[0]) + list(STATUSES).index(p[1]) + WHENS.index(p[2])) % 2 == 0]


def named(point: Point) -> str:
    return "-".join(map(str, point))


@pytest.fixture(scope="module")
def clean(shared_site: Site) -> dict[str, list[np.ndarray]]:
    """Outputs of an executor without faults."""
    plain, enhanced = shared_site.submit(images=IMAGES), shared_site.submit("image7b_fast_enhanced")
    shared_site.work(plain, enhanced)
    return {"sdxl_image_fast": shared_site.pixels(plain), "image7b_fast_enhanced": shared_site.pixels(enhanced)}


def crash(site: Site, zygote: Zygote, job_id: str, **spec: object) -> None:
    child = zygote.spawn(site.db.url, site.root / job_id, site.root / "store", until=[job_id], **spec)
    assert child.wait() == -signal.SIGKILL, (site.root / job_id / "log-first").read_text()
    exact(site, job_id)


def exact(site: Site, job_id: str) -> None:
    """The user may read what was delivered and nothing else in storage; an ended job is charged for exactly that."""
    row, artifacts = site.row(job_id), site.artifacts(job_id)
    delivered = {a["index"] for a in artifacts if a["kind"] != "thumbnail" and a["uploaded_at"] is not None}
    counted = {a["path"] for a in artifacts if a["uploaded_at"] is not None and a["index"] in delivered}
    there = [(b, path) for b in {a["bucket"] for a in artifacts} for path in site.store.list(b, f"{site.user}/{job_id}")]
    may = "select path from unnest(%s::text[], %s::text[]) as o (bucket, path) where ourvidz.readable(bucket, path)"
    assert {r["path"] for r in site.db.rows(may, ([b for b, _ in there], [p for _, p in there]))} == counted
    (sums,) = site.db.rows(
        """select coalesce(sum(amount) filter (where account = 'held'), 0) as held,
                  coalesce(sum(amount) filter (where account = 'revenue'), 0) as charged,
                  (select coalesce((settings->>'images')::integer, 1) from public.job_payloads where job_id = %(job)s) as asked
           from ourvidz.token_entries where job_id = %(job)s""",
        {"job": job_id},
    )
    price = JOB_TYPES[row["job_type"]].price
    ended = row["completed_at"] is not None
    assert (sums["charged"], sums["held"]) == ((price * len(delivered), 0) if ended else (0, price * sums["asked"]))


def supervised(site: Site) -> None:
    """Do what a supervisor does when it sees its executor die."""
    for executor in site.db.rows("select id from ourvidz.executors where state <> 'gone'"):
        site.jobs.executor_gone(str(executor["id"]))


def finish(site: Site, job_id: str, *, same_host: bool = True) -> ProbeShelf:
    site.store.puts.clear()
    return site.work(job_id, home=job_id if same_host else "elsewhere")


@pytest.mark.parametrize("point", [pytest.param(p, marks=[pytest.mark.nightly] * (p[1:] in SELDOM)) for p in [*LINE, *HALVES]], ids=named)
def test_a_killed_job_resumes_on_the_same_host(shared_site: Site, zygote: Zygote, clean: dict[str, list[np.ndarray]], point: Point) -> None:
    resumed(shared_site, zygote, clean, point, same_host=True)


@pytest.mark.parametrize("point", ELSEWHERE, ids=named)
def test_a_killed_job_is_regenerated_on_another_host(
    shared_site: Site, zygote: Zygote, clean: dict[str, list[np.ndarray]], point: Point
) -> None:
    resumed(shared_site, zygote, clean, point, same_host=False)


def resumed(site: Site, zygote: Zygote, clean: dict[str, list[np.ndarray]], point: Point, *, same_host: bool) -> None:
    job_id = site.submit(images=IMAGES)
    crash(site, zygote, job_id, die=point)
    supervised(site)
    site.intact(job_id)
    left = {(a["kind"], a["index"]): a for a in site.artifacts(job_id)}
    done = {key: a for key, a in left.items() if a["uploaded_at"] is not None or same_host}
    todo = [i for i in range(IMAGES) if not {("image", i), ("thumbnail", i)} <= set(done)]

    shelf = finish(site, job_id, same_host=same_host)

    site.completed(job_id, IMAGES)
    exact(site, job_id)
    # Only lost outputs are generated again, each with its own seed; the number of events shows how often the device was used.
    assert shelf.sdxl.seeds == [4711 + i for i in todo]
    expected = bool(todo) + ("generation_started" in before_crash(site, job_id))
    assert site.types(job_id).count("generation_started") == (1 if ended_before(point) else expected)
    uploaded = {key: a for key, a in left.items() if a["uploaded_at"] is not None}
    now = {(a["kind"], a["index"]): a for a in site.artifacts(job_id)}
    assert {key: now[key] for key in uploaded} == uploaded
    assert not {a["path"] for a in uploaded.values()} & set(site.store.puts)
    assert len(site.store.puts) == (0 if ended_before(point) else 2 * IMAGES - len(uploaded))
    for made, wanted in zip(site.pixels(job_id), clean["sdxl_image_fast"], strict=True):
        assert (made == wanted).all()


def ended_before(point: Point) -> bool:
    return point[:2] == ("after", "complete")


def before_crash(site: Site, job_id: str) -> list[str]:
    told = site.types(job_id)
    return told[: told.index("lease_expired")] if "lease_expired" in told else []


DELIVERING: list[Point] = [("after", "put", 1), ("after", "artifact_uploaded", 2), ("after", "put", 5), ("before", "complete", 1)]


@pytest.mark.parametrize("point", DELIVERING, ids=named)
def test_a_job_killed_while_uploading_can_be_cancelled_and_retried(shared_site: Site, zygote: Zygote, point: Point) -> None:
    """Recorded outputs are kept and paid for; stored but unrecorded ones are neither; a retry pays for the rest only."""
    site = shared_site
    job_id = site.submit(images=IMAGES)
    crash(site, zygote, job_id, die=point)
    supervised(site)
    assert site.jobs.cancel(job_id) == "cancelled"
    exact(site, job_id)
    site.jobs.retry(job_id, charge=True)
    finish(site, job_id)
    site.completed(job_id, IMAGES)
    exact(site, job_id)


@pytest.mark.parametrize(
    ("point", "same_host"),
    [
        pytest.param(p, here, id=f"{named(p)}-{where}", marks=[pytest.mark.nightly] * (not here and p not in ELSEWHERE_BY_DAY))
        for p in ENHANCED
        for here, where in ((True, "here"), (False, "elsewhere"))
    ],
)
def test_a_finished_enhancement_is_not_done_again(
    shared_site: Site, zygote: Zygote, clean: dict[str, list[np.ndarray]], point: Point, same_host: bool
) -> None:
    site = shared_site
    job_id = site.submit("image7b_fast_enhanced")
    crash(site, zygote, job_id, die=point)
    supervised(site)
    told = site.types(job_id)

    shelf = finish(site, job_id, same_host=same_host)

    site.completed(job_id)
    again = site.types(job_id)[len(told) :]
    assert site.types(job_id).count("prompt_enhanced") == 1
    assert ("enhancement_started" in again) == ("prompt_enhanced" not in told)
    # The enhanced text is used, not the prompt as written.
    kept = site.db.rows("select enhanced_prompt from public.job_payloads where job_id = %s", (job_id,))[0]["enhanced_prompt"]
    assert all(work.prompt == kept for work in shelf.wan.works)
    assert (site.pixels(job_id)[0] == clean["image7b_fast_enhanced"][0]).all()


@pytest.mark.parametrize(("what", "status", "when"), covered(REPORTED, *BY_DAY))
def test_a_kill_while_reporting_is_recovered(shared_site: Site, zygote: Zygote, what: str, status: str, when: str) -> None:
    site = shared_site
    job_id = site.submit("image7b_fast_enhanced")
    crash(site, zygote, job_id, die=(when, REPORTS[what], 1), trip=(*STATUSES[status], what))
    claim_no, executor = site.row(job_id)["claim_no"], site.row(job_id)["executor_id"]
    assert (claim_no, executor is None) == (1, when == "after")
    supervised(site)

    exact(site, job_id)
    if what == "cancel":
        assert site.row(job_id)["status"] == "cancelled"
        site.intact(job_id)
        return
    ended = {"before": "lease_expired", "error": "retry_scheduled", "drain": "snoozed"}[what if when == "after" else "before"]
    assert site.types(job_id)[-1] == ended
    finish(site, job_id)
    site.completed(job_id)
    counts = {name: site.row(job_id)[name] for name in ("attempts", "errors", "crashes", "snoozes")}
    spent = 1 if ended == "snoozed" else 2
    assert counts == {"attempts": spent, "errors": 0, "crashes": 0, "snoozes": 0} | {
        {"lease_expired": "crashes", "retry_scheduled": "errors", "snoozed": "snoozes"}[ended]: 1
    }


@pytest.mark.parametrize("point", [("after", "claim", 1), ("after", "artifact_generated", 3), ("after", "artifact_uploaded", 2)], ids=named)
def test_without_a_supervisor_the_lease_expires(shared_site: Site, zygote: Zygote, point: Point) -> None:
    site = shared_site
    site.policy(lease=1.5)
    try:
        job_id = site.submit(images=IMAGES)
        crash(site, zygote, job_id, die=point)
        assert site.row(job_id)["executor_id"] is not None
        finish(site, job_id)  # its heartbeat reaps
    finally:
        site.policy(lease=30)
    site.completed(job_id, IMAGES)
    assert site.data(job_id, "lease_expired")[0]["cause"] == "lease ran out"


def test_a_job_that_kills_its_executor_is_quarantined(shared_site: Site, zygote: Zygote) -> None:
    site = shared_site
    job_id = site.submit()
    for n in range(3):
        wait_for(lambda: site.row(job_id)["run_at"] is not None)
        crash(site, zygote, job_id, die=("after", "generation_started", 1), name=f"host-{n}")
        supervised(site)
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"]) == ("failed", "quarantined")
    assert "lost 3 times" in site.said(job_id)
    site.intact(job_id)
