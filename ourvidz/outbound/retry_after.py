"""Parse the Retry-After header of a response."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 3600.0  # seconds; longer values are capped


def retry_after(header: str | None, longest: float = LONGEST) -> float:
    """Seconds of a Retry-After header (RFC 9110: a whole number, or a date), at most `longest`; 0 if it is absent or unreadable."""
    text = (header or "").strip()
    try:
        number = text.isascii() and text.isdigit()
        seconds = float(text[:12]) if number else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # neither; or a date without its zone
        return 0.0
    return min(max(seconds, 0.0), longest)
