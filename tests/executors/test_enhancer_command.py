"""`ourvidz enhancer` as people run it, and an executor that finds it by itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_command import COMMAND as OURVIDZ
from enhancer_site import PROMPT, nothing
from site_of import ProbeShelf, Site
from waiting import LIMIT, wait_for

from executors.enhancer.client import RemoteEnhancer, remote
from executors.errors import EnhancerAway

COMMAND = [*OURVIDZ, "enhancer"]


@pytest.fixture
def home(tiny_root: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ourvidz-h-"))
    (made / "models-tiny").symlink_to(tiny_root)
    yield made
    shutil.rmtree(made)


def environment(home: Path, **more: str) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("OURVIDZ_", "DATABASE_URL"))}
    return ours | {"OURVIDZ_HOME": str(home), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "NO_COLOR": "1"} | more


def test_it_serves_until_it_is_told_to_stop(home: Path, site: Site) -> None:
    found = remote("auto", home)
    assert isinstance(found, RemoteEnhancer) and not found.only
    with pytest.raises(EnhancerAway, match="there is no enhancer"):
        found.describe()
    process = subprocess.Popen(COMMAND, env=environment(home), stderr=subprocess.PIPE, text=True)
    try:
        wait_for(found.there, "for the enhancer")
        near = site.loaded.enhancer().enhance(PROMPT, "wan", deadline_s=60, should_stop=nothing)
        assert found.enhance(PROMPT, "wan", deadline_s=60, should_stop=nothing).text == near.text
        job_id = site.submit("image7b_fast_enhanced")
        site.work(job_id, shelf=ProbeShelf(site.loaded), enhancer=found)
        site.completed(job_id)
        assert site.data(job_id, "enhancement_started") == [{"on_device": False}]

        second = subprocess.run(COMMAND, env=environment(home), capture_output=True, text=True, timeout=LIMIT, check=False)
        assert second.returncode == 1 and "serves" in second.stderr and "already" in second.stderr
        assert found.there()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert f"enhances prompts at {home / 'enhancer.sock'}" in said and "Traceback" not in said
    assert not found.there()


def test_one_that_nobody_would_ask_is_refused(home: Path) -> None:
    done = subprocess.run(
        COMMAND, env=environment(home, OURVIDZ_ENHANCER="off"), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 2 and "no executor would ask" in done.stderr
