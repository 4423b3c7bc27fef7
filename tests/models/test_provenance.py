"""Signed claims: a file's statements about itself; pixels and playback are unchanged; a modified file is detected."""

from __future__ import annotations

import io
import stat
import threading
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from PIL import Image

from executors import credentials, provenance
from executors.credentials import BadCredential
from executors.errors import DiskFull
from executors.media import AI_MADE, encode_mp4, encode_png, encode_webp_thumbnail, probe_mp4, probe_png
from executors.provenance import Seal, Unsigned, read
from executors.run import classify
from executors.spool import Spool

FACTS = {"job": "3f0c", "model": "wan2.1-t2v-1.3b", "seed": 4294967295, "tiny": True, "settings": {"steps": 25, "guidance": 7.5}}
CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
PEM = serialization.Encoding.PEM


def noise(size: tuple[int, int] = (96, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def seal(tmp_path_factory: pytest.TempPathFactory) -> Seal:
    return Seal(credentials.find(tmp_path_factory.mktemp("home"), None, None))


@pytest.fixture
def png(tmp_path: Path, seal: Seal) -> Path:
    path = tmp_path / "0.png"
    path.write_bytes(encode_png(noise(), {"ourvidz:job": "3f0c"}))
    seal.put(path, "image/png", FACTS)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, seal: Seal) -> tuple[Path, Path]:
    """81 frames, plain and signed."""
    folder = tmp_path_factory.mktemp("clip")
    frames = [Image.new("RGB", (48, 80), (20 + 2 * number,) * 3) for number in range(81)]
    encode_mp4(frames, 16, folder / "plain.mp4", {"ourvidz:job": "3f0c"})
    (folder / "signed.mp4").write_bytes((folder / "plain.mp4").read_bytes())
    seal.put(folder / "signed.mp4", "video/mp4", FACTS)
    return folder / "plain.mp4", folder / "signed.mp4"


def test_a_pngs_claims_name_its_maker_and_signer(png: Path, seal: Seal) -> None:
    said = read(png)
    assert (said["state"], said["signer"], said["problems"]) == ("valid", "development", [])
    assert said["certificate"]["name"] == credentials.DEVELOPMENT and "untrusted" in credentials.DEVELOPMENT
    assert said["generation"] == FACTS
    assert said["ai_made"] and said["software"].startswith("OurVidz 0.")


def test_signing_changes_no_pixel_and_no_other_metadata(png: Path) -> None:
    assert np.array_equal(np.asarray(Image.open(png)), np.asarray(noise()))
    facts = probe_png(png.read_bytes())
    assert facts.ai_made and facts.text["ourvidz:job"] == "3f0c"


@pytest.mark.parametrize("where", [0.2, 0.5, 0.99])
def test_one_changed_byte_of_a_png_is_detected(png: Path, where: float) -> None:
    data = bytearray(png.read_bytes())
    pixels = data.index(b"IDAT") + 4
    data[pixels + int((len(data) - 20 - pixels) * where)] ^= 1
    png.write_bytes(data)
    said = read(png)
    assert said["state"] == "invalid" and "assertion.dataHash.mismatch" in said["problems"]


def test_replaced_pixels_under_the_same_claims_are_detected(png: Path, seal: Seal) -> None:
    """Pixels replaced, with every PNG checksum right: only the signature reveals it."""
    with Image.open(png) as picture:
        changed = np.asarray(picture).copy()
    changed[0, 0, 0] ^= 1
    other = encode_png(Image.fromarray(changed), {"ourvidz:job": "3f0c"})
    data = png.read_bytes()
    start = data.index(b"caBX") - 4
    box = data[start : start + 12 + int.from_bytes(data[start : start + 4], "big")]
    png.write_bytes(other[:33] + box + other[33:])  # after IHDR, where the manifest was
    assert read(png)["state"] == "invalid"


def test_changed_claims_are_detected(png: Path) -> None:
    data = png.read_bytes()
    png.write_bytes(data.replace(b"wan2.1-t2v-1.3b", b"wan2.1-t2v-9.9b", 1))
    assert read(png)["state"] == "invalid"


def test_a_file_without_claims_shows_its_plain_tags(tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    path.write_bytes(encode_png(noise(), {"ourvidz:job": "3f0c"}))
    assert read(path)["state"] == "none"
    assert provenance.tags(path, "image/png") == {"job": "3f0c"}


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"], ids=["empty", "text", "png", "webp"])
def test_non_images_are_handled(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert read(tmp_path / "x")["state"] in ("none", "invalid")


def test_a_signed_clip_plays_as_before(clip: tuple[Path, Path]) -> None:
    plain, signed = clip
    facts = probe_mp4(signed)
    assert (facts.frames, facts.fps, facts.faststart, facts.ai_made) == (81, 16, True, True)
    assert facts.tags["ourvidz:job"] == "3f0c"

    def decoded(path: Path) -> list[tuple[Fraction, bytes]]:
        with av.open(str(path)) as file:
            return [(frame.pts * frame.time_base, frame.to_ndarray().tobytes()) for frame in file.decode(video=0)]

    assert decoded(plain) == decoded(signed)
    assert read(signed)["state"] == "valid" and read(signed)["generation"] == FACTS


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_one_changed_byte_of_a_video_is_detected(clip: tuple[Path, Path], tmp_path: Path, where: float) -> None:
    data = bytearray(clip[1].read_bytes())
    frames = data.index(b"mdat") + 4
    data[frames + int((len(data) - frames) * where)] ^= 1
    (tmp_path / "x.mp4").write_bytes(data)
    assert read(tmp_path / "x.mp4")["problems"] == ["assertion.bmffHash.mismatch"]


def test_a_thumbnail_is_signed_too(tmp_path: Path, seal: Seal) -> None:
    path, plain = tmp_path / "0.webp", encode_webp_thumbnail(noise())
    path.write_bytes(plain)
    seal.put(path, "image/webp", FACTS)
    assert read(path)["state"] == "valid"
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(io.BytesIO(plain))))


def test_threads_can_share_a_seal(seal: Seal) -> None:
    data, made = encode_png(noise(), {}), []

    def sign() -> None:
        made.extend(seal.signed(data, "image/png", FACTS) for _ in range(5))

    threads = [threading.Thread(target=sign) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 30


# -- certificates --------------------------------------------------------------------------------------------------------------------------


def test_the_development_certificate_is_created_once_with_a_private_key_file(tmp_path: Path) -> None:
    one, two = (credentials.find(tmp_path, None, None) for _ in range(2))
    assert one == two and one.development and "nobody trusts" in one.said
    assert stat.S_IMODE(credentials.place(tmp_path).stat().st_mode) == 0o600
    assert [p.name for p in credentials.place(tmp_path).parent.iterdir()] == ["development.pem"]


def test_executors_that_start_together_sign_with_one_certificate(tmp_path: Path) -> None:
    barrier, found = threading.Barrier(6), set()

    def start() -> None:
        barrier.wait()
        found.add(credentials.find(tmp_path, None, None).fingerprint)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def issued(folder: Path, *, days: int = 30, purpose: ObjectIdentifier = CLAIM_SIGNING, other_key: bool = False) -> tuple[Path, Path, Path]:
    """An operator's certificate, key and issuer as files."""
    root, key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    now = datetime.now(UTC)

    def certificate(name: str, public: ec.EllipticCurvePublicKey, ca: bool) -> x509.Certificate:
        named = [x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A Studio"), x509.NameAttribute(NameOID.COMMON_NAME, n)])
                 for n in (name, "Studio Root")]  # fmt: skip
        uses = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                              "decipher_only", "crl_sign"), False)  # fmt: skip
        builder = (
            x509.CertificateBuilder(named[1], named[0], public, x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, **uses), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return builder.sign(root, hashes.SHA384())

    leaf, issuer = certificate("Studio", key.public_key(), False), certificate("Studio Root", root.public_key(), True)
    if other_key:
        key = ec.generate_private_key(ec.SECP384R1())
    cert, secret, anchor = folder / "cert.pem", folder / "key.pem", folder / "root.pem"
    cert.write_bytes(leaf.public_bytes(PEM) + issuer.public_bytes(PEM))
    secret.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    anchor.write_bytes(issuer.public_bytes(PEM))
    return cert, secret, anchor


def test_an_operators_certificate_is_trusted_through_its_issuer(tmp_path: Path) -> None:
    cert, key, anchor = issued(tmp_path)
    found = credentials.find(tmp_path, cert, key)
    path = tmp_path / "0.png"
    path.write_bytes(encode_png(noise(), {}))
    row = Seal(found).put(path, "image/png", FACTS)
    assert row == {"signed": True, "certificate": found.fingerprint, "development": False}
    assert (read(path)["state"], read(path)["signer"]) == ("valid", "unknown")
    assert read(path, credentials.anchors(anchor))["signer"] == "trusted"
    assert not (tmp_path / "c2pa").exists()  # no development certificate if there is an operator's


def test_the_development_certificate_is_untrusted(png: Path, tmp_path: Path) -> None:
    (tmp_path / "studio").mkdir()
    assert read(png, credentials.anchors(issued(tmp_path / "studio")[2]))["signer"] == "development"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"days": -1}, "ended"),
        ({"other_key": True}, "not the certificate's"),
        ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "cannot sign"),
        ({"purpose": ObjectIdentifier("1.3.6.1.4.1.311.76.59.1.9")}, "missing required EKU"),
    ],
    ids=["expired", "another's key", "a web server's", "one for other claims"],
)
def test_an_unusable_certificate_is_detected_at_startup(tmp_path: Path, given: dict[str, object], said: str) -> None:
    cert, key, _ = issued(tmp_path, **given)  # type: ignore[arg-type]
    with pytest.raises(BadCredential, match=said):
        Seal(credentials.find(tmp_path, cert, key))


def test_incomplete_or_unreadable_credentials_are_reported(tmp_path: Path) -> None:
    cert, key, _ = issued(tmp_path)
    with pytest.raises(BadCredential, match="go together"):
        credentials.find(tmp_path, cert, None)
    with pytest.raises(BadCredential, match=r"nowhere\.pem cannot be read"):
        credentials.find(tmp_path, cert, tmp_path / "nowhere.pem")
    with pytest.raises(BadCredential, match="no certificate and unencrypted key"):
        credentials.find(tmp_path, key, cert)


# -- signing failures ----------------------------------------------------------------------------------------------------------------------


def test_a_signing_failure_is_a_retryable_error_of_its_own_class(tmp_path: Path, seal: Seal) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(b"no picture")
    with pytest.raises(Unsigned, match="not published") as failed:
        seal.put(path, "image/png", FACTS)
    assert classify(failed.value) == ("provenance", True)


def test_with_optional_signatures_the_row_records_a_missing_one(tmp_path: Path, seal: Seal) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(b"no picture")
    assert Seal(seal.credential, required=False).put(path, "image/png", FACTS) == {"signed": False}
    assert path.read_bytes() == b"no picture"


def test_no_space_for_the_signed_file_is_disk_full(tmp_path: Path, seal: Seal) -> None:
    import resource

    plain = encode_png(noise(), {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(path: Path) -> None:
        path.write_bytes(plain)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(plain) + 100, before[1]))
        seal.put(path, "image/png", FACTS)

    spool = Spool(tmp_path, 10**9)
    try:
        with pytest.raises(DiskFull):
            spool.write("job", "image-0.png", fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "job").iterdir()) == []


def test_the_ai_mark_is_the_iptc_value(png: Path) -> None:
    assert AI_MADE.encode() in png.read_bytes().partition(b"caBX")[2]
