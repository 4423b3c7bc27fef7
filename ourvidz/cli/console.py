"""A rich console that escapes untrusted text (see terminal.py). Imported only where something is printed: rich is slow to load."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ourvidz.cli.terminal import SafeStream, encodable, safe


class SafeConsole(Console):
    """Escapes text segments. rich adds its own control sequences (styles, cursor) later, or marks the segment as control."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(encodable(safe(segment.text), self.encoding), segment.style)

    @property
    def file(self) -> IO[str]:
        stream: Any = super().file
        return stream.stream if isinstance(stream, SafeStream) else stream

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream
