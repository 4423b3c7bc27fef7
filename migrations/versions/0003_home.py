"""Tables of the product, tokens, delivery, intake and safety; and Supabase's own objects where they are missing."""

from pathlib import Path

from alembic import op

from ourvidz.db.schema_files import script

revision = "0003"
down_revision = "0002"

PARTS = ("shape", "home", "ledger", "delivery", "intake", "safety")


def upgrade() -> None:
    for part in PARTS:
        script(op.get_bind(), Path(__file__).with_name(f"0003_{part}.sql").read_text(encoding="utf-8"))
