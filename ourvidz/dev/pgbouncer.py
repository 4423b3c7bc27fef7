"""PgBouncer without root: the one on PATH, else Debian's package and its libraries, unpacked into the cache and never installed."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ourvidz.dev.parts import PartMissing, Say, beside, cache, exclusive, run


@dataclass(frozen=True)
class Program:
    path: Path
    env: dict[str, str]


def pgbouncer(say: Say = lambda _: None) -> Program:
    """Find PgBouncer on PATH, or download Debian's. Raises PartMissing if there is neither a pgbouncer nor apt-get."""
    if found := shutil.which("pgbouncer", path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/usr/local/sbin"])):
        return Program(Path(found), {})
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise PartMissing("pgbouncer is not on PATH, and this is no Debian to take it from. Install it (brew, dnf, apk) and try again.")
    folder = cache() / f"pgbouncer-{_release()}"
    with exclusive(folder):
        if not folder.exists():
            say(f"Bringing PgBouncer into {folder} (once) …")
            with beside(folder) as new:
                _unpack(new)
    libraries = [
        str(path) for path in (folder / "usr/lib", folder / "lib", *folder.glob("usr/lib/*-linux-gnu*"), *folder.glob("lib/*-linux-gnu*"))
    ]
    return Program(folder / "usr/sbin/pgbouncer", {"LD_LIBRARY_PATH": ":".join(libraries)})


def _unpack(folder: Path) -> None:
    wanted = ["pgbouncer", *_libraries(_apt(folder, "depends", "pgbouncer"))]
    _apt(folder, "download", *wanted)
    for package in sorted(folder.glob("*.deb")):
        run(["dpkg", "-x", str(package), str(folder)], "PgBouncer", cwd=folder)
        package.unlink()


def _libraries(depends: str) -> list[str]:
    """The libraries it depends on, except libc, which must match the machine's loader."""
    return sorted({name for name in re.findall(r"Depends: (lib\S+)", depends) if not name.startswith("libc6")})


def _apt(folder: Path, verb: str, *names: str) -> str:
    """Run apt with the machine's package lists, or, if it has none (as in a slim container), with our own."""
    program = "apt-cache" if verb == "depends" else "apt-get"
    private = ["-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache", "-o", f"APT::Sandbox::User={_user()}"]
    if not (folder / "lists").exists():
        try:
            return run([program, verb, *names], "PgBouncer", cwd=folder)
        except PartMissing:
            (folder / "lists/partial").mkdir(parents=True)
            (folder / "cache/archives/partial").mkdir(parents=True)
            run(["apt-get", *private, "update"], "Debian's package lists", cwd=folder)
    return run([program, *private, verb, *names], "PgBouncer", cwd=folder)


def _user() -> str:
    """The user that apt downloads as: its default, `_apt`, cannot enter a private folder."""
    return "root" if os.geteuid() == 0 else ""


def _release() -> str:
    try:
        found = re.search(r'^VERSION_ID="?([^"\n]+)', Path("/etc/os-release").read_text(encoding="utf-8"), re.M)
    except OSError:
        found = None
    return found[1] if found else "unknown"
