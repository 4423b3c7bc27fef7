"""`ourvidz models pull`: fetch published model files to where `executors.models.files` expects them.

`plan` first queries and decides everything: commits, sizes, hashes, disk space. `fetch` then downloads each file beside its place, hashes
it, and renames it into place, so that a model folder never holds a partial file; verified files are pinned.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from executors.errors import DiskFull, ModelFileError
from executors.models import files, hub
from executors.models.files import RoleStatus
from executors.models.lock import Lock, Refused
from executors.models.roles import ROLES
from executors.models.safetensors_header import HeaderError, read_header
from executors.models.sources import SDXL_FILE, Given, Source

PARTIAL = ".partial"
SPARE = 1 << 30  # bytes that a pull leaves free on the disk

OnProgress = Callable[[str, str, int, int | None], None]
"""(file, current action, bytes done, total bytes)"""


@dataclass(frozen=True)
class File:
    """One wanted file. `hash`: as stated by its source: 64 digits of sha256, 40 of a git blob, or empty."""

    role: str
    name: str  # under the model folder
    source: str  # key of its source in the lock file
    commit: str
    shown: str  # its origin, for people
    url: str = field(repr=False)
    of_hub: bool
    bytes: int | None
    hash: str
    state: str = "fetch"  # fetch, link (the same bytes exist here under another name), there
    partial: int = 0  # bytes fetched by an earlier pull
    twin: str = ""  # the file to link

    @property
    def part(self) -> str:
        return f"{PARTIAL}/{part_name(self.source, self.name, self.hash)}"


@dataclass(frozen=True)
class Plan:
    root: Path
    files: tuple[File, ...]
    gone: tuple[str, ...]  # files of an earlier commit that the new one lacks

    @property
    def to_fetch(self) -> int:
        """Bytes left to fetch; a file of unknown size counts as 0."""
        return sum((f.bytes or 0) - f.partial for f in self.files if f.state == "fetch")


def plan(
    root: Path, sources: Sequence[Source], given: Given | None = None, *, update: bool = False, locked: bool = False, deep: bool = False
) -> Plan:
    """Plan a pull; queries the hub, and writes nothing. `update` accepts changes since the lock, `locked` requests the commits of the lock
    file, `deep` hashes the files present.

    Raises `Refused`, `hub.FetchError`, and `DiskFull` when it would not fit.
    """
    if (manifest := files.read_manifest(root))["tiny"]:
        raise ModelFileError(f"{root}: holds tiny models. Fetch real ones into another folder: --to, or OURVIDZ_MODELS.")
    lock, wanted, gone = Lock(root), [], []
    for source in sources:
        found = _listed(source, lock, locked)
        if not update:
            lock.check(source.key, found[0].commit, {f.name: f.hash for f in found})
        gone += sorted(set(lock.files(source.key)) - {f.name for f in found})
        wanted += found
    if given is not None:
        known_hash = "" if update else lock.files(given.key).get(SDXL_FILE, "")
        wanted.append(_given(given, given.sha256 or known_hash))
    _complete({f.role for f in wanted}, {f.name for f in wanted}, root)
    pinned = {pin["sha256"]: name for name, pin in manifest["files"].items() if _in_place(root, name, pin["bytes"])}
    known = {name for source in lock.sources for name in lock.files(source)}
    decided: list[File] = []
    for file in wanted:
        now = _decided(root, file, manifest["files"].get(file.name), pinned, deep=deep, may_replace=update or file.name in known)
        if now.state != "there" and len(now.hash) == 64:
            pinned.setdefault(now.hash, now.name)  # a second file with the same bytes is linked to this one
        decided.append(now)
    made = Plan(root, tuple(decided), tuple(g for g in gone if (root / g).is_file()))
    _room(made)
    return made


def fetch(made: Plan, on_progress: OnProgress) -> list[RoleStatus]:
    """Carry out the plan; return the status of its roles. A file with a wrong hash is quarantined and reported as a problem of its role;
    the others continue. Raises `hub.FetchError`, `DiskFull`."""
    root = made.root
    root.mkdir(parents=True, exist_ok=True)
    problems: dict[str, list[files.Problem]] = {}
    with _alone(root):
        _accept(Lock(root), made.files)
        for name in made.gone:
            files.put_aside(root, name)
        files.pin_some(root, {}, gone=made.gone)
        for file in made.files:
            try:
                sha256 = _bring(root, file, on_progress)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise DiskFull(f"{file.name}: the disk is full. What was fetched is kept: make room and run it again.") from error
            if isinstance(sha256, files.Problem):
                problems.setdefault(file.role, []).append(sha256)
                continue
            size = (root / file.name).stat().st_size
            files.pin_some(root, {file.name: {"bytes": size, "sha256": sha256, "role": file.role}})
            if not file.hash:  # no stated hash: record the one received, which later pulls must match
                Lock(root).accept(file.source, file.commit, {file.name: sha256})
        _sweep(root, Lock(root))
    roles = {f.role for f in made.files}
    return [_with(status, problems.get(status.role, [])) for status in files.check(root) if status.role in roles]


def _with(status: RoleStatus, more: Sequence[files.Problem]) -> RoleStatus:
    told = {problem.file for problem in more}
    return replace(status, problems=(*more, *(p for p in status.problems if p.file not in told)))


# Deciding


def _listed(source: Source, lock: Lock, locked: bool) -> list[File]:
    asked = source.revision or (locked and lock.commit(source.key)) or source.branch
    listing = hub.listing(source.repo, asked)
    if source.revision and listing.commit != source.revision:
        raise Refused(f"{source.repo}: the hub answers with {listing.commit[:12]} when asked for the pinned {source.revision[:12]}.")
    found = []
    for remote in listing.files:
        if not source.takes(remote.path):
            continue
        if (known := source.sha256.get(remote.path)) and remote.sha256 != known:
            raise Refused(f"{source.repo}: states sha256 {remote.sha256[:12] or '(none)'}… of {remote.path}, and {known[:12]}… is pinned.")
        found.append(
            File(
                role=source.role,
                name=source.name_of(remote.path),
                source=source.key,
                commit=listing.commit,
                shown=f"{source.repo}@{listing.commit[:12]}:{remote.path}",
                url=hub.url_of(source.repo, listing.commit, remote.path),
                of_hub=True,
                bytes=remote.bytes,
                hash=remote.sha256 or remote.blob,
            )
        )
    if not found:
        raise hub.FetchError(f"{source.repo}: has none of the files {', '.join(source.files)} at {listing.commit[:12]}.")
    return found


def _given(given: Given, sha256: str) -> File:
    size = hub.size_of(given.where) if given.is_url else Path(given.where).stat().st_size
    return File(given.role, SDXL_FILE, given.key, "", given.shown, given.where, of_hub=False, bytes=size, hash=sha256)


def _complete(roles: Collection[str], names: Collection[str], root: Path) -> None:
    """Raise `hub.FetchError` for an incomplete role, before gigabytes are fetched that could not be loaded."""
    for role in ROLES:
        if role.name not in roles:
            continue
        for need in role.needs:
            where = os.path.normpath(f"{role.folder}/{need}")
            if where == SDXL_FILE and not (root / where).is_file() and where not in names:
                continue  # must be named by a person, now or later; verify reports it
            if need.endswith("/"):
                there = any(n.startswith(f"{where}/") and n.endswith(".safetensors") for n in names)
                there = there or any((root / where).glob("*.safetensors"))
            else:
                there = where in names or (root / where).is_file()
            if not there:
                raise hub.FetchError(f"{role.name}: its sources have no {where}, without which it cannot be loaded. Nothing was fetched.")


def _in_place(root: Path, name: str, size: int | None) -> bool:
    path = root / name
    return path.is_file() and (size is None or path.stat().st_size == size)


def _decided(root: Path, file: File, pin: dict[str, object] | None, pinned: dict[str, str], *, deep: bool, may_replace: bool) -> File:
    path = root / file.name
    if not file.of_hub and path.is_file() and Path(file.url) == path and not file.hash:
        return replace(file, state="there")  # a person named the very file in place
    if _in_place(root, file.name, file.bytes):
        # A pinned file was hashed when the pin was written; `deep` reads the 50 GB again.
        trusted = not deep and pin is not None and (pin["sha256"] == file.hash or (not file.hash and file.bytes == pin["bytes"]))
        if trusted or (file.hash and _matches(path, file.hash)):
            return replace(file, state="there")
    if path.is_file() and not may_replace:
        raise Refused(f"{file.name}: lies there already, and is not what {file.shown} states. Move it away, or `--update` to replace it.")
    twin = pinned.get(file.hash, "")
    if twin and twin != file.name:
        return replace(file, state="link", twin=twin)
    part = root / file.part
    return replace(file, partial=min(part.stat().st_size, file.bytes or 0) if part.is_file() else 0)


def _room(made: Plan) -> None:
    nearest = next(p for p in (made.root, *made.root.parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    if made.to_fetch and made.to_fetch + SPARE > free:
        raise DiskFull(
            f"{made.root}: {made.to_fetch / 1e9:,.1f} GB are to be fetched, and {free / 1e9:,.1f} GB are free. "
            "Make room, name another folder with --to, or fetch fewer roles at a time."
        )


# Doing


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Allow one pull at a time in a folder: two would write the same partial files."""
    with (root / ".pull.lock").open("w", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelFileError(f"{root}: another pull runs there. Wait for it to end.") from None
        yield


def _accept(lock: Lock, wanted: Sequence[File]) -> None:
    for key in dict.fromkeys(f.source for f in wanted):
        mine = [f for f in wanted if f.source == key]
        lock.accept(key, mine[0].commit, {f.name: f.hash for f in mine})


def _bring(root: Path, file: File, on_progress: OnProgress) -> str | files.Problem:
    """Put the file in place; return its sha256, or the problem with the bytes received."""
    place, part = root / file.name, root / file.part
    if file.state == "there":
        return file.hash if len(file.hash) == 64 else _sha256(place, file.name, on_progress)
    part.parent.mkdir(parents=True, exist_ok=True)
    if file.state == "link" and (root / file.twin).is_file():  # missing if the twin failed its check
        part.unlink(missing_ok=True)
        _link(root / file.twin, part)
    elif file.of_hub or file.url.startswith("http"):
        hub.fetch(file.url, part, file.bytes, lambda done: on_progress(file.name, "fetching", done, file.bytes), of_hub=file.of_hub)
    else:
        on_progress(file.name, "copying", 0, file.bytes)
        shutil.copyfile(file.url, part)
    problem = _wrong(part, file, sha256 := _sha256(part, file.name, on_progress))
    if problem is not None:
        aside = files.put_aside(root, file.part, called=file.name).relative_to(root)
        return replace(problem, todo=f"It was put aside as {aside}; {problem.todo}")
    if place.is_file():
        files.put_aside(root, file.name)  # the previous file: a person's files are never deleted
    place.parent.mkdir(parents=True, exist_ok=True)
    part.chmod(0o644)  # an executor may run as another user
    part.replace(place)
    return sha256


def _wrong(part: Path, file: File, sha256: str) -> files.Problem | None:
    if file.hash and sha256 != file.hash and not (len(file.hash) == 40 and git_blob(part) == file.hash):
        what = f"came with sha256 {sha256[:12]}…, and {file.hash[:12]}… is stated by {file.shown.partition(':')[0]}"
        return files.Problem(file.name, what, "fetch it again, and if it comes so again, trust neither")
    if file.name.endswith(".safetensors"):
        try:
            read_header(part)
        except HeaderError as error:
            return files.Problem(file.name, f"from {file.shown} {error}", "name another source")
    return None


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _sha256(path: Path, name: str, on_progress: OnProgress) -> str:
    on_progress(name, "checking", 0, path.stat().st_size)
    return files.sha256(path)


def _matches(path: Path, stated: str) -> bool:
    return (git_blob(path) if len(stated) == 40 else files.sha256(path)) == stated


def git_blob(path: Path) -> str:
    """Return git's blob hash (git-hash-object), which the hub states for files too small for git-lfs."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def part_name(source: str, name: str, stated: str) -> str:
    """Return a partial file's name: the stated hash, so that it is never continued with another file's bytes."""
    return stated or hashlib.sha256(f"{source} {name}".encode()).hexdigest()


def _sweep(root: Path, lock: Lock) -> None:
    """Delete partial files that are no longer in the lock file."""
    alive = {part_name(key, name, stated) for key in lock.sources for name, stated in lock.files(key).items()}
    for part in (root / PARTIAL).glob("*"):
        if part.name not in alive:
            part.unlink()
