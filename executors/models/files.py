"""Verify and pin the model files, before anything loads them, without importing torch.

`manifest.json` in the model folder pins each file's size and sha256. `check` reads sizes and safetensors headers (milliseconds);
`verify(deep=True)` hashes too. A bad file affects only its role: the executor continues with the families that it can load.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from executors.errors import ModelFileError
from executors.models import pinned, prediction, recognise
from executors.models.roles import PARTS, PICKLES, ROLES, Role
from executors.models.safetensors_header import HeaderError, read_header, read_whole
from executors.models.seen import MANIFEST, current

QUARANTINE = "quarantine"
_FETCH = "`ourvidz models pull {role}` fetches it"
_AGAIN = "`ourvidz models pull {role} --deep` fetches it again"
UNPINNED = "is not pinned in manifest.json"
_OTHER = "Move it away; `ourvidz models pull {role}` fetches the right one"
_JSON_CLASS = {"model_index.json": "_class_name", "config.json": "architectures"}


@dataclass(frozen=True)
class Problem:
    """One problem with one file, as text for people."""

    file: str  # relative to the model folder
    what: str
    todo: str
    spoiled: bool = False  # the file itself is bad and can be quarantined; False if it is missing or just not pinned

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.todo}"


@dataclass(frozen=True)
class RoleStatus:
    role: str
    problems: tuple[Problem, ...]
    size: int  # bytes found on disk
    tiny: bool
    present: bool  # False if the role's folder does not exist
    notes: tuple[str, ...] = ()  # files that nothing reads
    taught: bool = False  # tiny, with trained weights (executors.models.taught)

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self, root: Path) -> dict[str, Any]:
        folder = next(role.folder for role in ROLES if role.name == self.role)
        plain = {"role": self.role, "ok": self.ok, "tiny": self.tiny, "taught": self.taught, "path": str(root / folder), "bytes": self.size}
        return plain | {"problems": [str(p) for p in self.problems], "notes": list(self.notes)}


def _below(folder: Path) -> Iterator[Path]:
    # Nothing is loaded from hidden folders (.cache of huggingface-cli, .git).
    return (p for p in sorted(folder.rglob("*")) if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts))


def read_manifest(root: Path) -> dict[str, Any]:
    """Read the manifest; an empty one if there is none. Raises `ModelFileError` if it cannot be read, or is not the one that this machine
    accepted (`executors.models.seen`)."""
    return current().manifest(root)


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_safetensors(file: Path, name: str) -> Iterator[Problem]:
    try:
        read_header(file)
    except HeaderError as error:
        yield Problem(name, str(error), _AGAIN, spoiled=True)


def _check_pins(file: Path, name: str, pin: dict[str, Any] | None, deep: bool) -> Iterator[Problem]:
    if pin is None:
        yield Problem(
            name,
            UNPINNED,
            "`ourvidz models pull {role}` pins it, if it is what its source states; else move it out of the folder",
        )
    elif (size := file.stat().st_size) != pin["bytes"]:
        yield Problem(name, f"has {size:,} bytes where {pin['bytes']:,} are pinned", _AGAIN, spoiled=True)
    elif deep and (found := current().sha256(file, always=True)) != pin["sha256"]:
        what = f"has sha256 {found[:12]}… where {pin['sha256'][:12]}… is pinned"
        yield Problem(name, what, _AGAIN, spoiled=True)


def _check_needs(role: Role, root: Path) -> Iterator[Problem]:
    for need in role.needs:
        path, name = (root / role.folder / need, os.path.normpath(f"{role.folder}/{need}"))
        if need.endswith("/"):
            if not any(path.glob("*.safetensors")):
                yield Problem(f"{name}/", "holds no .safetensors file", _FETCH)
            yield from _check_shards(path, name)
        elif not path.is_file():
            yield Problem(name, "is missing", _FETCH)


def lacks(root: Path, role: Role) -> bool:
    """Check if a file that the role needs is missing."""
    return any(True for _ in _check_needs(role, root))


def _check_shards(folder: Path, name: str) -> Iterator[Problem]:
    for index in folder.glob("*.safetensors.index.json"):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError):
            yield Problem(f"{name}/{index.name}", "is no index of shards", _AGAIN, spoiled=True)
            continue
        for shard in sorted(shards):
            if not (folder / shard).is_file():
                yield Problem(f"{name}/{shard}", "is missing", _FETCH)


def _check_kind(role: Role, root: Path) -> Iterator[Problem]:
    for relative, prefixes in role.prefixes:
        try:
            header = read_whole(root / role.folder / relative)
        except (HeaderError, OSError):
            continue  # already reported
        if absent := [p for p in prefixes if not any(k.startswith(p) for k in header.tensors)]:
            what = f"is not the kind of file that the role {role.name} needs: it has no tensor named {absent[0]}*"
            what += f". It is {kind}" if (kind := recognise.what(header)) else ""
            yield Problem(f"{role.folder}/{relative}", what, _OTHER, spoiled=True)
    for relative, wanted in role.classes:
        path, name = root / role.folder / relative, f"{role.folder}/{relative}"
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get(_JSON_CLASS[path.name])
        except FileNotFoundError:
            continue  # already reported
        except (ValueError, AttributeError):
            yield Problem(name, "is not JSON", _AGAIN, spoiled=True)
            continue
        if wanted not in (found if isinstance(found, list) else [found]):
            yield Problem(name, f"describes {found}, not {wanted}", _OTHER, spoiled=True)


def _check_sampling(role: Role, root: Path) -> Iterator[Problem]:
    """Check that the model's prediction type is supported (`executors.models.prediction`)."""
    home = root / role.folder
    try:
        if role.name == "sdxl" and (home / "model.safetensors").is_file():
            prediction.of(home / "model.safetensors", home / "config" / "scheduler")
        elif role.name in ("wan", "vace"):
            prediction.flow(home / "scheduler")
    except ModelFileError as error:
        file = "model.safetensors" if role.name == "sdxl" else "scheduler/scheduler_config.json"
        yield Problem(f"{role.folder}/{file}", str(error), _OTHER)


def _check_structure(role: Role, root: Path) -> Iterator[Problem]:
    """Check names and shapes of all tensors (`executors.models.fitting`), if torch is installed (nothing can be loaded without it)."""
    if not can_compare():
        return
    from executors.models.fitting import faults

    for fault in faults(root, role.name, role.folder):
        yield Problem(fault.file.relative_to(root).as_posix(), fault.what, _OTHER)


def can_compare() -> bool:
    """Check if `verify(structure=True)` can compare tensors' names and shapes on this machine: the extra `models` is installed."""
    return all(importlib.util.find_spec(name) for name in ("torch", "diffusers", "transformers"))


def _status(role: Role, root: Path, manifest: dict[str, Any], deep: bool, structure: bool = False) -> RoleStatus:
    folder = root / role.folder
    tiny, taught = bool(manifest.get("tiny")), role.made_with in manifest.get("taught", ())
    if not folder.is_dir():
        missing = Problem(f"{role.folder}/", "is missing", _FETCH)
        return RoleStatus(role.name, (_advised(missing, role, tiny),), 0, tiny, present=False)
    problems, size, notes = list(_check_needs(role, root)), 0, []
    for path in _below(folder):
        name = path.relative_to(root).as_posix()
        if name not in manifest["files"] and role.stray(path.relative_to(folder).as_posix()):
            notes.append(f"{name}: {'a pickle, which nothing opens' if path.suffix.lower() in PICKLES else 'not pinned, and not needed'}")
            continue
        size += path.stat().st_size
        found: list[Problem] = []
        if not path.resolve().is_relative_to(root.resolve()):
            found.append(Problem(name, "leads out of the model folder", "Put the file itself there, or mount its folder"))
        elif path.suffix.lower() not in PICKLES and (why := pinned.refused(name)):
            found.append(Problem(name, why, "Move it out of the model folder", spoiled=True))
        elif path.suffix.lower() in PICKLES:
            what = "is a pickle, which can run code when it is loaded"
            found.append(
                Problem(
                    name, what, "Move it away: only .safetensors is loaded, and `ourvidz models pull {role}` fetches that", spoiled=True
                )
            )
        elif path.suffix.lower() == ".safetensors":
            found += _check_safetensors(path, name)
        # One problem per file: the first is the cause, and the rest follow from it.
        problems += (found or list(_check_pins(path, name, manifest["files"].get(name), deep)))[:1]
    for check in (_check_kind, _check_sampling, *([_check_structure] if structure else [])):
        worse = {p.file for p in problems if p.what != UNPINNED}
        if check is not _check_structure or not worse:  # missing and damaged files are reported already
            # Unpinned files are not quarantined: a person must move them.
            more = {p.file: replace(p, spoiled=p.spoiled and p.file in manifest["files"]) for p in check(role, root) if p.file not in worse}
            problems = [p for p in problems if p.file not in more] + list(more.values())
    named = {p.file for p in problems}
    for name, pin in manifest["files"].items():
        if pin.get("role") == role.name and not (root / name).is_file() and name not in named:
            problems.append(Problem(name, "is pinned, and missing", _FETCH))
    older = role.read == PARTS and (folder / "diffusion_pytorch_model.safetensors").is_file()
    return RoleStatus(role.name, tuple(_advised(p, role, tiny, older) for p in problems), size, tiny, True, tuple(notes), taught)


def _advised(problem: Problem, role: Role, tiny: bool, older: bool = False) -> Problem:
    """Add the command that fixes the problem. `older`: the folder has Wan in its authors' layout (`executors.models.older_wan`)."""
    if tiny:
        return replace(problem, todo="`ourvidz models make-tiny` makes the tiny models again")
    if older and problem.what in ("is missing", "holds no .safetensors file"):
        return replace(problem, todo="`ourvidz models convert` makes it of the older Wan files there")
    if role.name == "sdxl" and problem.file in (f"{role.folder}/", f"{role.folder}/{role.needs[0]}"):
        return replace(problem, todo="`ourvidz models pull sdxl --sdxl …` takes the weights from where you say")
    return replace(problem, todo=problem.todo.replace("{role}", role.name))


def verify(root: Path, deep: bool = True, structure: bool = False) -> list[RoleStatus]:
    """Return the status of each role, in the order of `ROLES`. `deep` hashes every file: about a second per GiB. `structure` compares the
    names and shapes of all tensors with the architectures, if torch is installed: some seconds, most of them its import.

    Raises `ModelFileError` only if the manifest itself cannot be read.
    """
    manifest = read_manifest(root)
    return [_status(role, root, manifest, deep, structure) for role in ROLES]


def check(root: Path) -> list[RoleStatus]:
    """`verify` without hashing."""
    return verify(root, deep=False)


def require(root: Path, role: str, deep: bool = False, structure: bool = False) -> None:
    """Raise `ModelFileError` with all problems of one role, if any."""
    manifest = read_manifest(root)
    status = next(_status(r, root, manifest, deep, structure) for r in ROLES if r.name == role)
    if not status.ok:
        raise ModelFileError("; ".join(str(p) for p in status.problems))


def require_pinned(root: Path, role: str) -> None:
    """Raise `ModelFileError` unless every file of the role matches its pin, hashed by this process."""
    pinned.check(root, root / next(r.folder for r in ROLES if r.name == role), always=True)


def quarantine(root: Path, status: RoleStatus) -> list[Path]:
    """Move a role's bad files to `root/quarantine/`, never deleting any; return their new paths."""
    moved = []
    for problem in status.problems:
        if not problem.spoiled or not (root / problem.file).is_file():
            continue
        moved.append(put_aside(root, problem.file))
    return moved


def pin(root: Path, tiny: bool = False, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write `manifest.json` from the files present, and return it. Run it once, on files from a source you trust.

    Raises `ModelFileError` rather than pin a pickle or a broken file.
    """
    pins: dict[str, Any] = {}
    for role in ROLES:
        pins |= _pins_of(root, role)
    manifest = {"tiny": tiny, **(extra or {}), "files": pins}
    write_json(root / MANIFEST, manifest)
    current().accept(root)
    return manifest


def pin_new(root: Path, roles: Iterable[str] = ()) -> dict[str, Any]:
    """Pin the unpinned files in these roles' folders (none named: all), and return the new pins. Existing pins stay.

    Raises `ModelFileError` for an unknown role, and for files that could never be loaded: of the wrong kind, or with a missing tensor.
    """
    if unknown := set(roles) - {role.name for role in ROLES}:
        raise ModelFileError(f"There is no role {sorted(unknown)[0]!r}: there are {', '.join(role.name for role in ROLES)}.")
    known = read_manifest(root)["files"]
    pins: dict[str, Any] = {}
    for role in ROLES:
        if not roles or role.name in roles:
            pins |= _pins_of(root, role, skip=known)
    for role in ROLES:
        if any(pin["role"] == role.name for pin in pins.values()) and not any(_check_needs(role, root)):
            for check in (_check_kind, _check_sampling, _check_structure):
                if problem := next(check(role, root), None):
                    raise ModelFileError(f"{problem.file}: {problem.what}. Nothing was pinned")
    pin_some(root, pins)
    return pins


def _pins_of(root: Path, role: Role, skip: Collection[str] = ()) -> dict[str, Any]:
    pins: dict[str, Any] = {}
    for path in _below(root / role.folder):
        name = path.relative_to(root).as_posix()
        if name in skip or (pinned.refused(name) and role.stray(path.relative_to(root / role.folder).as_posix())):
            continue
        if why := pinned.refused(name):
            what = "is a pickle" if path.suffix.lower() in PICKLES else why
            raise ModelFileError(f"{name}: {what}, and is not pinned. Use the .safetensors file, and put this one away")
        if not path.resolve().is_relative_to(root.resolve()):
            raise ModelFileError(f"{name}: leads out of the model folder, and is not pinned. Put the file itself there")
        if path.suffix.lower() == ".safetensors" and (problem := next(_check_safetensors(path, name), None)):
            raise ModelFileError(str(problem))
        pins[name] = {"bytes": path.stat().st_size, "sha256": current().sha256(path, always=True), "role": role.name}
    return pins


def pin_folder(folder: Path) -> dict[str, Any]:
    """Write `manifest.json` of a folder with a single model (an image screen's) from its files, and return it. Files that nothing reads (a
    README, a licence) are not pinned. Raises `ModelFileError` for a pickle, a link, a broken file, or a folder without models."""
    pins: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (*PICKLES, ".safetensors", ".onnx", ".json", ".toml") or path.name == MANIFEST:
            continue
        if path.is_symlink() or not path.is_file():
            raise ModelFileError(f"{path.name}: is not a plain file")
        if path.suffix.lower() in PICKLES:
            raise ModelFileError(f"{path.name}: is a pickle, and is not pinned. Put it away; only .safetensors and .onnx are loaded")
        if path.suffix.lower() == ".safetensors" and (problem := next(_check_safetensors(path, path.name), None)):
            raise ModelFileError(f"{problem.file}: {problem.what}")
        pins[path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    if not any(name.endswith((".safetensors", ".onnx")) for name in pins):
        raise ModelFileError(f"{folder}: has neither a .safetensors nor an .onnx file")
    manifest = {"files": pins}
    write_json(folder / MANIFEST, manifest)
    current().accept(folder)
    return manifest


def pin_some(root: Path, pins: dict[str, dict[str, Any]], gone: Iterable[str] = ()) -> None:
    """Write these pins (file: `{"bytes", "sha256", "role"}`) over the existing ones, and remove those in `gone`; the rest stays:
    re-pinning a file that was damaged meanwhile would accept the damage."""
    manifest = read_manifest(root)
    kept = {name: pin for name, pin in manifest["files"].items() if name not in set(gone)}
    write_json(root / MANIFEST, {**manifest, "files": dict(sorted({**kept, **pins}.items()))})
    current().accept(root)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a truncated manifest would invalidate every model."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.stem}-", delete=False) as stream:
        json.dump(value, stream, indent=1)
    Path(stream.name).chmod(0o644)  # an executor may run as another user
    Path(stream.name).replace(path)


def put_aside(root: Path, name: str, called: str = "") -> Path:
    """Move one file to `root/quarantine/` (under its name, or as `called`) without overwriting any; return its new path."""
    base = target = root / QUARANTINE / (called or name)
    number = 0
    while target.exists():
        number += 1
        target = base.with_name(f"{base.name}.{number}")
    target.parent.mkdir(parents=True, exist_ok=True)
    (root / name).rename(target)
    return target
