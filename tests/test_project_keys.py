"""A project's keys as Supabase has them today: publishable and secret keys beside the legacy ones, tokens signed by rotating keys."""

from __future__ import annotations

import copy
import hmac
import json
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest
from jwt.utils import base64url_encode
from stack_fixtures import Project
from stack_functions import ECHO
from waiting import LIMIT, wait_for

from ourvidz.dev.keys import Keys
from ourvidz.dev.stack import FUNCTIONS, KEYS_FILE

WHO = """
create function public.who() returns json language sql stable as $$
  select json_build_object('role', current_user, 'sub', current_setting('request.jwt.claims', true)::json ->> 'sub')
$$
"""
SECRETS = {"d", "k"}  # private members of a JWK


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With a function that requires a JWT, and an rpc that returns the caller."""
    functions = tmp_path_factory.mktemp("supabase") / "functions"
    (functions / "echo").mkdir(parents=True)
    (functions / "echo" / "index.ts").write_text(ECHO)
    for name in ("deno.json", "deno.lock"):
        shutil.copy(FUNCTIONS / name, functions)
    made = new_project(functions=functions)
    made.database.rows(WHO)
    made.database.rows("grant execute on function public.who() to anon, authenticated, service_role")
    made.database.rows("notify pgrst, 'reload schema'")
    wait_for(lambda: who(made, made.anon_key).status_code == 200)
    return made


@pytest.fixture(autouse=True)
def as_it_was(project: Project) -> Iterator[None]:
    """Start each test with the same keys."""
    keys = project.stack.keys
    before = copy.deepcopy(keys.signing)
    yield
    keys.signing, keys.legacy_disabled_at = before, None
    project.stack.keep_keys()
    wait_for(lambda: who(project, project.publishable_key, project.user().token).status_code == 200)


def who(project: Project, key: str = "", bearer: str = "", **headers: str) -> httpx.Response:
    given = {**({"apikey": key} if key else {}), **({"Authorization": f"Bearer {bearer}"} if bearer else {}), **headers}
    return httpx.get(f"{project.url}/rest/v1/rpc/who", headers=given, timeout=LIMIT)


def signed_up(project: Project, name: str) -> str:
    """Access token of a new user."""
    body = {"email": f"{name}-{time.monotonic_ns()}@example.com", "password": "correct horse"}
    answer = httpx.post(f"{project.url}/auth/v1/signup", headers={"apikey": project.publishable_key}, json=body, timeout=LIMIT)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def taken_by(project: Project, token: str) -> dict[str, int]:
    """Each service's status code for a user's token."""
    headers = {"apikey": project.publishable_key, "Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=project.url, headers=headers, timeout=LIMIT) as client:
        return {
            "rest": client.get("/rest/v1/rpc/who").status_code,
            "auth": client.get("/auth/v1/user").status_code,
            "storage": client.post("/storage/v1/object/list-v2/none", json={"prefix": ""}).status_code,
            "functions": client.post("/functions/v1/echo", json={}).status_code,
        }


TAKEN, REFUSED = {"rest": 200, "auth": 200, "functions": 200}, {"rest": 401, "auth": 403, "functions": 401}


def answers(project: Project, token: str) -> dict[str, int]:
    found = taken_by(project, token)
    found.pop("storage")  # 400 for both outcomes: its own code is in the body
    return found


@pytest.mark.parametrize(
    ("kind", "role"),
    [("publishable_key", "anon"), ("anon_key", "anon"), ("secret_key", "service_role"), ("service_key", "service_role")],
)
def test_the_apikey_header_alone_determines_the_role(project: Project, kind: str, role: str) -> None:
    key = getattr(project, kind)
    assert who(project, key).json() == {"role": role, "sub": None}
    assert who(project, key, key).json() == {"role": role, "sub": None}, "supabase-js says it on both headers"
    made = httpx.post(f"{project.url}/storage/v1/bucket", headers={"apikey": key}, json={"name": kind})
    assert made.status_code == (200 if role == "service_role" else 400), made.text
    admin = httpx.get(f"{project.url}/auth/v1/admin/users", headers={"apikey": key})
    assert admin.status_code == (200 if role == "service_role" else 403)


def test_a_users_token_works_with_either_kind_of_key(project: Project) -> None:
    user = project.user()
    for key in (project.publishable_key, project.anon_key):
        assert who(project, key, user.token).json() == {"role": "authenticated", "sub": user.id}


def test_a_new_key_is_not_accepted_as_bearer_token(project: Project) -> None:
    assert who(project, project.publishable_key, project.secret_key).status_code == 401
    assert who(project, bearer=project.secret_key).json()["message"] == "No API key found in request"
    function = httpx.post(f"{project.url}/functions/v1/echo", headers={"Authorization": f"Bearer {project.secret_key}"})
    assert (function.status_code, function.json()["message"]) == (401, "Invalid JWT")
    for wrong in (project.secret_key[:-1], "sb_secret_guessed", "guessed"):
        assert who(project, wrong).json()["message"] == "Invalid API key"


def test_a_secret_key_is_refused_from_a_browser(project: Project) -> None:
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
    refused = who(project, project.secret_key, **browser)
    assert (refused.status_code, refused.json()["message"]) == (401, "Forbidden use of secret API key in browser")
    assert who(project, project.publishable_key, **browser).status_code == 200


def test_a_disabled_legacy_key_is_reported_as_disabled(project: Project) -> None:
    user = project.user()
    project.stack.legacy_keys(False)
    for key in (project.anon_key, project.service_key):
        for path in ("rest/v1/rpc/who", "auth/v1/settings", "storage/v1/bucket"):
            refused = httpx.get(f"{project.url}/{path}", headers={"apikey": key})
            assert (refused.status_code, refused.json()["message"]) == (401, "Legacy API keys are disabled"), path
            assert "publishable and secret API keys" in refused.json()["hint"]
    assert who(project, project.secret_key).json()["role"] == "service_role"
    assert who(project, project.publishable_key, user.token).json()["sub"] == user.id, "a user's token is no API key"
    project.stack.legacy_keys(True)
    assert who(project, project.anon_key).status_code == 200


def test_the_jwks_verifies_what_auth_signs_and_holds_no_secret(project: Project) -> None:
    token = signed_up(project, "jwks")
    jwks = httpx.get(f"{project.url}/auth/v1/.well-known/jwks.json").json()
    assert [(key["kty"], key["alg"]) for key in jwks["keys"]] == [("EC", "ES256")], "and never the legacy secret"
    assert not any(SECRETS & key.keys() for key in jwks["keys"])
    head = jwt.get_unverified_header(token)
    (key,) = [key for key in jwt.PyJWKSet.from_dict(jwks).keys if key.key_id == head["kid"]]
    claims = jwt.decode(token, key, algorithms=["ES256"], audience="authenticated", issuer=f"{project.url}/auth/v1")
    assert claims["role"] == "authenticated"


def test_tokens_of_a_rotated_key_work_until_it_is_revoked(project: Project) -> None:
    old = signed_up(project, "old")
    legacy = project.user().token
    project.stack.add_signing_key()
    jwks = httpx.get(f"{project.url}/auth/v1/.well-known/jwks.json").json()["keys"]
    first, second = (key["kid"] for key in jwks)
    assert jwt.get_unverified_header(signed_up(project, "meanwhile"))["kid"] == first, "one on standby signs nothing"
    project.stack.rotate_keys()
    new = signed_up(project, "new")
    assert jwt.get_unverified_header(new)["kid"] == second
    for token in (old, legacy, new):
        wait_for(lambda token=token: answers(project, token) == TAKEN)
    project.stack.revoke_previous_keys()
    for token in (old, legacy):
        wait_for(lambda token=token: answers(project, token) == REFUSED)
    assert answers(project, new) == TAKEN
    assert who(project, project.secret_key).json()["role"] == "service_role", "an API key is no matter of signing keys"


@pytest.mark.parametrize("kind", ["the public key as a secret", "no key named", "another project's"])
def test_a_forged_token_is_refused(project: Project, kind: str) -> None:
    keys = httpx.get(f"{project.url}/auth/v1/.well-known/jwks.json").json()["keys"]
    claims = {"sub": project.user().id, "role": "service_role", "aud": "authenticated", "exp": int(time.time()) + 600}
    public, kid = json.dumps(keys[0]).encode(), {"kid": keys[0]["kid"]}
    elsewhere = jwt.PyJWK.from_dict({**_private_key(), "kid": "theirs"}).key
    token = {
        "the public key as a secret": lambda: hs256(claims, public, kid),
        "no key named": lambda: jwt.encode(claims, elsewhere, "ES256"),
        "another project's": lambda: jwt.encode(claims, elsewhere, "ES256", headers=kid),
    }[kind]()
    assert answers(project, token) == REFUSED
    with project.client(token) as client:
        assert client.get("/storage/v1/bucket").json()["statusCode"] == "403"


def hs256(claims: dict[str, Any], secret: bytes, head: dict[str, str]) -> str:
    """Sign by hand: PyJWT refuses a public key as an HMAC secret."""
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", **head}, claims))
    return f"{signed.decode()}.{base64url_encode(hmac.digest(secret, signed, 'sha256')).decode()}"


def _private_key() -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from jwt.algorithms import ECAlgorithm

    found: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1())))
    return found


def test_a_function_is_given_both_kinds_of_key(project: Project) -> None:
    user = project.user()
    for token in (user.token, signed_up(project, "caller")):
        with project.client(token) as client:
            said = client.post("/functions/v1/echo", json={}).json()
        assert said["user"] == jwt.decode(token, options={"verify_signature": False})["sub"], said["error"]
    assert said["keys"]["SUPABASE_ANON_KEY"] == project.anon_key
    assert said["keys"]["SUPABASE_SERVICE_ROLE_KEY"] == project.service_key
    assert json.loads(said["keys"]["SUPABASE_PUBLISHABLE_KEYS"]) == {"default": project.publishable_key}
    assert json.loads(said["keys"]["SUPABASE_SECRET_KEYS"]) == {"default": project.secret_key}
    assert not {"SUPABASE_SERVICE_KEY", "SUPABASE_SECRET_KEY"} & said["keys"].keys()


def test_keys_are_saved_readable_by_their_owner_only(project: Project) -> None:
    file = project.stack.folder / KEYS_FILE
    assert file.stat().st_mode & 0o077 == 0
    again, now = Keys.read(file), project.stack.keys
    assert (again.publishable, again.secret_key, again.anon, again.signing) == (now.publishable, now.secret_key, now.anon, now.signing)


def test_keys_saved_by_an_earlier_version_are_kept_and_completed(project: Project, tmp_path: Any) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"jwt_secret": "x" * 40, "upstash_token": "t", "callback_secret": "whsec_"}))
    found = Keys.read(tmp_path / "keys.json")
    assert (found.secret.value, found.upstash_token) == ("x" * 40, "t")
    assert found.publishable.startswith("sb_publishable_") and found.secret_key.startswith("sb_secret_")
