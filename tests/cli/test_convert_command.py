"""`ourvidz models convert` on tiny models."""

from __future__ import annotations

from pathlib import Path

from cli_command import Command


def test_convert_reports_its_output(bare: Command, tmp_path: Path) -> None:
    root = str(tmp_path / "models")
    assert "Nothing to convert" in bare("models", "convert", "--to", root, "--dry-run").err
    assert bare("models", "make-tiny", "--to", root).code == 0
    assert {m["state"] for m in bare("models", "convert", "--to", root, "--dry-run", "--json").json} == {"missing"}
    made = bare("models", "convert", "--to", root)
    assert (made.code, [line[:2] for line in made.lines]) == (0, [["umt5-bf16", "made"], ["sdxl-folder", "made"]])
    assert "converting unet" in made.err
    again = bare("models", "convert", "--to", root, "--prune", "--json")
    assert [m["state"] for m in again.json] == ["there", "there"]
