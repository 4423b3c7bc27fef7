"""The header of a .safetensors file: enough to tell a whole file from a truncated, pickled or foreign one, with the standard library.

Format: https://github.com/huggingface/safetensors#format — eight bytes of length N (little-endian), N bytes of JSON, then the tensors.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

LIMIT = 100_000_000  # bytes of header; the format's own limit
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


class HeaderError(Exception):
    """What is wrong, as the predicate of a sentence that begins with the file's name."""


def read_header(file: Path) -> dict[str, dict[str, Any]]:
    """Tensor name to `{"dtype", "shape", "data_offsets"}`. Raises `HeaderError`, also when the file is not as long as it says."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(9)
        # The ninth byte decides: a sound header may be 0x…0280 bytes long, and so begin like a pickle, but goes on with a brace.
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
    try:
        header: dict[str, dict[str, Any]] = json.loads(raw)
        header.pop("__metadata__", None)
        end = max((_end_of(tensor) for tensor in header.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HeaderError("is no safetensors file: its header is not what the format asks for") from error
    whole = 8 + length + end
    if size != whole:
        raise HeaderError(f"{'is truncated' if size < whole else 'is too long'}: {size:,} bytes where its header says {whole:,}")
    return header


def _end_of(tensor: dict[str, Any]) -> int:
    begin, end = tensor["data_offsets"]
    bits = _BITS.get(tensor["dtype"])  # a type newer than this table passes: only its extent is taken on trust
    if begin < 0 or (bits and (end - begin) * 8 != math.prod(tensor["shape"]) * bits):
        raise ValueError
    return int(end)
