"""`ourvidz safety eval | refusals | terms`: evaluate the screens, count refusals, and summarise the lexical screen's rules."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import Sections, about
from ourvidz.cli.refusals import refusals

if TYPE_CHECKING:
    from ourvidz.safety.evaluation import Judged, Report
    from ourvidz.safety.screen import PromptScreen

LIMIT = 120.0  # seconds for one answer: the guard may run on a CPU


class Screens(StrEnum):
    LEXICAL = "lexical"
    GUARD = "guard"
    ALL = "all"


def add(app: typer.Typer, panel: str) -> None:
    safety = typer.Typer(cls=Sections, rich_markup_mode=None, help="The prompt screens: how well they do, and by which rules.")
    examples = ("ourvidz safety eval docs/screen-example.csv --strict", "ourvidz safety eval prompts.jsonl --screen all --json")
    safety.command("eval", **about(*examples))(evaluate)
    safety.command("refusals", **about("ourvidz safety refusals --since 7d", "ourvidz safety refusals --json"))(refusals)
    safety.command("terms", **about("ourvidz safety terms", "ourvidz safety terms --json"))(terms)
    app.add_typer(safety, name="safety", rich_help_panel=panel)


def evaluate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or JSONL with text, label (allow or refuse) and, if you like, category.")
    ],
    screen: Annotated[Screens, typer.Option("--screen", help="Which screen; the guard needs real models.")] = Screens.LEXICAL,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when a text passed that should not have.")] = False,
    show_text: Annotated[bool, typer.Option("--show-text", help="Print the texts that were judged wrongly, too.")] = False,
    as_json: options.Json = False,
) -> None:
    """Judge the texts of a labelled file: what was refused wrongly, and what passed. Exit 1 when a text got no answer."""
    from ourvidz.safety import evaluation

    try:
        rows = evaluation.read_rows(file)
    except UnicodeDecodeError:
        raise out.Problem(f"{file} is not UTF-8.", 2) from None
    except ValueError as error:
        raise out.Problem(f"{file} cannot be judged: {error}.", 2) from None
    report = evaluation.evaluate(rows, _screens(screen), LIMIT)
    if as_json:
        out.emit(
            _told(report, show_text) | {"screen": screen.value, "categories": {k: _told(r, False) for k, r in report.by_category().items()}}
        )
    else:
        _show(report, show_text)
    if report.unanswered or (strict and report.false_negatives):
        raise typer.Exit(1)


def _screens(which: Screens) -> list[PromptScreen]:
    from ourvidz.safety.lexical import LexicalScreen

    found: list[PromptScreen] = []
    if which is not Screens.GUARD:
        found.append(LexicalScreen())
    if which is not Screens.LEXICAL:
        from ourvidz.cli import executor
        from ourvidz.config import config

        found.append(executor.able("The guard").guard(config(), say=out.say))
    return found


def _lists(report: Report) -> dict[str, list[Judged]]:
    return {"false_negatives": report.false_negatives, "false_positives": report.false_positives, "unanswered": report.unanswered}


def _told(report: Report, show_text: bool) -> dict[str, Any]:
    def one(judged: Judged) -> dict[str, Any]:
        text = {"text": judged.row.text} if show_text else {}
        return {"line": judged.row.line, "rule_id": judged.verdict and judged.verdict.rule_id} | text

    lists = {name: [one(j) for j in judged] for name, judged in _lists(report).items()}
    versions = sorted({j.verdict.policy_version for j in report.judged if j.verdict})
    figures = {"rows": len(report.judged), "precision": report.precision, "recall": report.recall, "policy_versions": versions}
    return figures | lists


def _show(report: Report, show_text: bool) -> None:
    for name, judged in _lists(report).items():
        for j in judged:
            rule = (j.verdict and j.verdict.rule_id) or "–"
            cells = [out.cell(name.removesuffix("s").replace("_", " ")), out.cell(f"line {j.row.line}"), out.cell(rule)]
            out.table((), [[*cells, out.cell(j.row.text)] if show_text else cells])
    parts = {"all": report} | (report.by_category() if len(report.by_category()) > 1 else {})
    out.table(
        ("category", "rows", "let through", "wrongly refused", "no answer", "precision", "recall"),
        [
            [out.cell(name or "–"), *(out.number(n) for n in (len(r.judged), *(len(_lists(r)[key]) for key in _lists(r)))),
             _percent(r.precision), _percent(r.recall)]
            for name, r in parts.items()
        ],
        right=("rows", "let through", "wrongly refused", "no answer", "precision", "recall"),
    )  # fmt: skip
    if report.unanswered:
        out.say(
            f"{len(report.unanswered)} texts got no answer; a job with one of them would not run. They count neither way here.", "yellow"
        )


def _percent(share: float | None) -> out.Cell:
    return out.cell("–") if share is None else out.Cell(f"{share:.1%}", f"{share:.4f}")


def terms(as_json: options.Json = False) -> None:
    """Print the lexical screen's policy version, and its languages with how many spellings of terms each has."""
    from ourvidz.safety.rules import TERMS, load_rules

    rules = load_rules(TERMS)
    languages = {
        code: {
            "terms": sum(f"{code}/word" in means for means in rules.meanings.values())
            + sum(rule.startswith(f"{code}/") for table in (rules.inside, rules.stems, rules.exact) for rule in table.values()),
            "patterns": sum(pattern.language == code for pattern in rules.patterns),
            "numbers": len(words),
        }
        for code, words in rules.numbers.items()
    }
    if as_json:
        out.emit({"policy_version": rules.policy_version, "category": rules.category, "languages": languages})
        return
    out.fields([("policy", rules.policy_version), ("category", rules.category)])
    out.table(
        ("language", "terms", "patterns", "number words"),
        [[out.cell(code), *map(out.number, counts.values())] for code, counts in languages.items()],
        right=("terms", "patterns", "number words"),
    )
