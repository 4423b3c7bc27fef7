"""Auth of `ourvidz dev up`: real users and sessions, errors in Supabase Auth's format."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from production_copy import migrated
from stack_fixtures import Project, new_keys
from support import Server
from waiting import LIMIT

from ourvidz.db.connection import Database
from ourvidz.dev import services
from ourvidz.dev.parts import Parts
from ourvidz.dev.process import Process, answering, on_free_port

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    return new_project(functions=None)


class Auth:
    """Auth's API at `url`, with a project's key."""

    def __init__(self, url: str, key: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"apikey": key}, timeout=LIMIT)

    def __call__(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> httpx.Response:
        given = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        return self.http.request(method, path, json=body, headers=given)

    def sign_up(self, email: str = "", password: str = PASSWORD) -> dict[str, Any]:
        answer = self("POST", "/signup", {"email": email or an_address(), "password": password})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self("POST", "/token?grant_type=password", {"email": email, "password": password})

    def refresh(self, token: str) -> httpx.Response:
        return self("POST", "/token?grant_type=refresh_token", {"refresh_token": token})


@pytest.fixture
def auth(project: Project) -> Auth:
    return Auth(f"{project.url}/auth/v1", project.publishable_key)


@pytest.fixture
def admin(project: Project) -> Auth:
    return Auth(f"{project.url}/auth/v1", project.secret_key)


def an_address() -> str:
    return f"{uuid.uuid4().hex[:12]}@example.com"


def refusal(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["code"] == answer.status_code and body["msg"], body
    return answer.status_code, body["error_code"]


def test_sign_up_creates_a_user_and_a_profile(project: Project, auth: Auth) -> None:
    email = an_address()
    session = auth.sign_up(email.upper())
    user = session["user"]
    assert (user["email"], user["aud"], user["app_metadata"]["provider"]) == (email, "authenticated", "email")
    (profile,) = project.database.rows("select age_verified, token_balance from public.profiles where id = %s", (user["id"],))
    assert profile == {"age_verified": False, "token_balance": 0}, "nobody's age is taken on trust"
    (kept,) = project.database.rows("select encrypted_password from auth.users where id = %s", (user["id"],))
    assert PASSWORD not in kept["encrypted_password"]
    with project.client(session["access_token"]) as client:
        assert client.get("/rest/v1/profiles?select=id").json() == [{"id": user["id"]}]
        assert client.get("/auth/v1/user").json()["id"] == user["id"]


def test_access_tokens_have_supabases_claims(project: Project, auth: Auth) -> None:
    session = auth.sign_up()
    claims = jwt.decode(session["access_token"], options={"verify_signature": False})
    said = {name: claims[name] for name in ("sub", "aud", "role", "email", "aal", "is_anonymous", "user_metadata", "iss")}
    user = session["user"]
    assert said == {
        "sub": user["id"], "aud": "authenticated", "role": "authenticated", "email": user["email"], "aal": "aal1", "is_anonymous": False,
        "user_metadata": {}, "iss": f"{project.url}/auth/v1",
    }  # fmt: skip
    assert claims["exp"] - claims["iat"] == session["expires_in"] == 3600 and claims["exp"] == session["expires_at"]
    assert uuid.UUID(claims["session_id"]) and claims["amr"][0]["method"] == "password"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/signup", {"password": PASSWORD}, 422, "anonymous_provider_disabled"),
        ("/signup", {"email": "new@example.com"}, 400, "validation_failed"),
        ("/signup", {"email": "no address", "password": PASSWORD}, 400, "validation_failed"),
        ("/signup", {"email": ["new@example.com"], "password": PASSWORD}, 400, "validation_failed"),
        ("/signup", {"email": "new@example.com", "password": PASSWORD, "data": "text"}, 400, "validation_failed"),
        ("/signup", {"email": "new@example.com", "password": "short"}, 422, "weak_password"),
        ("/signup", {"email": "new@example.com", "password": "x" * 73}, 400, "validation_failed"),
        ("/signup", ["new@example.com"], 400, "bad_json"),
        ("/token?grant_type=password", {"email": "nobody@example.com", "password": PASSWORD}, 400, "invalid_credentials"),
        ("/token?grant_type=password", {"email": "nobody@example.com"}, 400, "validation_failed"),
        ("/token?grant_type=refresh_token", {}, 400, "validation_failed"),
        ("/token?grant_type=refresh_token", {"refresh_token": "guessed"}, 400, "refresh_token_not_found"),
        ("/token?grant_type=id_token", {}, 400, "invalid_credentials"),
        ("/logout", {}, 403, "bad_jwt"),
        ("/logout?scope=everywhere", {}, 400, "validation_failed"),
        ("/recover", {"email": "nobody@example.com"}, 501, "not_implemented"),
        ("/admin/users", {"email": "new@example.com"}, 403, "not_admin"),
    ],
)
def test_invalid_requests_get_auths_error_codes(project: Project, auth: Auth, path: str, body: Any, status: int, code: str) -> None:
    before = project.database.rows("select count(*) from auth.users")
    token = project.anon_key if path.startswith("/admin") else ""
    assert refusal(auth("POST", path, body, token)) == (status, code)
    assert project.database.rows("select count(*) from auth.users") == before


def test_oauth_providers_are_not_enabled(project: Project) -> None:
    answer = httpx.get(f"{project.url}/auth/v1/authorize?provider=google")  # as a browser does: without a key
    assert refusal(answer) == (400, "validation_failed") and "provider is not enabled" in answer.json()["msg"]


def test_the_api_version_header_selects_the_newer_error_format(auth: Auth) -> None:
    answer = auth("POST", "/signup", {"email": an_address(), "password": "short"}, **{"X-Supabase-Api-Version": "2024-01-01"})
    assert answer.headers["x-supabase-api-version"] == "2024-01-01"
    body = answer.json()
    assert body["code"] == "weak_password" and body["weak_password"]["reasons"] == ["length"], body


def test_an_email_address_belongs_to_one_user(auth: Auth) -> None:
    email = an_address()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: auth("POST", "/signup", {"email": email, "password": PASSWORD}), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422, 422]
    assert {refusal(answer) for answer in answers if answer.status_code != 200} == {(422, "user_already_exists")}
    assert auth.sign_in(email.title()).status_code == 200
    assert refusal(auth.sign_in(email, "another password")) == (400, "invalid_credentials")


def test_a_sign_up_refused_by_the_database_leaves_no_user(project: Project, auth: Auth) -> None:
    project.database.rows("""create function public.refuse_user() returns trigger language plpgsql as
                             $$ begin raise exception 'no' using errcode = 'check_violation'; end $$""")
    project.database.rows("""create trigger refuse_user after insert on auth.users for each row
                             when (new.email like 'refused%%') execute function public.refuse_user()""")
    answer = auth("POST", "/signup", {"email": "refused@example.com", "password": PASSWORD})
    assert refusal(answer) == (500, "unexpected_failure") and answer.json()["msg"] == "Database error saving new user"
    assert project.database.rows("select 1 from auth.users where email = 'refused@example.com'") == []


def test_a_refresh_token_works_once(project: Project, auth: Auth) -> None:
    first = auth.sign_up()
    second = auth.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"] and second["user"]["id"] == first["user"]["id"]
    assert auth.refresh(first["refresh_token"]).json()["refresh_token"] == second["refresh_token"], "its answer was lost on the way"
    third = auth.refresh(second["refresh_token"]).json()
    project.database.rows("update auth.refresh_tokens set updated_at = now() - interval '1 minute' where revoked")
    assert refusal(auth.refresh(first["refresh_token"])) == (400, "refresh_token_already_used")
    assert refusal(auth.refresh(third["refresh_token"])) == (400, "refresh_token_not_found"), "two have it: both are shut out"
    assert refusal(auth("GET", "/user", token=third["access_token"])) == (403, "session_not_found")


def test_concurrent_refreshes_get_the_same_new_token(project: Project, auth: Auth) -> None:
    session = auth.sign_up()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: auth.refresh(session["refresh_token"]), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    sql = "select count(*) as active from auth.refresh_tokens where user_id = %s and not revoked"
    assert project.database.rows(sql, (session["user"]["id"],)) == [{"active": 1}]


@pytest.mark.parametrize(("scope", "alive"), [("local", [False, True]), ("others", [True, False]), ("global", [False, False])])
def test_signing_out_ends_sessions(auth: Auth, scope: str, alive: list[bool]) -> None:
    email = an_address()
    here, elsewhere = auth.sign_up(email), auth.sign_in(email).json()
    assert auth("POST", f"/logout?scope={scope}", token=here["access_token"]).status_code == 204
    assert [auth("GET", "/user", token=each["access_token"]).status_code == 200 for each in (here, elsewhere)] == alive
    assert [auth.refresh(each["refresh_token"]).status_code == 200 for each in (here, elsewhere)] == alive


def test_users_update_their_own_account_but_not_their_role(auth: Auth) -> None:
    email = an_address()
    here, elsewhere = auth.sign_up(email), auth.sign_in(email).json()
    token = here["access_token"]
    assert refusal(auth("PUT", "/user", {"password": PASSWORD}, token)) == (422, "same_password")
    changed = auth(
        "PUT", "/user", {"password": "another horse", "data": {"name": "Anna", "gone": None}, "app_metadata": {"role": "admin"}}, token
    )
    assert changed.json()["user_metadata"] == {"name": "Anna"}
    assert "role" not in changed.json()["app_metadata"], "nobody makes themselves an admin"
    assert auth.sign_in(email).status_code == 400 and auth.sign_in(email, "another horse").status_code == 200
    assert auth("GET", "/user", token=token).status_code == 200
    assert refusal(auth("GET", "/user", token=elsewhere["access_token"])) == (403, "session_not_found"), "who had the old password is out"
    taken = auth.sign_up()["user"]["email"]
    assert refusal(auth("PUT", "/user", {"email": taken}, token)) == (422, "email_exists")


def test_the_service_key_creates_users_and_admins(project: Project, auth: Auth, admin: Auth) -> None:
    email = an_address()
    made = admin("POST", "/admin/users", {"email": email, "password": PASSWORD, "user_metadata": {"name": "Anna"}}).json()
    assert made["user_metadata"] == {"name": "Anna"}
    assert refusal(admin("POST", "/admin/users", {"email": email})) == (422, "email_exists")
    other = project.user()
    profiles = "/rest/v1/profiles?select=id&id=eq." + other.id
    with project.client(auth.sign_in(email).json()["access_token"]) as client:
        assert client.get(profiles).json() == []
    told = admin("PUT", f"/admin/users/{made['id']}", {"app_metadata": {"role": "admin"}}).json()
    assert told["app_metadata"] == {"provider": "email", "providers": ["email"], "role": "admin"}
    with project.client(auth.sign_in(email).json()["access_token"]) as client:
        assert client.get(profiles).json() == [{"id": other.id}], "the token's app_metadata.role counts"


def test_users_are_listed_read_banned_and_deleted_by_the_service_key(auth: Auth, admin: Auth) -> None:
    session = auth.sign_up()
    user, token = session["user"]["id"], session["access_token"]
    page = admin("GET", "/admin/users?page=1&per_page=1")
    total = int(page.headers["x-total-count"])
    assert [found["id"] for found in page.json()["users"]] == [user] and f'page={total}&per_page=1>; rel="last"' in page.headers["link"]
    for path in ("/admin/users", f"/admin/users/{user}"):
        assert refusal(auth("GET", path, token=token)) == (403, "not_admin")
    assert admin("GET", f"/admin/users/{user}").json()["id"] == user
    admin("PUT", f"/admin/users/{user}", {"ban_duration": "1h30m"})
    assert refusal(auth.refresh(session["refresh_token"])) == (400, "user_banned")
    assert refusal(auth.sign_in(session["user"]["email"])) == (400, "user_banned")
    assert refusal(admin("PUT", f"/admin/users/{user}", {"ban_duration": "for ever"})) == (400, "validation_failed")
    admin("PUT", f"/admin/users/{user}", {"ban_duration": "none"})
    assert auth.sign_in(session["user"]["email"]).status_code == 200
    assert admin("DELETE", f"/admin/users/{user}").status_code == 200
    assert refusal(admin("GET", f"/admin/users/{user}")) == (404, "user_not_found")
    assert refusal(auth.refresh(session["refresh_token"])) == (400, "refresh_token_not_found")
    for path in ("not-an-id", str(uuid.uuid4())):
        assert refusal(admin("DELETE", f"/admin/users/{path}")) == (404, "user_not_found")


def test_a_deleted_users_token_is_refused(project: Project, auth: Auth) -> None:
    user = project.user()
    assert auth("GET", "/user", token=user.token).json()["id"] == user.id, "a token without a session is taken, as by Supabase"
    project.database.rows("delete from auth.users where id = %s", (user.id,))
    assert refusal(auth("GET", "/user", token=user.token)) == (403, "user_not_found")
    assert refusal(auth("GET", "/user", token=project.anon_key)) == (403, "bad_jwt"), "a key is nobody"


def test_sign_up_works_on_the_production_database_before_migrate_and_after(
    server: Server, parts: Parts, production_template: str, tmp_path: Path
) -> None:
    name = server.create(production_template)
    superuser, keys = server.url(name, superuser=True), tmp_path / "keys.json"
    new_keys(parts).write(keys)
    services.prepare(superuser)
    argv, env = services.auth(parts, superuser, keys, "http://127.0.0.1/auth/v1")

    def start(port: int) -> Process:
        return Process("auth", argv, tmp_path / "log", {**env, "PORT": str(port)}).until(answering(f"http://127.0.0.1:{port}/health"))

    process, port = on_free_port(start)
    database = Database(server.url(name))
    try:
        auth = Auth(f"http://127.0.0.1:{port}", "")
        before = auth.sign_up("before@example.com")["user"]["id"]
        services.prepare(superuser)  # run again at the next start of the stack
        migrated(database)
        after = auth.sign_up("after@example.com")["user"]["id"]
        assert auth.sign_in("before@example.com").json()["user"]["id"] == before
        sql = """select p.id::text, p.age_verified, r.role::text from public.profiles as p join public.user_roles as r on r.user_id = p.id
                 where p.id = any (%s::uuid[]) order by p.id = %s"""
        assert database.rows(sql, ([before, after], after)) == [
            {"id": user, "age_verified": False, "role": "basic_user"} for user in (before, after)
        ]
    finally:
        database.close()
        process.stop()
        server.drop(name)
