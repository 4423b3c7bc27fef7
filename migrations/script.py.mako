"""${message}

Expand, flip, contract: executors of the release before must go on working with what this leaves behind.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
