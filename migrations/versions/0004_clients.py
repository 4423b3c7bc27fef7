"""Tables that OurVidz's front end, functions and admin pages use, and what the database maintains in them (docs/decisions/0027)."""

from pathlib import Path

from alembic import op

from ourvidz.db.schema_files import script

revision = "0004"
down_revision = "0003"

PARTS = ("tables", "library", "requests", "enhancement", "cutover", "storage", "layer")


def upgrade() -> None:
    for part in PARTS:
        script(op.get_bind(), Path(__file__).with_name(f"0004_{part}.sql").read_text(encoding="utf-8"))
