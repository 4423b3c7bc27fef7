"""The environment, read once. Every name is in README's table; `ourvidz doctor` prints what is in force, secrets hidden."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Config(BaseSettings):
    """What the environment says. Secrets are `SecretStr`: printing or logging them shows stars."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = None  # unset: the embedded Postgres under ourvidz_home
    ourvidz_home: Path = Path("~/.ourvidz")
    ourvidz_models: Path | None = None  # unset: tiny models under ourvidz_home
    ourvidz_storage: Path | None = None  # unset: a folder under ourvidz_home stands for the buckets
    ourvidz_profile: str = "default"  # the executors' speed profile
    ourvidz_batch: int | None = Field(default=None, ge=1, le=16)  # pictures in a pass of SDXL; unset: the profile's figure on a GPU, else 1
    ourvidz_enhancer: str = "auto"  # auto: its process when it answers, else this executor's own model; off: the latter; or its socket

    @property
    def home(self) -> Path:
        return self.ourvidz_home.expanduser().absolute()

    @property
    def models(self) -> Path:
        return self.ourvidz_models.expanduser().absolute() if self.ourvidz_models else self.home / "models-tiny"

    @property
    def tiny(self) -> bool:
        """Whether this program may make the models itself: only where nobody has said where real ones lie."""
        return self.ourvidz_models is None

    @property
    def storage(self) -> Path:
        return self.ourvidz_storage.expanduser().absolute() if self.ourvidz_storage else self.home / "storage"

    @property
    def spool(self) -> Path:
        return self.home / "spool"

    @property
    def heads(self) -> Path:
        return self.home / "heads.jsonl"


@cache
def config() -> Config:
    return Config()
