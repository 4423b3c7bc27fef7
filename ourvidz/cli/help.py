"""Layout of the help pages: plain text, commands in groups, examples under each command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

START, LOOK, KEEP = "Make pictures", "Look", "Look after it"
_SECTIONS = (START, LOOK, KEEP)
_ORDER = [
    "demo",
    "submit",
    "up",
    "worker",
    "enhancer",
    "jobs",
    "videos",
    "events",
    "top",
    "stats",
    "doctor",
    "migrate",
    "restored",
    "models",
    "buckets",
    "safety",
    "erase",
    "hold",
    "audit",
    "rebuild",
    "tokens",
    "logins",
    "reaper",
    "intake",
    "deliver",
    "dev",
]


class Sections(TyperGroup):
    """Lists its commands under their `rich_help_panel`; without arguments, prints the help."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            print(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        found: dict[str, list[tuple[str, str]]] = {}
        longest = max(map(len, self.commands), default=0)
        for name in sorted(self.commands, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)):
            command = self.commands[name]
            if not command.hidden:
                section = getattr(command, "rich_help_panel", None)
                section = section if isinstance(section, str) else "Commands"
                help_line = command.get_short_help_str(formatter.width - 6 - longest)
                found.setdefault(section, []).append((name.ljust(longest), help_line))
        for section in sorted(found, key=lambda s: _SECTIONS.index(s) if s in _SECTIONS else -1):
            with formatter.section(section):
                formatter.write_dl(found[section])


def examples(*lines: str) -> str:
    """An epilog whose line breaks are kept."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def about(*lines: str, panel: str | None = None) -> dict[str, Any]:
    """Arguments to register a command with: its examples, and the help section that lists it."""
    return {"epilog": examples(*lines), "rich_help_panel": panel}
