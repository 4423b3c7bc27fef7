"""Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), symmetric: v1."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence

PREFIX = "whsec_"
LEAST = 24  # bytes of a key, as the specification asks


class BadSecret(Exception):
    """A secret that cannot sign. The message never holds it."""


def keys(secrets: str) -> list[bytes]:
    """The keys that a variable holds: one secret, or several with spaces or commas between them while they are being changed.

    `whsec_…` is base64, as the specification has it; any other word is its own UTF-8 bytes. Raises `BadSecret`.
    """
    return [_key(word) for word in re.split(r"[\s,]+", secrets) if word]


def _key(word: str) -> bytes:
    key = word.encode() if not word.startswith(PREFIX) else _decoded(word)
    if len(key) < LEAST:
        raise BadSecret(f"a secret of {len(key)} bytes can be guessed; make one with: echo whsec_$(openssl rand -base64 32)")
    return key


def _decoded(word: str) -> bytes:
    try:
        return base64.b64decode(word.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise BadSecret("a secret that begins with whsec_ goes on in base64, and this one does not") from None


def headers(message_id: str, timestamp: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The three headers of a message. `timestamp`: seconds since 1970. One signature for each key, so that a receiver which knows the
    old or the new one is content."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signatures = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{s}" for s in signatures),
    }
