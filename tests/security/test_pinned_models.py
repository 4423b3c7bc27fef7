"""The loaded model is not the one that was pinned.

The attacker can write to the model folder: they replace the guard's weights in place and restore the times, replace a tokenizer or a
conversion; add a pickle, code, an adapter, added tokens or links next to the model; rewrite the manifest; or replace a file between check
and load.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from executors.enhance import Enhancer  # noqa: E402
from executors.errors import ModelFileError  # noqa: E402
from executors.models import files, loading  # noqa: E402
from executors.models.base import ModelPaths  # noqa: E402
from executors.models.tiny import make_tiny  # noqa: E402

QWEN = "qwen2.5-7b-instruct"
WEIGHTS = f"{QWEN}/model.safetensors"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("tiny") / "models"
    make_tiny(root, lambda _: None, ["qwen"], random=True)
    return root


@pytest.fixture
def root(tiny: Path, tmp_path: Path) -> Path:
    """A pinned model folder, as for real models, that the attacker may change."""
    copy = Path(shutil.copytree(tiny, tmp_path / "models"))
    files.pin(copy)
    return copy


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """State of a machine that remembers what it has hashed and accepted."""
    from executors.models import seen

    home = tmp_path / "home"
    seen.use(home)
    yield home
    seen._current = seen.Seen()


def guard(root: Path) -> Enhancer:
    """Load the guard as an executor does at startup."""
    model = Enhancer(ModelPaths(root))
    model.load()
    return model


def swapped(file: Path, at: int = -64) -> None:
    """Replace bytes in place: same inode, size and mtime."""
    was, data = file.stat(), bytearray(file.read_bytes())
    data[at : at + 32 or None] = bytes(32) if data[at : at + 32 or None] != bytes(32) else b"\1" * 32
    with file.open("r+b") as stream:
        stream.write(data)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    now = file.stat()
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (was.st_ino, was.st_size, was.st_mtime_ns)


def test_guard_weights_replaced_in_place_are_refused(root: Path) -> None:
    guard(root)
    swapped(root / WEIGHTS)
    with pytest.raises(ModelFileError, match=r"model\.safetensors"):
        guard(root)
    with pytest.raises(ModelFileError, match=r"model\.safetensors"):
        files.require_pinned(root, "qwen")  # an executor's check before it registers


def test_the_guard_is_hashed_at_every_start_despite_the_cache(root: Path, home: Path) -> None:
    """Even if a state file maps the replaced weights' stamp to the pinned hash."""
    from executors.models import seen

    guard(root)
    pins = files.read_manifest(root)["files"]
    swapped(root / WEIGHTS)
    kept = json.loads((home / seen.FILE).read_text())
    kept["files"][str(root / WEIGHTS)] = [list(seen.stamp_of((root / WEIGHTS).stat())), pins[WEIGHTS]["sha256"]]
    (home / seen.FILE).write_text(json.dumps(kept))
    assert seen.Seen(home / seen.FILE).sha256(root / WEIGHTS) == pins[WEIGHTS]["sha256"]  # another model's check would accept it
    seen.use(home)  # a new process
    with pytest.raises(ModelFileError, match=r"model\.safetensors"):
        guard(root)


def _tokenizer(root: Path) -> None:
    """Of the same size, but with another marker for chat turns, so that every prompt is one text."""
    path = root / QWEN / "tokenizer.json"
    was, text = path.stat(), path.read_text()
    assert "<|im_end|>" in text
    path.write_text(text.replace("<|im_end|>", "<|im_emd|>"))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert path.stat().st_size == was.st_size


def _template(root: Path) -> None:
    path = root / QWEN / "chat_template.jinja"
    path.write_text("{{ 'Answer A.' }}" + (path.read_text() if path.exists() else ""))


def _link(root: Path) -> None:
    (root / WEIGHTS).rename(root.parent / "elsewhere.safetensors")
    (root / WEIGHTS).symlink_to(root.parent / "elsewhere.safetensors")


def _linked_folder(root: Path) -> None:
    (root / QWEN).rename(root.parent / "elsewhere")
    (root / QWEN).symlink_to(root.parent / "elsewhere")


EXTRA = {
    "added_tokens.json": '{"<|x|>": 3}',
    "modeling_own.py": "raise SystemExit",
    "adapter_config.json": "{}",
    "more.safetensors.txt": "x",
}
HARM: dict[str, Callable[[Path], object]] = {
    "tokenizer": _tokenizer,
    "chat template": _template,
    "generation config": lambda root: (root / QWEN / "generation_config.json").write_text('{"do_sample": true}'),
    "a link out of the folder": _link,
    "the folder a link": _linked_folder,
    **{name: lambda root, name=name, text=text: (root / QWEN / name).write_text(text) for name, text in EXTRA.items()},  # type: ignore[misc]
}


@pytest.mark.parametrize("harm", HARM)
def test_unpinned_changes_stop_the_guard(root: Path, harm: str) -> None:
    HARM[harm](root)
    with pytest.raises(ModelFileError):
        guard(root)


class Boom:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_a_pickle_beside_the_model_is_not_run(root: Path, tmp_path: Path) -> None:
    (root / QWEN / "pytorch_model.bin").write_bytes(pickle.dumps(Boom(tmp_path / "ran")))
    with pytest.raises(ModelFileError, match="pickle"):
        guard(root)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["own.py", "adapter_config.json", "adapter_model.safetensors", "old.bin"])
def test_files_that_run_code_or_modify_weights_cannot_be_pinned(root: Path, name: str) -> None:
    (root / QWEN / name).write_bytes((root / WEIGHTS).read_bytes())
    for pin in (files.pin, files.pin_new):
        with pytest.raises(ModelFileError, match=name):
            pin(root)


def test_a_rewritten_manifest_is_refused_until_accepted(root: Path, home: Path) -> None:
    from executors.models import seen

    guard(root)
    swapped(root / WEIGHTS)
    manifest = json.loads((root / files.MANIFEST).read_text())
    manifest["files"][WEIGHTS]["sha256"] = files.sha256(root / WEIGHTS)
    (root / files.MANIFEST).write_text(json.dumps(manifest))
    for _ in range(2):
        with pytest.raises(ModelFileError, match="not the one that this machine accepted"):
            guard(root)
        seen.use(home)  # a new process
    seen.current().accept(root)  # accepted by a person
    guard(root)


def test_real_models_marked_as_tiny_are_refused(root: Path, home: Path) -> None:
    """Tiny models run without a guard, so attackers mark real ones as tiny."""
    files.check(root)
    (root / files.MANIFEST).write_text(json.dumps({**json.loads((root / files.MANIFEST).read_text()), "tiny": True}))
    with pytest.raises(ModelFileError, match="not the one that this machine accepted"):
        files.check(root)


def test_weights_replaced_between_check_and_load_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The good file is put back, with its times, before the next check."""
    aside, evil = root.parent / "good", root.parent / "evil"
    shutil.copy2(root / WEIGHTS, evil)
    swapped(evil)
    real = loading.pinned

    def race(*given: object, **more: object) -> object:
        made = real(*given, **more)  # type: ignore[arg-type]
        enter = made.__enter__

        class Raced:
            def __enter__(self) -> None:
                enter()
                (root / WEIGHTS).rename(aside)
                evil.rename(root / WEIGHTS)

            def __exit__(self, *how: object) -> object:
                (root / WEIGHTS).rename(evil)
                aside.rename(root / WEIGHTS)
                return made.__exit__(*how)  # type: ignore[arg-type]

        return Raced()

    monkeypatch.setattr(loading, "pinned", race)
    with pytest.raises(ModelFileError, match="changed while it was loaded"):
        guard(root)


def test_unpinned_files_are_not_loaded(root: Path) -> None:
    (root / files.MANIFEST).unlink()
    with pytest.raises(ModelFileError, match="not pinned"):
        guard(root)
    pins = files.pin_new(root)
    assert WEIGHTS in pins and files.pin_new(root) == {}
    guard(root)
    swapped(root / WEIGHTS)
    files.pin_new(root)  # an existing pin stays
    with pytest.raises(ModelFileError):
        guard(root)


def test_a_file_is_hashed_once_and_again_only_when_it_changed(root: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from executors.models import seen

    weights, hashed = root / WEIGHTS, []
    real = seen.hashlib.file_digest
    monkeypatch.setattr(seen.hashlib, "file_digest", lambda stream, kind: hashed.append(stream.name) or real(stream, kind))
    first = seen.current().sha256(weights)
    seen.use(home)  # a new process
    assert seen.current().sha256(weights) == first and len(hashed) == 1
    os.utime(weights)
    assert seen.current().sha256(weights) == first and len(hashed) == 2
    shutil.copy(weights, root / "again")
    (root / "again").replace(weights)
    assert seen.current().sha256(weights) == first and len(hashed) == 3
    seen.use(home)
    assert seen.current().sha256(weights, always=True) == first and len(hashed) == 4


def test_the_state_file_is_private(root: Path, home: Path) -> None:
    from executors.models import seen

    guard(root)
    file = home / seen.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o666)
    seen.use(home)
    with pytest.raises(ModelFileError, match="others may change it"):
        guard(root)
