"""Sizes of tests: small in `make test`, full in `make nightly`, which sets OURVIDZ_TEST_FULL=1 and runs the tests marked `sized`."""

from __future__ import annotations

import os

FULL = os.environ.get("OURVIDZ_TEST_FULL") == "1"


def size(small: int, full: int) -> int:
    return full if FULL else small
