"""Damaged model files: their lane closes on this executor, others go on, and the job waits for an executor that has them."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_site import Site
from safetensors.torch import load_file, save_file
from test_refusals import keep, picture

from executors.models import files
from executors.shelf import Shelf

SDXL = "sdxl-lustify/model.safetensors"


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def pickled(file: Path) -> None:
    file.write_bytes(pickle.dumps({"model": [1, 2, 3]}))


def missing(file: Path) -> None:
    file.unlink()


@pytest.fixture
def own_models(tiny_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_root, tmp_path / "models"))


def lacking(file: Path) -> None:
    """Remove one tensor, and pin the file as somebody would who has not checked it."""
    state = load_file(file)
    del state["conditioner.embedders.0.transformer.text_model.encoder.layers.0.layer_norm1.bias"]
    save_file(state, file)
    files.pin(file.parent.parent, tiny=True)


@pytest.mark.parametrize("damage", [truncated, pickled, missing, lacking])
def test_a_damaged_model_closes_only_its_lane(
    site: Site, own_models: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(own_models)
    damage(own_models / SDXL)  # after the check at startup, like a failing disk
    job_id, other = site.submit(), site.submit("image_fast")
    site.work(other, shelf=shelf)

    site.completed(other)
    row = site.row(job_id)
    assert (row["status"], row["executor_id"], row["snoozes"], row["attempts"], row["errors"]) == ("queued", None, 1, 0, 0)
    assert site.data(job_id, "snoozed")[0]["reason"] == "model_file"
    assert shelf.lanes == ["wan", "wan_vace"]
    assert damage is not lacking or "lacks the tensor conditioner.embedders.0.transformer.text_model" in caplog.text
    assert "sdxl-lustify" in caplog.text and "Lane sdxl is closed here" in caplog.text
    assert (own_models / "quarantine" / SDXL).exists() == (damage in (truncated, pickled))

    site.work(job_id, home="sound")
    site.completed(job_id)


def test_damage_to_another_lanes_model_leaves_this_lane_open(site: Site, own_models: Path) -> None:
    """Wan loads both of its pipelines; damage to one must not close the lane that needs the other."""
    keep(site, "single.png", picture())
    shelf = Shelf(own_models)
    truncated(next((own_models / "wan2.1-t2v-1.3b" / "transformer").glob("*.safetensors")))
    job_id = site.submit("image_fast", references={"single": f"character-images/{site.user}/single.png"})
    site.work(job_id, shelf=shelf)
    site.completed(job_id)
    assert "wan_vace" in shelf.lanes and "wan" not in shelf.lanes


def test_valid_files_that_fail_to_load_close_the_lane_without_quarantine(
    site: Site, own_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from executors.errors import ModelFileError
    from executors.models.sdxl import Sdxl

    def refuse(self: Sdxl) -> None:
        raise ModelFileError("the weights do not fit their config")

    monkeypatch.setattr(Sdxl, "load", refuse)
    shelf = Shelf(own_models)
    job_id, other = site.submit(), site.submit("image_fast")
    site.work(other, shelf=shelf)
    assert shelf.lanes == ["sdxl_ip", "wan", "wan_vace"]
    assert not (own_models / "quarantine").exists()
    assert site.row(job_id)["status"] == "queued"
