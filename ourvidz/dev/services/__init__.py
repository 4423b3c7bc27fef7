"""Prepare and start our stand-ins for Supabase's services (gateway, Auth, Storage), written in TypeScript for Deno."""

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
LOGINS = ("authenticator", "supabase_auth_admin", "supabase_storage_admin")  # the services' database roles


def command(parts: Parts, program: str, *, reads: Sequence[Path] = (), writes: Sequence[Path] = ()) -> list[str]:
    """The command that runs `program` (such as `auth/main.ts`). Deno's permissions are minimal, as the libraries are not ours."""
    place = beside_modules(parts)
    rights = ["--allow-net", "--allow-env", f"--allow-read={','.join(map(str, [parts.folder, *reads, *writes]))}"]
    if writes:
        rights.append(f"--allow-write={','.join(map(str, writes))}")
    return [str(parts.deno), "run", "--quiet", "--no-prompt", "--no-remote", "--node-modules-dir=manual", *rights, str(place / program)]


def database(url: str, role: str) -> tuple[dict[str, str], list[Path]]:
    """libpq's variables to connect as `role`, and the socket file it needs, if any: our own server listens on a Unix socket alone."""
    found = parameters(url)
    host, port = found.get("host", "127.0.0.1"), found.get("port", "5432")
    env = {"PGHOST": host, "PGPORT": port, "PGDATABASE": found["dbname"], "PGUSER": role}
    if password := passwords.of(url, role):
        env["PGPASSWORD"] = password
    return env, [Path(host) / f".s.PGSQL.{port}"] if host.startswith("/") else []


def storage(parts: Parts, url: str, keys: Path, root: Path) -> tuple[list[str], dict[str, str]]:
    """Storage's command and environment (without PORT): rows in the database of `url`, bytes under `root`."""
    env, sockets = database(url, "supabase_storage_admin")
    argv = command(parts, "storage/main.ts", reads=[keys, *sockets], writes=[root, *sockets])
    return argv, {**parts.deno_env, **env, "PROJECT_FILE": str(keys), "ROOT": str(root)}


def auth(parts: Parts, url: str, keys: Path, issuer: str) -> tuple[list[str], dict[str, str]]:
    """Auth's command and environment (without PORT). `issuer`: the issuer of its tokens."""
    env, sockets = database(url, "supabase_auth_admin")
    argv = command(parts, "auth/main.ts", reads=[keys, *sockets], writes=sockets)
    return argv, {**parts.deno_env, **env, "PROJECT_FILE": str(keys), "ISSUER": issuer}


def prepare(superuser_url: str) -> None:
    """Create what Supabase's services set up in a project's database. Needs a superuser; safe to repeat."""
    owner = Database(superuser_url)
    try:
        owner.rows((HERE / "prepare.sql").read_text(encoding="utf-8"))
        for role in LOGINS:
            passwords.let_in(superuser_url, role)
    finally:
        owner.close()


def signing_key(parts: Parts) -> dict[str, Any]:
    """Generate a token signing key: an ES256 JWK with its private part."""
    made: dict[str, Any] = json.loads(run(command(parts, "signing_key.ts"), "a signing key", cwd=parts.folder, env=parts.deno_env))
    return made


def beside_modules(parts: Parts) -> Path:
    """Copy the programs next to node_modules, as Deno looks for it beside and above a program; once per version of the programs."""
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
