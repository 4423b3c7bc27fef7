"""supabase-js and supabase-py, the real ones, sign in and work here as they do at Supabase."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from stack_fixtures import Project
from supabase_js import SupabaseJs

from supabase import create_client

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    return new_project(functions=None)


@pytest.fixture(scope="module")
def js(project: Project, new_js: Callable[..., SupabaseJs]) -> SupabaseJs:
    return new_js(project)


def an_address() -> str:
    return f"{uuid.uuid4().hex[:12]}@example.com"


def test_supabase_js_signs_up_in_and_out(js: SupabaseJs) -> None:
    email = an_address()
    signed_up = js("return await client.auth.signUp(given)", email=email, password=PASSWORD)
    user = signed_up["data"]["user"]["id"]
    assert signed_up["error"] is None and signed_up["data"]["session"]["access_token"]
    assert js("return (await client.from('profiles').select('id')).data") == [{"id": user}]
    assert js("return (await client.auth.getUser()).data.user.id") == user
    assert js("return (await client.auth.getClaims()).data.claims.sub") == user, "verified with the JWKS, in the library"
    refreshed = js("""
      const before = (await client.auth.getSession()).data.session.refresh_token;
      const { data, error } = await client.auth.refreshSession();
      return [error, data.session.refresh_token !== before]""")
    assert refreshed == [None, True]
    assert js("return await client.auth.signOut()") == {"error": None}
    assert js("return (await client.auth.getUser()).data.user") is None
    wrong = js("return (await client.auth.signInWithPassword(given)).error", email=email, password="wrong")
    assert (wrong["code"], wrong["status"]) == ("invalid_credentials", 400)
    assert js("return (await client.auth.signInWithPassword(given)).data.user.id", email=email, password=PASSWORD) == user


def test_supabase_js_as_an_admin_of_users(project: Project, js: SupabaseJs) -> None:
    told = js(
        """
        const admin = connect(given.key).auth.admin;
        const made = (await admin.createUser({ email: given.email, password: given.password, email_confirm: true })).data.user;
        const changed = (await admin.updateUserById(made.id, { app_metadata: { role: "admin" } })).data.user;
        const listed = (await admin.listUsers()).data.users.map((user) => user.id);
        const { error } = await admin.deleteUser(made.id);
        const gone = (await admin.getUserById(made.id)).error.code;
        return { role: changed.app_metadata.role, listed: listed.includes(made.id), error, gone }""",
        key=project.secret_key,
        email=an_address(),
        password=PASSWORD,
    )
    assert told == {"role": "admin", "listed": True, "error": None, "gone": "user_not_found"}


def test_a_channel_is_refused_at_once(js: SupabaseJs) -> None:
    status, why = js("return await new Promise((done) => client.channel('x').subscribe((status, error) => done([status, error?.message])))")
    assert status == "CHANNEL_ERROR" and "Realtime is not served here" in why
    sent = js("return await client.channel('x').httpSend('event', {}).catch((error) => error.message)")
    assert "Realtime is not served here" in str(sent)


def test_supabase_py_signs_up_in_and_out(project: Project) -> None:
    client = create_client(project.url, project.publishable_key)
    email = an_address()
    user = client.auth.sign_up({"email": email, "password": PASSWORD}).user
    assert user is not None
    assert client.table("profiles").select("id").execute().data == [{"id": user.id}]
    assert client.auth.refresh_session().session is not None
    client.auth.sign_out()
    found = client.auth.sign_in_with_password({"email": email, "password": PASSWORD}).user
    assert found is not None and found.id == user.id
    admin = create_client(project.url, project.secret_key)
    assert user.id in [each.id for each in admin.auth.admin.list_users()]
