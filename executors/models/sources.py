"""Sources of real model files, as data (`executors/data/model_sources.toml`), and those a person may name for SDXL's weights."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path, PurePosixPath

from executors.errors import ModelFileError
from executors.models.roles import PICKLES, ROLES
from ourvidz import account

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
SDXL_FILE = "sdxl-lustify/model.safetensors"
_HUB_FILE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+):(?P<file>[^@]+?)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Source:
    """Files of one repository of the hub, for one role. The fields are described in model_sources.toml."""

    role: str
    repo: str
    into: str
    files: tuple[str, ...]
    revision: str = ""
    branch: str = "main"
    sha256: Mapping[str, str] = field(default_factory=dict)
    gib: float = 0.0
    licence: str = ""
    gated: bool = False
    saved_as: str = ""  # the name below `into`, for a source of one file; else files keep their path

    @property
    def key(self) -> str:
        """Key in the lock file."""
        return f"{self.role} {self.repo}" + (f":{self.files[0]}" if self.saved_as else "")

    def takes(self, path: str) -> bool:
        if PurePosixPath(path).suffix.lower() in PICKLES or ".." in PurePosixPath(path).parts or path.startswith("/"):
            return False
        return any(path.count("/") == pattern.count("/") and fnmatchcase(path, pattern) for pattern in self.files)

    def name_of(self, path: str) -> str:
        """Return the path of a repository's file under the model folder."""
        return f"{self.into}/{self.saved_as or path}"


@dataclass(frozen=True)
class Given:
    """SDXL's weights from a URL or a local file."""

    where: str = field(repr=False)  # a URL's query may hold a token: never printed or recorded; `shown` is
    sha256: str = ""
    role: str = "sdxl"

    @property
    def shown(self) -> str:
        return self.where.partition("?")[0].partition("#")[0] if self.is_url else self.where

    @property
    def is_url(self) -> bool:
        return self.where.startswith(("https://", "http://"))

    @property
    def key(self) -> str:
        return f"{self.role} {self.shown}"


def read(file: Path | None = None) -> list[Source]:
    """Read the sources of `file`, else our own. Raises `ModelFileError` naming the invalid table."""
    text = (
        file.read_text(encoding="utf-8")
        if file
        else resources.files("executors.data").joinpath("model_sources.toml").read_text(encoding="utf-8")
    )
    name = file.name if file else "model_sources.toml"
    try:
        tables = tomllib.loads(text)["source"]
        return [_source(name, number, table) for number, table in enumerate(tables, 1)]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ModelFileError(f"{name}: cannot be read as a list of [[source]] tables: {error}") from error


def _source(file: str, number: int, table: dict[str, object]) -> Source:
    known = {f.name for f in fields(Source)} - {"saved_as"}
    wrong = ""
    if unknown := sorted(set(table) - known):
        wrong = f"has an unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}"
    elif missing := [k for k in ("role", "repo", "into", "files") if not table.get(k)]:
        wrong = f"lacks {missing[0]!r}"
    elif table["role"] not in {role.name for role in ROLES}:
        wrong = f"names the role {table['role']!r}; there are {', '.join(role.name for role in ROLES)}"
    elif table.get("revision") and not COMMIT.fullmatch(str(table["revision"])):
        wrong = "has a revision that is no commit hash of 40 digits; leave it empty, and name a `branch`"
    elif ".." in PurePosixPath(str(table["into"])).parts or str(table["into"]).startswith("/"):
        wrong = "leads out of the model folder"
    if wrong:
        raise ModelFileError(f"{file}: [[source]] number {number} {wrong}.")
    return Source(**{**table, "files": tuple(table["files"])})  # type: ignore[arg-type]


def sdxl_weights(text: str, sha256: str = "") -> Source | Given:
    """Parse the argument of `--sdxl`: `owner/repo:file.safetensors[@revision]` of the hub, a URL, or a local file.

    Raises `ModelFileError` for anything else.
    """
    if sha256 and not SHA256.fullmatch(sha256.lower()):
        raise ModelFileError("A sha256 has 64 hexadecimal digits.")
    if text.startswith(("https://", "http://")):
        return Given(text, sha256.lower())
    if (local := account.folder(Path(text))).is_file():
        return Given(str(local.absolute()), sha256.lower())
    found = _HUB_FILE.fullmatch(text)
    if found is None or PurePosixPath(found["file"]).suffix != ".safetensors":
        raise ModelFileError(
            f"{text!r} is no file here, no URL and no file of the hub (owner/repository:file.safetensors). Only .safetensors is loaded."
        )
    revision = found["revision"] or ""
    commit = revision if COMMIT.fullmatch(revision) else ""
    known = {found["file"]: sha256.lower()} if sha256 else {}
    into, _, saved_as = SDXL_FILE.rpartition("/")
    return Source("sdxl", found["repo"], into, (found["file"],), commit, "main" if commit else revision or "main", known, saved_as=saved_as)


def chosen(listed: list[Source], roles: Collection[str], sdxl: str | None, sdxl_sha256: str = "") -> tuple[list[Source], Given | None]:
    """Return the sources of these roles (none named: all), and SDXL's weights if a person named them. Raises `ModelFileError`."""
    if unknown := set(roles) - {role.name for role in ROLES}:
        raise ModelFileError(f"There is no role {sorted(unknown)[0]!r}: there are {', '.join(role.name for role in ROLES)}.")
    which = [source for source in listed if not roles or source.role in roles]
    if sdxl is None:
        return which, None
    if roles and "sdxl" not in roles:
        raise ModelFileError("--sdxl names weights for the role sdxl, which is not among the roles to pull.")
    weights = sdxl_weights(sdxl, sdxl_sha256)
    return ([*which, weights], None) if isinstance(weights, Source) else (which, weights)
