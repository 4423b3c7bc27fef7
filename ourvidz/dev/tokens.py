"""JSON Web Tokens as Supabase signs them (HS256 with the project's secret), and invalid ones that must be refused. RFC 7515, 7519."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Fixed times, so that a project's two legacy keys are the same each time, as at Supabase.
_KEY = {"iat": 1_735_689_600, "exp": 2_524_608_000}  # 2025 to 2050


@dataclass(frozen=True)
class Secret:
    """A project's JWT secret. Its holder can impersonate anyone."""

    value: str = field(default_factory=lambda: secrets.token_hex(24), repr=False)

    @property
    def jwk(self) -> dict[str, str]:
        """The secret as one of the project's signing keys (RFC 7518 §6.4)."""
        return {"kty": "oct", "alg": "HS256", "kid": "legacy", "k": _base64(self.value.encode())}

    def mint(self, claims: Mapping[str, Any], expires_in: float = 3600) -> str:
        """Sign a token that is valid for `expires_in` seconds from now; negative: expired."""
        now = int(time.time())
        payload = {"iss": "supabase", "iat": now, "exp": now + int(expires_in), **claims}
        body = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(payload)}"
        return f"{body}.{_base64(hmac.digest(self.value.encode(), body.encode(), hashlib.sha256))}"

    @property
    def anon(self) -> str:
        return self.mint({"role": "anon", **_KEY})

    @property
    def service(self) -> str:
        return self.mint({"role": "service_role", **_KEY})

    def user(self, user_id: str, *, email: str = "", admin: bool = False, expires_in: float = 3600) -> str:
        return self.mint(_user(user_id, email, admin), expires_in)

    def expired(self, user_id: str) -> str:
        return self.user(user_id, expires_in=-3600)


def unsigned(user_id: str, *, admin: bool = False) -> str:
    """A token with `alg: none`: it claims a user without a signature."""
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part({**_user(user_id, '', admin), 'exp': int(time.time()) + 3600})}."


def stripped(token: str) -> str:
    """A good token without its signature."""
    return token.rpartition(".")[0] + "."


def _user(user_id: str, email: str, admin: bool) -> dict[str, Any]:
    found = {"sub": user_id, "role": "authenticated", "aud": "authenticated", "email": email or f"{user_id[:8]}@example.com"}
    return {**found, "app_metadata": {"role": "admin"} if admin else {}, "user_metadata": {}, "is_anonymous": False}


def _part(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
