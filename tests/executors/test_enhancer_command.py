"""`ourvidz enhancer` as run from a shell, and an executor that finds it on its own."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_command import Command, environment
from enhancer_site import PROMPT, nothing
from executor_site import ProbeShelf, Site
from waiting import LIMIT, wait_for

from executors.enhancer.client import RemoteEnhancer, remote
from executors.errors import EnhancerAway


@pytest.fixture
def home(tiny_root: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ourvidz-h-"))
    (made / "models-tiny").symlink_to(tiny_root)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def ourvidz(home: Path, tmp_path: Path) -> Command:
    return Command(environment(home, NO_COLOR="1"), tmp_path)


def test_it_serves_until_it_is_told_to_stop(ourvidz: Command, home: Path, site: Site) -> None:
    found = remote("auto", home)
    assert isinstance(found, RemoteEnhancer) and not found.only
    with pytest.raises(EnhancerAway, match="there is no enhancer"):
        found.describe()
    process = ourvidz.start("enhancer")
    try:
        wait_for(found.there, "for the enhancer")
        near = site.loaded.enhancer().enhance(PROMPT, "wan", deadline_s=60, should_stop=nothing)
        assert found.enhance(PROMPT, "wan", deadline_s=60, should_stop=nothing).text == near.text
        job_id = site.submit("image7b_fast_enhanced")
        site.work(job_id, shelf=ProbeShelf(site.loaded), enhancer=found)
        site.completed(job_id)
        assert site.data(job_id, "enhancement_started") == [{"on_device": False}]

        second = ourvidz("enhancer")
        assert second.code == 1 and "serves" in second.err and "already" in second.err
        assert found.there()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        process.wait(LIMIT)
    assert process.returncode == 0
    assert f"enhances prompts at {home / 'enhancer.sock'}" in said and "Traceback" not in said
    assert not found.there()


def test_an_enhancer_disabled_by_configuration_is_refused(ourvidz: Command) -> None:
    done = ourvidz("enhancer", OURVIDZ_ENHANCER="off")
    assert done.code == 2 and "no executor would ask" in done.err
