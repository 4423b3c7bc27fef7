"""A real PgBouncer in front of a database. It stands in for Supavisor and breaks code that relies on session state."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from ourvidz.db import passwords
from ourvidz.db.conninfo import parameters
from ourvidz.dev.pgbouncer import Program
from ourvidz.dev.process import Process, listening, on_free_port


class Pooler:
    """Transaction mode, like Supavisor, and round robin over `size` connections: two transactions of one client rarely reach the same
    server connection, so reliance on session state fails at once. Every role in `users` connects without a password.
    `ignores`: startup parameters that it drops; it refuses those it does not know."""

    def __init__(
        self, program: Program, database_url: str, folder: Path, *,
        size: int = 4, users: tuple[str, ...] = (), ignores: str = "extra_float_digits",
    ) -> None:  # fmt: skip
        found = parameters(database_url)
        user, self.database = found["user"], found["dbname"]
        password = found.get("password") or passwords.of(database_url, user) or ""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "users.txt").write_text(
            "".join(f'"{name}" "{password if name == user else ""}"\n' for name in {user, *users}), encoding="utf-8"
        )

        def start(port: int) -> Process:
            settings = folder / "pgbouncer.ini"
            settings.write_text(
                f"[databases]\n* = host={found.get('host', '127.0.0.1')} port={found.get('port', 5432)}\n"
                f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
                f"auth_file = {folder / 'users.txt'}\npool_mode = transaction\ndefault_pool_size = {size}\nmin_pool_size = {size}\n"
                f"server_round_robin = 1\nmax_client_conn = 200\nignore_startup_parameters = {ignores}\n",
                encoding="utf-8",
            )
            process = Process("PgBouncer", [str(program.path), str(settings)], folder / "pgbouncer.log", program.env, demoted=True)
            return process.until(listening(port))

        self.process, self.port = on_free_port(start)
        self.url = self.as_user(user)

    def as_user(self, user: str) -> str:
        return f"postgresql://{quote(user)}@127.0.0.1:{self.port}/{quote(self.database)}"

    def close(self) -> None:
        self.process.stop()
