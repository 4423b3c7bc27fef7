"""Headers for a Supabase project's API keys, as its gateway expects them (https://supabase.com/docs/guides/api/api-keys).

Publishable and secret keys (`sb_publishable_…`, `sb_secret_…`) are not JWTs: they go in the header `apikey` alone. The legacy keys (anon,
service_role) are JWTs and go as a bearer token too.
"""

from __future__ import annotations

import re

SECRET, LEGACY = "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_KEY"
WHERE = "Settings → API Keys → Secret keys"
"""Location in the dashboard."""

_DISABLED = re.compile(r"legacy api keys? (?:is|are|was|were|has been|have been) disabled", re.IGNORECASE)


def is_new(key: str) -> bool:
    return key.startswith(("sb_publishable_", "sb_secret_"))


def headers(key: str) -> dict[str, str]:
    return {"apikey": key} if is_new(key) else {"apikey": key, "authorization": f"Bearer {key}"}


def is_disabled(message: str) -> bool:
    """Check if a gateway's message says that the project's owner has disabled its legacy keys."""
    return _DISABLED.search(message) is not None


REMEDY = f"Both legacy keys are disabled together and stay so: create a secret key ({WHERE}) and set it as {SECRET}."
