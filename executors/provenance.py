"""What an output says of itself, signed: that AI made it, as which job, by which model and seed, with which figures (C2PA 2.x).

Signed last: the signature covers every byte but its own, pixels and other metadata alike, so a file that is changed says so. Neither the
prompt nor the user is in it. Nothing here reaches a network unless `OURVIDZ_C2PA_TSA` names a timestamp authority.
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
"""The assertion that holds what we know of how it was made."""

_PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages that a signer's certificate may have: e-mail protection, document signing, C2PA claim signing."""


class Unsigned(ExecutorError):
    """An output could not be signed, and none goes out without. Another attempt may: the key's file, the timestamp authority."""

    error_class = "provenance"


class Seal:
    """Signs files. Threads share it."""

    def __init__(self, credential: Credential, *, required: bool = True, tsa: str | None = None) -> None:
        """`required`: what cannot be signed is not published. Raises `BadCredential` for a certificate that C2PA would not accept."""
        self.credential, self.required = credential, required
        self._agent = {"name": "OurVidz", "version": version("ourvidz")}
        try:
            info = c2pa.C2paSignerInfo(credential.algorithm, credential.chain, credential.key, tsa)
            self._context = c2pa.Context.from_dict(settings(), signer=c2pa.Signer.from_info(info))
            if tsa is None:  # with one, a start would need the network
                self.signed(encode_png(Image.new("RGB", (1, 1)), {}), PNG, {})
        except (c2pa.C2paError, Unsigned) as error:
            which = f"{credential.name} ({credential.fingerprint[:16]}…)"
            raise BadCredential(f"The certificate {which} cannot sign: {_plain(error)}") from error

    def put(self, path: Path, media_type: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Sign the file at `path` in place; what the artifact's row says of it. Raises `Unsigned`, and `OSError` where there is no room."""
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
        """`data` with its manifest, verified (which costs nothing that could be measured). Raises `Unsigned`."""
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
    """For c2pa: no thumbnail in the manifest, nothing fetched, `anchors` (PEM) the only issuers trusted."""
    return {
        "version": 1,
        "builder": {"thumbnail": {"enabled": False}},
        "trust": {"trust_config": "\n".join(_PURPOSES), **({"user_anchors": anchors} if anchors else {})},
        "verify": {"verify_after_sign": True, "verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    }


def read(path: Path, anchors: str = "") -> dict[str, Any]:
    """What the file says of itself, and whether that can be believed.

    `state`: valid (unchanged since it was signed), invalid (changed, or signed wrongly), or none (it carries no manifest). `signer`:
    trusted (by `anchors`, PEM), development, or unknown; anybody may call a certificate by that name. Raises `OSError`.
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
    """Our plain tags, which nothing protects: all that is left where a program dropped the manifest."""
    try:
        if kind == PNG:
            with Image.open(path, formats=["PNG"]) as picture:
                found: Mapping[str, object] = picture.info
        elif kind == MP4:
            with av.open(str(path)) as video:
                found = dict(video.metadata)
        else:
            found = {}
    except (OSError, SyntaxError):  # Pillow's and PyAV's words for a damaged file: then there is nothing to tell
        return {}
    return {key.removeprefix("ourvidz:"): str(value) for key, value in found.items() if key.startswith("ourvidz:")}


def media_type(data: bytes) -> str | None:
    """Read from the bytes, whatever the file is called."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data[4:8] == b"ftyp":
        return MP4
    return WEBP if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
