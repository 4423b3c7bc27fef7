"""Protection against attempts to get past the screens, the ledger, the limits and the roles (docs/security.md)."""

from pathlib import Path

from alembic import op

from ourvidz.db.schema_files import script

revision = "0005"
down_revision = "0004"

PARTS = ("text", "images", "age", "bounds", "roles", "words", "reports")


def upgrade() -> None:
    for part in PARTS:
        script(op.get_bind(), Path(__file__).with_name(f"0005_{part}.sql").read_text(encoding="utf-8"))
