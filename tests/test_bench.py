"""Run every benchmark at its smallest size, so that none is found broken at the next release."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import Server
from waiting import LIMIT

pytest.importorskip("torch")

from bench import claims, engine, executor, failover, intake, latency, rls, screen
from bench.ground import connect, ground, profile, submit
from bench.report import machine, save, text


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ground() as found:
        yield found


@pytest.fixture(scope="module")
def site() -> Iterator[executor.Site]:
    with executor.site() as found:
        yield found


@pytest.fixture
def copied(server: Server, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give benchmarks that need only a fresh database a copy on the suite's server; `url`, `site` and the claims benchmark start and
    migrate their own server, as all do outside the tests."""
    name = server.create(template)

    @contextmanager
    def ground() -> Iterator[str]:
        monkeypatch.setenv("OURVIDZ_BENCH_ADMIN", server.superuser_url)
        yield server.url(name)

    for module in (intake, latency, rls):
        monkeypatch.setattr(module, "ground", ground)
    yield
    server.drop(name)


def test_engine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SHAPES", ((1, 100),))
    (row,) = engine.measure(url, 4, 1)
    assert row[0] == "1 worker, batches of 100" and all(float(speed) > 0 for speed in row[1:4])


def test_failover(url: str) -> None:
    assert 0 < failover.rescue(url, supervised=True) < 30


def test_latency(copied: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "ROUNDS", 3)
    latency.main([])
    assert "bare LISTEN and claim" in capsys.readouterr().out


def test_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CLAIMS", 5)
    name, without, beside, ratio = claims.scenario("a few", 10, lambda c, stack, user, url: claims.fill(c, 20, user), 1.0)
    assert name == "a few" and ratio == pytest.approx(beside / without) and without > 0


def test_intake(copied: None, capsys: pytest.CaptureFixture[str]) -> None:
    intake.main(["--messages", "60", "--calls", "4"])
    said = capsys.readouterr().out
    assert "60 messages from Redis" in said and "4 times each" in said
    assert all(way in said for way in ("bare RPOP and INSERT", *intake.WAYS.values()))


# -- the executor's -------------------------------------------------------------------------------------------------------------------


def test_a_slow_upload_is_counted_and_the_device_is_watched(site: executor.Site) -> None:
    found = executor.backlog(site, 2, 0.05, 3)
    assert found.uploads_per_job > 2 * 0.05  # the video and its thumbnail
    assert 0 < found.device_per_job < found.span and 0 < found.idle < 1
    assert found.in_turn == pytest.approx(found.uploads_per_job / (found.uploads_per_job + found.device_per_job))


def test_affinity_saves_family_changes(site: executor.Site) -> None:
    apart = executor.mixed(site, "apart", 4, affinity=False, bound=60.0, load=0.0)
    together = executor.mixed(site, "together", 4, affinity=True, bound=60.0, load=0.0)
    assert (apart.switches, together.switches) == (3, 1)
    assert 0 < together.median_wait <= together.longest_wait


def test_a_cancel_is_timed_from_its_commit(site: executor.Site) -> None:
    found = executor.cancel(site, 1)
    assert found.step > 0
    assert 0 <= found.steps_after_learning <= found.steps_after_commit + 1


def test_the_table_shows_aims_beside_measurements() -> None:
    figures = executor.Figures(
        [executor.Backlog(0.5, 12, 1.3, 1.0, 15.6, 0.031, 0.43)],
        [executor.Mixed(False, 60.0, 59, 40.0, 20.0, 40.0), executor.Mixed(True, 60.0, 1, 10.0, 5.0, 10.0)],
        [executor.Cancel(0.01, 0.001, 2, 1)],
    )
    shown = text("t", executor.HEAD, figures.rows())
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "device idle, 500 ms an upload, % 3.10 ≤ 5.00 43.00 12 jobs of 1.30 s device, 1.00 s upload" in lines
    assert "changes of family, affinity up to 60 s 1 – 59 in 10.0 s" in lines


# -- saved runs and the command line --------------------------------------------------------------------------------------------------


def test_runs_are_saved_with_the_machine_and_never_overwritten(tmp_path: Path) -> None:
    facts = machine("NVIDIA H200")
    first = save(facts["device"], facts, {"a": 1}, ["a table"], tmp_path)
    second = save(facts["device"], facts, {"a": 2}, ["a table"], tmp_path)
    assert [f.name for f in (first, second)] == [f"{facts['date']}-nvidia-h200.json", f"{facts['date']}-nvidia-h200-2.json"]
    kept = json.loads(first.read_text())
    assert kept["figures"] == {"a": 1} and kept["machine"]["packages"]["torch"]
    assert "device: NVIDIA H200" in first.with_suffix(".txt").read_text() and "a table" in first.with_suffix(".txt").read_text()


def test_figures_are_aligned_and_missing_ones_are_dashes() -> None:
    assert text("t", ("a", "b"), [("x", 1234.5), ("long", None)]).splitlines() == [
        "t",
        "  a            b",
        "  x     1,234.50",
        "  long         –",
    ]


def test_rls(copied: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rls, "ASKED", 20)
    rows = rls.compared((500, 2_000))
    assert [r[0] for r in rows] == ["500 jobs", "2,000 jobs"] and all(median > 0 and thrown == 0 for _, median, _, thrown in rows)


def test_screen() -> None:
    costs = {name: screen.cpu(screen.LexicalScreen(), text[: screen.LENGTH], 1) for name, text in screen.texts().items()}
    assert len(costs) > 8 and all(ms > 0 for ms in costs.values())


def test_list_prints_the_benchmarks_without_running_them() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--list"], capture_output=True, text=True, timeout=LIMIT, cwd=Path(__file__).parents[1]
    )
    assert run.returncode == 0, run.stderr
    assert [line.split()[0] for line in run.stdout.splitlines()] == [
        "engine", "latency", "failover", "claims", "rls", "intake", "screen", "executor", "gpu",
    ]  # fmt: skip


def test_benchmark_jobs_are_queued_in_its_own_database(url: str) -> None:
    with connect(url) as connection:
        user = profile(connection)
        submit(connection, user, 3)
        found = connection.execute("select count(*) from public.jobs where ready").fetchone()
    assert found is not None and found[0] >= 3
