"""A project's keys: API keys, the keys that sign its users' tokens, and the secrets of Upstash and the callbacks."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes, token_hex, token_urlsafe
from typing import Any, Literal

from ourvidz.dev.tokens import Secret

Status = Literal["in_use", "standby", "previously_used", "revoked"]


@dataclass
class Keys:
    """Tests make new ones; `ourvidz dev up` keeps its own.

    `signing` holds JWKs with their status, as Supabase has it: one signs (`in_use`), all but the revoked verify. The legacy secret is one
    of them, and the anon and service keys are tokens that it signed.
    """

    secret: Secret = field(default_factory=Secret)
    upstash_token: str = field(default_factory=lambda: token_hex(20), repr=False)
    callback_secret: str = field(default_factory=lambda: "whsec_" + base64.b64encode(token_bytes(24)).decode(), repr=False)
    age_webhook_secret: str = field(default_factory=lambda: "whsec_" + base64.b64encode(token_bytes(24)).decode(), repr=False)
    publishable: str = field(default_factory=lambda: _api_key("publishable"))
    secret_key: str = field(default_factory=lambda: _api_key("secret"), repr=False)
    people_password: str = field(default_factory=lambda: token_urlsafe(12), repr=False)
    redis_password: str = field(default_factory=lambda: token_hex(20), repr=False)
    signing: list[dict[str, Any]] = field(default_factory=list, repr=False)
    legacy_disabled_at: str | None = None
    url: str = ""

    def __post_init__(self) -> None:
        self.anon, self.service = self.secret.anon, self.secret.service
        if not self.signing:
            self.signing = [{"status": "in_use", "jwk": self.secret.jwk}]

    @classmethod
    def read(cls, file: Path) -> Keys:
        """Load what `write` wrote; keys that an older version did not have are generated."""
        found = json.loads(file.read_text(encoding="utf-8"))
        known = {name: found[name] for name in _KEPT if name in found}
        known["secret_key"] = found.get("secret") or _api_key("secret")
        return cls(Secret(found["jwt_secret"]), **known)

    def write(self, file: Path) -> None:
        """Save the keys for the services and the next `ourvidz dev up`; readable by the owner alone."""
        kept = {name: getattr(self, name) for name in _KEPT}
        more = {"jwt_secret": self.secret.value, "secret": self.secret_key, "anon": self.anon, "service": self.service}
        private(file, json.dumps({**kept, **more}, indent=2))

    @property
    def jwks(self) -> str:
        """The keys that verify tokens, for PostgREST, which is trusted with the legacy secret."""
        valid = [key["jwk"] for key in self.signing if key["status"] != "revoked"]
        return json.dumps({"keys": [{name: value for name, value in jwk.items() if name != "d"} for jwk in valid]})

    def add_signing_key(self, jwk: dict[str, Any]) -> None:
        """Add a key on standby: published, so that JWKS caches have it before it signs. Raises ValueError if one is on standby already."""
        if self._with("standby"):
            raise ValueError("A signing key is on standby already; rotate first.")
        self.signing.append({"status": "standby", "jwk": jwk})

    def rotate(self) -> None:
        """Let the standby key sign from now on; the previous one still verifies. Raises ValueError if none is on standby."""
        if not self._with("standby"):
            raise ValueError("No signing key is on standby; add one first.")
        for key in self.signing:
            key["status"] = {"in_use": "previously_used", "standby": "in_use"}.get(key["status"], key["status"])

    def revoke_previous(self) -> None:
        """Refuse tokens signed by an earlier key from now on."""
        for key in self._with("previously_used"):
            key["status"] = "revoked"

    def legacy(self, enabled: bool) -> None:
        """Enable or disable the anon and service keys. Users' tokens are not affected: revoke their signing key for that."""
        self.legacy_disabled_at = None if enabled else datetime.now(UTC).isoformat(timespec="seconds")

    def _with(self, status: Status) -> list[dict[str, Any]]:
        return [key for key in self.signing if key["status"] == status]


_KEPT = (
    "upstash_token",
    "callback_secret",
    "age_webhook_secret",
    "publishable",
    "people_password",
    "redis_password",
    "signing",
    "legacy_disabled_at",
    "url",
)


def _api_key(kind: str) -> str:
    """Generate a key in Supabase's format: 16 random bytes, and a checksum by which leak scanners recognise a real key."""
    body = f"sb_{kind}_{token_urlsafe(16)}"
    return f"{body}_{base64.urlsafe_b64encode(hashlib.sha256(body.encode()).digest()).decode()[:8]}"


def private(file: Path, text: str) -> None:
    """Replace `file` atomically, readable by its owner alone."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    new.replace(file)
