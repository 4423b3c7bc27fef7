"""The demo's jobs: prompts that the tiny models know, and the pictures that some of them refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Wish:
    """One job of the demo. `references` names pictures of `draw_references`."""

    job_type: str
    prompt: str
    note: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)

    def given(self, kept: Mapping[str, str]) -> dict[str, Any]:
        return {**self.settings, "references": {slot: kept[name] for slot, name in self.references.items()}}

    @property
    def title(self) -> str:
        return f"{self.job_type} ({self.note})" if self.note else self.job_type

    @property
    def file_name(self) -> str:
        return "-".join([self.job_type, *self.note.split()])


WIDE = {"width": 832, "height": 480}
MOVES = "a red circle moving right on a blue background"


def wishes() -> list[Wish]:
    """One job of each type, then variants: a batch, SDXL's references, Wan's references (the plain videos above have none)."""
    return [
        Wish("sdxl_image_fast", "a red circle on a blue background"),
        Wish("sdxl_image_high", "two yellow squares on a purple background"),
        Wish("sdxl_image_premium", "a green triangle at the left on a white background"),
        Wish("sdxl_img2img", "an orange circle on a blue background", references={"init": "red circle"}),
        Wish("image_fast", "a white square on a red background"),
        Wish("image_high", "a yellow triangle on a black background"),
        Wish("video_fast", "a green square moving right on a yellow background", settings=WIDE),
        Wish("video_high", "a white circle moving left on a purple background", settings=WIDE),
        Wish("image7b_fast_enhanced", "black circle, yellow"),
        Wish("image7b_high_enhanced", "purple square, white"),
        Wish("video7b_fast_enhanced", "blue triangle, orange", settings=WIDE),
        Wish("video7b_high_enhanced", "Black square moves left, red", settings=WIDE),
        Wish("sdxl_image_fast", "a purple circle on an orange background", "batch of 6", {"images": 6}),
        # Each reference supplies what the prompt leaves open.
        Wish("sdxl_image_fast", "a red square", "style reference", {"reference_type": "style"}, {"style": "green ground"}),
        Wish(
            "sdxl_image_fast", "a white circle on a red background", "composition reference",
            {"reference_type": "composition"}, {"style": "at the right"},
        ),
        Wish(
            "sdxl_image_fast", "a shape on a yellow background", "character reference", {"reference_type": "character"},
            {"style": "purple triangle"},
        ),
        Wish("image_fast", "a purple triangle on a green background", "single reference", references={"single": "purple triangle"}),
        Wish("video_fast", "a purple triangle moving right on a green background", "single reference", WIDE, {"single": "purple triangle"}),
        Wish("video_fast", MOVES, "first frame", WIDE, {"first_frame": "begin"}),
        Wish("video_fast", MOVES, "last frame", WIDE, {"last_frame": "end"}),
        Wish("video_fast", MOVES, "first and last frame", WIDE, {"first_frame": "begin", "last_frame": "end"}),
    ]  # fmt: skip
