"""`--profile` and OURVIDZ_PROFILE: an unknown name is refused before anything starts."""

from __future__ import annotations

import pytest
from cli_command import Command

CHOICES = "exact, default, turbo-cache, turbo-int8, turbo-fp8, turbo-steps"


@pytest.mark.parametrize(("option", "env"), [(["--profile", "warp"], {}), ([], {"OURVIDZ_PROFILE": "warp"})], ids=["option", "environment"])
def test_an_unknown_profile_is_refused_with_the_choices(bare: Command, option: list[str], env: dict[str, str]) -> None:
    answer = bare("worker", *option, **env)
    assert (answer.code, answer.out) == (2, "")
    assert f"There is no speed profile 'warp'. Choose one of: {CHOICES}." in " ".join(answer.err.split())


def test_doctor_shows_the_active_profile(ourvidz: Command) -> None:
    said = {line["what"]: line for line in ourvidz("doctor", "--json", OURVIDZ_PROFILE="exact").json}["profile"]
    assert said["state"] == "ok"
    assert said["found"].startswith("exact: nothing: each picture by itself")
    wrong = {line["what"]: line for line in ourvidz("doctor", "--json", OURVIDZ_PROFILE="warp").json}["profile"]
    assert wrong["state"] == "missing"
    assert CHOICES in wrong["remedy"]


@pytest.mark.parametrize("wrong", ["0", "17", "many"])
def test_an_invalid_batch_size_is_refused(bare: Command, wrong: str) -> None:
    answer = bare("worker", OURVIDZ_BATCH=wrong)
    assert answer.code != 0
    assert "OURVIDZ_BATCH" in answer.err
