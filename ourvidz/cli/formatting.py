"""Format and parse durations, ages and sizes. Pure functions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def duration(seconds: float | None) -> str:
    """12 ms, 1.2 s, 3 m 04 s, 2 h 05 m, 3 d 4 h; an en dash for None."""
    if seconds is None:
        return "–"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3_600, whole // 86_400
    if hours < 1:
        return f"{minutes} m {whole % 60:02d} s"
    if days < 1:
        return f"{hours} h {minutes % 60:02d} m"
    return f"{days} d {hours % 24} h"


def ago(then: datetime, now: datetime) -> str:
    """How long ago, in one unit: 12 s ago, 3 m ago, 2 h ago, 5 d ago; or "in 3 m" for the future."""
    seconds = (now - then).total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if abs(seconds) >= size:
            count = int(abs(seconds) // size)
            return f"{count} {unit} ago" if seconds > 0 else f"in {count} {unit}"
    return "now"


def size(count: float) -> str:
    """Bytes in decimal units, as disks are sold and as the buckets' limits count: 812 B, 4.1 kB, 20 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1_000
    raise AssertionError


def count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def parse_duration(text: str) -> timedelta:
    """`90s`, `10m`, `2h`, `1d`, `1h30m`, or bare seconds. Raises ValueError."""
    plain = text.strip().lower()
    seconds: float | None = None
    if re.fullmatch(r"\d+(\.\d+)?", plain):
        seconds = float(plain)
    elif plain and not _DURATION.sub("", plain).strip():
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(plain))
    if seconds is None or seconds > 3650 * 86_400:
        raise ValueError(f"{text[:40]!r} is not a duration. Write it like 90s, 10m, 2h, 1d or 1h30m.")
    return timedelta(seconds=seconds)


def parse_since(text: str, now: datetime) -> datetime:
    """A duration back from `now`, or an ISO date or time (UTC where it names no zone). Raises ValueError."""
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text[:40]!r} is not a time. Write how long ago (2h, 1d) or a date like 2025-07-07 or 2025-07-07T12:00."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def parse_size(text: str) -> tuple[int, int]:
    """`480x832`, `480×832` or the wire's `480*832`. Raises ValueError."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×*]\s*(\d{1,5})\s*", text.lower())
    if not found:
        raise ValueError(f"{text[:40]!r} is no size. Write width and height like 480x832.")
    return int(found[1]), int(found[2])
