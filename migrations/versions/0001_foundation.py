"""Tables of the job state machine. No downgrade: history is append-only."""

from pathlib import Path

from alembic import op

from ourvidz.db.schema_files import script

revision = "0001"
down_revision = None


def upgrade() -> None:
    script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
