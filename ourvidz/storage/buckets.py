"""Compare a Supabase project's buckets with the catalog's, and create or change them. Nothing is ever deleted, and a bucket that accepts
more than the catalog says keeps that, unless exact settings are requested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ourvidz.storage.api import Api, understood
from ourvidz.storage.base import BucketLimit, ObjectExists


@dataclass(frozen=True)
class Row:
    """A bucket. `state`: as asked, missing, differs (it refuses what it should accept, or the wrong people can read it), wider (it accepts
    more than the catalog says), or not ours. `differs`: setting → its value there (ours is in `wanted`)."""

    name: str
    state: str
    wanted: Mapping[str, Any]
    differs: Mapping[str, Any]


def compare(api: Api, buckets: Mapping[str, BucketLimit]) -> Sequence[Row]:
    """Our buckets in the catalog's order, then the project's others."""
    doing = "listing the buckets"
    response = api.ask("GET", "/bucket", doing)
    with understood(doing):
        there = {found["id"]: _settings(found) for found in response.json()}
    rows = [_row(name, _wanted(limit), there.get(name)) for name, limit in buckets.items()]
    return [*rows, *(Row(name, "not ours", settings, {}) for name, settings in there.items() if name not in buckets)]


def bring(api: Api, row: Row, *, exact: bool = False) -> None:
    """Create or change a bucket: with `exact` to the catalog's settings, else without lowering its limit or removing a media type. Raises
    the `StorageError` for what the project refuses, such as a limit over its own."""
    settings = dict(row.wanted) if exact else _widened(row)
    if row.state == "missing":
        try:
            api.ask("POST", "/bucket", f"making bucket {row.name}", json={"id": row.name, "name": row.name, **row.wanted})
            return
        except ObjectExists:
            pass  # created by our first try, whose answer was lost, or by someone else: apply the settings
    api.ask("PUT", f"/bucket/{row.name}", f"changing bucket {row.name}", json=settings)


def _row(name: str, wanted: Mapping[str, Any], there: Mapping[str, Any] | None) -> Row:
    if there is None:
        return Row(name, "missing", wanted, {})
    differs = {key: value for key, value in there.items() if value != wanted[key]}
    row = Row(name, "differs", wanted, differs)
    if _widened(row) == there:
        return replace(row, state="wider" if differs else "as asked")
    return row


def _widened(row: Row) -> dict[str, Any]:
    """The catalog's settings, plus what the bucket accepts besides: null is no limit, or any type."""
    there = {**row.wanted, **row.differs}
    limit, types = there["file_size_limit"], there["allowed_mime_types"]
    return {
        "public": row.wanted["public"],
        "file_size_limit": max(limit, row.wanted["file_size_limit"]) if limit else limit,
        "allowed_mime_types": sorted({*types, *row.wanted["allowed_mime_types"]}) if types else types,
    }


def _wanted(limit: BucketLimit) -> Mapping[str, Any]:
    return {"public": limit.public, "file_size_limit": limit.max_bytes, "allowed_mime_types": sorted(limit.media_types)}


def _settings(found: Mapping[str, Any]) -> Mapping[str, Any]:
    types = found["allowed_mime_types"]
    return {"public": found["public"], "file_size_limit": found["file_size_limit"], "allowed_mime_types": types and sorted(types)}
