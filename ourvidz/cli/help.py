"""The shape of the help pages: plain text, commands in groups, an example under each command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

START, LOOK, KEEP = "Make pictures", "Look", "Look after it"
_SECTIONS = (START, LOOK, KEEP)


class Sections(TyperGroup):
    """Lists its commands under their `rich_help_panel`, in `_SECTIONS`' order."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        found: dict[str, list[tuple[str, str]]] = {}
        longest = max(map(len, self.commands), default=0)
        for name, command in self.commands.items():
            if not command.hidden:
                section = getattr(command, "rich_help_panel", None)
                section = section if isinstance(section, str) else "Commands"
                help_line = command.get_short_help_str(formatter.width - 6 - longest)
                found.setdefault(section, []).append((name.ljust(longest), help_line))
        for section in sorted(found, key=lambda s: _SECTIONS.index(s) if s in _SECTIONS else -1):
            with formatter.section(section):
                formatter.write_dl(found[section])


def examples(*lines: str) -> str:
    """An epilog that keeps its lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def settings(*lines: str) -> dict[str, Any]:
    """What every command is registered with."""
    return {"epilog": examples(*lines)}
