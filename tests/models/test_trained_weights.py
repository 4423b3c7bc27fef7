"""Packing and loading of trained tiny weights, and `make_tiny`'s use of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from executors.models import files, taught, tiny
from executors.models.tiny import make_tiny


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the package's own."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(taught, "FOLDER", folder)
    return folder


def small(seed: int) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 3))


def pack(module: torch.nn.Module, **facts: object) -> None:
    said = {"words": {"colours": ["red", "blue"]}, "note": "knows two colours", **facts}
    taught.pack(taught.file_of("qwen"), {"model": module.state_dict()}, said, rows={"model/0.weight": {2, 7}})


def test_only_trained_table_rows_are_shipped(shipped: Path) -> None:
    module = small(1)
    pack(module)
    assert taught.shipped(["sdxl", "qwen"]) == ["qwen"]
    assert taught.tensors("qwen", "model")["0.weight"].shape == (2, 4)
    again = small(2)
    before = again[0].weight.detach().clone()
    taught.fill(again, "qwen", "model")
    assert torch.equal(again[0].weight[[2, 7]], module[0].weight[[2, 7]].half().float())
    rest = [0, 1, 3, 4, 5, 6, 8, 9]
    assert torch.equal(again[0].weight[rest], before[rest])
    assert torch.equal(again[1].weight, module[1].weight.half().float())


def test_weights_of_another_module_are_refused(shipped: Path) -> None:
    pack(small(1))
    with pytest.raises(RuntimeError, match="size mismatch"):
        taught.fill(torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 5)), "qwen", "model")
    with pytest.raises(KeyError, match="no part 'head'"):
        taught.fill(small(1), "qwen", "head")


def test_the_digest_covers_the_tensors(shipped: Path) -> None:
    digests = []
    for seed in (1, 1, 2):
        pack(small(seed), steps=len(digests))
        digests.append(taught.facts("qwen")["weights"])
    assert digests[0] == digests[1] != digests[2]


def test_trained_words_and_random_models_are_reported(shipped: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    root.mkdir()
    pack(small(1))
    (root / files.MANIFEST).write_text(
        '{"tiny": true, "made": ["sdxl", "qwen"], "taught": ["qwen"], "words": {"colours": ["red", "blue"]}, "files": {}}'
    )
    assert "colours: red, blue." in tiny.told(root) and "noise: sdxl." in tiny.told(root)


def test_random_models_stay_random_until_trained_ones_are_requested(tmp_path: Path) -> None:
    root = tmp_path / "models"
    families = ["qwen"]

    def digest() -> str:
        return str(files.read_manifest(root)["files"]["qwen2.5-7b-instruct/model.safetensors"]["sha256"])

    make_tiny(root, lambda _: None, families, random=True)
    assert (files.read_manifest(root)["random"], files.read_manifest(root)["taught"]) == (True, [])
    noise, said = digest(), list[str]()
    make_tiny(root, said.append, families)
    assert said == [] and digest() == noise
    make_tiny(root, said.append, families, random=False)
    assert files.read_manifest(root)["taught"] == taught.shipped(families) and not files.read_manifest(root)["random"]
    assert len(said) == 1 and files.verify(root)[-1].ok
    assert not make_tiny(root, said.append, families)
    assert len(said) == 1
