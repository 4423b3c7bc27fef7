"""Runs the stateful tests with common settings; under a mutant, no further than needed to catch it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from mutations import VARIABLE


def live(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """`OURVIDZ_MACHINE_EXAMPLES` overrides the number of examples."""
    # A mutant only has to be caught: no shrinking, no explanation (tests/mutations.py).
    phases = [p for p in Phase if not (os.environ.get(VARIABLE) and p in (Phase.shrink, Phase.explain))]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=int(os.environ.get("OURVIDZ_MACHINE_EXAMPLES", str(examples))),
            stateful_step_count=steps,
            deadline=None,
            derandomize=False,  # Hypothesis repeats the same examples where CI is set: a second run would see no more than the first
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=phases,
        ),
    )
