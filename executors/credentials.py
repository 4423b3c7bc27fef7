"""The certificate that signs outputs: the operator's, or an untrusted development certificate generated once per machine."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DEVELOPMENT = "OurVidz development certificate (untrusted)"
LIFE = timedelta(days=3650)
ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""Curve → COSE signature algorithm (RFC 9053 §2.1, RFC 5480 §2.1.1.1)."""


class BadCredential(Exception):
    """The certificate or its key cannot be used: nothing can be signed, so this executor does not start."""


@dataclass(frozen=True)
class Credential:
    chain: bytes  # PEM, the signing certificate first
    key: bytes  # PEM
    algorithm: str
    fingerprint: str  # SHA-256 of the signing certificate, hex
    name: str
    until: datetime
    development: bool

    @property
    def said(self) -> str:
        """Description for executor start-up and `ourvidz doctor`."""
        if self.development:
            return (
                f"Outputs are signed with this machine's development certificate ({self.fingerprint[:16]}…), which nobody trusts. "
                "For others to trust them, set OURVIDZ_C2PA_CERT and OURVIDZ_C2PA_KEY."
            )
        return f"Outputs are signed by {self.name} (certificate {self.fingerprint[:16]}…, until {self.until:%Y-%m-%d})."


def find(home: Path, cert: Path | None, key: Path | None) -> Credential:
    """Return the configured credential; if none, this machine's development one, made at the first call. Raises `BadCredential`."""
    if cert is None and key is None:
        return development(home)
    if cert is None or key is None:
        raise BadCredential("OURVIDZ_C2PA_CERT and OURVIDZ_C2PA_KEY go together: set both, or neither for a development certificate.")
    try:
        return _credential(cert.read_bytes(), key.read_bytes(), development=False)
    except OSError as error:
        raise BadCredential(f"{error.filename} cannot be read ({error.strerror}); OURVIDZ_C2PA_CERT and _KEY name PEM files.") from None
    except (ValueError, TypeError) as error:  # TypeError: the key needs a password
        raise BadCredential(f"{cert} and {key} are no certificate and unencrypted key in PEM: {error}") from None


def anchors(trust: Path | None) -> str:
    """Read the PEM certificates in that file. Raises `BadCredential`, `OSError`."""
    if trust is None:
        return ""
    pem = trust.read_bytes()
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise BadCredential(f"{trust} holds no certificates in PEM ({error}).") from None
    return pem.decode()


def place(home: Path) -> Path:
    """Path of the development certificate and its key."""
    return home / "c2pa" / "development.pem"


def development(home: Path) -> Credential:
    """Return this machine's development credential, making it at the first call. Raises `BadCredential`."""
    path = place(home)
    try:
        if not path.exists():
            _make(path)
        pem = path.read_bytes()
        start = pem.index(b"-----BEGIN CERTIFICATE-----")
        return _credential(pem[start:], pem[:start], development=True)
    except (OSError, ValueError) as error:
        raise BadCredential(f"The development certificate {path} cannot be used ({error}). Remove it, and another is made.") from error


def _credential(chain: bytes, key: bytes, *, development: bool) -> Credential:
    leaf, private = x509.load_pem_x509_certificates(chain)[0], serialization.load_pem_private_key(key, password=None)
    if private.public_key() != leaf.public_key():
        raise ValueError("the key is not the certificate's")
    if leaf.not_valid_after_utc <= datetime.now(UTC):
        raise ValueError(f"the certificate ended on {leaf.not_valid_after_utc:%Y-%m-%d}")
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in ALGORITHMS:
        algorithm = ALGORITHMS[private.curve.name]
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = "ps256"
    else:
        raise ValueError("C2PA signs with keys on P-256, P-384 or P-521, with Ed25519 and with RSA")
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else leaf.subject.rfc4514_string()
    return Credential(chain, key, algorithm, leaf.fingerprint(hashes.SHA256()).hex(), name, leaf.not_valid_after_utc, development)


def _make(path: Path) -> None:
    """Write key and chain into one file, atomically, so that executors that start together use the same certificate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_drawn())
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        path.hardlink_to(mine)
    mine.unlink()


def _drawn() -> bytes:
    """Generate an ES256 key and a certificate with the profile that C2PA requires of signers (C2PA 2.2, §14.5.1): X.509 v3, not
    self-signed, digitalSignature only, an extended key usage on the list. The issuer's key signs only this and is discarded."""
    root, key, now = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)

    def signed(name: str, public: ec.EllipticCurvePublicKey, usage: str, *, ca: bool) -> x509.Certificate:
        uses = {
            use: use == usage
            for use in (
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
                "crl_sign", "encipher_only", "decipher_only",
            )
        }  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(f"{DEVELOPMENT} issuer"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))  # tolerates clock skew of other machines
            .not_valid_after(now + LIFE)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
            .add_extension(x509.KeyUsage(**uses), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        return builder.sign(root, hashes.SHA256())

    chain = [
        signed(DEVELOPMENT, key.public_key(), "digital_signature", ca=False),
        signed(f"{DEVELOPMENT} issuer", root.public_key(), "key_cert_sign", ca=True),
    ]
    pem = serialization.Encoding.PEM
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return written + b"".join(certificate.public_bytes(pem) for certificate in chain)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "OurVidz"), x509.NameAttribute(NameOID.COMMON_NAME, common)])
