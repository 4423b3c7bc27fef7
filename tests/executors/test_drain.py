"""Draining executors, and executors during a database outage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cuttable_proxy import Wire
from executor_site import ProbeShelf, Site, Zygote, running
from psycopg.conninfo import conninfo_to_dict
from waiting import LIMIT, wait_for

from executors.shelf import Shelf
from ourvidz.db.connection import Database
from ourvidz.db.embedded import EmbeddedPostgres, embedded_url, status
from ourvidz.db.migrate import migrate
from ourvidz.lifecycle import Jobs
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS

# -- draining ------------------------------------------------------------------------------------------------------------------------------


def gone(site: Site, name: str = "first") -> bool:
    return [r["state"] for r in site.db.rows("select state from ourvidz.executors where name = %s", (name,))] == ["gone"]


def test_sigterm_finishes_the_running_job_and_starts_no_other(site: Site, zygote: Zygote) -> None:
    """Neither the queued job, nor one it may have prepared by then, which uses no attempt."""
    job_id, *others = site.submit(steps=4), site.submit(), site.submit()
    with running(zygote.spawn(site.db.url, site.root / "first", site.root / "store", stop_at_step=2)) as child:
        wait_for(child.stopped)
        child.signal(signal.SIGTERM)
        child.signal(signal.SIGCONT)
        assert child.wait() == 0
    site.completed(job_id)
    assert gone(site)
    for other in others:
        assert site.types(other) in (["submitted"], ["submitted", "claimed", "snoozed"])
        row = site.row(other)
        assert (row["status"], row["ready"], row["attempts"]) == ("queued", True, 0)


def test_an_idle_executor_exits_on_sigterm(site: Site, zygote: Zygote) -> None:
    with running(zygote.spawn(site.db.url, site.root / "first", site.root / "store")) as child:
        wait_for(lambda: site.db.rows("select id from ourvidz.executors where waiting"))
        child.signal(signal.SIGINT)
        assert child.wait() == 0
    assert gone(site)


def test_a_second_signal_gives_the_job_back_at_the_next_step(site: Site, zygote: Zygote) -> None:
    job_id = site.submit(steps=50)
    with running(zygote.spawn(site.db.url, site.root / "first", site.root / "store", stop_at_step=2)) as child:
        wait_for(child.stopped)
        # Two different signals: two of the same kind would be merged for a stopped process.
        child.signal(signal.SIGTERM)
        child.signal(signal.SIGINT)
        child.signal(signal.SIGCONT)
        assert child.wait() == 0
    assert int((site.root / "first" / "steps").read_text()) <= 3
    row = site.row(job_id)
    assert (row["status"], row["executor_id"], row["attempts"], row["snoozes"], row["ready"]) == ("queued", None, 0, 1, True)
    assert gone(site)
    site.work(job_id)
    site.completed(job_id)


def test_ctrl_c_without_handlers_gives_the_job_back_and_ends_the_worker(site: Site) -> None:
    job_id = site.submit(steps=5)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.work(job_id, shelf=ProbeShelf(site.loaded, interrupt))
    assert site.types(job_id) == ["submitted", "claimed", "generation_started", "snoozed"]
    assert gone(site, "second")


def test_signals_while_waiting_do_not_deadlock() -> None:
    """threading.Event would deadlock here within a fraction of a second."""
    program = """
import signal
from executors.heartbeat import Bell
bell, heard = Bell(), []
signal.signal(signal.SIGALRM, lambda *_: (heard.append(1), bell.ring()))
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
while len(heard) < 2000:
    bell.clear()
    bell.wait(0.00005)
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    subprocess.run([sys.executable, "-c", program], timeout=LIMIT, check=True)


def test_a_failing_observer_does_not_affect_the_job(site: Site) -> None:
    def closed(_: object) -> None:
        raise BrokenPipeError

    job_id = site.submit()
    site.work(job_id, observe=closed)
    site.completed(job_id)


# -- executors that share only the database ------------------------------------------------------------------------------------------------


def test_two_executors_with_accounts_homes_and_stores_of_their_own(site: Site, zygote: Zygote, tmp_path: Path) -> None:
    root = os.geteuid() == 0
    base = Path(subprocess.run(["mktemp", "-d", "/tmp/ourvidz-accounts-XXXXXX"], capture_output=True, text=True, check=True).stdout.strip())
    base.chmod(0o755)
    ids = [site.submit() for _ in range(8)]
    children = []
    with Wire(site.db.url) as wire:
        for n, uid in enumerate((65533, 65534)):
            (base / f"home{n}").mkdir()
            store = base / f"store{n}"
            store.mkdir()
            url = wire.url
            if root:
                os.chown(store, uid, uid)
                if passfile := conninfo_to_dict(url).get("passfile"):  # a password file belongs to one account
                    own = Path(shutil.copy(str(passfile), base / f"pgpass{n}"))
                    os.chown(own, uid, uid)
                    own.chmod(0o600)
                    url = url.replace(str(passfile), str(own))
            children.append(zygote.spawn(url, base / f"home{n}", store, name=f"gpu{n}", until=ids, **({"uid": uid} if root else {})))
        assert [child.wait() for child in children] == [0, 0]
    stores = tuple(FolderStore(base / f"store{n}", BUCKETS) for n in (0, 1))
    for job_id in ids:
        site.completed(job_id, stores=stores)
        assert site.types(job_id).count("claimed") == 1
    by = {str(r["actor"]) for r in site.db.rows("select actor from public.job_events where type = 'claimed'")}
    assert by == {"executor:gpu0", "executor:gpu1"}
    if root:
        assert {(base / f"home{n}" / "spool" / "id").stat().st_uid for n in (0, 1)} == {65533, 65534}
    subprocess.run(["rm", "-rf", str(base)], check=True)


# -- database outages ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """This module's own server, which tests may kill."""
    home = tmp_path_factory.mktemp("embedded")
    with EmbeddedPostgres(home) as postgres:
        database = Database(postgres.url)
        with database.transaction() as connection:
            migrate(connection)
        database.close()
        embedded_url(home)
        yield home
    if pid := status(home).supervisor_pid:
        os.kill(pid, signal.SIGTERM)


@pytest.fixture
def frail(embedded: Path, loaded: Shelf, tmp_path: Path) -> Iterator[Site]:
    database = Database(embedded_url(embedded), revive=lambda: embedded_url(embedded))
    site = Site(database, loaded, tmp_path)
    yield site
    site.close()
    database.close()


def stop_immediately(home: Path, *, supervisor: bool = False) -> None:
    """`pg_ctl -m immediate stop`: no checkpoint, no clean shutdown. With the supervisor killed too, only a user can restart it."""
    now = status(home)
    assert now.postmaster_pid and now.supervisor_pid
    if supervisor:
        os.kill(now.supervisor_pid, signal.SIGKILL)
    os.kill(now.postmaster_pid, signal.SIGQUIT)
    wait_for(lambda: status(home).postmaster_pid != now.postmaster_pid, "for Postgres to die")


@pytest.mark.parametrize("supervisor", [False, True], ids=["stopped", "supervisor killed too"])
def test_a_database_outage_during_a_job_is_survived(frail: Site, embedded: Path, supervisor: bool) -> None:
    job_id = frail.submit(steps=4, images=3)
    away: list[int] = []

    def stop_once(done: int, total: int) -> None:
        if done == 6 and not away:
            away.append(done)
            stop_immediately(embedded, supervisor=supervisor)

    shelf = ProbeShelf(frail.loaded, stop_once)
    frail.work(job_id, shelf=shelf)
    assert away
    frail.completed(job_id, 3)
    assert shelf.sdxl.seeds == [4711, 4712, 4713]  # it waited and continued where it was
    assert frail.types(job_id).count("claimed") == 1


def test_a_waiting_client_restarts_the_database(frail: Site, embedded: Path) -> None:
    """No executor runs: only the waiting call itself can restart the server."""
    stop_immediately(embedded, supervisor=True)
    wait_for(lambda: not status(embedded).running)
    job_id = frail.submit()
    assert frail.types(job_id) == ["submitted"]


def test_a_database_outage_during_a_claim_is_survived(frail: Site, embedded: Path) -> None:
    job_id = frail.submit()
    worker = frail.worker()
    claim, tries = worker.jobs.claim, []

    def claim_from_nobody(*args: object, **more: object) -> object:
        tries.append(1)
        if len(tries) == 1:
            stop_immediately(embedded)
        return claim(*args, **more)  # type: ignore[arg-type]

    worker.jobs.claim = claim_from_nobody  # type: ignore[method-assign,assignment]
    worker.run(until=[job_id])
    assert len(tries) > 1
    frail.completed(job_id)


def test_an_outage_beyond_patience_releases_the_job(frail: Site) -> None:
    """Patience runs out in the middle of a job: the executor survives, gives the job up, and runs it when the database is back."""
    job_id = frail.submit(steps=4)
    with Wire(frail.db.url) as wire:
        database = Database(wire.url)
        worker = frail.worker(jobs=Jobs(database, frail.jobs.screen, patience=0.5))
        refused: list[int] = []
        connect = wire._connect

        def refuse() -> object:
            refused.append(1)
            if len(refused) < 12:
                raise ConnectionRefusedError
            return connect()

        def cut(done: int, total: int) -> None:
            if done == 3 and not refused:
                wire._connect = refuse  # type: ignore[method-assign,assignment]
                wire.cut()

        worker.shelf.sdxl.step = cut  # type: ignore[attr-defined]
        worker.run(until=[job_id])
        database.close()
    assert len(refused) > 3
    frail.completed(job_id)


def test_the_heartbeat_drops_a_job_lost_to_an_outage(site: Site) -> None:
    """The device thread gave up the job; the heartbeat must not renew its lease until the time limit once the database is back."""
    job_id = site.submit(steps=3)

    def outage(done: int, total: int) -> None:
        worker.shelf.sdxl.step = None  # type: ignore[attr-defined]
        worker.heartbeat._beaten -= 100  # type: ignore[union-attr]

    site.policy(heartbeat=60)
    worker = site.worker()
    worker.shelf.sdxl.step = outage  # type: ignore[attr-defined]
    worker.run(until=[job_id])
    site.completed(job_id)
    assert site.types(job_id).count("claimed") == 2


def test_failing_housekeeping_does_not_end_the_executor(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads are published in the worker's own thread: a database outage at that moment must not end it."""

    def away(*_: object) -> int:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr("executors.worker.publish_heads", away)
    job_id = site.submit()
    site.work(job_id)
    site.completed(job_id)
