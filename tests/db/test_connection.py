"""A refused connection is raised at once; an unreachable server is waited for. All forms of a URL connect to the same database, in every
component."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support import Server, as_role
from waiting import LIMIT

from ourvidz.db import connection, session
from ourvidz.db.connection import Database, DatabaseAway, DatabaseRefused, Listener
from ourvidz.db.conninfo import conninfo

pytestmark = pytest.mark.new_database


def refused(url: str) -> str:
    with pytest.raises(DatabaseRefused) as error:
        Database(url).patient("select 1", patience=math.inf)  # an error that is retried would loop forever here
    return str(error.value)


def test_a_missing_role_or_database_is_refused_at_once(server: Server, template: str) -> None:
    url = server.url(template)
    assert "DATABASE_URL" in refused(conninfo(url, user="nobody_of_that_name"))
    assert "no_such_database" in refused(conninfo(url, dbname="no_such_database"))


def test_a_role_without_login_is_refused_at_once(server: Server, template: str) -> None:
    server.admin("alter role ourvidz_analyst password 'of-a-test'")  # the password is checked before the LOGIN attribute
    try:
        assert "(28000)" in refused(conninfo(server.url(template), user="ourvidz_analyst", password="of-a-test"))
    finally:
        server.admin("alter role ourvidz_analyst password null")


def test_an_unreachable_server_is_waited_for(server: Server, template: str) -> None:
    with pytest.raises(DatabaseAway) as error:
        Database(conninfo(server.url(template), host="/nowhere-at-all")).patient("select 1", patience=0.5)
    assert not isinstance(error.value, DatabaseRefused)
    assert "cannot be reached" in str(error.value)


# -- a server's refusal to connect, in any language -------------------------------------------------------------------------------------


@contextmanager
def answering(*fields: tuple[str, str]) -> Iterator[str]:
    """A server that answers every connection with this ErrorResponse, as one with another lc_messages would; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    body = b"".join(name.encode() + text.encode() + b"\0" for name, text in fields) + b"\0"

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(b"E" + (len(body) + 4).to_bytes(4, "big") + body)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"postgresql://u:p@127.0.0.1:{listener.getsockname()[1]}/db?sslmode=disable&gssencmode=disable"
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("28P01", "Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen"),
        ("28000", "ユーザー\"u\"のpg_hba.confエントリがありません"),
        ("3D000", "la base de données « db » n'existe pas"),
        ("42501", "keine Berechtigung für Datenbank »db«"),
    ],
)  # fmt: skip
def test_a_refusal_in_another_language_is_not_retried(state: str, text: str) -> None:
    with answering(("S", "SCHWERWIEGEND"), ("V", "FATAL"), ("C", state), ("M", text)) as url:
        said = refused(url)
    assert f"{text} ({state})" in said and "\n" not in said


@pytest.mark.parametrize("state", ["57P03", "53300", "57P01"])
def test_a_starting_or_full_server_is_waited_for_in_any_language(state: str) -> None:
    with answering(("S", "FATAL"), ("C", state), ("M", "das Datenbanksystem startet")) as url, pytest.raises(DatabaseAway) as error:
        Database(url).patient("select 1", patience=0.3)
    assert not isinstance(error.value, DatabaseRefused)


def test_a_servers_refusal_is_shown_before_other_connection_errors() -> None:
    """`localhost` resolves to ::1 and 127.0.0.1, and a container's port is often open on only one of them."""
    refusal = 'connection to server at "localhost" (127.0.0.1), port 5432 failed: FATAL: '
    text = f"""connection to server at "localhost" (::1), port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?
{refusal} 28P01: password authentication failed for user "u"
LOCATION:  auth_failed, auth.c:321
"""
    first, *others = session.with_sqlstate(text).splitlines()
    assert first == f'{refusal}password authentication failed for user "u" (28P01)'
    assert others[0].endswith("Connection refused")


def test_ctrl_c_during_a_statement_leaves_no_broken_connection(server: Server, template: str, caplog: pytest.LogCaptureFixture) -> None:
    name = server.create(template)
    database = Database(server.url(name), pool_size=1)
    with pytest.raises(KeyboardInterrupt), database.driver() as one:
        one.pgconn.send_query(b"select pg_sleep(60)")
        raise KeyboardInterrupt
    assert one.closed and caplog.text == ""
    assert database.rows("select 1 as one") == [{"one": 1}]
    database.close()
    server.drop(name)


def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DatabaseAway, match="timeout"):
        Database(f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/db?connect_timeout=2").rows("select 1")


def test_a_listener_keeps_retrying_an_unsuitable_server(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = threading.Semaphore(0)

    def refuses(*_: object, **__: object) -> None:
        tries.release()
        raise session.UnsuitableServer("session_replication_role is replica")

    monkeypatch.setattr(connection, "connect", refuses)
    listener = Listener("postgresql://h/db", "name", lambda: None)
    try:
        assert tries.acquire(timeout=LIMIT) and tries.acquire(timeout=LIMIT), "it asks again"
    finally:
        listener.close()


@contextmanager
def answering_ssl(answer: bytes, authority: trustme.CA) -> Iterator[str]:
    """A server that answers libpq's SSLRequest with `N`, or with `S` and a handshake with a certificate of `authority`; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    client.recv(8)
                    client.sendall(answer)
                    if answer == b"S":
                        context.wrap_socket(client, server_side=True).recv(1)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"postgresql://u:p@127.0.0.1:{listener.getsockname()[1]}/db?gssencmode=disable&"
    finally:
        listener.close()


def test_a_tls_failure_is_not_retried(tmp_path: Path) -> None:
    mine, another = trustme.CA(), trustme.CA()
    mine.cert_pem.write_to_path(tmp_path / "mine.pem")
    another.cert_pem.write_to_path(tmp_path / "another.pem")
    with answering_ssl(b"N", mine) as url:
        assert "does not support SSL" in refused(url + "sslmode=require")
    with answering_ssl(b"S", mine) as url:
        assert "certificate verify failed" in refused(url + f"sslmode=verify-full&sslrootcert={tmp_path}/another.pem")
        assert "does not exist" in refused(url + f"sslmode=verify-ca&sslrootcert={tmp_path}/none.pem")


# -- every form of a URL ------------------------------------------------------------------------------------------------------------------

PASSWORD = 'it\'s a "pass\\word" @/?#%'
ENCODED = "it's%20a%20%22pass%5Cword%22%20%40%2F%3F%23%25"


@pytest.fixture(scope="module")
def odd_login(server: Server, template: str) -> Iterator[dict[str, str]]:
    """A login whose password has every kind of character that needs quoting; yields libpq's parameters without the password."""
    server.admin("create role odd_login login password 'it''s a \"pass\\word\" @/?#%'")
    parts = conninfo_to_dict(as_role(server.url(template), "odd_login"))
    yield {name: str(parts[name]) for name in ("host", "port", "dbname", "user") if name in parts}
    server.admin("drop role odd_login")


FORMS: dict[str, Callable[[dict[str, str], Path], str]] = {
    "a socket in the host's place": lambda at, _: "postgresql://odd_login:{}@{host}:{port}/{dbname}\n".format(
        ENCODED, **{**at, "host": at["host"].replace("/", "%2F")}
    ),
    "several hosts": lambda at, _: "postgresql+psycopg://odd_login:{}@%2Fnowhere:1,{host}:{port}/{dbname}?target_session_attrs=read-write".format(
        ENCODED, **{**at, "host": at["host"].replace("/", "%2F")}
    ),
    "another program's parameters": lambda at, _: "postgres://odd_login:{}@/{dbname}?host={host}&port={port}&pgbouncer=true&schema=app".format(
        ENCODED, **at
    ),
    "key=value": lambda at, _: make_conninfo(**at, password=PASSWORD),
    "a password file": lambda at, home: make_conninfo(**at, passfile=_written(home / "pgpass", "*:*:*:odd_login:" + _escaped(PASSWORD))),
    "a service": lambda at, home: _service(at, home),
}  # fmt: skip


def _written(file: Path, text: str) -> str:
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def _service(at: dict[str, str], home: Path) -> str:
    _written(home / "service.conf", "[odd]\n" + "".join(f"{name}={value}\n" for name, value in {**at, "password": PASSWORD}.items()))
    return "service=odd"


def _escaped(password: str) -> str:
    return password.replace("\\", "\\\\").replace(":", "\\:")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_url_connects(form: str, odd_login: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "service.conf"))
    url = FORMS[form](odd_login, tmp_path)
    database = Database(url)
    (row,) = database.rows("select session_user::text as login, current_database()::text as name")
    with database.transaction() as connection:
        assert connection.exec_driver_sql("select session_user::text").scalar() == "odd_login"
    assert (row["login"], row["name"]) == ("odd_login", odd_login["dbname"])
    heard = threading.Event()
    listener = Listener(url, "me", heard.set)
    try:
        deadline = time.monotonic() + 30
        while not heard.is_set() and time.monotonic() < deadline:
            database.rows("select pg_notify('ourvidz', 'me')")
            heard.wait(0.1)
        assert heard.is_set(), "the listener connected by the same URL"
    finally:
        listener.close()
        database.close()
