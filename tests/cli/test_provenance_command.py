"""`ourvidz provenance` as run from a shell."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_command import Command

pytest.importorskip("c2pa")

from PIL import Image

from executors import credentials
from executors.media import encode_png
from executors.provenance import Seal

FACTS = {"job": "3f0c", "model": "lustify", "seed": 4711, "settings": {"steps": 25}}


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(encode_png(Image.new("RGB", (64, 64), (20, 90, 60)), {"ourvidz:job": "3f0c"}))
    Seal(credentials.development(tmp_path / "home")).put(path, "image/png", FACTS)
    return path


def test_it_shows_what_made_a_file_and_who_signed_it(bare: Command, signed: Path) -> None:
    answer = bare("provenance", str(signed))
    told = dict(answer.lines)
    assert answer.code == 0
    assert told["state"].startswith("unchanged") and "nobody trusts" in told["signer"]
    assert (told["job"], told["seed"], told["model"]) == ("3f0c", "4711", "lustify")
    assert bare("provenance", str(signed), "--json").json["generation"] == FACTS


def test_a_modified_file_is_reported_with_exit_1(bare: Command, signed: Path) -> None:
    data = bytearray(signed.read_bytes())
    data[data.index(b"IDAT") + 30] ^= 1
    signed.write_bytes(data)
    answer = bare("provenance", str(signed))
    assert answer.code == 1 and dict(answer.lines)["state"].startswith("CHANGED")
    assert "assertion.dataHash.mismatch" in dict(answer.lines)["problems"]


def test_without_claims_plain_tags_are_shown_with_exit_1(bare: Command, tmp_path: Path) -> None:
    (tmp_path / "plain.png").write_bytes(encode_png(Image.new("RGB", (64, 64)), {"ourvidz:job": "3f0c"}))
    answer = bare("provenance", "plain.png")
    assert answer.code == 1 and dict(answer.lines)["tag job"] == "3f0c"


def test_a_trust_list_without_certificates_is_refused(bare: Command, signed: Path, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nobody")
    answer = bare("provenance", str(signed), "--trust", "none.pem")
    assert answer.code == 1 and "holds no certificates" in answer.err
    assert bare("provenance", "nowhere.png").code == 1


def test_an_executor_requires_its_configured_screen_and_certificate(bare: Command, tmp_path: Path) -> None:
    answer = bare("worker", OURVIDZ_IMAGE_SCREEN="nobodys")
    assert answer.code == 1 and "'nobodys'" in answer.err and "ourvidz.image_screens" in answer.err
    answer = bare("worker", OURVIDZ_C2PA_CERT=str(tmp_path / "cert.pem"))
    assert answer.code == 1 and "go together" in answer.err


def test_doctor_shows_signature_trust_and_image_screen(bare: Command, tmp_path: Path) -> None:
    def lines(**env: str) -> dict[str, tuple[str, str]]:
        return {line["what"]: (line["state"], line["found"]) for line in bare("doctor", "--json", **env).json}

    tiny = lines()
    assert tiny["provenance"][0] == tiny["images"][0] == "ok" and "nobody trusts" in tiny["provenance"][1]
    assert not (tmp_path / "home" / "c2pa").exists()  # doctor creates nothing
    real = lines(OURVIDZ_MODELS=str(tmp_path), OURVIDZ_C2PA="optional")
    assert real["provenance"][0] == real["images"][0] == "warn" and "published unsigned" in real["provenance"][1]
    assert "refused" in real["images"][1]
    none = lines(OURVIDZ_MODELS=str(tmp_path), OURVIDZ_IMAGE_SCREEN="none")
    assert none["images"][0] == "warn" and "NOTHING LOOKS AT THE PICTURES" in none["images"][1]
    assert lines(OURVIDZ_IMAGE_SCREEN="local")["images"][0] == "missing"
