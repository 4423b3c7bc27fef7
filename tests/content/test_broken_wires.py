"""The table of broken wires is consistent. Running its rows takes long: `make wires`, nightly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from broken_wires import FAMILIES, ROOT, stale, wires


def test_each_row_breaks_one_place_and_names_tests_that_exist() -> None:
    assert stale() == []


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_broken_wire_fails_a_test(family: str) -> None:
    if not any(name.startswith(family) for name in wires()):
        return  # a family without trained weights has no content to test
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("broken_wires.py")), family], capture_output=True, text=True, check=False, cwd=ROOT
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
