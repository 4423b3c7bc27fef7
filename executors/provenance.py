"""Signed provenance of outputs (C2PA 2.x): made by AI, by which job, model and seed, with which settings.

Signed last: the signature covers all other bytes, pixels and metadata alike, so any change to the file invalidates it. Neither the prompt
nor the user is in it. No network access unless `OURVIDZ_C2PA_TSA` names a timestamp authority.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import c2pa
from PIL import Image

from executors.credentials import DEVELOPMENT, BadCredential, Credential
from executors.errors import ExecutorError
from executors.media import AI_MADE, encode_png
from state.catalog import MP4, PNG, WEBP

log = logging.getLogger("ourvidz.provenance")

GENERATION = "org.ourvidz.generation"
"""Label of the assertion with the facts of the generation."""

_PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages allowed for a signer's certificate: e-mail protection, document signing, C2PA claim signing."""


class Unsigned(ExecutorError):
    """An output could not be signed, so it is not published. A retry may succeed (timestamp authority, key file)."""

    error_class = "provenance"


class Seal:
    """Signs files; thread-safe."""

    def __init__(self, credential: Credential, *, required: bool = True, tsa: str | None = None) -> None:
        """`required`: do not publish what cannot be signed. Raises `BadCredential` for a certificate that C2PA would not accept."""
        self.credential, self.required = credential, required
        self._agent = {"name": "OurVidz", "version": version("ourvidz")}
        try:
            info = c2pa.C2paSignerInfo(credential.algorithm, credential.chain, credential.key, tsa)
            self._context = c2pa.Context.from_dict(settings(), signer=c2pa.Signer.from_info(info))
            if tsa is None:  # a trial signature; with a timestamp authority it would need the network
                self.signed(encode_png(Image.new("RGB", (1, 1)), {}), PNG, {})
        except (c2pa.C2paError, Unsigned) as error:
            which = f"{credential.name} ({credential.fingerprint[:16]}…)"
            raise BadCredential(f"The certificate {which} cannot sign: {_plain(error)}") from error

    def put(self, path: Path, media_type: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Sign the file at `path` in place; return the facts for the artifact's row. Raises `Unsigned`, and `OSError` on a full disk."""
        try:
            data = self.signed(path.read_bytes(), media_type, facts)
        except Unsigned as error:
            if self.required:
                raise
            log.warning("Not signed: %s", error)
            return {"signed": False}
        path.write_bytes(data)
        return {"signed": True, "certificate": self.credential.fingerprint, "development": self.credential.development}

    def signed(self, data: bytes, media_type: str, facts: Mapping[str, Any]) -> bytes:
        """Return `data` with its manifest, verified (at no measurable cost). Raises `Unsigned`."""
        created = {"action": "c2pa.created", "digitalSourceType": AI_MADE, "softwareAgent": self._agent}
        manifest = {
            "claim_generator_info": [self._agent],
            "format": media_type,
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [created]}, "created": True},
                {"label": GENERATION, "data": dict(facts), "created": True},
            ],
        }
        out = io.BytesIO()
        try:
            with c2pa.Builder(manifest, context=self._context) as builder:
                builder.sign(media_type, io.BytesIO(data), out)
        except c2pa.C2paError as error:
            raise Unsigned(f"an output could not be signed, so it is not published: {_plain(error)}") from error
        return out.getvalue()


def settings(anchors: str = "") -> dict[str, Any]:
    """Settings for c2pa: no thumbnail in the manifest, no fetches, `anchors` (PEM) as the only trusted issuers."""
    return {
        "version": 1,
        "builder": {"thumbnail": {"enabled": False}},
        "trust": {"trust_config": "\n".join(_PURPOSES), **({"user_anchors": anchors} if anchors else {})},
        "verify": {"verify_after_sign": True, "verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    }


def read(path: Path, anchors: str = "") -> dict[str, Any]:
    """Read and validate a file's provenance.

    `state`: valid (unchanged since signing), invalid (changed, or wrongly signed), or none (no manifest). `signer`: trusted (by `anchors`,
    PEM), development (by the certificate's name, which anybody can use), or unknown. Raises `OSError`.
    """
    data = path.read_bytes()
    said: dict[str, Any] = {"file": str(path), "media_type": media_type(data), "state": "none", "problems": []}
    if said["media_type"] is None:
        return said | {"problems": ["no PNG, MP4 or WebP"]}
    context = c2pa.Context.from_dict(settings(anchors))
    try:
        with c2pa.Reader(said["media_type"], io.BytesIO(data), context=context) as reader:
            state, told = reader.get_validation_state(), json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return said
    except c2pa.C2paError as error:
        return said | {"state": "invalid", "problems": [_plain(error)]}
    failures = (told.get("validation_results") or {}).get("activeManifest", {}).get("failure", [])
    problems = [f["code"] for f in failures if f["code"] != "signingCredential.untrusted"]
    manifest = told["manifests"][told["active_manifest"]]
    assertions = {a["label"]: a["data"] for a in manifest.get("assertions", [])}
    actions = [a for label, data in assertions.items() if label.startswith("c2pa.actions") for a in data.get("actions", [])]
    signature = manifest.get("signature_info") or {}
    common = signature.get("common_name")
    generator = (manifest.get("claim_generator_info") or [{}])[0]
    return said | {
        "state": "valid" if state in ("Valid", "Trusted") and not problems else "invalid",
        "problems": problems,
        "signer": "trusted" if state == "Trusted" else "development" if common == DEVELOPMENT else "unknown",
        "certificate": {"name": common, "issuer": signature.get("issuer"), "serial": signature.get("cert_serial_number")},
        "signed_at": signature.get("time"),
        "software": " ".join(str(generator[k]) for k in ("name", "version") if k in generator),
        "ai_made": any(action.get("digitalSourceType") == AI_MADE for action in actions),
        "generation": assertions.get(GENERATION, {}),
    }


def tags(path: Path, kind: str | None) -> dict[str, str]:
    """Read our plain, unsigned tags: all that is left if a program dropped the manifest."""
    try:
        if kind == PNG:
            with Image.open(path, formats=["PNG"]) as picture:
                found: Mapping[Any, object] = picture.info
        elif kind == MP4:
            with av.open(str(path)) as video:
                found = dict(video.metadata)
        else:
            found = {}
    except (OSError, SyntaxError):  # raised by Pillow and PyAV for a damaged file
        return {}
    return {key.removeprefix("ourvidz:"): str(value) for key, value in found.items() if key.startswith("ourvidz:")}


def media_type(data: bytes) -> str | None:
    """Detect the media type from the bytes, not from the file's name."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data[4:8] == b"ftyp":
        return MP4
    return WEBP if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
