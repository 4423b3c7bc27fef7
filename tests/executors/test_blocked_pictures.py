"""Blocked images in the executor's pipeline, and the perceptual hash that recognises them. The images are discs in random colours."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from executor_site import Site
from PIL import Image, ImageDraw

from executors import perceptual
from ourvidz.db import moderation
from state.catalog import REFERENCE_BUCKET

SAME = 31
# Hashes by pdqhash 0.2.8, Meta's own code, for `drawn(0)` to `drawn(2)`.
META = (
    "c6364af90d5eb4b557568959b4b5462ae98a92a718d2015de59d9f068a72b3e6",
    "a669dbd171c62756786e1eb0a28e526a8c5da5a16675c18e9cd21bca6361bcbc",
    "8dac323d17010fc93f876392f066dd09807cf876e399b37ecc695aa6031c2f59",
)


def drawn(seed: int, size: tuple[int, int] = (480, 320)) -> Image.Image:
    chance, picture = np.random.default_rng(seed), Image.new("RGB", size, (90, 120, 150))
    draw = ImageDraw.Draw(picture)
    for x, y, w, h, *colour in chance.integers((0, 0, 20, 20, 0, 0, 0), (*size, 200, 160, 256, 256, 256), (30, 7)):
        draw.ellipse((int(x), int(y), int(x + w), int(y + h)), fill=tuple(map(int, colour)))
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **how: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


@pytest.mark.parametrize("seed", range(3))
def test_the_hash_equals_metas_pdq(seed: int) -> None:
    (mine,) = perceptual.hashes([drawn(seed)])
    assert perceptual.distance(mine, META[seed]) <= 4


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda p: p.resize((160, 107)),
    "larger": lambda p: p.resize((1440, 960)),
    "JPEG of quality 10": lambda p: Image.open(io.BytesIO(encoded(p, "JPEG", quality=10))),
    "brighter": lambda p: p.point(lambda v: min(255, int(v * 1.2))),
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda p: p.transpose(Image.Transpose.ROTATE_90),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_modified_copy_matches_and_another_image_does_not(change: str) -> None:
    (blocked,), (other,) = perceptual.hashes([drawn(1)]), perceptual.hashes([drawn(2)])
    found = perceptual.orientations([CHANGES[change](drawn(1))])
    assert min(perceptual.distance(blocked, one) for one in found) <= SAME
    assert min(perceptual.distance(other, one) for one in found) > SAME


def test_flat_images_get_no_hash() -> None:
    assert perceptual.hashes([Image.new("RGB", (64, 64), colour) for colour in ("white", "navy")]) == []


def reference(site: Site, data: bytes, ending: str) -> str:
    file = site.root / f"reference.{ending}"
    file.write_bytes(data)
    path = f"{site.user}/{hashlib.sha256(data).hexdigest()[:8]}.{ending}"
    site.store.put(REFERENCE_BUCKET, path, file, "image/png" if ending == "png" else "image/jpeg")
    return f"{REFERENCE_BUCKET}/{path}"


def refused(site: Site, job_id: str, stage: str) -> None:
    row, told = site.row(job_id), site.data(job_id, "failed")[-1]
    assert (row["status"], row["error_class"], row["final"]) == ("failed", "refused_content", True), site.said(job_id)
    assert (told["category"], told["stage"]) == ("blocked", stage)
    (said,) = site.db.rows("select error_message as words from public.job_payloads where job_id = %s", (job_id,))
    assert said["words"].endswith(" is blocked.") and "pdq" not in said["words"] and "sha" not in said["words"]
    assert [p for bucket in site.store.buckets() for p in site.store.list(bucket, f"{site.user}/{job_id}")] == []


@pytest.mark.parametrize(("how", "ending"), [("bytes", "png"), ("smaller, as JPEG", "jpg"), ("mirrored", "png")])
def test_a_blocked_reference_reaches_no_model(site: Site, how: str, ending: str) -> None:
    picture = drawn(0)
    given = {"bytes": encoded(picture), "smaller, as JPEG": encoded(picture.resize((240, 160)), "JPEG", quality=50),
             "mirrored": encoded(CHANGES["mirrored"](picture))}[how]  # fmt: skip
    known = (hashlib.sha256(given).hexdigest(),) if how == "bytes" else ()
    moderation.block(site.db, known, () if known else perceptual.hashes([picture]), "a-list", "person:op")
    job_id = site.submit("sdxl_img2img", steps=4, references={"init": reference(site, given, ending)})
    site.work(job_id)
    refused(site, job_id, "reference")
    assert site.artifacts(job_id) == []


def test_an_output_that_was_taken_down_is_not_published_again(site: Site) -> None:
    first = site.submit()
    site.work(first)
    (hashes,) = (a["pdq"] for a in site.artifacts(first) if a["kind"] == "image")
    assert len(hashes) == 1, "the tiny model's noise is not flat"
    moderation.output(site.db, first, "block", "person:op", "other")
    again = site.submit()  # the same seed: the same image in another file
    site.work(again)
    refused(site, again, "output")
