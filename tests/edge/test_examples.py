"""Run the Python examples of docs/supabase.md unchanged and in order, with the user's own library against a project."""

from __future__ import annotations

import io
import re
import uuid
from typing import Any

import pytest
from PIL import Image
from stack_fixtures import Project

from ourvidz.db import ages
from ourvidz.storage.api import Api, Patience
from ourvidz.storage.buckets import bring, compare
from state.catalog import BUCKETS
from tools.docs import ROOT

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/supabase.md").read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def project(standing_project: Project) -> Project:
    return standing_project


def test_the_pages_python_examples_run(project: Project) -> None:
    api = Api(project.url, project.stack.secret_key, Patience())
    for row in compare(api, BUCKETS):
        bring(api, row)
    email, password = f"{uuid.uuid4().hex[:8]}@example.com", "correct-horse-9"
    with project.client() as client:
        made = client.post("/auth/v1/signup", json={"email": email, "password": password})
        assert made.status_code == 200, made.text
        me = made.json()["user"]["id"]
    ages.decide(project.database, me, True, "test", "for an example")
    project.database.rows("select ourvidz.grant_tokens(%s, 100, 'a start')", (me,))
    picture = io.BytesIO()
    Image.linear_gradient("L").save(picture, "PNG")
    names: dict[str, Any] = {
        "SUPABASE_URL": project.url,
        "SUPABASE_PUBLISHABLE_KEY": project.stack.publishable_key,
        "SUPABASE_SECRET_KEY": project.stack.secret_key,
        "EMAIL": email,
        "PASSWORD": password,
        "PICTURE": picture.getvalue(),
    }
    assert len(BLOCKS) == 3
    for block in BLOCKS:
        exec(compile(block, "docs/supabase.md", "exec"), names)
    assert names["me"] == me and names["seen"]["word"] == "queued"
    assert [row["id"] for row in names["mine"]] == [names["made"]["job_id"]]
    assert names["names"] == ["lighthouse.png"] and names["url"].startswith(project.url)
    assert names["references"].list(me) == []
    assert names["buckets"]["sdxl_image_fast"] is False and names["waiting"] >= 1 and names["outputs"] == []
