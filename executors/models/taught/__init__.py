"""Shipped weights of the taught tiny models: `<family>.safetensors` beside this module, in fp16, written by `tools/teach`.

Tensors are named `part/name`: the part of the family ("unet", "text_encoder", …), then the name in that part's state dict. Of an embedding
table only the rows used in training are shipped, with their indices as `part/name@rows`; the other rows keep the values of the module's
seed. What is shipped and why: docs/decisions/0056.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.models.safetensors_header import read_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

ROWS = "@rows"
FACTS = "facts"
FOLDER = Path(__file__).parent


def file_of(family: str) -> Path:
    return FOLDER / f"{family}.safetensors"


def shipped(families: Collection[str]) -> list[str]:
    """Return those of `families` with shipped weights; the others are made with random weights."""
    return [family for family in families if file_of(family).is_file()]


def facts(family: str) -> dict[str, Any]:
    """Read a file's facts from its header, without torch: `words` (topic → the words it knows), `weights` (a digest of the tensors),
    `note` (one sentence for `tiny.json`), and further facts of its teacher. Raises `HeaderError`, `OSError`."""
    found: dict[str, Any] = json.loads(read_whole(file_of(family)).metadata[FACTS])
    return found


def tensors(family: str, part: str) -> dict[str, Tensor]:
    """Return one part's tensors, in fp32, by their names in its state dict. A partly shipped table comes with its `name@rows`."""
    from safetensors import safe_open

    with safe_open(file_of(family), "pt") as file:
        found = {name.removeprefix(f"{part}/"): file.get_tensor(name) for name in file.keys() if name.startswith(f"{part}/")}  # noqa: SIM118
    if not found:
        raise KeyError(f"{file_of(family).name} has no part {part!r}")
    return {name: tensor.long() if name.endswith(ROWS) else tensor.float() for name, tensor in found.items()}


def fill(module: nn.Module, family: str, part: str) -> None:
    """Load the shipped weights into `module`. Rows that are not shipped keep their values: build the module under its seed first.

    Raises `RuntimeError` unless the names are those of the module's state dict and the shapes fit.
    """
    import torch

    found = tensors(family, part)
    state = module.state_dict()
    for name in [name for name in found if name.endswith(ROWS)]:
        table = name.removesuffix(ROWS)
        whole = state[table].detach().clone()
        whole[found.pop(name)] = found[table].to(whole.dtype)
        found[table] = whole
    with torch.no_grad():
        module.load_state_dict(found)


def pack(file: Path, parts: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any], rows: Mapping[str, Collection[int]]) -> None:
    """Write `file`: each part's state dict in fp16. `rows`: table name (`part/name`) → the rows to ship; may be empty.

    `facts` must be JSON, with `words` and `note` (see `facts`); the digest is added. The same tensors give the same bytes.
    """
    import torch
    from safetensors.torch import save_file

    out: dict[str, torch.Tensor] = {}
    for part, state in parts.items():
        for name, tensor in state.items():
            key = f"{part}/{name}"
            if key in rows:
                chosen = torch.tensor(sorted(rows[key]))
                out[key + ROWS], tensor = chosen.int(), tensor[chosen]
            out[key] = (tensor.half() if tensor.is_floating_point() else tensor).contiguous().clone()
    if missing := rows.keys() - out.keys():
        raise KeyError(f"no such table: {', '.join(sorted(missing))}")
    digest = hashlib.sha256(b"".join(_bytes(out))).hexdigest()
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.part")
    save_file(out, aside, metadata={"format": "pt", FACTS: json.dumps({**facts, "weights": digest[:16]}, sort_keys=True)})
    aside.chmod(0o644)  # save_file creates it readable by its owner only
    aside.replace(file)


def _bytes(tensors: Mapping[str, Tensor]) -> Iterator[bytes]:
    import torch

    for name in sorted(tensors):
        yield f"{name}{tuple(tensors[name].shape)}".encode()
        yield tensors[name].flatten().view(torch.uint8).numpy().tobytes()
