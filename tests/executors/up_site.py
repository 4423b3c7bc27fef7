"""A running `ourvidz up` seen from outside: its processes, its log, its executors' rows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from executor_site import Child, Site, Zygote
from up_command import VARIABLE
from waiting import LIMIT, wait_for

RULES = {"first_delay": 0.1, "longest_delay": 0.5, "crashes": 3, "pulse_limit": 2.0}
SCRIPT = Path(__file__).with_name("up_command.py")


class Up:
    def __init__(
        self,
        site: Site,
        zygote: Zygote,
        home: Path,
        *args: str,
        forked: bool = True,
        embedded: bool = False,
        env: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """`forked`: it and its processes come from the fork server; otherwise each is a separate program, as from a shell."""
        self.site, self.home = site, home
        home.mkdir(parents=True, exist_ok=True)
        self.gate = home / "gate"
        self.log = home / "up.log"
        spec = {"gate": str(self.gate), **spec, "rules": {**RULES, **spec.get("rules", {})}}
        others = ("OURVIDZ_", "DATABASE_URL", "CUDA_", "PG", "SUPABASE_", "UPSTASH_")
        ours = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        self.env = ours | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1", VARIABLE: json.dumps(spec),
            "OURVIDZ_HOME": str(home), "OURVIDZ_MODELS": str(zygote.models), "OURVIDZ_STORAGE": str(site.root / "store"),
            "CUDA_VISIBLE_DEVICES": "",
        } | ({} if embedded else {"DATABASE_URL": site.db.url}) | dict(env or {})  # fmt: skip
        argv = [str(SCRIPT), "up", "--name", "t", *args]
        self.process: Child | subprocess.Popen[bytes]
        with self.log.open("ab") as log:
            if forked:
                self.process = zygote.start("up", argv, self.env, log.fileno())
            else:
                self.process = subprocess.Popen([sys.executable, *argv], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self, words: str, times: int = 1) -> bool:
        """Independent of the width of the name column."""
        return re.sub(" +", " ", self.text).count(words) >= times

    @property
    def text(self) -> str:
        return self.log.read_text()

    def children(self) -> dict[str, int]:
        """All its child processes by name."""
        found = {}
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            try:
                told = self.home / "argv" / pid  # written by a forked one
                argv = (told if told.exists() else Path(f"/proc/{pid}/cmdline")).read_text().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has exited and been reaped since the list was read
            if "worker" in argv:
                found[argv[argv.index("--name") + 1]] = int(pid)
            else:
                words = {"reaper": "reaper", "enhancer": "enhancer", "deliver": "deliverer", "intake": "intake"}
                found.update((name, int(pid)) for word, name in words.items() if word in argv)
        return found

    def executor(self, name: str, not_pid: int = 0) -> int:
        """Wait for an executor with this name in another process than that one, and return its pid."""
        sql = "select pid from ourvidz.executors where name = %s and state = 'active' and pid <> %s and lease_until > now()"
        return int(wait_for(lambda: self.site.db.rows(sql, (name, not_pid)), lambda: f"for {name}\n{self.text}")[0]["pid"])

    def holder(self, job_id: str, not_pid: int = 0) -> dict[str, Any]:
        """Wait until the job is on the device of another process than that one; return its executor's row."""
        sql = """select x.* from ourvidz.executors as x join public.jobs as j on j.executor_id = x.id
                 where j.id = %s and j.status = 'generating' and x.pid <> %s"""
        return dict(wait_for(lambda: self.site.db.rows(sql, (job_id, not_pid)), lambda: f"for a holder of {job_id}\n{self.text}")[0])

    def status(self, job_id: str, *wanted: str) -> None:
        wait_for(lambda: self.site.row(job_id)["status"] in wanted, lambda: f"for {job_id} to be {wanted}\n{self.text}")

    def open(self) -> None:
        """Let jobs that wait at the gate go on."""
        self.gate.unlink(missing_ok=True)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def left(self) -> int:
        return self.process.wait(LIMIT)

    def close(self) -> None:
        self.open()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(LIMIT)


@contextmanager
def running(up: Up) -> Iterator[Up]:
    try:
        yield up
    finally:
        up.close()


def alive(pid: int) -> bool:
    """The first thread may die before the others, which keep sockets and locks open until they are dead too."""
    try:
        ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not ended or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)
