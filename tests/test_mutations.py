"""Each mutant still changes the SQL that it names, so that the long run of all of them (`make mutants`) can start."""

from __future__ import annotations

import mutations
import pytest


def test_no_mutant_is_stale() -> None:
    assert mutations.stale() == []


@pytest.mark.parametrize(
    "wrong",
    [
        mutations.Mutant("functions/take.sql", "text that the part does not hold", "", "claims"),
        mutations.Mutant("functions/take.sql", "for update", "for update", "claims"),
        mutations.Mutant("functions/no_such_part.sql", "for update", "", "claims"),
        mutations.Mutant("functions/take.sql", "for update", "", "no_such_file"),
    ],
    ids=["no such text", "no change", "no such part", "no such file"],
)
def test_what_a_stale_mutant_is(wrong: mutations.Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mutations.MUTANTS, "wrong", wrong)
    assert mutations.stale() == ["wrong"]
