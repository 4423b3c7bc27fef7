"""The plan: capabilities of a card of a given size, computed without one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from waiting import LIMIT

from executors.models.plan import GIB, PARTS, TURNS, plan, sizes
from executors.shelf import LANES
from state.catalog import JOB_TYPES

NOWHERE = Path("/nonexistent")


def by(rows: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    (row,) = (row for row in rows if all(row[key] == value for key, value in values.items()))
    return row


def test_the_stated_sizes_are_those_of_the_real_models() -> None:
    found = {name: size / GIB for name, (size, counted) in sizes(NOWHERE).items() if not counted}
    assert len(found) == len(PARTS) == 12
    assert sum(found[n] for n in ("sdxl.text", "sdxl.unet", "sdxl.vae")) == pytest.approx(6.6)
    without_adapters = sum(size for name, size in found.items() if not name.startswith("ip.")) - found["wan.t2v"]
    assert without_adapters == pytest.approx(35.9)  # T2V's transformer weights are part of VACE's


def test_the_plan_stays_within_the_card_and_reports_what_does_not_fit() -> None:
    for vram in (8, 12, 16, 24, 48, 80):
        told = plan(NOWHERE, vram * 10**9)
        assert told["budget"] == min(35, vram - 2) * 10**9
        for job in told["jobs"]:
            assert job["most"] == max(s["weights"] + s["working"] for s in job["stages"])
            assert (job["fits"] == "yes") == (job["most"] <= told["budget"])
        assert all(row["weights"] <= told["budget"] for row in told["together"])
    assert all(job["fits"] == "yes" for job in plan(NOWHERE, 24 * 10**9)["jobs"])
    twelve = plan(NOWHERE, 12 * 10**9)
    assert by(twelve["jobs"], job_type="sdxl_image_premium", reference=False)["fits"] == "smaller"
    assert by(twelve["jobs"], job_type="video_fast", reference=False)["fits"] == "no"
    assert {row["after"] for row in twelve["together"]} == {"sdxl", "sdxl + style"}
    with pytest.raises(ValueError, match="nothing to give"):
        plan(NOWHERE, 2 * 10**9)


def test_tiny_and_incomplete_models_are_planned_like_real_ones(tiny_root: Path, tmp_path: Path) -> None:
    """The plan is for a card with real models, whatever files are present."""
    assert plan(tiny_root, 24 * 10**9) == plan(NOWHERE, 24 * 10**9)
    root = tmp_path / "models"
    shutil.copytree(tiny_root, root)
    (root / "manifest.json").unlink()  # as if they were real
    stated, counted = sizes(NOWHERE), sizes(root)
    assert all(counted[name][1] and counted[name] != stated[name] for name in stated)
    (root / "wan2.1-t2v-1.3b/transformer/diffusion_pytorch_model.safetensors").unlink()
    (root / "sdxl-lustify/config/vae/config.json").unlink()
    half = sizes(root)
    for part in PARTS:
        assert half[part.name] == (stated if part.role in ("wan", "sdxl") else counted)[part.name]


def test_the_plan_covers_every_job_type_and_lane() -> None:
    told = plan(NOWHERE, 48 * 10**9)
    assert {job["job_type"] for job in told["jobs"]} == set(JOB_TYPES)
    assert {part.name for part in PARTS} >= {lane.denoiser for lane in LANES.values()}
    used = {name for job in told["jobs"] for stage in job["stages"] for name in stage["components"]}
    assert used >= {part.name for part in PARTS} - {"ip.face", "ip.vith"}  # a character's, used instead of a style's


def test_more_memory_means_less_copying() -> None:
    copied = [sum(s["bytes"] for s in plan(NOWHERE, budget=budget * 10**9)["switches"]) for budget in (18, 26, 35, 60)]
    assert all(more >= less for more, less in pairwise(copied))
    assert copied[0] > copied[-1] == 0
    at_35 = plan(NOWHERE, budget=35 * 10**9)["switches"]
    assert len(at_35) == len(TURNS) * (len(TURNS) - 1)
    for switch in at_35:
        assert switch["seconds"] == pytest.approx(switch["bytes"] / 25e9 + 0.01 * bool(switch["bytes"]), abs=0.001)
        assert switch["bytes"] or not switch["evicted"]
    # T2V's weights are on the device as part of VACE's: only VACE's additional ones are copied.
    grown = by(at_35, **{"from": "wan + enhanced", "to": "wan + picture"})
    assert grown["bytes"] == round(4.0 * GIB) - round(2.6 * GIB)


def test_an_explicit_budget_overrides_the_card() -> None:
    assert plan(NOWHERE, 80 * 10**9, budget=20 * 10**9)["budget"] == 20 * 10**9
    assert plan(NOWHERE)["budget"] == 35 * 10**9


def test_sizes_counted_from_files_are_what_residency_puts_on_the_device(tiny_root: Path) -> None:
    from measured import Measured
    from test_residency import JOBS, run

    from executors.shelf import Shelf

    shelf = Shelf(tiny_root)
    shelf._residency = residency = Measured(10**12)
    for kind in JOBS:
        run(shelf, kind)
    counted = sizes(tiny_root, bf16=4)  # on a CPU everything is in fp32
    assert {name for name, (_, from_files) in counted.items() if from_files} == set(residency.placed.items) == {p.name for p in PARTS}
    for name, item in residency.placed.items.items():
        # Buffers that no file holds (positions, rotary frequencies) come on top: much of a tiny model, little of a real one.
        buffers = sum(b.nbytes for module in [residency.load(name)] for b in module.buffers())
        assert 0 <= item.bytes - counted[name][0] <= buffers, name


def test_the_plan_does_not_import_torch() -> None:
    code = "import sys; from pathlib import Path; from executors.models.plan import plan; plan(Path('x')); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True).stdout == "False\n"
