"""`ourvidz provenance`: print a file's signed claims of how it was made, and verify their signature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import about

_STATE = {
    "valid": "unchanged since it was signed",
    "invalid": "CHANGED since it was signed, or signed wrongly: do not believe what follows",
    "none": "carries no signed claims",
}
_SIGNER = {
    "trusted": "trusted: {issuer}, {name}",
    "development": "a development certificate, which nobody trusts: anybody can make one",
    "unknown": "unknown: {issuer}, {name}; OURVIDZ_C2PA_TRUST names none of its issuers",
}


def add(app: typer.Typer, panel: str) -> None:
    samples = ("ourvidz provenance picture.png", "ourvidz provenance clip.mp4 --json | jq .generation.seed")
    app.command("provenance", **about(*samples, panel=panel))(provenance)


def provenance(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A PNG, MP4 or WebP.")],
    trust: Annotated[Path | None, typer.Option("--trust", metavar="PEM", help="Issuers to trust; else OURVIDZ_C2PA_TRUST's.")] = None,
    as_json: options.Json = False,
) -> None:
    """Tell what a picture or clip says of how it was made.

    Exit 1 when it was changed since it was signed, or carries no signature.
    """
    from ourvidz.cli import executor
    from ourvidz.config import config

    executors = executor.able("Reading provenance", ("c2pa", "cryptography", "PIL", "av"))
    said = executors.read_provenance(file, trust or config().ourvidz_c2pa_trust)
    if as_json:
        out.emit(said)
    else:
        out.fields(_lines(said))
    if said["state"] != "valid":
        raise typer.Exit(1)


def _lines(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "file", said["file"]
    yield "state", _STATE[said["state"]]
    yield "problems", ", ".join(said["problems"])
    if "signer" in said:
        yield "signer", _SIGNER[said["signer"]].format(**said["certificate"])
        yield "certificate", f"serial {said['certificate']['serial']}"
        yield "signed at", said["signed_at"] or ""
        yield "made by", said["software"]
        yield "made with", "AI (trainedAlgorithmicMedia)" if said["ai_made"] else ""
    for name, fact in (said.get("generation") or {}).items():
        yield name, _shown(fact)
    for name, tag in (said.get("tags") or {}).items():
        yield f"tag {name}", tag


def _shown(fact: Any) -> str:
    if isinstance(fact, dict):
        return " ".join(f"{name}={value}" for name, value in fact.items())
    return str(fact).lower() if isinstance(fact, bool) else str(fact)
