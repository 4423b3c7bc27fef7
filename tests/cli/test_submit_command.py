"""`ourvidz submit`: what it refuses and at which stage; what it queues, and with which images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from cli_command import Command
from PIL import Image
from support import new_user

from ourvidz.cli import pictures
from ourvidz.db.connection import Database
from ourvidz.storage.base import media_type_of
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS

FOX = ("--prompt", "a fox in snow")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("sdxl_image_fas", *FOX), "no job type"),
        (("image_fast", "--prompt", ""), "prompt is empty"),
        (("image_fast", "--prompt", "   "), "prompt is empty"),
        (("image_fast", "--prompt", "x" * 4001), "4,001 characters"),
        (("image_fast", *FOX, "--negative", "x" * 2001), "2,001 characters"),
        (("image_fast", *FOX, "--size", "big"), "no size"),
        (("sdxl_img2img", *FOX), "--init FILE"),
        (("sdxl_image_fast", *FOX, "--init", "a.png"), "takes no --init"),
        (("sdxl_image_fast", *FOX, "--image", "a.png"), "takes no --image; it takes --reference"),
        (("image_fast", *FOX, "--reference", "a.png"), "takes no --reference"),
        (("image_fast", *FOX, "--first-frame", "a.png"), "takes no --first-frame; it takes --image"),
        (("sdxl_image_fast", *FOX, "--reference-type", "style"), "give --reference FILE too"),
        (("sdxl_image_fast", *FOX, "--reference-strength", "0.5"), "needs a reference: --reference"),
        (("image_fast", *FOX, "--in", "soon"), "not a duration"),
    ],
)  # fmt: skip
def test_invalid_options_are_refused_before_connecting(bare: Command, args: tuple[str, ...], says: str) -> None:
    answer = bare("submit", *args)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert says in answer.err
    assert "xxxx" not in answer.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("image_fast", "--steps", "0"), "steps must be a whole number from 1 to 80"),
        (("sdxl_image_fast", "--steps", "61"), "from 1 to 60"),
        (("image_fast", "--guidance", "15.1"), "guidance must be"),
        (("image_fast", "--guidance", "nan"), "infinity, NaN"),
        (("image_fast", "--size", "1024x1024"), "480×832"),
        (("image_fast", "--seed", str(2**32)), "seed must be"),
        (("image_fast", "--images", "3"), "images must be one of 1"),
        (("sdxl_image_fast", "--images", "2"), "1, 3, 6"),
        (("sdxl_image_fast", "--strength", "0.5"), "takes no strength"),
        (("image_fast", "--scheduler", "DPM2"), "must be one of unipc"),
        (("sdxl_img2img", "--init", "a.png", "--strength", "0.05"), "strength must be"),
        (("sdxl_image_fast", "--reference", "a.png", "--reference-type", "mood"), "style, composition, character"),
        (("sdxl_image_fast", "--reference", "a.png", "--reference-strength", "0"), "reference_strength must be"),
    ],
)  # fmt: skip
def test_database_refusals_come_before_files_are_read(ourvidz: Command, database: Database, args: tuple[str, ...], says: str) -> None:
    new_user(database)
    answer = ourvidz("submit", *args, *FOX)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ") and says in answer.err
    assert database.rows("select 1 from public.jobs") == []


def test_a_dry_run_shows_price_position_and_ignored_options(ourvidz: Command, database: Database) -> None:
    owner = new_user(database, tokens=100)
    shown = ourvidz("submit", "video_high", *FOX, "--image", "a.png", "--last-frame", "b.png", "--user", owner, "--dry-run", "--json")
    assert shown.code == 0, shown.err
    told = shown.json
    assert (told["price"], told["balance"], told["position"], told["eta_seconds"], told["lane"]) == (40, 100, 1, None, "wan_vace")
    assert told["set_aside"] == [{"field": "single", "reason": "first_and_last_win"}]
    page = ourvidz("submit", "video_high", *FOX, "--user", owner, "--dry-run")
    assert "40 tokens of 100" in page.out and "no executor" in page.out
    assert database.rows("select 1 from public.jobs") == []
    poor = ourvidz("submit", "video_high", *FOX, "--user", new_user(database, tokens=3), "--dry-run")
    assert poor.code == 1 and "40 tokens" in poor.err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no file"),
        (b"", "empty"),
        (b"not a picture at all", "not a picture of a known type"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "picture"),
        (b"\0" * 20_000_001, "20.0 MB"),
    ],
    ids=["missing", "empty", "text", "damaged", "too big"],
)
def test_invalid_image_files_are_refused(ourvidz: Command, database: Database, tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "a.png"
    if content is not None:
        file.write_bytes(content)
    answer = ourvidz("submit", "image_fast", *FOX, "--image", str(file), "--i-have-consent", "--user", new_user(database))
    assert answer.code == 2
    assert says in answer.err
    assert str(file) in answer.err
    assert database.rows("select 1 from public.jobs") == []


def test_a_folder_as_image_is_refused(ourvidz: Command, database: Database, tmp_path: Path) -> None:
    assert "is no file" in ourvidz("submit", "image_fast", *FOX, "--image", str(tmp_path), "--user", new_user(database)).err


def test_the_job_is_queued_with_its_options(ourvidz: Command, database: Database) -> None:
    owner = new_user(database)
    answer = ourvidz("submit", "sdxl_image_fast", *FOX, "--negative", "blur", "--images", "6", "--steps", "9", "--guidance", "5.5",
                     "--size", "832x1216", "--seed", "7", "--scheduler", "dpmpp_2m_karras", "--user", owner,
                     "--in", "1h", "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    assert set(answer.json) == {"id", "job_type", "status", "created"}
    (row,) = database.rows(
        "select p.*, j.run_at - j.created_at as delay from public.job_payloads as p join public.jobs as j on j.id = p.job_id"
    )
    assert str(row["job_id"]) == answer.json["id"]
    assert (row["prompt"], row["negative_prompt"], str(row["user_id"])) == ("a fox in snow", "blur", owner)
    wanted = {"images": 6, "steps": 9, "guidance": 5.5, "width": 832, "height": 1216, "seed": 7, "scheduler": "DPM++ 2M Karras"}
    assert row["settings"].items() >= wanted.items()
    assert 3590 < row["delay"].total_seconds() <= 3601


def test_a_pipe_gets_only_the_id(ourvidz: Command, database: Database) -> None:
    answer = ourvidz("submit", "image_fast", "--prompt", "-", "--user", new_user(database), stdin="a fox\nin snow\n")
    assert answer.out == f"{database.rows('select id from public.jobs')[0]['id']}\n"
    assert database.rows("select prompt from public.job_payloads")[0]["prompt"] == "a fox\nin snow"


def test_the_same_idempotency_key_returns_the_same_job(ourvidz: Command, database: Database) -> None:
    same = ("submit", "image_fast", *FOX, "--user", new_user(database), "--key", "k1", "--json")
    first, second = ourvidz(*same), ourvidz(*same)
    assert second.json == first.json | {"created": False}
    other = ourvidz(*same, "--steps", "9")
    assert (other.code, other.out) == (1, "")
    assert "used before" in other.err


def test_references_are_stored_once_unchanged(ourvidz: Command, database: Database, tmp_path: Path, picture: Callable[..., Path]) -> None:
    owner, jpeg = new_user(database), picture("photo.jpg")
    asked = ("submit", "video_fast", *FOX, "--first-frame", str(jpeg), "--last-frame", str(jpeg), "--user", owner)
    # Before consent is confirmed nothing is stored or queued; once confirmed, it is not asked for again.
    refused = ourvidz(*asked)
    assert refused.code == 2 and "agreed" in refused.err and "--i-have-consent" in refused.err
    assert database.rows("select 1 from public.jobs") == [] and not (tmp_path / "home" / "storage" / "character-images").exists()
    for flag in (["--i-have-consent"], []):
        answer = ourvidz(*asked, *flag)
        assert answer.code == 0, answer.err
    folder = tmp_path / "home" / "storage" / "character-images" / owner / "references"
    (stored,) = folder.iterdir()
    assert stored.read_bytes() == jpeg.read_bytes()
    assert stored.name == hashlib.sha256(stored.read_bytes()).hexdigest()[:32] + ".jpg"
    (said,) = database.rows("select user_id::text, sha256, statement_version from public.consents")
    assert said == {"user_id": owner, "sha256": hashlib.sha256(stored.read_bytes()).hexdigest(), "statement_version": "2025-07"}
    for row in database.rows("select settings from public.job_payloads"):
        address = f"character-images/{owner}/references/{stored.name}"
        assert row["settings"]["references"] == {"first_frame": address, "last_frame": address}


@pytest.mark.parametrize(("name", "media_type"), [("IMG_0001.HEIC", "image/heic"), ("photo", "image/jpeg"), ("sent.png", "image/avif")])
def test_photos_are_uploaded_unchanged_with_their_real_type(tmp_path: Path, name: str, media_type: str) -> None:
    """Whatever the file's name, and however large its decoded form: as PNG the JPEG would exceed the 20 MB limit."""
    from pillow_heif import register_heif_opener

    register_heif_opener()
    file, size = tmp_path / name, (2_800, 2_800) if media_type == "image/jpeg" else (300, 200)
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (2_000, 3_600, 3), np.uint8))
    kind = {"image/heic": "HEIF", "image/avif": "AVIF"}.get(media_type, "JPEG")
    noise.resize(size).save(file, kind, quality=20)
    read = pictures.read(file)
    assert (read.data, read.media_type) == (file.read_bytes(), media_type)
    store = FolderStore(tmp_path / "storage", BUCKETS)
    kept = pictures.keep(store, "someone", read)
    assert media_type_of(kept) == media_type and store.read(*kept.split("/", 1)) == read.data


def test_users_who_may_not_submit_are_refused(ourvidz: Command, database: Database) -> None:
    nobody = ourvidz("submit", "image_fast", *FOX)
    assert (nobody.code, "--local-profile" in nobody.err) == (1, True)
    only = new_user(database)  # the database's only user: no need to name one
    answer = ourvidz("submit", "image_fast", *FOX)
    assert answer.code == 0
    assert [str(row["user_id"]) for row in database.rows("select user_id from public.jobs")] == [only]
    new_user(database)
    assert "--user" in ourvidz("submit", "image_fast", *FOX).err
    assert ourvidz("submit", "image_fast", *FOX, "--user", "me").code == 2
    child = ourvidz("submit", "image_fast", *FOX, "--user", new_user(database, verified=False))
    assert child.code == 1
    assert "age-verified" in child.err


def test_a_refused_prompt_is_not_repeated(ourvidz: Command, database: Database) -> None:
    answer = ourvidz("submit", "image_fast", "--prompt", "a photo of a toddler", "--user", new_user(database))
    assert answer.code == 1
    assert "refused" in answer.err
    assert "toddler" not in answer.err
    assert database.rows("select 1 from public.jobs") == []


def test_the_events_actor_is_the_account(ourvidz: Command, database: Database) -> None:
    ourvidz("submit", "image_fast", *FOX, "--user", new_user(database))
    (event,) = database.rows("select actor, occurred_at from public.job_events")
    assert event["actor"].startswith("person")
    assert isinstance(event["occurred_at"], datetime)
