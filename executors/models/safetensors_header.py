"""Read a .safetensors header with the standard library, to detect truncated, pickled and foreign files.

Format: https://github.com/huggingface/safetensors#format — eight bytes of length N (little-endian), N bytes of JSON, then the tensors.
As strict as the safetensors library about text, numbers, offsets and `__metadata__`: a file that passes here loads there.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 100_000_000  # bytes of header; the format's own limit
QUOTED = 60  # maximum characters of a file's value quoted in an error
METADATA = "__metadata__"
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


class HeaderError(Exception):
    """Invalid header. The message is the predicate of a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Header:
    """`tensors`: name → `{"dtype", "shape", "data_offsets"}`. `metadata`: the file's `__metadata__`, strings only; often empty."""

    tensors: dict[str, dict[str, Any]]
    metadata: dict[str, str]


def read_header(file: Path) -> dict[str, dict[str, Any]]:
    """Return tensor name → `{"dtype", "shape", "data_offsets"}`. Raises `HeaderError`, also if the file's length is wrong."""
    return read_whole(file).tensors


def read_whole(file: Path) -> Header:
    """Return tensors and metadata. Raises `HeaderError`, also if the file's length differs from the header."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(9)
        # Check the ninth byte too: a valid header of 0x…0280 bytes begins like a pickle, but its ninth byte is a brace.
        if start[8:] != b"{" and (start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5")):
            raise HeaderError("is a pickle (a PyTorch checkpoint) under the name of a safetensors file")
        if len(start) < 9:
            raise HeaderError(f"is truncated: {size} bytes, less than a safetensors header")
        (length,) = struct.unpack("<Q", start[:8])
        if not 0 < length <= LIMIT:
            raise HeaderError("is no safetensors file")
        raw = start[8:] + stream.read(length - 1)
    if len(raw) < length:
        raise HeaderError(f"is truncated inside its header: {size:,} bytes")
    tensors = _parsed(raw)
    metadata = _metadata(tensors.pop(METADATA, None))
    end = _end(tensors)
    if size != (whole := 8 + length + end):
        raise HeaderError(f"{'is truncated' if size < whole else 'is too long'}: {size:,} bytes where its header says {whole:,}")
    return Header(tensors, metadata)


def quoted(value: object, longest: int = QUOTED) -> str:
    """Format a file's value for an error: on one line, truncated."""
    text = repr(value[: 4 * longest] if isinstance(value, str) else value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_once)
    except RecursionError:
        raise HeaderError("is no safetensors file: its header is nested too deeply") from None
    except ValueError as error:
        raise HeaderError(f"is no safetensors file: its header is not what the format asks for ({error})") from error
    if not isinstance(header, dict):
        raise HeaderError("is no safetensors file: its header is not what the format asks for")
    return header


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The library takes the last of two tensors with one name, but refuses duplicate metadata.
    if sum(name == METADATA for name, _ in pairs) > 1:
        raise ValueError(f"{METADATA} comes twice")
    return dict(pairs)


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HeaderError(f"cannot be loaded: its {METADATA} is {quoted(value)} where the format asks for names and texts. {_RESAVE}")
    for name, text in value.items():
        if not isinstance(text, str):
            raise HeaderError(f"cannot be loaded: in its {METADATA}, {quoted(name)} is {quoted(text)}, which is not a text. {_RESAVE}")
        if not _encodable(name) or not _encodable(text):
            raise HeaderError(f"cannot be loaded: in its {METADATA}, {quoted(name)} holds half a surrogate pair. {_RESAVE}")
    return value


_RESAVE = "Save the file again with metadata of texts, or without any"


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _end(tensors: dict[str, Any]) -> int:
    """Return the end offset of the last tensor. Tensors must be contiguous, without holes."""
    end = 0
    for begin, until, name in sorted(_extents(tensors)):
        if begin != end:
            raise HeaderError(f"is no safetensors file: its tensor {quoted(name)} begins at byte {begin:,} where {end:,} is the next")
        end = until
    return end


def _extents(tensors: dict[str, Any]) -> Iterator[tuple[int, int, str]]:
    for name, tensor in tensors.items():
        try:
            begin, end = tensor["data_offsets"]
            dtype, shape = tensor["dtype"], tensor["shape"]
        except (TypeError, KeyError, ValueError):
            raise HeaderError(f"is no safetensors file: of its tensor {quoted(name)} it says {quoted(tensor)}") from None
        bits = _BITS.get(dtype) if isinstance(dtype, str) else 0  # None for an unknown, newer type: its extent is not checked
        numbers = [begin, end, *shape] if isinstance(shape, list) else [None]
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if not whole or begin > end or bits == 0 or (bits and (end - begin) * 8 != math.prod(shape) * bits):
            raise HeaderError(f"is no safetensors file: of its tensor {quoted(name)} it says {quoted(tensor)}")
        yield begin, end, name
