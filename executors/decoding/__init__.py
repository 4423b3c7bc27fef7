"""Parts of the process that decodes one user's picture (`executors.decoder`). They import only the standard library and Pillow.

`bare` strips a file to what its pixels need, `colours` converts to sRGB, `confine` restricts the process, `kinds` detects file types.
"""

from __future__ import annotations

ACCEPTED = "A reference is one PNG, JPEG, WebP, HEIC or AVIF picture"


class Unacceptable(Exception):
    """The file is not acceptable; the message says why."""
