"""Detect a file's type from its first bytes, never from its name or the server's Content-Type."""

from __future__ import annotations

from executors.decoding import ACCEPTED, Unacceptable

READ = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "HEIF": "image/heic", "AVIF": "image/avif"}
"""Accepted kinds: Pillow's name → media type."""

# Brands of ISO base media files (ISO/IEC 23008-12, Annex B; AV1 Image File Format, §6; MPEG-4 registration authority).
_AVIF = {b"avif", b"avis"}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_SEQUENCES = {b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"}
_OTHERS = {b"jxl ": "a JPEG XL", b"jp2 ": "a JPEG 2000", b"jpx ": "a JPEG 2000", b"crx ": "a camera's raw file", b"qt  ": "a film"}

# Other types that people send, and their names in messages; the longest prefix first where one begins like another.
_NAMED = (
    (b"GIF8", "a GIF"),
    (b"II*\0", "a TIFF or a camera's raw file"),
    (b"MM\0*", "a TIFF or a camera's raw file"),
    (b"BM", "a BMP"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"<svg", "an SVG"),
    (b"<?xml", "an SVG or another XML file"),
    (b"<!DOC", "a web page"),
    (b"<html", "a web page"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\0\0\1\0", "an icon"),
    (b"\x1a\x45\xdf\xa3", "a film"),
)


def kind(data: bytes) -> str:
    """Return a key of `READ`. Raises `Unacceptable`, which names the type if it is a known one."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _iso(data)
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    for head, name in _NAMED:
        if data.startswith(head) or start.lower().startswith(head.lower()):
            raise _not_read(name)
    raise Unacceptable(f"The reference is not a picture of a known type. {ACCEPTED}.")


def _iso(data: bytes) -> str:
    major, end = data[8:12], min(int.from_bytes(data[:4], "big"), 1_000)
    brands = {major} | {data[at : at + 4] for at in range(16, end - 3, 4)}
    if brands & _AVIF:
        return "AVIF"
    if major in _SEQUENCES:
        raise Unacceptable(f"The reference is animated (a HEIC sequence). {ACCEPTED} that stands still: export one picture of it.")
    if brands & _HEIF:
        return "HEIF"
    raise _not_read(_OTHERS.get(major, "a film"))


def _not_read(name: str) -> Unacceptable:
    return Unacceptable(f"The reference is {name}, which is not read. {ACCEPTED}: export it as a JPEG and use that.")
