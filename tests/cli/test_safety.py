"""`ourvidz safety`: its counts and locations; it shows no text unless asked. Texts are neutral."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_command import Command, environment
from waiting import LIMIT

from ourvidz.safety.rules import TERMS, load_rules
from tools.docs import ROOT

EXAMPLE = ROOT / "docs/screen-example.csv"
ALLOWED, REFUSED = "a quiet lighthouse", "a photo of a toddler"


@pytest.fixture
def ourvidz(tmp_path: Path) -> Command:
    return Command(environment(tmp_path / "home"), tmp_path)


def written(folder: Path, text: str, name: str = "labelled.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_example_file_is_evaluated(ourvidz: Command) -> None:
    told = ourvidz("safety", "eval", str(EXAMPLE), "--strict", "--json").json
    assert (told["rows"], told["recall"], told["false_negatives"], told["unanswered"]) == (18, 1, [], [])
    assert told["false_positives"] == [{"line": 11, "rule_id": "en/word"}] and told["precision"] == 8 / 9
    assert told["policy_versions"] == [load_rules(TERMS).policy_version] and told["screen"] == "lexical"
    assert told["categories"]["ages"]["rows"] == 4 and told["categories"]["other meanings"]["precision"] == 0


def test_errors_are_listed_by_line_and_rule(ourvidz: Command, tmp_path: Path) -> None:
    file = written(tmp_path, f'label,text\nrefuse,{REFUSED}\nallow,"two\nlines, {REFUSED}"\nrefuse,{ALLOWED}\nallow,{ALLOWED}\n')
    answer = ourvidz("safety", "eval", file)
    assert answer.code == 0 and answer.lines[:2] == [["false negative", "line 5", "–"], ["false positive", "line 3", "en/word"]]
    assert answer.lines[2] == ["all", "4", "1", "1", "0", "0.5000", "0.5000"]
    assert "lighthouse" not in answer.out + answer.err and "toddler" not in answer.out + answer.err
    assert ourvidz("safety", "eval", file, "--strict").code == 1
    assert "lighthouse" in ourvidz("safety", "eval", file, "--show-text").out
    told = ourvidz("safety", "eval", file, "--show-text", "--json").json
    assert told["false_negatives"] == [{"line": 5, "rule_id": None, "text": ALLOWED}]


def test_lines_of_json(ourvidz: Command, tmp_path: Path) -> None:
    lines = f'{{"text": "{ALLOWED}", "label": "refuse"}}\n\n{{"text": "{REFUSED}", "label": "Refuse", "category": "x"}}\n'
    told = ourvidz("safety", "eval", written(tmp_path, lines, "labelled.jsonl"), "--json").json
    assert [j["line"] for j in told["false_negatives"]] == [1] and sorted(told["categories"]) == ["", "x"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "text"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.csv", f"words,label\n{ALLOWED},allow\n", "does not name text"),
        ("a.csv", f"text,label\n{ALLOWED},yes\n", "line 2"),
        ("a.csv", f"text,label\n{ALLOWED}\n", "line 2"),
        ("a.csv", f'text,label\n"{ALLOWED}"x,allow\n', "line 2 is not CSV"),
        ("a.jsonl", f'{{"text": "{ALLOWED}"', "line 1 is not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", f'["{ALLOWED}", "allow"]', "line 1"),
        ("a.jsonl", '{"text": 17, "label": "allow"}', "line 1"),
    ],
)
def test_an_invalid_file_is_refused(ourvidz: Command, tmp_path: Path, name: str, text: str, said: str) -> None:
    answer = ourvidz("safety", "eval", written(tmp_path, text, name))
    assert answer.code == 2 and said in answer.err and "lighthouse" not in answer.err


def test_a_missing_or_binary_file_is_refused(ourvidz: Command, tmp_path: Path) -> None:
    assert "No such file" in ourvidz("safety", "eval", "nowhere.csv").err
    (tmp_path / "a.csv").write_bytes(b"text,label\n\xff\xfe,allow\n")
    assert "UTF-8" in ourvidz("safety", "eval", "a.csv").err


def test_an_unanswered_text_is_not_scored_and_fails_the_run(ourvidz: Command, tmp_path: Path) -> None:
    file = written(tmp_path, f"text,label\n{'a ' * 10_001},refuse\n{REFUSED},refuse\n")
    answer = ourvidz("safety", "eval", file, "--json")
    assert answer.code == 1 and answer.json["recall"] == 1 and answer.json["unanswered"] == [{"line": 2, "rule_id": None}]


def test_guard_evaluation_requires_a_guard_model(ourvidz: Command) -> None:
    answer = ourvidz("safety", "eval", str(EXAMPLE), "--screen", "guard")
    assert answer.code == 1 and "ourvidz models pull qwen" in answer.err and answer.out == ""


def test_the_local_guard_is_used(ourvidz: Command, tmp_path: Path) -> None:
    """With random weights the guard answers no valid letter: counted as no answer. The lexical screen's refusals stay."""
    from executors.models.tiny import make_tiny

    make_tiny(tmp_path / "models", lambda _: None, ["qwen"], random=True)
    file = written(tmp_path, f"text,label\n{ALLOWED},allow\n{REFUSED},refuse\n")
    answer = ourvidz("safety", "eval", file, "--screen", "all", "--json", OURVIDZ_MODELS=str(tmp_path / "models"))
    assert answer.code == 1 and "reads the texts" in answer.err
    assert [j["line"] for j in answer.json["unanswered"]] == [2] and answer.json["recall"] == 1


def test_a_screen_that_hangs_in_native_code_does_not_abort_the_command(tmp_path: Path) -> None:
    """Its thread still computes when the command ends; shutting the interpreter down under it raised SIGABRT."""
    program = """if True:
        import torch
        from ourvidz.cli import main
        from ourvidz.safety.screen import ScreenUnavailable, guarded

        def hang():
            a = torch.rand(64, 64)
            while True:
                a = torch.tanh(a @ a)

        def command(**_):
            try:
                guarded("prompt screen", hang, 0.2)
            except ScreenUnavailable as error:
                print(error)
            raise SystemExit(3)

        main.app = command
        main.main()
    """
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT, env=environment(tmp_path / "home")
    )
    assert (ended.returncode, ended.stderr) == (3, "") and "no answer within" in ended.stdout


def test_terms_shows_counts_by_language(ourvidz: Command) -> None:
    told = ourvidz("safety", "terms", "--json").json
    assert told["policy_version"] == load_rules(TERMS).policy_version and len(told["languages"]) == 28
    assert all(counts["terms"] > 30 and counts["patterns"] > 3 and counts["numbers"] > 16 for counts in told["languages"].values())
    assert ourvidz("safety", "terms").lines[0] == ["policy", told["policy_version"]]
