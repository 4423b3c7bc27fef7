"""${message}

Expand, flip, contract: executors of the release before must go on working with what this leaves behind. The SQL lies beside this file.
"""

from pathlib import Path

from alembic import op

from ourvidz.db.schema_files import script

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    script(op.get_bind(), Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
