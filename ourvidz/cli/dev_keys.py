"""`ourvidz dev keys`: show and change the keys of `ourvidz dev up`, as Supabase's dashboard does a project's."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz import account
from ourvidz.cli import options, out

if TYPE_CHECKING:
    from ourvidz.dev.keys import Keys

Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Where database, keys and files are; else OURVIDZ_HOME, or ~/.ourvidz.")
]


class Action(StrEnum):
    ADD = "add"
    ROTATE = "rotate"
    REVOKE = "revoke"
    DISABLE_LEGACY = "disable-legacy"
    ENABLE_LEGACY = "enable-legacy"


def home_of(given: Path | None) -> Path:
    from ourvidz.config import config

    return account.folder(given or config().ourvidz_home)


def keys(
    action: Annotated[Action | None, typer.Argument(help="What to change; without it the keys are shown.")] = None,
    as_json: options.Json = False,
    home: Home = None,
) -> None:
    """Show the stack's keys, or change them as a project's dashboard does.

    `add` makes a signing key, on standby: published, and not signing yet. `rotate` lets it sign; tokens of the key before it go on until
    `revoke`, which ends USER_TOKEN of `ourvidz dev env` too. `disable-legacy` and `enable-legacy` are for the anon and service keys, both
    at once. A stack that is up follows within a second.
    """
    from ourvidz.dev import project
    from ourvidz.dev.keys import Keys
    from ourvidz.dev.stack import KEYS_FILE

    file = project.folder(home_of(home)) / KEYS_FILE
    if not file.exists():
        raise out.Problem(f"There has been no stack in {home_of(home)} yet. `ourvidz dev up` brings it up.")
    found = Keys.read(file)
    if action:
        try:
            _change(found, action)
        except ValueError as error:
            raise out.Problem(str(error)) from error
        found.write(file)
    _show(found, as_json)


def _change(keys: Keys, action: Action) -> None:
    from ourvidz.dev import parts, services

    match action:
        case Action.ADD:
            keys.add_signing_key(services.signing_key(parts.bring()))
        case Action.ROTATE:
            keys.rotate()
        case Action.REVOKE:
            keys.revoke_previous()
        case Action.DISABLE_LEGACY | Action.ENABLE_LEGACY:
            keys.legacy(action is Action.ENABLE_LEGACY)


def _show(keys: Keys, as_json: bool) -> None:
    legacy = "taken" if keys.legacy_disabled_at is None else f"disabled on {keys.legacy_disabled_at}"
    api = [("publishable", keys.publishable, "taken"), ("secret", keys.secret_key, "taken"), ("anon", keys.anon, legacy),
           ("service", keys.service, legacy)]  # fmt: skip
    signing: list[dict[str, Any]] = [{"kid": key["jwk"]["kid"], "alg": key["jwk"]["alg"], "status": key["status"]} for key in keys.signing]
    if as_json:
        return out.emit({"api_keys": [{"name": name, "key": key, "state": state} for name, key, state in api], "signing_keys": signing})
    out.table(["API key", "", "state"], [[out.cell(name), out.cell(_short(key)), out.cell(state)] for name, key, state in api])
    out.say("")
    out.table(
        ["signing key", "", "state"], [[out.cell(str(key[name]).replace("_", " ")) for name in ("kid", "alg", "status")] for key in signing]
    )


def _short(key: str) -> str:
    """Shorten a long key on a terminal; `ourvidz dev env` prints it in full."""
    return f"{key[:24]}…{key[-12:]}" if len(key) > 60 and out.stdout().is_terminal else key
