"""The real supabase-js and supabase-py sign in and work against the stack as against Supabase."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import httpx
import pytest
from stack_fixtures import Project
from storage3.exceptions import StorageApiError
from storage3.types import FileOptions
from supabase_js import SupabaseJs

from supabase import create_client

PASSWORD = "correct horse battery"


REFERENCES, OUTPUTS = "reference_images", "sdxl_image_fast"


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    made = new_project(functions=None)
    admin = create_client(made.url, made.secret_key)
    for bucket in (REFERENCES, OUTPUTS):
        admin.storage.create_bucket(bucket, options={"public": False, "allowed_mime_types": ["image/png"]})
    assert {bucket.name for bucket in admin.storage.list_buckets()} == {REFERENCES, OUTPUTS}
    return made


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


def test_supabase_js_admin_manages_users(project: Project, js: SupabaseJs) -> None:
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


def test_supabase_js_stores_a_users_objects(project: Project, js: SupabaseJs) -> None:
    user = js("return (await client.auth.signUp(given)).data.user.id", email=an_address(), password=PASSWORD)
    made = js(
        """
        const bucket = client.storage.from(given.bucket), path = `${given.user}/a.png`;
        const png = (text) => new Blob([text], { type: "image/png" });
        const code = ({ error }) => error?.statusCode ?? error;
        const found = {
          uploaded: (await bucket.upload(path, png("a"))).data.path,
          twice: code(await bucket.upload(path, png("b"))),
          over: code(await bucket.upload(path, png("b"), { upsert: true })),
          updated: code(await bucket.update(path, png("b"))),
          elsewhere: code(await bucket.upload("another/a.png", png("a"))),
          type: code(await bucket.upload(`${given.user}/a.txt`, new Blob(["a"], { type: "text/plain" }))),
          listed: (await bucket.list(given.user)).data.map(({ name }) => name),
          downloaded: await (await bucket.download(path)).data.text(),
          exists: (await bucket.exists(path)).data,
          info: (await bucket.info(path)).data.contentType,
        };
        const one = (await bucket.createSignedUrl(path, 60)).data.signedUrl;
        const many = (await bucket.createSignedUrls([path, "another/a.png"], 60)).data;
        found.signed = [await (await fetch(one)).text(), await (await fetch(many[0].signedUrl)).text(), many[1].error !== null];
        const { token } = (await bucket.createSignedUploadUrl(`${given.user}/b.png`)).data;
        found.brought = (await bucket.uploadToSignedUrl(`${given.user}/b.png`, token, png("b"))).data.path;
        found.output = code(await client.storage.from(given.outputs).upload(path, png("a")));
        found.buckets = (await client.storage.listBuckets()).data;
        found.removed = (await bucket.remove([path, `${given.user}/b.png`, "another/a.png"])).data.map(({ name }) => name).sort();
        found.left = (await bucket.list(given.user)).data;
        return found;""",
        bucket=REFERENCES,
        outputs=OUTPUTS,
        user=user,
    )
    mine = f"{user}/a.png"
    assert made == {
        "uploaded": mine, "twice": "409", "over": "403", "updated": "403", "elsewhere": "403", "type": "415", "listed": ["a.png"],
        "downloaded": "a", "exists": True, "info": "image/png", "signed": ["a", "a", True], "brought": f"{user}/b.png", "output": "403",
        "buckets": [], "removed": [mine, f"{user}/b.png"], "left": [],
    }  # fmt: skip


def test_storage_policies_apply_to_each_request(project: Project, js: SupabaseJs) -> None:
    """They are evaluated at each request, so any policy takes effect."""
    user = js("return (await client.auth.signUp(given)).data.user.id", email=an_address(), password=PASSWORD)

    def upload() -> str | None:
        body = """const png = new Blob(["a"], { type: "image/png" });
                  const { error } = await client.storage.from(given.bucket).upload(given.path, png, { upsert: true });
                  return error?.statusCode ?? null"""
        found: str | None = js(body, bucket=OUTPUTS, path=f"{user}/theirs.png")
        return found

    assert upload() == "403"
    project.database.rows(f"create policy lax on storage.objects to authenticated using (bucket_id = '{OUTPUTS}')")
    try:
        assert (upload(), upload()) == (None, None)
    finally:
        project.database.rows("drop policy lax on storage.objects")
    assert upload() == "403"


def test_realtime_channels_are_refused_at_once(js: SupabaseJs) -> None:
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
    bucket, mine = client.storage.from_(REFERENCES), f"{user.id}/a.png"
    png: FileOptions = {"content-type": "image/png"}
    assert bucket.upload(mine, b"a", png).path == mine
    with pytest.raises(StorageApiError, match="row-level security"):
        bucket.upload("another/a.png", b"a", png)
    assert [row["name"] for row in bucket.list(user.id)] == ["a.png"]
    assert bucket.download(mine) == b"a"
    assert httpx.get(bucket.create_signed_url(mine, 60)["signedURL"]).content == b"a"
    assert [row["error"] is None for row in bucket.create_signed_urls([mine, "another/a.png"], 60)] == [True, False]
    assert [row["name"] for row in bucket.remove([mine, "another/a.png"])] == [mine]
    client.auth.sign_out()
    found = client.auth.sign_in_with_password({"email": email, "password": PASSWORD}).user
    assert found is not None and found.id == user.id
    admin = create_client(project.url, project.secret_key)
    assert user.id in [each.id for each in admin.auth.admin.list_users()]
