"""`python3 -m ourvidz.db.wait_ready [writes]`, for scripts that wait until the database of DATABASE_URL answers, or accepts writes.

Exit codes: 0 it does; 1 it is away, or accepts no writes; 2, with a line on stderr: waiting will not help (a wrong password, a URL that
libpq cannot read, an unsupported encoding).
"""

from __future__ import annotations

import logging
import os
import sys

from ourvidz.db import write_check
from ourvidz.db.connection import Ambiguous, Database, DatabaseAway, DatabaseRefused
from state.errors import JobError


def main() -> int:
    try:
        database = Database(os.environ["DATABASE_URL"])
        database.rows("select 1")
        taken = "writes" not in sys.argv[1:] or write_check.look(database).taken
        database.close()
    except DatabaseAway as error:
        if isinstance(error, DatabaseRefused):
            return _never(error)
        return 1
    except Ambiguous:  # the connection broke after the statement was sent
        return 1
    except JobError as error:
        return _never(error)
    return 0 if taken else 1


def _never(error: JobError) -> int:
    sys.stderr.write(f"{error}\n")
    return 2


if __name__ == "__main__":
    logging.getLogger("ourvidz.db").setLevel(logging.ERROR)  # the script knows that it is away
    sys.exit(main())
