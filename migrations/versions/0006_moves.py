"""Database identity, to detect that a database was restored, moved or copied (docs/decisions/0053). Missing indexes (0052)."""

from pathlib import Path

from alembic import op

from ourvidz.db.schema_files import script

revision = "0006"
down_revision = "0005"

PARTS = ("identity", "indexes")


def upgrade() -> None:
    for part in PARTS:
        script(op.get_bind(), Path(__file__).with_name(f"0006_{part}.sql").read_text(encoding="utf-8"))
