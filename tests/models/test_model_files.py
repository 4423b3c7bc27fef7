"""Bad model files are named one by one and affect only their own role."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from executors.errors import ModelFileError
from executors.models import files, pinned
from executors.models.seen import current
from executors.models.tiny import make_tiny

SDXL = "sdxl-lustify/model.safetensors"
PLAIN_IP = "ip-adapter/sdxl_models/ip-adapter_sdxl.safetensors"


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy to damage: SDXL and IP-Adapter, with a manifest that pins only those."""
    copy = tmp_path / "models"
    for folder in ("sdxl-lustify", "ip-adapter"):
        shutil.copytree(tiny_root / folder, copy / folder)
    files.pin(copy, tiny=True)
    return copy


def status(root: Path, role: str, deep: bool = False) -> files.RoleStatus:
    return next(s for s in files.verify(root, deep) if s.role == role)


def test_what_make_tiny_makes_passes_the_deep_check(tiny_root: Path) -> None:
    made = [s for s in files.verify(tiny_root, deep=True) if s.present]
    assert {s.role for s in made} >= {"sdxl", "ip_adapter"}
    assert [str(p) for s in made for p in s.problems] == []
    assert all(s.tiny and s.size > 0 for s in made)


def test_an_empty_folder_has_every_role_missing_and_says_where_to_put_them(tmp_path: Path) -> None:
    for s in files.check(tmp_path):
        assert not s.ok
        assert not s.present
        assert s.problems[0].file in {f"{role.folder}/" for role in files.ROLES}


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 100)


def _cut_in_header(file: Path) -> None:
    os.truncate(file, 50)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps({"weights": [1.0]}))


def _torch_zip(file: Path) -> None:
    file.write_bytes(b"PK\x03\x04" + b"\0" * 100)


def _html(file: Path) -> None:
    file.write_bytes(b"<!DOCTYPE html><html>Access to this model is restricted</html>")


def _lying_header(file: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)


def _longer(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"\0" * 10)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, "is truncated"),
        (_cut_in_header, "truncated inside its header"),
        (_empty, "is truncated"),
        (_pickle, "is a pickle"),
        (_torch_zip, "is a pickle"),
        (_html, "is no safetensors file"),
        (_lying_header, "is no safetensors file"),
        (_longer, "is too long"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_damaged_file_is_named_and_affects_only_its_role(root: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(root / PLAIN_IP)
    (problem,) = status(root, "ip_adapter").problems
    assert problem.file == PLAIN_IP
    assert words in problem.what
    assert problem.todo
    assert status(root, "sdxl").ok
    with pytest.raises(ModelFileError, match=f"{PLAIN_IP}.*{words}"):
        files.require(root, "ip_adapter")
    files.require(root, "sdxl")


@pytest.mark.parametrize("length", [0x0280, 0x4B50])
def test_a_valid_file_starting_like_a_pickle_or_zip_is_accepted(root: Path, length: int) -> None:
    # The first bytes are the header's length, and b"\x80\x02" and b"PK" are lengths like any other.
    header = {
        "image_proj.a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "ip_adapter.b": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]},
    }
    (root / PLAIN_IP).write_bytes(length.to_bytes(8, "little") + json.dumps(header).encode().ljust(length) + b"ab")
    files.pin(root)
    assert status(root, "ip_adapter").ok


def test_an_unused_pickle_is_only_noted(root: Path) -> None:
    """Neither beside individually named files, nor in a folder given to a library, unless a library might look for it there."""
    strays = [f"sdxl-lustify/old{suffix}" for suffix in (".bin", ".ckpt", ".pt", ".pth", ".pkl")]
    strays += ["sdxl-lustify/preview.png", "sdxl-lustify/config/unet/old.pth", "ip-adapter/sdxl_models/ip-adapter_sdxl.bin"]
    for name in strays:
        (root / name).write_bytes(pickle.dumps({"weights": [1.0]}))
    for role in ("sdxl", "ip_adapter"):
        assert status(root, role).ok
        assert [note.partition(":")[0] for note in status(root, role).notes] == sorted(n for n in strays if n.startswith(role[:2]))
        assert files.quarantine(root, status(root, role)) == []
    assert not {"sdxl-lustify/old.pth", "ip-adapter/sdxl_models/ip-adapter_sdxl.bin"} & files.pin(root, tiny=True)["files"].keys()
    pinned.check(root, root / "sdxl-lustify/config")


def test_a_pickle_that_a_library_might_load_is_refused(root: Path) -> None:
    for name in ("sdxl-lustify/config/unet/diffusion_pytorch_model.bin", "ip-adapter/models/image_encoder/pytorch_model.bin"):
        (root / name).write_bytes(b"anything")
        (problem,) = status(root, "sdxl" if "sdxl-l" in name else "ip_adapter").problems
        assert problem.file == name
        assert "pickle" in problem.what
        (root / name).unlink()


def test_changed_bytes_of_the_same_length_are_found_by_the_deep_check_alone(root: Path) -> None:
    with (root / SDXL).open("r+b") as stream:
        stream.seek(-10, os.SEEK_END)
        stream.write(b"0123456789")
    assert status(root, "sdxl").ok
    (problem,) = status(root, "sdxl", deep=True).problems
    assert problem.file == SDXL
    assert "sha256" in problem.what


def test_another_models_file_is_refused_for_sdxl_even_when_pinned(root: Path) -> None:
    shutil.copy(root / PLAIN_IP, root / SDXL)
    files.pin(root)
    (problem,) = status(root, "sdxl", deep=True).problems
    assert problem.file == SDXL
    assert "model.diffusion_model." in problem.what


def test_another_models_config_is_refused_for_sdxl(root: Path) -> None:
    index = root / "sdxl-lustify/config/model_index.json"
    index.write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    files.pin(root)
    assert "describes StableDiffusionPipeline" in str(status(root, "sdxl").problems)


def test_unpinned_files_are_not_trusted(root: Path) -> None:
    (root / files.MANIFEST).unlink()
    assert all("not pinned" in p.what for p in status(root, "sdxl").problems)
    assert not status(root, "sdxl").ok
    manifest = files.pin(root)
    assert manifest["tiny"] is False
    assert manifest["files"][SDXL] == {"bytes": (root / SDXL).stat().st_size, "sha256": files.sha256(root / SDXL), "role": "sdxl"}
    assert status(root, "sdxl", deep=True).ok


def test_a_pickle_or_a_broken_file_is_never_pinned(root: Path) -> None:
    before = (root / files.MANIFEST).read_bytes()
    extra = root / "ip-adapter/models/image_encoder/extra.bin"
    extra.write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"extra\.bin"):
        files.pin(root)
    extra.unlink()
    _truncate(root / SDXL)
    with pytest.raises(ModelFileError, match=SDXL):
        files.pin(root)
    assert (root / files.MANIFEST).read_bytes() == before


def test_a_missing_shard_is_named(tmp_path: Path, tiny_root: Path) -> None:
    folder = tmp_path / "qwen2.5-7b-instruct"
    folder.mkdir()
    shutil.copy(tiny_root / PLAIN_IP, folder / "model-00001-of-00002.safetensors")
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    named = {p.file: p.what for p in status(tmp_path, "qwen").problems}
    assert named["qwen2.5-7b-instruct/model-00002-of-00002.safetensors"] == "is missing"


def test_an_unreadable_manifest_is_reported(root: Path) -> None:
    (root / files.MANIFEST).write_text("{")
    with pytest.raises(ModelFileError, match=r"manifest\.json"):
        files.check(root)


def test_quarantine_moves_bad_files_and_deletes_none(root: Path) -> None:
    whole = (root / SDXL).read_bytes()
    kept = []
    for _ in range(2):
        (root / SDXL).write_bytes(whole)
        _truncate(root / SDXL)
        (moved,) = files.quarantine(root, status(root, "sdxl"))
        kept.append(moved)
    assert len(set(kept)) == 2
    assert all(path.is_relative_to(root / "quarantine") and path.read_bytes() == whole[:-100] for path in kept)
    assert not (root / SDXL).exists()
    assert status(root, "sdxl").problems[0].what == "is missing"
    assert files.quarantine(root, status(root, "sdxl")) == []


def test_quarantine_ignores_unpinned_files(root: Path) -> None:
    shutil.copy(root / PLAIN_IP, root / SDXL)
    (root / files.MANIFEST).unlink()
    assert any("not the kind of file" in p.what for p in status(root, "sdxl").problems)
    assert files.quarantine(root, status(root, "sdxl")) == []
    assert (root / SDXL).exists()


def test_tiny_models_are_reproducible(tiny_root: Path, tmp_path: Path) -> None:
    make_tiny(tmp_path / "again", lambda _: None, which=["sdxl"], random=True)
    again = files.read_manifest(tmp_path / "again")["files"]
    first = files.read_manifest(tiny_root)["files"]
    assert again == {name: first[name] for name in again}


def test_anyone_may_read_the_tiny_models(tiny_root: Path) -> None:
    # An executor may run as another user than the one who created them.
    assert [p for p in tiny_root.rglob("*") if p.is_file() and p.stat().st_mode & 0o044 != 0o044] == []


def test_making_tiny_models_again_changes_nothing(tiny_root: Path) -> None:
    said: list[str] = []
    before = {p: p.stat().st_mtime_ns for p in tiny_root.rglob("*")}
    make_tiny(tiny_root, said.append, which=["sdxl"])
    assert said == []
    assert {p: p.stat().st_mtime_ns for p in tiny_root.rglob("*")} == before


def test_a_damaged_tiny_folder_is_made_again_whole(root: Path) -> None:
    (root / SDXL).unlink()
    make_tiny(root, lambda _: None, which=["sdxl"])
    assert status(root, "sdxl", deep=True).ok
    assert [p.name for p in root.parent.iterdir()] == [root.name]


def test_real_models_are_never_replaced_by_tiny_ones(tmp_path: Path) -> None:
    mine = tmp_path / "models" / "sdxl-lustify" / "model.safetensors"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"six gigabytes, say")
    with pytest.raises(ModelFileError, match="not tiny"):
        make_tiny(tmp_path / "models", lambda _: None)
    assert mine.read_bytes() == b"six gigabytes, say"


def test_a_failed_make_tiny_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.models.tiny_sdxl._ip_adapters", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_tiny(tmp_path / "models", lambda _: None, which=["sdxl"])
    assert list(tmp_path.iterdir()) == []


def test_verify_and_sizes_do_not_import_torch() -> None:
    code = "import sys, executors.models.files, executors.models.tiny, executors.prompts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_problem_names_the_command_that_fixes_it(root: Path, tmp_path: Path) -> None:
    assert all("make-tiny" in p.todo for p in status(root, "wan").problems)  # tiny models are generated, not downloaded
    (root / files.MANIFEST).write_text(json.dumps({**files.read_manifest(root), "tiny": False}))
    current().accept(root)
    (root / SDXL).unlink()
    _truncate(root / PLAIN_IP)
    told = {p.file: p.todo for role in files.ROLES for p in status(root, role.name).problems}
    assert "--sdxl" in told[SDXL]
    assert "models pull ip_adapter --deep" in told[PLAIN_IP]
    assert "models pull wan`" in told["wan2.1-t2v-1.3b/"]
    assert not any("{" in todo for todo in told.values())
