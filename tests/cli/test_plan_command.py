"""`ourvidz models plan`: a table for a person, lines for a pipe, JSON for a program."""

from __future__ import annotations

from cli_command import Command


def test_a_plan_for_a_card(bare: Command) -> None:
    told = bare("models", "plan", "--vram", "48GB", "--json").json
    assert (told["vram"], told["budget"]) == (48_000_000_000, 35_000_000_000)
    assert bare("models", "plan", "--vram", "48GB", "--json", OURVIDZ_VRAM_BUDGET="20GiB").json["budget"] == 20 * 2**30
    lines = bare("models", "plan", "--vram", "24GB").lines
    assert ["wan.vae", "VAE", "fp32", "536870912", "stated", ""] in lines
    assert any(line[0] == "video_fast, …high" and line[-1] == "yes" for line in lines)


def test_the_plan_is_a_table_in_a_terminal(bare: Command) -> None:
    shown = bare.in_terminal("models", "plan", "--vram", "12GB").plain
    for words in (
        "A card of 12.0 GB: 10.0 GB for weights and working room.",
        "They take turns",
        "~ in tiles",
        "✗ no",
        "25 GB/s",
        "sdxl + style",
    ):
        assert words in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 120


def test_invalid_amounts_of_memory_are_refused(bare: Command) -> None:
    for given, said in (("lots", "no amount of memory"), ("1GB", "nothing to give")):
        answer = bare("models", "plan", "--vram", given)
        assert (answer.code, answer.out) == (2, "") and said in answer.err
    wrong = bare("models", "plan", OURVIDZ_VRAM_BUDGET="plenty")
    assert wrong.code == 1 and "OURVIDZ_VRAM_BUDGET: 'plenty' is no amount of memory." in wrong.err
