"""Allowed references, for every job type, slot and form of address."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import new_user

from ourvidz.db.connection import Database
from state import catalog
from state.errors import InvalidJob

ELSEWHERE = "https://pictures.example.net/a.png?token=eyJhbGciOi.J9-_"
SIGNED = "https://abc.supabase.co/storage/v1/object/sign/character-images/u/a.png?token=eyJhbGciOi.J9-_"


def sql_allows(database: Database, kind: catalog.JobType, references: Any) -> bool:
    try:
        database.rows(
            "select ourvidz.check_references(t, %s::jsonb) from ourvidz.job_types as t where name = %s", (json.dumps(references), kind.name)
        )
    except InvalidJob as refused:
        assert refused.field == "references"
        return False
    return True


GOOD = ["b/p", "character-images/u/a b.png", SIGNED, "https://h", "https://" + "h" * 1992, "b/" + "p" * 498]
BAD = [
    "", "/", "nowhere", "/p", "b/", "http://h/p.png", "HTTPS://h/p.png", "https://", "https:///" + "h" * 1992, "ftp://h/p", "file:///etc",
    "data:image/png;base64,AAAA", "//h/p", "https://h/p q", "https://h/\u00e9", "b/\u00e9", "b/p\n", "https://h/p\n", "https://h\nb/p",
    "b\n/p",
    " https://h/p", "b/" + "p" * 499, 7, None, True, ["b/p"], {"b": "p"},
]  # fmt: skip
KINDS = list(catalog.JOB_TYPES.values())


@pytest.mark.parametrize(
    "kind", [catalog.JOB_TYPES[name] for name in ("sdxl_img2img", "sdxl_image_fast", "video_fast")], ids=lambda k: k.name
)
def test_references_must_be_objects_or_urls(shared: Database, kind: catalog.JobType) -> None:
    slot = catalog.reference_slots(kind)[0]
    for address in GOOD:
        assert sql_allows(shared, kind, {slot: address}), address
    for address in BAD:
        assert not sql_allows(shared, kind, {slot: address}), address


@pytest.mark.parametrize("references", [[], "b/p", 7, True])
def test_references_are_a_mapping(shared: Database, references: Any) -> None:
    for kind in (catalog.JOB_TYPES["video_fast"], catalog.JOB_TYPES["sdxl_img2img"]):
        assert not sql_allows(shared, kind, references)


def test_sql_submits_check_references_without_repeating_the_url(shared: Database) -> None:
    def submit(references: dict[str, str]) -> None:
        job = {"user_id": new_user(shared), "job_type": "video_fast", "prompt": "a harbour", "settings": {"references": references}}
        shared.rows("select * from ourvidz.submit_batch(%s::jsonb)", (json.dumps([job]),))

    submit({"single": ELSEWHERE})
    with pytest.raises(InvalidJob, match="Reference single must be") as refused:
        submit({"single": ELSEWHERE.replace("https", "http")})
    assert "token" not in str(refused.value) and "supabase" not in str(refused.value)


def test_shown_urls_have_no_signature() -> None:
    assert catalog.shown(SIGNED) == SIGNED.partition("?")[0] + "?…"
    assert catalog.shown("https://h/p#secret") == "https://h/p?…"
    assert catalog.shown("https://h/p.png") == "https://h/p.png"
    assert catalog.shown("b/what?.png") == "b/what?.png"


def test_a_video_takes_one_picture_or_first_and_last_frame(shared: Database) -> None:
    kind = catalog.JOB_TYPES["video_fast"]
    for together, fine in (
        (["first_frame", "last_frame"], True),
        (["single", "first_frame"], False),
        (["single", "last_frame"], False),
    ):
        references = dict.fromkeys(together, "b/p")
        assert sql_allows(shared, kind, references) == fine, together
