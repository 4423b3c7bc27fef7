"""Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), symmetric: v1."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

PREFIX = "whsec_"
QUOTES = "\"'`“”"
LEAST = 24  # bytes of a key, as the specification asks


class BadSecret(Exception):
    """A secret that cannot sign. The message never contains it."""


def keys(secrets: str) -> list[bytes]:
    """Parse a variable's keys: one secret, or several separated by spaces, commas or `|` during a rotation.

    `whsec_…` is base64 (as the specification has it, its padding optional), also with the version in front that Supabase's dashboard shows
    (`v1,whsec_…`); any other word is taken as UTF-8 bytes. Raises `BadSecret`. `_shared/signing.ts` does the same for the edge functions;
    both are tested with tests/data/signing_secrets.json.
    """
    return [_key(word) for word in words(secrets)]


def words(secrets: str) -> list[str]:
    """Split a variable into its secrets, as written."""
    return [word for word in re.split(r"[\s,|]+", re.sub(r"(?<![^\s,|])v1,(?=whsec_)", "", secrets)) if word]


def _key(word: str) -> bytes:
    if word[0] in QUOTES or word[-1] in QUOTES:
        raise BadSecret("a secret stands in quotes; leave them out")
    if re.fullmatch(r"v\d+[a-z]?", word):
        raise BadSecret("a secret is only the version in front of one; copy all of v1,whsec_…")
    if word.startswith(("whsk_", "whpk_")):
        raise BadSecret("a secret is an asymmetric key (whsk_, whpk_), and ours are symmetric: whsec_…")
    key = _decoded(word.removeprefix(PREFIX)) if word.startswith(PREFIX) else word.encode()
    if len(key) < LEAST:
        raise BadSecret(f"a secret of {len(key)} bytes can be guessed; make one with: echo whsec_$(openssl rand -base64 32)")
    return key


def _decoded(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text) or len(text.rstrip("=")) % 4 == 1:
        raise BadSecret("a secret that begins with whsec_ goes on in base64, and this one does not")
    bare = text.rstrip("=")
    return base64.b64decode(bare + "=" * (-len(bare) % 4))


def headers(message_id: str, timestamp: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The three headers of a message. `timestamp`: seconds since 1970. One signature for each key, so that a receiver with either the
    old or the new key can verify it."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signatures = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{s}" for s in signatures),
    }
