"""Fallback of a job type, and the wait before an automatic reroute to it. No downgrade."""

from pathlib import Path

from alembic import op

from ourvidz.db.schema_files import script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
