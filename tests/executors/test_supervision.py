"""The supervisor's decisions, with the test's own clock and no processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from executors.gauges import CLOSED, Gauges
from executors.orchestrator import roster
from executors.orchestrator.lanes import Lanes
from executors.orchestrator.policy import UNREGISTERED, Crash, Health, Held, Restarts, Rules, Sight, blame, closes, remembered
from executors.orchestrator.roster import PULSE, Devices, Wanted
from state.catalog import LANES

RULES = Rules()
WELL = Sight("id", "active", 25.0)


# -- restarts -----------------------------------------------------------------------------------------------------------------------


def test_restart_delays_double_up_to_a_limit_and_reset_after_a_long_life() -> None:
    deaths, delays = Restarts(), []
    for n in range(9):
        deaths = deaths.died(1000.0 * n, 5.0, explained=True, rules=RULES)
        delays.append(deaths.delay(RULES))
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    for n in range(2000):  # a day and a half of explained deaths
        deaths = deaths.died(1000.0 * n, 5.0, explained=True, rules=RULES)
    assert deaths.delay(RULES) == 60
    assert deaths.died(1e5, RULES.settled, explained=True, rules=RULES).delay(RULES) == 1


def test_repeated_unexplained_crashes_lead_to_giving_up() -> None:
    deaths = Restarts()
    for n in range(RULES.crashes):
        assert not deaths.given_up(RULES)
        deaths = deaths.died(10.0 * n, 5.0, explained=False, rules=RULES)
    assert deaths.given_up(RULES)


def test_distant_and_explained_crashes_do_not_add_up() -> None:
    deaths = Restarts()
    for n in range(20):
        deaths = deaths.died(n * RULES.window, 5.0, explained=False, rules=RULES)
        assert not deaths.given_up(RULES)
    for n in range(20):
        deaths = deaths.died(20 * RULES.window + n, 5.0, explained=True, rules=RULES)
    assert not deaths.given_up(RULES)


# -- health -------------------------------------------------------------------------------------------------------------------------


def hung(health: Health, now: float, *, outage: bool = False) -> bool:
    return health.hung(now, health.patience(5.0, 180.0, outage=outage, rules=RULES))


def test_a_start_has_its_own_time_limit() -> None:
    health = Health(100.0)
    for now in (101.0, 300.0, 100.0 + RULES.start_limit):
        health = health.looked(None, now)
        assert not hung(health, now)
    assert hung(health, 101.0 + RULES.start_limit)
    assert not hung(health.looked(WELL, 5000.0), 5000.0)


@pytest.mark.parametrize("state", ["active", "gone"])
def test_an_expired_lease_counts_as_hung_after_two_heartbeats(state: str) -> None:
    health = Health(0.0).looked(WELL, 10.0)
    late = Sight("id", state, -0.1)
    health = health.looked(late, 40.0)
    assert not hung(health, 50.0)
    assert hung(health, 50.1)
    assert not hung(health.looked(WELL, 50.0), 50.1)
    assert hung(health.looked(late, 50.1), 50.1)  # another look does not restart the wait


def test_a_leaving_executor_has_the_rest_of_its_lease() -> None:
    health = Health(0.0).looked(WELL, 10.0).looked(Sight("id", "gone", 25.0), 11.0)
    assert not hung(health, 35.0)


def test_a_removed_row_is_not_a_start() -> None:
    health = Health(0.0).looked(WELL, 10.0).looked(None, 11.0)
    assert health.reason != UNREGISTERED
    assert hung(health, 22.0)


def test_after_an_outage_a_running_step_gets_more_time() -> None:
    health = Health(0.0).looked(WELL, 10.0).looked(Sight("id", "gone", -60.0), 100.0)
    assert not hung(health, 200.0, outage=True)
    assert hung(health, 281.0, outage=True)


# -- lanes --------------------------------------------------------------------------------------------------------------------------


def test_crashes_are_attributed_to_the_job_on_the_device() -> None:
    on_device, encoding = Held("a", "wan", "generating", True), Held("b", "sdxl", "generating")
    # `enhanced`: its prompt is with the enhancer process
    waiting, enhanced, uploading = Held("c", "sdxl", "queued"), Held("d", "wan", "enhancing"), Held("e", "sdxl_ip", "uploading")
    assert blame([uploading, encoding, waiting, on_device], 5.0) == {"wan": Crash(5.0, ("a",), False)}
    assert blame([on_device, replace(on_device, job_id="f")], 5.0) == {"wan": Crash(5.0, ("a", "f"), False)}
    assert blame([uploading, encoding, waiting, enhanced], 5.0) == {"sdxl": Crash(5.0, ("c",), True)}
    assert blame([uploading, encoding, enhanced], 5.0) == blame([], 5.0) == {}


def crashes(*jobs: str, loading: bool = False) -> tuple[Crash, ...]:
    kept: tuple[Crash, ...] = ()
    for n, job in enumerate(jobs):
        kept = remembered(kept, Crash(float(n), (job,), loading), served=False, rules=RULES)
    return kept


def test_a_lane_closes_after_three_crashes_of_two_jobs_or_while_loading() -> None:
    assert closes(crashes("a", "b", "a"), RULES)
    assert not closes(crashes("a", "b"), RULES)
    assert not closes(crashes("a", "a", "a", "a"), RULES)  # a job that kills repeatedly is quarantined by itself
    assert closes(crashes("a", "a", "a", loading=True), RULES)


def test_a_completed_job_or_time_resets_a_lanes_crashes() -> None:
    before = crashes("a", "b")
    assert len(remembered(before, Crash(9.0, ("c",), False), served=True, rules=RULES)) == 1
    assert len(remembered(before, Crash(9.0, ("c",), False), served=False, rules=RULES)) == 3
    assert len(remembered(before, Crash(RULES.lane_window + 0.5, ("c",), False), served=False, rules=RULES)) == 2


def test_closed_lanes_stay_closed_across_restarts(tmp_path: Path) -> None:
    path = tmp_path / "executors" / "gpu0.lanes.json"
    for n, job in enumerate("ab"):
        assert Lanes(path, RULES).crashed({"wan": Crash(float(n), (job,), False)}, ()) == []
    lanes = Lanes(path, RULES)
    assert lanes.last_crash == {"wan": 1.0}
    assert lanes.crashed({"wan": Crash(2.0, ("a",), False)}, ()) == ["wan"]
    assert lanes.crashed({"wan": Crash(3.0, ("a",), False)}, ()) == []  # reported once
    again = Lanes(path, RULES)
    assert again.closed == {"wan"}
    assert again.jobs("wan") == ["a", "b"]
    assert again.open() == ["wan"]
    assert Lanes(path, RULES).closed == frozenset()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"closed": 1}', '{"closed": [], "crashes": {"wan": [{}]}}'])
def test_an_unreadable_lanes_file_closes_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "note.json"
    path.write_text(text)
    assert Lanes(path, RULES).closed == frozenset()


# -- the process list ---------------------------------------------------------------------------------------------------------------


def test_one_executor_per_gpu_and_one_of_each_service() -> None:
    rows = roster.rows(Devices(("0", "1"), "NVML"), name="box")
    assert [(r.name, r.device) for r in rows] == [("box-gpu0", "0"), ("box-gpu1", "1"), ("reaper", None), ("deliverer", None)]
    assert [r.env.get("CUDA_VISIBLE_DEVICES") for r in rows] == ["0", "1", None, None]
    assert set(rows[0].lanes) == set(LANES)
    assert rows[0].argv(["wan"])[-4:] == ["--name", "box-gpu0", "--lanes", "wan"]


def test_an_intake_runs_if_redis_is_configured() -> None:
    none = Devices((), "no GPU found")
    assert "intake" not in {r.name for r in roster.rows(none)}
    (row,) = (r for r in roster.rows(none, Wanted(intake=True, legacy_queue=True)) if r.name == "intake")
    assert row.argv()[-3:] == ["intake", "run", "--legacy-queue"]
    (row,) = (r for r in roster.rows(none, Wanted(intake=True)) if r.name == "intake")
    assert (row.argv()[-2:], row.health, row.executor) == (["intake", "run"], PULSE, False)


def test_split_serves_every_lane_once_on_each_device() -> None:
    rows = [r for r in roster.rows(Devices(("GPU-8a", "3"), "CUDA_VISIBLE_DEVICES"), Wanted(split=True), name="box") if r.executor]
    assert [r.name for r in rows] == ["box-gpu0-sdxl", "box-gpu3-sdxl", "box-gpu0-wan", "box-gpu3-wan"]
    for device in ("GPU-8a", "3"):
        assert sorted(lane for r in rows if r.device == device for lane in r.lanes) == sorted(LANES)


def test_an_enhancer_gets_its_own_gpu_if_there_are_several() -> None:
    two, one = Devices(("0", "1"), "NVML"), Devices(("0",), "NVML")

    def made(devices: Devices, enhancer: str) -> list[tuple[str, str | None]]:
        return [(r.name, r.env.get("CUDA_VISIBLE_DEVICES")) for r in roster.rows(devices, name="box", enhancer=enhancer)]

    assert made(two, "1") == [("enhancer", "1"), ("box-gpu0", "0"), ("reaper", None), ("deliverer", None)]
    assert made(one, "0") == [("enhancer", "0"), ("box-gpu0", "0"), ("reaper", None), ("deliverer", None)]
    assert made(two, "cpu") == [("enhancer", ""), ("box-gpu0", "0"), ("box-gpu1", "1"), ("reaper", None), ("deliverer", None)]
    row = roster.rows(one, name="box", enhancer="cpu")[0]
    assert row.argv()[-1] == "enhancer" and not row.executor
    with pytest.raises(roster.NoSuchDevice, match="Choose one of: cpu, 0, 1"):
        roster.rows(two, enhancer="2")


def test_without_a_gpu_executors_use_the_cpu_under_distinct_names() -> None:
    rows = roster.rows(Devices((), "no GPU found"), name="box", each=2)
    assert [(r.name, dict(r.env)) for r in rows] == [("box-cpu-0", {}), ("box-cpu-1", {}), ("reaper", {}), ("deliverer", {})]


@pytest.mark.parametrize(("said", "ids"), [("0,2", ("0", "2")), ("", ()), ("-1", ()), ("GPU-8a, MIG-b", ("GPU-8a", "MIG-b"))])
def test_cuda_visible_devices_is_respected(monkeypatch: pytest.MonkeyPatch, said: str, ids: tuple[str, ...]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert roster.devices() == Devices(ids, "CUDA_VISIBLE_DEVICES")


# -- metrics ------------------------------------------------------------------------------------------------------------------------


def test_gauges_show_memory_time_and_closed_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLOSED, "wan,wan_vace")
    gauges = Gauges()
    sum(range(1_000_000))
    told = gauges.read()
    assert told["rss"] > 10_000_000
    assert 0 < told["cpu"] < 64
    assert told["closed"] == ["wan", "wan_vace"]
    monkeypatch.delenv(CLOSED)
    assert "closed" not in gauges.read()
