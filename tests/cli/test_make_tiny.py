"""`ourvidz models make-tiny`, with trained and with random weights, and the manifest's statement about them."""

from __future__ import annotations

import json
from pathlib import Path

from cli_command import Command

from executors.models import taught
from executors.models.tiny import MAKERS


def test_make_tiny_writes_trained_or_random_weights(bare: Command, tmp_path: Path) -> None:
    root = tmp_path / "models"

    def made(*more: str) -> tuple[str, dict[str, object], set[str]]:
        answer = bare("models", "make-tiny", *more, "--to", str(root))
        assert (answer.code, answer.out.strip()) == (0, str(root)), answer.err
        shown = bare("models", "ls", OURVIDZ_MODELS=str(root)).lines
        return answer.err, json.loads((root / "manifest.json").read_text()), {line[2] for line in shown}

    said, manifest, kinds = made("--random")
    assert "the pictures are noise" in said and (manifest["random"], manifest["taught"]) == (True, []) and kinds == {"tiny, random"}
    said, manifest, kinds = made()
    known = taught.shipped(list(MAKERS))
    assert "a red circle on a blue background" in said and (manifest["random"], manifest["taught"]) == (False, known)
    assert kinds == {"tiny, taught"} | ({"tiny, random"} if len(known) < len(MAKERS) else set())
