"""`ourvidz models pin`: custom files, the image screen's folder, and a manifest from another machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_command import Command

LORA = "sdxl-lustify/few-steps.safetensors"


def safetensors(file: Path) -> None:
    header = json.dumps({"x": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    safetensors(tmp_path / "models" / LORA)
    return tmp_path / "models"


def test_custom_files_are_pinned_once(bare: Command, models: Path) -> None:
    where = {"OURVIDZ_MODELS": str(models)}
    assert bare("models", "pin", **where).code == 2, "a person says so, or --yes does"
    assert list(bare("models", "pin", "sdxl", "--yes", "--json", **where).json["files"]) == [LORA]
    again = bare("models", "pin", "--yes", **where)
    assert again.code == 0 and "nothing to pin" in again.err
    assert bare("models", "pin", "nobody", "--yes", **where).code == 1
    (models / "sdxl-lustify" / "config").mkdir()
    (models / "sdxl-lustify" / "config" / "old.bin").write_bytes(b"x")
    refused = bare("models", "pin", "--yes", **where)
    assert refused.code == 1 and "old.bin: is a pickle" in refused.err


def test_a_foreign_manifest_needs_explicit_acceptance(bare: Command, models: Path) -> None:
    where = {"OURVIDZ_MODELS": str(models)}
    bare("models", "pin", "--yes", **where)
    manifest = models / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"tiny": false', '"tiny": true'))
    refused = bare("models", "verify", **where)
    assert refused.code == 1 and "pin --accept" in refused.err
    assert {line["what"]: line["state"] for line in bare("doctor", "--json", **where).json}["models"] == "missing"
    assert bare("models", "pin", "--accept", **where).code == 2
    assert bare("models", "pin", "--accept", "--yes", **where).code == 0
    assert "accepted" not in bare("models", "verify", **where).err


def test_the_image_screens_folder(bare: Command, tmp_path: Path) -> None:
    folder = tmp_path / "screen"
    safetensors(folder / "model.safetensors")
    for name in ("README.md", "config.json"):
        (folder / name).write_text("{}")
    told = bare("models", "pin", "--screen", "--yes", "--json", OURVIDZ_IMAGE_SCREEN_MODEL=str(folder)).json
    assert list(told["files"]) == ["config.json", "model.safetensors"]
    assert bare("models", "pin", "--screen", "--yes").code == 2
