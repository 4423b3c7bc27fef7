"""`ourvidz up --enhancer`: the enhancer is one more supervised process, and the executors find it."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from executor_site import Site, Zygote
from up_site import Up, alive, kill, running
from waiting import wait_for

from executors.enhancer.client import remote


def served(up: Up) -> None:
    job_id = up.site.submit("image7b_fast_enhanced")
    up.status(job_id, "completed")
    assert up.site.data(job_id, "enhancement_started") == [{"on_device": False}]
    assert up.site.row(job_id)["enhanced"]


@pytest.mark.nightly  # test_up kills the enhancer too, among all others
def test_the_enhancer_serves_executors_and_is_restarted(site: Site, zygote: Zygote) -> None:
    home = Path(tempfile.mkdtemp(prefix="ourvidz-u-"))
    found = remote("auto", home)
    assert found is not None
    try:
        with running(Up(site, zygote, home, "--enhancer", "cpu", light=True)) as up:
            up.executor("t-cpu")
            wait_for(found.there, lambda: f"for the enhancer\n{up.text}")
            served(up)
            first = up.children()["enhancer"]
            kill(first, signal.SIGKILL)
            wait_for(lambda: not alive(first) and up.children().get("enhancer", first) != first, "for another")
            wait_for(found.there, lambda: f"for the next enhancer\n{up.text}")
            served(up)
            up.signal(signal.SIGTERM)
            assert up.left() == 0
            assert not found.there() and not found.address.exists()
    finally:
        shutil.rmtree(home, ignore_errors=True)
