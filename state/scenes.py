"""A scene (a row of `videos`): its statuses, and what its jobs' events make of it. An image job of a scene is its preview, a video job its
final. The database's copy is `ourvidz.scene_steps`, read by `ourvidz.videos_follow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from state.machine import EventType

E = EventType
STATUSES: Final = ("draft", "previewing", "preview_ready", "generating", "completed", "failed", "cancelled")

STEPS: Final[Mapping[EventType, tuple[str, str]]] = {
    # event → status by a preview's, by a final's
    E.SUBMITTED: ("previewing", "generating"),
    E.RETRIED: ("previewing", "generating"),
    E.COMPLETED: ("preview_ready", "completed"),
    E.FAILED: ("failed", "failed"),
    E.CANCELLED: ("cancelled", "cancelled"),
}
BEGINNINGS: Final = frozenset({E.SUBMITTED, E.RETRIED})
"""Make their job the one whose events say the scene's status."""


def rows() -> list[dict[str, Any]]:
    """The table as the database has it."""
    return [
        {"stage": stage, "event": str(event), "begins": event in BEGINNINGS, "status": status}
        for event, statuses in STEPS.items()
        for stage, status in zip(("preview", "final"), statuses, strict=True)
    ]
