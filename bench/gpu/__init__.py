"""True-size models with random weights on a CUDA device: `python -m bench.gpu --help`."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    from bench.gpu.command import main as command  # imports torch, which `bench --list` does without

    command(argv)
