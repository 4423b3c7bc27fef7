"""Trains the tiny model of one family. Prints its scores, and writes them to a JSON file next to the weights.

python -m tools.teach sdxl --help
"""

from __future__ import annotations

import importlib
import sys

FAMILIES = ("sdxl", "wan", "qwen")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in FAMILIES:
        sys.exit(f"{__doc__}\nGive one of: {', '.join(FAMILIES)}.")
    importlib.import_module(f"tools.teach.{sys.argv[1]}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
