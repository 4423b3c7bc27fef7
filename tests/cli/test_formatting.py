"""Formatting of figures, and parsing of typed ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ourvidz.cli import formatting

NOON = datetime(2025, 7, 7, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (0, "0 ms"), (0.0123, "12 ms"), (0.0996, "0.1 s"), (1.24, "1.2 s"), (59.94, "59.9 s"), (59.96, "1 m 00 s"),
        (184, "3 m 04 s"), (3599.6, "1 h 00 m"), (7500, "2 h 05 m"), (86_399.9, "1 d 0 h"), (273_600, "3 d 4 h"), (-2, "-2.0 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (812, "812 B"), (999, "999 B"), (4_100, "4.1 kB"), (999_600, "1.0 MB"), (20e6, "20.0 MB"), (2.5e13, "25.0 TB")],
)
def test_sizes(count: float, text: str) -> None:
    assert formatting.size(count) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("1h 30m", 5400), ("0.5h", 1800), ("45", 45)],
)
def test_typed_durations(text: str, seconds: float) -> None:
    assert formatting.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "10x", "-5m", "ten minutes", "1e3", "999999999999999d"])
def test_invalid_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        formatting.parse_duration(text)


def test_since() -> None:
    assert formatting.parse_since("2h", NOON) == NOON - timedelta(hours=2)
    assert formatting.parse_since("2025-07-01", NOON) == datetime(2025, 7, 1, tzinfo=UTC)
    assert formatting.parse_since("2025-07-01T10:00+02:00", NOON) == datetime(2025, 7, 1, 8, tzinfo=UTC)
    with pytest.raises(ValueError, match="not a time"):
        formatting.parse_since("yesterday", NOON)


@pytest.mark.parametrize("text", ["480x832", "480*832", "480×832", "480 X 832"])
def test_pixel_sizes(text: str) -> None:
    assert formatting.parse_size(text) == (480, 832)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "now"), (12, "12 s ago"), (200, "3 m ago"), (7300, "2 h ago"), (5 * 86_400, "5 d ago"), (-65, "in 1 m")]
)
def test_ago(seconds: float, text: str) -> None:
    assert formatting.ago(NOON - timedelta(seconds=seconds), NOON) == text
