"""The environment, read once. Every name is in README's table; `ourvidz doctor` prints the values in force, secrets hidden."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from ourvidz.account import folder

_BYTES = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_bytes(text: object) -> int:
    """Parse `35GB`, `32 GiB`, `500MB`, or bare bytes. Raises ValueError saying so."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?B|)\s*", str(text).upper())
    count = round(float(found[1]) * _BYTES[found[2]]) if found else 0
    if count <= 0:
        raise ValueError(f"{str(text)[:40]!r} is no amount of memory. Write it like 35GB, 32GiB or 500MB.")
    return count


def _an_address(text: str) -> str:
    """Accept https, and plain http only where nothing leaves this computer: keys and prompts are sent to the address."""
    text = text.strip()
    if not re.match(r"https://[^/\s]|http://(localhost|127(\.\d{1,3}){3}|\[::1\])([:/]|$)", text):
        raise ValueError("It begins with https:// (http:// only for 127.0.0.1, [::1] or localhost: others could read what is sent).")
    return text


def _a_token(secret: SecretStr) -> SecretStr:
    """Accept a key as it was copied: a newline at its end is not part of it; characters that no header can hold would fail at each
    request."""
    text = secret.get_secret_value().strip()
    if not re.fullmatch(r"[!-~]+", text) or text[0] in "\"'`" or text[-1] in "\"'`":
        raise ValueError("It is empty, stands in quotes, or holds spaces or characters that no key has. Copy it again.")
    return SecretStr(text)


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
Address = Annotated[str, AfterValidator(_an_address)]
Token = Annotated[SecretStr, AfterValidator(_a_token)]


class Config(BaseSettings):
    """Settings from the environment. Secrets are `SecretStr`: printing or logging them shows stars. Errors do not show the input, in case a
    secret is in the wrong variable."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr | None = None  # unset: the embedded Postgres under ourvidz_home
    ourvidz_home: Path = Path("~/.ourvidz")
    ourvidz_models: Path | None = None  # unset: tiny models under ourvidz_home
    ourvidz_storage: Path | None = None  # unset: a folder under ourvidz_home stands for the buckets
    ourvidz_profile: str = "default"  # the executors' speed profile
    ourvidz_attention: Literal["auto", "sdpa", "xformers", "slicing"] = "auto"  # auto: torch's own
    ourvidz_batch: int | None = Field(default=None, ge=1, le=16)  # pictures in a pass of SDXL; unset: the profile's figure on a GPU, else 1
    ourvidz_enhancer: str = "auto"  # auto: the enhancer process if it answers, else this executor's model; off: the latter; or a socket
    ourvidz_c2pa: Literal["required", "optional"] = "required"  # optional: an output that cannot be signed is delivered unsigned
    ourvidz_c2pa_cert: Path | None = None  # PEM, the signing certificate first; unset, with its key: this machine's development one
    ourvidz_c2pa_key: Path | None = None
    ourvidz_c2pa_tsa: str | None = None  # URL of a timestamp authority (RFC 3161); unset: signatures carry no time
    ourvidz_c2pa_trust: Path | None = None  # PEM of the issuers that `ourvidz provenance` trusts
    ourvidz_image_screen: str | None = None  # local, none, or an entry point of the group ourvidz.image_screens
    ourvidz_image_screen_model: Path | None = None  # the folder of `local`: a classifier's files and screen.toml
    ourvidz_vram_budget: Bytes | None = None  # on the device; unset: 35 GB or what the card has, whichever is less
    ourvidz_ram_budget: Bytes | None = None  # weights kept in RAM; unset: four fifths of the machine's, where there is a GPU

    supabase_url: Address | None = None  # with a secret key: Supabase Storage takes the place of the folder
    supabase_secret_key: Token | None = None  # sb_secret_…; wins over the legacy one, which may be disabled
    supabase_service_key: Token | None = None  # legacy: service_role
    supabase_publishable_key: Token | None = None  # sb_publishable_…; acts for no user
    supabase_anon_key: Token | None = None  # legacy: anon
    upstash_redis_rest_url: Address | None = None  # with its token: `ourvidz intake` drains it
    upstash_redis_rest_token: Token | None = None
    ourvidz_intake_legacy_queue: bool = False  # the intake of `ourvidz up` drains job_queue too, which senders of June 2025 push to
    callback_secret: SecretStr | None = None  # signs what is delivered to job-callback

    @property
    def home(self) -> Path:
        return folder(self.ourvidz_home)

    @property
    def models(self) -> Path:
        return folder(self.ourvidz_models) if self.ourvidz_models else self.home / "models-tiny"

    @property
    def tiny(self) -> bool:
        """Whether this program may make the models itself: only if no folder of real ones is set."""
        return self.ourvidz_models is None

    @property
    def storage(self) -> Path:
        return folder(self.ourvidz_storage) if self.ourvidz_storage else self.home / "storage"

    @property
    def secret_key(self) -> str | None:
        """Key that opens the whole project: the secret key, else the legacy service key."""
        return _first(self.supabase_secret_key, self.supabase_service_key)

    @property
    def publishable_key(self) -> str | None:
        return _first(self.supabase_publishable_key, self.supabase_anon_key)

    @property
    def supabase(self) -> tuple[str, str] | None:
        """URL and secret key of the project whose Storage has the buckets; None if a folder stands for them."""
        return (self.supabase_url, self.secret_key) if self.supabase_url and self.secret_key else None

    @property
    def upstash(self) -> tuple[str, str] | None:
        """REST URL and token of the Redis that the intake drains; None if not set."""
        token = self.upstash_redis_rest_token
        return (self.upstash_redis_rest_url, token.get_secret_value()) if self.upstash_redis_rest_url and token is not None else None

    @property
    def spool(self) -> Path:
        return self.home / "spool"


def _first(*keys: SecretStr | None) -> str | None:
    return next((key.get_secret_value() for key in keys if key is not None), None)


@cache
def config() -> Config:
    return Config()
