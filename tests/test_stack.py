"""The stack's services behave like Supabase's and Upstash's, and exit with their parent process."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from stack_fixtures import Project
from stack_functions import ECHO
from waiting import LIMIT, wait_for

from ourvidz.db.supervisor import _arguments_of
from ourvidz.dev import parts as parts_of
from ourvidz.dev import services, tokens
from ourvidz.dev.parts import PartMissing, Parts
from ourvidz.dev.process import Process, free_port, listening
from ourvidz.dev.stack import FUNCTIONS, HOST, KEYS_FILE
from ourvidz.dev.upstash import UpstashFace
from ourvidz.dev.valkey import Connection, ReplyError, Valkey
from ourvidz.storage.supabase import SupabaseStorage
from state.catalog import BUCKETS

WHO = """
create function public.who() returns json language sql stable as $$
  select json_build_object('role', current_user, 'sub', current_setting('request.jwt.claims', true)::json ->> 'sub')
$$
"""


@pytest.fixture(scope="module")
def project(
    new_project: Callable[..., Project], deno: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """With two functions of our own: one requires a JWT, the other does not."""
    supabase = tmp_path_factory.mktemp("supabase")
    (supabase / "config.toml").write_text("[functions.open]\nverify_jwt = false\n")
    for name in ("echo", "open"):
        (supabase / "functions" / name).mkdir(parents=True)
        (supabase / "functions" / name / "index.ts").write_text(ECHO)
    for name in ("deno.json", "deno.lock"):  # so that the libraries are downloaded only once
        shutil.copy(FUNCTIONS / name, supabase / "functions")
    made = new_project(functions=supabase / "functions")
    made.database.rows(WHO)
    made.database.rows("grant execute on function public.who() to anon, authenticated, service_role")
    made.database.rows("notify pgrst, 'reload schema'")
    wait_for(lambda: who(made, made.anon_key).status_code == 200)
    return made


def who(project: Project, bearer: str | None, **params: str) -> httpx.Response:
    headers = {"apikey": project.anon_key, **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    return httpx.get(f"{project.url}/rest/v1/rpc/who", headers=headers, params=params)


def test_postgrest_sees_the_callers_claims(project: Project) -> None:
    user = project.user()
    assert who(project, user.token).json() == {"role": "authenticated", "sub": user.id}
    assert who(project, project.service_key).json() == {"role": "service_role", "sub": None}
    assert who(project, None).json() == {"role": "anon", "sub": None}, "without Authorization the key says who asks"


def test_the_gateway_requires_an_api_key(project: Project) -> None:
    url = f"{project.url}/rest/v1/rpc/who"
    assert httpx.get(url, headers={"Authorization": f"Bearer {project.service_key}"}).status_code == 401
    assert "Invalid API key" in httpx.get(url, headers={"apikey": "guessed"}).text
    assert httpx.get(url, params={"apikey": project.service_key}).json()["role"] == "service_role"


def bad_tokens(project: Project, user_id: str) -> dict[str, str]:
    good = project.secret.user(user_id)
    return {
        "expired": project.secret.expired(user_id),
        "unsigned": tokens.unsigned(user_id),
        "stripped": tokens.stripped(good),
        "another project's": tokens.Secret().user(user_id),
        "cut": good[:-4],
        "nonsense": "nonsense",
    }


@pytest.mark.parametrize("kind", ["expired", "unsigned", "stripped", "another project's", "cut", "nonsense"])
def test_bad_tokens_are_refused(project: Project, kind: str) -> None:
    token = bad_tokens(project, project.user().id)[kind]
    with project.client(token) as client:
        assert client.get("/rest/v1/rpc/who").status_code == 401
        assert client.get("/auth/v1/user").status_code == 403
        assert client.post("/functions/v1/echo").status_code == 401


def test_functions_get_supabases_environment(project: Project) -> None:
    user = project.user()
    with project.client(user) as client:
        said = client.post("/functions/v1/echo/more?x=1", json={}).json()
    assert said["user"] == user.id, said.get("error")
    assert said["path"] == "/echo/more"
    assert len(said["given"]) == 4


def test_config_toml_controls_jwt_verification(project: Project) -> None:
    assert httpx.post(f"{project.url}/functions/v1/echo").status_code == 401
    assert httpx.options(f"{project.url}/functions/v1/echo").status_code == 200, "a preflight has no token"
    assert httpx.post(f"{project.url}/functions/v1/open", headers={"Authorization": "Bearer nobody"}).status_code == 200
    assert httpx.post(f"{project.url}/functions/v1/missing").status_code == 404


def test_the_gateway_does_not_reuse_upstream_connections(project: Project, parts: Parts, tmp_path: Path) -> None:
    """The service answers one request per connection, sends keep-alive, and closes on a second request: like a request that crosses the
    close of an idle connection. A DELETE is not retried automatically.
    """
    service = socket.create_server((HOST, 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n[]")
            connection.recv(65536)

    def accept() -> None:
        with contextlib.suppress(OSError):  # listener closed: the test has ended
            while True:
                threading.Thread(target=serve, args=(service.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    keys = project.stack.folder / KEYS_FILE
    url, port = f"http://{HOST}:{service.getsockname()[1]}", free_port()
    env = {**parts.deno_env, "PROJECT_FILE": str(keys), "PORT": str(port), "FUNCTIONS": "[]", "REST": url, "AUTH": url, "STORAGE": url}
    gateway = Process("gateway", services.command(parts, "gateway.ts", reads=[keys]), tmp_path / "log", env).until(listening(port))
    try:
        with httpx.Client(base_url=f"http://{HOST}:{port}", headers={"apikey": project.anon_key}, timeout=LIMIT) as client:
            assert [client.delete("/rest/v1/jobs?id=eq.1").status_code for _ in range(4)] == [200] * 4
    finally:
        gateway.stop()
        service.close()


def test_storage_through_the_gateway(project: Project, tmp_path: Path) -> None:
    """Through the storage adapter itself: above 6 MB it uploads in pieces, to URLs that the server names."""
    name, bucket = "video_fast", BUCKETS["video_fast"]
    with project.client(project.service_key) as service:
        made = service.post("/storage/v1/bucket", json={"name": name, "public": False, "allowed_mime_types": sorted(bucket.media_types)})
        assert made.status_code == 200, made.text
    whole = os.urandom(7 * 2**20)
    (tmp_path / "clip.mp4").write_bytes(whole)
    store = SupabaseStorage(project.url, project.service_key, {name: bucket})
    store.put(name, "u/j/1-0.mp4", tmp_path / "clip.mp4", "video/mp4")
    assert store.read(name, "u/j/1-0.mp4") == whole
    signed = httpx.get(store.sign(name, "u/j/1-0.mp4", 60), headers={"Range": "bytes=10-19"})
    assert (signed.status_code, signed.content) == (206, whole[10:20])


def ask(face: UpstashFace, *command: object, path: str = "", **headers: str) -> httpx.Response:
    body = list(command)
    return httpx.post(face.url + path, json=body, headers={"Authorization": f"Bearer {face.token}", **headers})


def test_upstash_server_answers_like_upstash(upstash: UpstashFace) -> None:
    assert ask(upstash, "LPUSH", "k", "a", 2).json() == {"result": 2}
    pushed = httpx.post(f"{upstash.url}/lpush/k", content=b'{"id": "\xc3\xa9"}', headers={"Authorization": f"Bearer {upstash.token}"})
    assert pushed.json() == {"result": 3}
    assert ask(upstash, "LRANGE", "k", 0, -1).json() == {"result": ['{"id": "é"}', "2", "a"]}
    encoded = ask(upstash, "LINDEX", "k", 0, **{"Upstash-Encoding": "base64"}).json()["result"]
    assert base64.b64decode(encoded) == b'{"id": "\xc3\xa9"}'
    assert ask(upstash, "SET", "s", "v", **{"Upstash-Encoding": "base64"}).json() == {"result": "OK"}
    assert ask(upstash, ["LLEN", "k"], ["GET", "none"], ["INCR", "s"], path="/pipeline").json() == [
        {"result": 3},
        {"result": None},
        {"error": "ERR value is not an integer or out of range"},
    ]
    assert ask(upstash, ["RPOP", "k"], ["LLEN", "k"], path="/multi-exec").json() == [{"result": "a"}, {"result": 2}]
    for wrong in (["BOGUS"], ["BRPOP", "k", 0]):  # the first is unknown to Valkey, the second blocked before it
        assert ask(upstash, ["RPOP", "k"], wrong, path="/multi-exec").status_code == 400
    assert ask(upstash, "LLEN", "k").json() == {"result": 2}, "all or nothing"


def test_upstash_server_returns_upstashs_errors(upstash: UpstashFace) -> None:
    assert httpx.post(upstash.url, json=["PING"]).status_code == 401
    assert httpx.post(upstash.url, json=["PING"], headers={"Authorization": "Bearer guessed"}).status_code == 401
    assert ask(upstash, "BRPOP", "k", 0).status_code == 400
    assert ask(upstash, "BOGUS").json()["error"].startswith("ERR unknown command")
    for body in (b"{}", b"nonsense", b"[" * 100_000, b""):
        said = httpx.post(upstash.url, content=body, headers={"Authorization": f"Bearer {upstash.token}"})
        assert said.status_code == 400 and "error" in said.json()


def test_replies_can_be_lost_after_or_before_execution(upstash: UpstashFace) -> None:
    ask(upstash, "RPUSH", "k", "a", "b", "c")
    upstash.drop("LMOVE")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(upstash, "LMOVE", "k", "p", "LEFT", "RIGHT")
    assert upstash.valkey.call("LRANGE", "p", 0, -1) == [b"a"], "done, and nobody was told"
    upstash.drop("LMOVE", after=False)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(upstash, "LMOVE", "k", "p", "LEFT", "RIGHT")
    assert upstash.valkey.call("LLEN", "p") == 1
    assert ask(upstash, "LMOVE", "k", "p", "LEFT", "RIGHT").json() == {"result": "b"}
    upstash.fault("*", "error")
    assert ask(upstash, "PING").status_code == 500
    with upstash.refuse(), pytest.raises(httpx.RemoteProtocolError):
        ask(upstash, "PING")
    assert [command[0] for command in upstash.seen] == ["RPUSH", "LMOVE", "LMOVE", "LMOVE", "PING"]


def test_upstash_server_survives_a_redis_restart(upstash: UpstashFace, valkey: Valkey) -> None:
    with httpx.Client(base_url=upstash.url, headers={"Authorization": f"Bearer {upstash.token}"}) as client:
        client.post("/", json=["LPUSH", "k", "kept"])
        valkey.stop(kill=True)
        assert client.post("/", json=["LLEN", "k"]).status_code == 503
        valkey.start()
        assert client.post("/", json=["LPOP", "k"]).json() == {"result": "kept"}, "what was acknowledged is on disk"


def test_redis_requires_the_password(upstash: UpstashFace, valkey: Valkey) -> None:
    ask(upstash, "LPUSH", "sdxl_queue", "a prompt of somebody's")
    with socket.create_connection(("127.0.0.1", valkey.port), 5) as stranger:
        for command, refusal in (("LRANGE sdxl_queue 0 -1", b"-NOAUTH"), ("AUTH guessed", b"-WRONGPASS"), ("FLUSHALL", b"-NOAUTH")):
            stranger.sendall(command.encode() + b"\r\n")
            assert stranger.recv(1000).startswith(refusal), command
    with pytest.raises(ReplyError, match="WRONGPASS"):
        Connection(valkey.port, "guessed")
    assert valkey.process is not None
    told = Path(f"/proc/{valkey.process.pid}/cmdline").read_bytes() if sys.platform == "linux" else b""
    assert valkey._password.encode() not in told, "arguments are everybody's to read"
    assert (valkey._folder / "valkey.conf").stat().st_mode & 0o077 == 0


LIVING = """
import sys
import threading
from pathlib import Path
from ourvidz.dev.parts import bring
from ourvidz.dev.valkey import Valkey
from ourvidz.storage.supabase import SupabaseStorage
from state.catalog import BUCKETS
print(Valkey(bring().valkey, Path(sys.argv[1])).start().process.pid, flush=True)
sys.stdin.read()
"""


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", LIVING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdin is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_for(lambda: _arguments_of(child) is None)


def test_missing_parts_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURVIDZ_PARTS", str(tmp_path / "parts"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(PartMissing, match=r"Deno could not be brought: .*(?s:.*)deno==.*(?s:.*)try again"):
        parts_of.bring()
    assert [path.name for path in (tmp_path / "parts").iterdir() if path.suffix not in (".lock", ".new")] == [], "nothing looks finished"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OURVIDZ_PARTS", str(tmp_path / "file" / "in"))
    with pytest.raises(PartMissing, match="Set OURVIDZ_PARTS"), parts_of.exclusive(parts_of.cache() / "x"):
        pass


def test_an_interrupted_download_leaves_no_complete_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), parts_of.beside(tmp_path / "parts") as new:
        (new / "half").touch()
        raise KeyboardInterrupt
    assert not (tmp_path / "parts").exists()
    with parts_of.beside(tmp_path / "parts") as new:
        assert not list(new.iterdir())
    assert (tmp_path / "parts").is_dir()


def test_the_services_pass_deno_format_lint_and_types(deno: Callable[..., subprocess.CompletedProcess[str]], parts: Parts) -> None:
    for args in (["fmt", "--check", "--line-width=140"], ["lint"]):
        done = deno(*args, cwd=services.HERE)
        assert done.returncode == 0, done.stderr + done.stdout
    programs = ["gateway.ts", "signing_key.ts", "auth/main.ts", "storage/main.ts"]
    done = deno("check", "--quiet", "--node-modules-dir=manual", *programs, cwd=services.beside_modules(parts))
    assert done.returncode == 0, done.stderr + done.stdout
