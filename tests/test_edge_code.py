"""Deno's checks of the edge functions: formatting, lint, strict types, and their own tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from ourvidz.dev.parts import Parts, bring_libraries
from tools.docs import ROOT

FUNCTIONS = ROOT / "supabase/functions"


@pytest.mark.parametrize(
    "command", ["fmt --check", "lint", "check --cached-only .", "test --cached-only --no-prompt --allow-env --allow-net=127.0.0.1"]
)
def test_deno_format_lint_types_and_tests_pass(parts: Parts, deno: Callable[..., subprocess.CompletedProcess[str]], command: str) -> None:
    bring_libraries(parts, FUNCTIONS)
    done = deno(*command.split(), cwd=FUNCTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
