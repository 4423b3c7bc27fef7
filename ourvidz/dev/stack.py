"""The whole stack on one machine: PostgREST, Auth, Storage, the edge functions in Deno and Upstash over Valkey, behind a gateway that
behaves like Supabase's. Everything is part or a child of this process and ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import tomllib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from ourvidz.db import conninfo, passwords
from ourvidz.dev import services
from ourvidz.dev.keys import Keys, private
from ourvidz.dev.parts import Parts, Say, bring_libraries
from ourvidz.dev.process import Process, answering, free_port, listening, on_free_port
from ourvidz.dev.tokens import Secret
from ourvidz.dev.upstash import UpstashFace
from ourvidz.dev.valkey import Valkey

HERE = Path(__file__).parent
HOST = "127.0.0.1"
FUNCTIONS = HERE.parents[1] / "supabase" / "functions"
PROGRAMS_ONLY = {"SUPABASE_SERVICE_KEY", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY"}  # edge functions get them under other names
KEYS_FILE, JWKS_FILE = "keys.json", "jwks.json"


class Stack:
    """Runs inside a `with` block. The services log in as Supabase's roles: `authenticator`, `supabase_auth_admin`,
    `supabase_storage_admin`. `superuser_url` is used to prepare the database for them.

    Enter it from a thread that stays: its children end with that thread.
    """

    def __init__(
        self, parts: Parts, superuser_url: str, folder: Path, *,
        keys: Keys | None = None, functions: Path | None = FUNCTIONS, port: int = 0, upstash_port: int = 0, say: Say = lambda _: None,
    ) -> None:  # fmt: skip
        self.parts, self.folder, self.functions, self.say = parts, folder, functions, say
        self.keys = keys or Keys()
        self.rest_url, self._database_url = "", superuser_url
        self._port, self._upstash_port = port, upstash_port
        self.url = ""
        self.processes: dict[str, Process] = {}
        self.upstash: UpstashFace
        self.valkey: Valkey
        self._keys_written = 0
        self._open = ExitStack()

    @property
    def anon_key(self) -> str:
        return self.keys.anon

    @property
    def service_key(self) -> str:
        return self.keys.service

    @property
    def publishable_key(self) -> str:
        return self.keys.publishable

    @property
    def secret_key(self) -> str:
        return self.keys.secret_key

    @property
    def secret(self) -> Secret:
        return self.keys.secret

    @property
    def environment(self) -> dict[str, str]:
        """Variables for `ourvidz up`, `ourvidz intake` and other clients of Supabase and Upstash."""
        return {
            "SUPABASE_URL": self.url,
            "SUPABASE_PUBLISHABLE_KEY": self.publishable_key,
            "SUPABASE_SECRET_KEY": self.secret_key,
            "SUPABASE_ANON_KEY": self.anon_key,
            "SUPABASE_SERVICE_KEY": self.service_key,
            "UPSTASH_REDIS_REST_URL": self.upstash.url,
            "UPSTASH_REDIS_REST_TOKEN": self.keys.upstash_token,
            "CALLBACK_SECRET": self.keys.callback_secret,
        }

    def __enter__(self) -> Stack:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._open as opened:
            self.valkey = Valkey(self.parts.valkey, self.folder / "valkey", self.keys.redis_password).start()
            opened.callback(self.valkey.stop)
            if self.valkey.process:
                self.processes["valkey"] = self.valkey.process
            self.upstash = UpstashFace(self.valkey, self.keys.upstash_token, self._upstash_port)
            opened.callback(self.upstash.close)
            self._port = self._port or free_port()  # chosen before the gateway starts: Auth and the functions need it
            self.url = f"http://{HOST}:{self._port}"
            self.keys.url = self.url
            services.prepare(self._database_url)
            if all(key["jwk"]["kty"] == "oct" for key in self.keys.signing):
                self.add_signing_key()
                self.rotate_keys()
            else:
                self.keep_keys()
            self.rest_url = self._rest()
            self._gateway(self._auth(), self._storage(), self._functions())
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def add_signing_key(self) -> None:
        """Add an ES256 key on standby: in the JWKS, but not signing yet."""
        self.keys.add_signing_key(services.signing_key(self.parts))
        self.keep_keys()

    def rotate_keys(self) -> None:
        self.keys.rotate()
        self.keep_keys()

    def revoke_previous_keys(self) -> None:
        self.keys.revoke_previous()
        self.keep_keys()

    def legacy_keys(self, enabled: bool) -> None:
        self.keys.legacy(enabled)
        self.keep_keys()

    def keep_keys(self) -> None:
        """Write the keys for the services: ours read them at each request, PostgREST when it is signalled."""
        self.keys.write(self.folder / KEYS_FILE)
        self._publish()

    def follow_keys(self) -> None:
        """Reload the keys if `ourvidz dev keys` has written them."""
        file = self.folder / KEYS_FILE
        if (now := file.stat().st_mtime_ns) != self._keys_written:
            self.keys = Keys.read(file)
            self._publish()
            self._keys_written = now

    def _publish(self) -> None:
        self._keys_written = (self.folder / KEYS_FILE).stat().st_mtime_ns
        private(self.folder / JWKS_FILE, self.keys.jwks)
        if rest := self.processes.get("postgrest"):
            os.kill(rest.pid, signal.SIGUSR2)

    def _start(self, name: str, argv: list[str], env: dict[str, str], path: str = "", port: int = 0, port_variable: str = "PORT") -> str:
        """Start a service; returns its URL once it listens, or answers under `path`."""

        def start(port: int) -> Process:
            log = self.folder / f"{name.replace('/', '-')}.log"
            given = {**env, port_variable: f"tcp:{HOST}:{port}" if port_variable == "DENO_SERVE_ADDRESS" else str(port)}
            return Process(name, argv, log, given).until(answering(f"http://{HOST}:{port}{path}") if path else listening(port))

        process, port = on_free_port(start, port)
        self.processes[name] = process
        self._open.callback(process.stop)
        return f"http://{HOST}:{port}"

    def _rest(self) -> str:
        """Start PostgREST with Supabase's settings (https://postgrest.org/en/v12/references/configuration.html)."""
        admin = free_port()
        env = {
            "PGRST_DB_URI": _as_authenticator(self._database_url),
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_PRE_REQUEST": "public.before_request",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_POOL": "10",
            "PGRST_JWT_SECRET": f"@{self.folder / JWKS_FILE}",
            "PGRST_SERVER_HOST": HOST,
            "PGRST_ADMIN_SERVER_PORT": str(admin),
            "PGRST_LOG_LEVEL": "warn",
        }
        url = self._start("postgrest", [str(self.parts.postgrest)], env, port_variable="PGRST_SERVER_PORT")
        self.processes["postgrest"].until(answering(f"http://{HOST}:{admin}/ready"))
        return url

    def _auth(self) -> str:
        argv, env = services.auth(self.parts, self._database_url, self.folder / KEYS_FILE, f"{self.url}/auth/v1")
        return self._start("auth", argv, env, "/health")

    def _storage(self) -> str:
        root = self.folder / "storage"
        root.mkdir(exist_ok=True, mode=0o700)
        argv, env = services.storage(self.parts, self._database_url, self.folder / KEYS_FILE, root)
        return self._start("storage", argv, env, "/status")

    def _functions(self) -> list[dict[str, object]]:
        """Start one Deno for each edge function, isolated as on Supabase. A JWT is required unless config.toml says otherwise."""
        if self.functions is None:
            return []
        found = sorted(path.parent for path in self.functions.glob("*/index.ts"))
        if not found:  # an installed package does not contain the functions: they are deployed from a checkout
            self.say(f"No edge functions: there are none in {self.functions}. They come with a checkout: `pip install -e .` in a clone.")
            return []
        bring_libraries(self.parts, self.functions, self.say)
        settings = self.functions.parent / "config.toml"
        said = tomllib.loads(settings.read_text(encoding="utf-8")).get("functions", {}) if settings.exists() else {}
        env = {
            **{name: value for name, value in self.environment.items() if name not in PROGRAMS_ONLY},
            "SUPABASE_SERVICE_ROLE_KEY": self.service_key,
            "AGE_WEBHOOK_SECRET": self.keys.age_webhook_secret,
            "SUPABASE_PUBLISHABLE_KEYS": json.dumps({"default": self.publishable_key}),
            "SUPABASE_SECRET_KEYS": json.dumps({"default": self.secret_key}),
            **self.parts.deno_env,
        }
        allowed = ["--cached-only", "--frozen", "--no-prompt", "--allow-net", "--allow-env", f"--allow-read={self.functions}"]
        routes: list[dict[str, object]] = []
        for folder in found:
            argv = [str(self.parts.deno), "run", *allowed, str(folder / "index.ts")]
            url = self._start(f"functions/{folder.name}", argv, env, port_variable="DENO_SERVE_ADDRESS")
            routes.append({"name": folder.name, "url": url, "verify": said.get(folder.name, {}).get("verify_jwt", True)})
        return routes

    def _gateway(self, auth: str, storage: str, functions: list[dict[str, object]]) -> None:
        env = {
            **self.parts.deno_env,
            "PROJECT_FILE": str(self.folder / KEYS_FILE),
            "REST": self.rest_url,
            "AUTH": auth,
            "STORAGE": storage,
            "FUNCTIONS": json.dumps(functions),
        }
        self._start("gateway", services.command(self.parts, "gateway.ts", reads=[self.folder / KEYS_FILE]), env, port=self._port)


def _as_authenticator(url: str) -> str:
    """A key=value connection string, since a socket's folder cannot be the host of a URL."""
    return conninfo.conninfo(url, user="authenticator", password=passwords.of(url, "authenticator"), passfile=None)
