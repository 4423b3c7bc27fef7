"""Database lookups about objects in storage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

from ourvidz.db.connection import Database


@cache
def _sql() -> str:
    return (resources.files("ourvidz.db") / "sql" / "queries" / "unnamed.sql").read_text(encoding="utf-8")


def unnamed(db: Database, bucket: str, paths: Sequence[str]) -> dict[str, bool]:
    """Return those of a job's objects (paths user/job/…) that no artifact names → whether the job is known."""
    given = {"bucket": bucket, "paths": list(paths), "jobs": [path.split("/")[1] for path in paths]}
    return {row["path"]: row["known"] for row in db.rows(_sql(), given)}
