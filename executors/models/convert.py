"""Convert model files once into the form that loads fastest: UMT5 in bfloat16 (half the bytes to read at each start), SDXL's single file
as a folder of components (each read separately, with the loader's own names).

A conversion is in `converted/<key>/` beside the models. The key is a hash over the pins of its source files, so one made from other files
is never used. It is written under a temporary name, compared with its source bit for bit, and renamed, so it is never partial. Loaders
call `source_of`, which returns the original if there is no conversion.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from executors.errors import DiskFull, ModelFileError
from executors.models import files, older_wan
from executors.models.base import ModelPaths
from executors.models.roles import ROLES
from executors.models.safetensors_header import read_header
from executors.models.seen import MANIFEST, current

log = logging.getLogger("ourvidz.models")

FOLDER, RECORD = "converted", "conversion.json"
RECIPE = 1  # increase when the written form changes: existing conversions are then made again
SPARE = 1 << 30  # bytes left free on the disk


@dataclass(frozen=True)
class Conversion:
    name: str
    roles: tuple[str, ...]  # roles whose files it can be made from; equal files give one conversion
    components: tuple[str, ...]
    made_from: tuple[str, ...]  # patterns below the role's folder; a * does not cross a slash
    dtype: str = ""  # the dtype that weights are rounded to, and the only one it serves; empty: lossless, for all dtypes


CONVERSIONS = (
    Conversion("umt5-bf16", ("wan", "vace"), ("text_encoder",), ("text_encoder/*",), "bfloat16"),
    Conversion(
        "sdxl-folder",
        ("sdxl",),
        ("unet", "vae", "text_encoder", "text_encoder_2"),
        ("model.safetensors", "config/model_index.json", "config/*/config.json"),
    ),
)
_FOLDERS = {role.name: role.folder for role in ROLES}


@dataclass(frozen=True)
class Source:
    """Path to load a component from: a folder for `from_pretrained`, or the single file for `from_single_file`."""

    path: Path
    single_file: bool = False


@dataclass(frozen=True)
class Made:
    """State of one conversion: `state` is made, there, removed, missing, or unneeded (nothing would get smaller)."""

    name: str
    state: str
    path: Path
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, "bytes": self.bytes, "path": str(self.path)}


def source_of(paths: ModelPaths, role: str, component: str, dtype: object) -> Source:
    """Return what to load `component` from, for weights of `dtype` ("bfloat16" or a torch dtype). The tensors are equal bit for bit
    either way.

    The role's own files are not checked here but before, by `files.require`.
    """
    wanted = str(dtype).rpartition(".")[2]
    for conversion in CONVERSIONS:
        if role in conversion.roles and component in conversion.components and conversion.dtype in ("", wanted):
            key = key_of(paths.root, conversion, role)
            if key and _whole(folder := _place(paths.root, key)):
                return Source(folder / component)
    if role == "sdxl":
        return Source(paths.sdxl_file, single_file=True)
    return Source(paths.root / _FOLDERS[role] / component)


def key_of(root: Path, conversion: Conversion, role: str) -> str:
    """Return the hash over the pins of the conversion's source files; empty if no weights among them are pinned."""
    pins = _inputs(root, conversion, role)
    if not any(name.endswith(".safetensors") for name in pins):
        return ""
    told = [RECIPE, conversion.name, sorted((name, pin["sha256"]) for name, pin in pins.items())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def state(root: Path) -> list[Made]:
    """List each possible conversion, once."""
    found = {str(older.folder): _of_older(older, "missing", older.bytes) for older in older_wan.found(root)}
    for conversion, role, key in _possible(root):
        folder = _place(root, key)
        there = _whole(folder)
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if there else _size_of(root, conversion, role)
        found[key] = Made(conversion.name, "there" if there else "missing" if size else "unneeded", folder, size)
    return list(found.values())


def convert(root: Path, say: Callable[[str], None]) -> list[Made]:
    """Make missing conversions. Raises `ModelFileError` for a source that does not match its pin, and `DiskFull`; existing ones stay."""
    done: dict[str, Made] = {}
    with _alone(root):
        _sweep_unfinished(root)
        for older in older_wan.found(root):  # first, since the results may be converted further
            done[str(older.folder)] = _of_older(older, "made", older_wan.convert(root, older, say))
        for conversion, role, key in _possible(root):
            if key in done:
                continue
            folder = _place(root, key)
            size = _size_of(root, conversion, role)
            if _whole(folder):
                done[key] = Made(conversion.name, "there", folder, _bytes_in(folder))
            elif not size:
                done[key] = Made(conversion.name, "unneeded", folder, 0)
            else:
                _make(root, conversion, role, key, size, say)
                done[key] = Made(conversion.name, "made", folder, _bytes_in(folder))
    return list(done.values())


def _of_older(older: older_wan.Older, state: str, size: int) -> Made:
    return Made(f"{older.role}-original", state, older.folder, size)


def prune(root: Path) -> list[Made]:
    """Remove conversions whose sources no longer exist, and unfinished ones."""
    with _alone(root):
        _sweep_unfinished(root)
        alive = {_place(root, key) for _, _, key in _possible(root)}
        dead = [p for p in sorted((root / FOLDER).iterdir()) if p.is_dir() and p not in alive]
        removed = [Made((_record(p) or {}).get("conversion", "unknown"), "removed", p, _bytes_in(p)) for p in dead]
        for path in dead:
            shutil.rmtree(path)
        gone = [n for n in files.read_manifest(root)["files"] if n.startswith(tuple(f"{FOLDER}/{path.name}/" for path in dead))]
        if gone:
            files.pin_some(root, {}, gone=gone)
    return removed


# Keys and places


def _inputs(root: Path, conversion: Conversion, role: str) -> dict[str, dict[str, Any]]:
    """Name below the role's folder → pin."""
    folder = _FOLDERS[role] + "/"
    pins = {name.removeprefix(folder): pin for name, pin in _manifest(root, _stamp(root)).items() if name.startswith(folder)}
    return {n: p for n, p in pins.items() if any(n.count("/") == m.count("/") and fnmatchcase(n, m) for m in conversion.made_from)}


def _stamp(root: Path) -> tuple[int, int]:
    try:
        seen = (root / MANIFEST).stat()
    except FileNotFoundError:
        return (0, 0)
    return (seen.st_mtime_ns, seen.st_ino)


@cache
def _manifest(root: Path, stamp: tuple[int, int]) -> dict[str, dict[str, Any]]:
    pins: dict[str, dict[str, Any]] = files.read_manifest(root)["files"]
    return pins


def _possible(root: Path) -> Iterator[tuple[Conversion, str, str]]:
    for conversion in CONVERSIONS:
        for role in conversion.roles:
            if key := key_of(root, conversion, role):
                yield conversion, role, key


def _place(root: Path, key: str) -> Path:
    return root / FOLDER / key[:16]


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _whole(folder: Path) -> bool:
    """Check that all files of a conversion exist and match their pins."""
    record = _record(folder)
    if record is None:
        return False
    root = folder.parent.parent
    pins = _manifest(root, _stamp(root))
    bad = [n for n in record["files"] if not _as_pinned(folder / n, pins.get((folder / n).relative_to(root).as_posix()))]
    if bad:
        log.warning("%s: %s is not as it was written, so the source is loaded. `ourvidz models convert` makes it again.", folder, bad[0])
    return not bad


def _as_pinned(file: Path, pin: dict[str, Any] | None) -> bool:
    return pin is not None and file.is_file() and file.stat().st_size == pin["bytes"] and current().sha256(file) == pin["sha256"]


def _bytes_in(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _size_of(root: Path, conversion: Conversion, role: str) -> int:
    """Estimate the conversion's size in bytes; 0 if the weights are no wider than its dtype."""
    headers = [read_header(root / _FOLDERS[role] / n) for n in _inputs(root, conversion, role) if n.endswith(".safetensors")]
    tensors = [t for header in headers for t in header.values()]
    if not conversion.dtype:
        return sum(t["data_offsets"][1] - t["data_offsets"][0] for t in tensors)
    return 2 * sum(math.prod(t["shape"]) for t in tensors) if any(t["dtype"] in ("F32", "F64") for t in tensors) else 0


# Making


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    with (root / FOLDER / ".lock").open("w", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelFileError(f"{root / FOLDER}: another conversion runs there. Wait for it to end.") from None
        yield


def _sweep_unfinished(root: Path) -> None:
    # Their process is gone, since we hold the lock.
    for folder in (FOLDER, *(_FOLDERS[role] for role in older_wan.PIPELINES)):
        for path in (root / folder).glob(".making-*"):
            shutil.rmtree(path)


def _make(root: Path, conversion: Conversion, role: str, key: str, size: int, say: Callable[[str], None]) -> None:
    if shutil.disk_usage(root).free < size + SPARE:
        raise DiskFull(f"{root / FOLDER}: {conversion.name} takes {size / 1e9:,.1f} GB, and less is free. Nothing was converted.")
    pins = _inputs(root, conversion, role)
    for name, pin in pins.items():  # a damaged source must not become a valid conversion
        if name.endswith(".safetensors"):
            say(f"{conversion.name}: checking {_FOLDERS[role]}/{name}")
        if files.sha256(root / _FOLDERS[role] / name) != pin["sha256"]:
            raise ModelFileError(
                f"{_FOLDERS[role]}/{name}: does not match its pin, and was not converted: run `ourvidz models pull {role} --deep`."
            )
    making = root / FOLDER / f".making-{key[:16]}-{os.getpid()}"
    try:
        for component in conversion.components:
            say(f"{conversion.name}: converting {component}")
            _write(ModelPaths(root), conversion, role, component, making / component)
        for path in making.rglob("*"):  # save_pretrained leaves weights 0600
            path.chmod(0o755 if path.is_dir() else 0o644)
        sizes = {p.relative_to(making).as_posix(): p.stat().st_size for p in sorted(making.rglob("*")) if p.is_file()}
        record = {"conversion": conversion.name, "key": key, "made_from": {n: pin["sha256"] for n, pin in pins.items()}, "files": sizes}
        files.write_json(making / RECORD, record)
        if (place := _place(root, key)).exists():  # damaged, else it would not be made again
            shutil.rmtree(place)
        making.rename(place)
        written = {f"{FOLDER}/{place.name}/{name}": place / name for name in (*sizes, RECORD)}
        files.pin_some(root, {n: {"bytes": f.stat().st_size, "sha256": files.sha256(f), "role": FOLDER} for n, f in written.items()})
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _write(paths: ModelPaths, conversion: Conversion, role: str, component: str, folder: Path) -> None:
    from executors.models.loading import loading, quiet

    quiet()
    with loading(paths.root, paths.root / _FOLDERS[role]):
        model = _loaded(paths, conversion, role, component)
        model.save_pretrained(folder, safe_serialization=True)
    _compare(model, folder)


def _loaded(paths: ModelPaths, conversion: Conversion, role: str, component: str) -> Any:
    """Load the component in the dtype to save: the conversion's, else the narrowest lossless one."""
    import torch
    from transformers import UMT5EncoderModel

    from executors.models.loading import from_folder, from_single_file

    if role != "sdxl":
        source = paths.root / _FOLDERS[role] / component
        return from_folder(UMT5EncoderModel, paths.root, source, getattr(torch, conversion.dtype))
    model = from_single_file(paths, component, torch.float32)
    for dtype in (torch.float16, torch.bfloat16):
        if all(torch.equal(t.to(dtype).float(), t) for t in model.state_dict().values() if t.is_floating_point()):
            return model.to(dtype)
    return model


def _compare(model: Any, folder: Path) -> None:
    """Raise `ModelFileError` unless a loader gets the weights in memory, bit for bit."""
    import torch

    again = type(model).from_pretrained(folder, dtype=model.dtype, local_files_only=True, use_safetensors=True).state_dict()
    memory = model.state_dict()
    if wrong := sorted(memory.keys() ^ again.keys()) or [n for n in memory if not torch.equal(memory[n], again[n])]:
        raise ModelFileError(f"{folder}: {wrong[0]} was not written as it is. Is the disk sound? Nothing was converted.")
