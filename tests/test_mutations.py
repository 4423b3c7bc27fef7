"""Every mutant still changes the SQL that it names, so that a full run (`make mutants`) can start."""

from __future__ import annotations

import mutations
import pytest


def test_no_mutant_is_stale() -> None:
    assert mutations.stale() == []


@pytest.mark.parametrize(
    "wrong",
    [
        mutations.Mutant("claim_from_lane.sql", "text that the part does not hold", "", "claims"),
        mutations.Mutant("claim_from_lane.sql", "for update", "for update", "claims"),
        mutations.Mutant("no_such_part.sql", "for update", "", "claims"),
        mutations.Mutant("claim_from_lane.sql", "for update", "", "no_such_file"),
    ],
    ids=["no such text", "no change", "no such part", "no such file"],
)
def test_stale_mutants_are_detected(wrong: mutations.Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mutations.MUTANTS, "wrong", wrong)
    assert mutations.stale() == ["wrong"]
