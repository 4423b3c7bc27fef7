"""What stands for Supabase's own services, in TypeScript for Deno: the gateway, Auth, Storage. How they are prepared and started."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ourvidz.db import passwords
from ourvidz.db.connection import Database
from ourvidz.db.conninfo import parameters
from ourvidz.dev.parts import Parts, run

HERE = Path(__file__).parent
LOGINS = ("authenticator", "supabase_auth_admin", "supabase_storage_admin")  # of the services


def command(parts: Parts, program: str, *, reads: Sequence[Path] = (), writes: Sequence[Path] = ()) -> list[str]:
    """Runs `program` (`auth/main.ts`). Each right is named: the program is ours, the libraries are not."""
    place = beside_modules(parts)
    rights = ["--allow-net", "--allow-env", f"--allow-read={','.join(map(str, [parts.folder, *reads, *writes]))}"]
    if writes:
        rights.append(f"--allow-write={','.join(map(str, writes))}")
    return [str(parts.deno), "run", "--quiet", "--no-prompt", "--no-remote", "--node-modules-dir=manual", *rights, str(place / program)]


def database(url: str, role: str) -> tuple[dict[str, str], list[Path]]:
    """libpq's variables to connect as `role`, and the files that this takes: a server of ours listens on a socket alone."""
    found = parameters(url)
    host, port = found.get("host", "127.0.0.1"), found.get("port", "5432")
    env = {"PGHOST": host, "PGPORT": port, "PGDATABASE": found["dbname"], "PGUSER": role}
    if password := passwords.of(url, role):
        env["PGPASSWORD"] = password
    return env, [Path(host) / f".s.PGSQL.{port}"] if host.startswith("/") else []


def storage(parts: Parts, url: str, keys: Path, root: Path) -> tuple[list[str], dict[str, str]]:
    """What runs Storage, and in which environment, PORT beside that: rows in the database of `url`, bytes under `root`."""
    env, sockets = database(url, "supabase_storage_admin")
    argv = command(parts, "storage/main.ts", reads=[keys, *sockets], writes=[root, *sockets])
    return argv, {**parts.deno_env, **env, "PROJECT_FILE": str(keys), "ROOT": str(root)}


def auth(parts: Parts, url: str, keys: Path, issuer: str) -> tuple[list[str], dict[str, str]]:
    """What runs Auth, and in which environment, PORT beside that. `issuer` is what its tokens say they are from."""
    env, sockets = database(url, "supabase_auth_admin")
    argv = command(parts, "auth/main.ts", reads=[keys, *sockets], writes=sockets)
    return argv, {**parts.deno_env, **env, "PROJECT_FILE": str(keys), "ISSUER": issuer}


def prepare(superuser_url: str) -> None:
    """What Supabase's services make in a project's database before they serve it. Needs a superuser; safe to repeat."""
    owner = Database(superuser_url)
    try:
        owner.rows((HERE / "prepare.sql").read_text(encoding="utf-8"))
        for role in LOGINS:
            passwords.let_in(superuser_url, role)
    finally:
        owner.close()


def signing_key(parts: Parts) -> dict[str, Any]:
    """A new key for tokens: a JWK, ES256, its private part included."""
    made: dict[str, Any] = json.loads(run(command(parts, "signing_key.ts"), "a signing key", cwd=parts.folder, env=parts.deno_env))
    return made


def beside_modules(parts: Parts) -> Path:
    """Deno looks for node_modules beside a program and above it, so the programs are put there; once for each of their versions."""
    sources = sorted(HERE.rglob("*.ts"))
    digest = hashlib.sha256(b"\0".join(str(file.relative_to(HERE)).encode() + b"\0" + file.read_bytes() for file in sources))
    place = parts.folder / f"services-{digest.hexdigest()[:12]}"
    if not place.exists():
        new = parts.folder / f"{place.name}.{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(HERE, new, ignore=lambda _, names: [name for name in names if "." in name and not name.endswith(".ts")])
        with contextlib.suppress(OSError):  # another process was first
            new.rename(place)
        shutil.rmtree(new, ignore_errors=True)
    return place
