"""Parts of the process that decodes one user's picture (`executors.decoder`). They import the standard library and Pillow alone.

`bare` leaves of a file what its pixels need, `colours` brings those to sRGB, `kinds` knows files by their first bytes.
"""

from __future__ import annotations

ACCEPTED = "A reference is one PNG, JPEG, WebP, HEIC or AVIF picture"


class Unacceptable(Exception):
    """The file is at fault, and the message says how."""
