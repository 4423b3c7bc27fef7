"""Check that a file's tensors match the architecture of its config: names and shapes, from headers, without loading.

The libraries do not fail on a missing tensor: it stays on `meta` (diffusers) or is initialised at random (transformers), and the pictures
are noise, different each time. So each architecture is built once on the meta device, which takes no memory, and its names and shapes are
compared with the file's header before anything is loaded. Afterwards `whole` checks the loaded module.

The names of SDXL's single file are those of `ldm_keys`, so that errors name the tensors as the file does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from executors.errors import ModelFileError
from executors.models import ldm_keys, recognise
from executors.models.safetensors_header import HeaderError, quoted, read_whole

Shape = tuple[int, ...]
FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
# Present in some files only, and not read by any model: positions and frequencies that models compute, OpenCLIP's temperature, and tensors
# for the VAE's training.
_OPTIONAL = re.compile(r"(^|\.)(position_ids|logit_scale|inv_freq)$|^first_stage_model\.(loss|model_ema)\.")
# transformers writes or omits a base model's prefix, depending on the release, and reads both.
_BASE = re.compile(r"^(text_model|vision_model)\.")


@dataclass(frozen=True)
class Fault:
    """The first fault of a component's tensors. `what` is the predicate of a sentence that begins with the file's name."""

    file: Path
    what: str

    def raised(self, root: Path | None = None) -> ModelFileError:
        name = self.file.relative_to(root).as_posix() if root and self.file.is_relative_to(root) else str(self.file)
        return ModelFileError(f"{name}: {self.what}")


@dataclass(frozen=True)
class Wanted:
    """The tensors required by a component: name → shape. A group has the names of one tensor, of which a file needs one."""

    what: str
    shapes: Mapping[str, Shape]
    groups: tuple[frozenset[str], ...] = ()
    ignored: tuple[str, ...] = ()  # patterns of names that the library ignores


def of_folder(kind: Any, folder: Path) -> Fault | None:
    """Check a folder's weights as `from_pretrained` of this class reads them; None if complete and without extra tensors."""
    try:
        wanted = architecture(kind, folder)
    except ModelFileError as error:
        return Fault(folder / "config.json", str(error))
    try:
        files = shards(folder)
        found = {_BASE.sub("", name): (file, name, tensor) for file in files for name, tensor in read_whole(file).tensors.items()}
    except (HeaderError, OSError, ValueError, KeyError, AttributeError) as error:  # the last three: an invalid index
        return Fault(folder, f"cannot be read: {error}")
    if not files:
        return Fault(folder, "holds no weights that would be loaded")
    shapes = {_BASE.sub("", name): shape for name, shape in wanted.shapes.items()}
    plain = Wanted(wanted.what, shapes, tuple(frozenset(_BASE.sub("", n) for n in group) for group in wanted.groups), wanted.ignored)
    tensors = {name: tensor for name, (_, _, tensor) in found.items()}
    return first_fault(plain, tensors, lambda name: found[name][0] if name in found else files[0], lambda name: _as_in(found, name))


def of_single_file(file: Path, config: Path, parts: Sequence[str] = ()) -> Fault | None:
    """Check the tensors of these parts of an SDXL checkpoint (none named: all four) against the configs beside it."""
    try:
        header = read_whole(file)
    except (HeaderError, OSError) as error:
        return Fault(file, str(error))
    for part, (kind, prefix, rename) in SINGLE_FILE.items():
        if parts and part not in parts:
            continue
        try:
            wanted = architecture(kind, config / part)
        except ModelFileError as error:
            return Fault(config / part / "config.json", str(error))
        shapes = {name: tuple(tensor.shape) for name, tensor in rename(_on_meta(wanted.shapes)).items()}
        mine = {name: tensor for name, tensor in header.tensors.items() if name.startswith(prefix)}
        fault = first_fault(Wanted(wanted.what, shapes), mine, lambda _: file)
        if fault is not None:
            what = recognise.what(header)
            return Fault(file, f"{fault.what}. It is {what}" if what else fault.what)
    return None


def _as_in(found: Mapping[str, tuple[Path, str, Any]], name: str) -> str:
    """Return the name as the file spells it; for a missing tensor, as its neighbours are spelled."""
    if name in found:
        return found[name][1]
    first = name.partition(".")[0]
    alike = next((raw for plain, (_, raw, _) in found.items() if plain.partition(".")[0] == first), "") or next(
        (raw for plain, (_, raw, _) in found.items() if raw != plain and not first.endswith("_projection")), ""
    )
    prefix = _BASE.match(alike)
    return (prefix[0] if prefix else "") + name


def first_fault(
    wanted: Wanted,
    found: Mapping[str, Mapping[str, Any]],
    file_of: Callable[[str], Path],
    spelled: Callable[[str], str] = str,
) -> Fault | None:
    """Return the first fault: wrong shapes first, which tell more than missing names; then missing tensors, then extra ones."""
    faults = list(_faults(wanted, found, spelled))
    if not faults:
        return None
    name, what = faults[0]
    return Fault(file_of(name), what + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))


def _faults(wanted: Wanted, found: Mapping[str, Mapping[str, Any]], spelled: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    for name, shape in wanted.shapes.items():
        if (tensor := found.get(name)) is None or _OPTIONAL.search(name):
            continue
        if _squeezed(tensor["shape"]) != _squeezed(shape):
            yield name, f"its tensor {spelled(name)} has the shape {shown(tensor['shape'])} where {wanted.what} needs {shown(shape)}"
        elif tensor["dtype"] not in FLOATS:
            yield name, f"its tensor {spelled(name)} is of type {quoted(tensor['dtype'])} where {wanted.what} needs a floating-point one"
    for name, shape in wanted.shapes.items():
        same = next((group for group in wanted.groups if name in group), frozenset({name}))
        if not (same & found.keys()) and name == min(same) and not _OPTIONAL.search(name):
            yield name, f"lacks the tensor {spelled(name)} (shape {shown(shape)}), which {wanted.what} needs"
    for name in found:
        if name not in wanted.shapes and not _OPTIONAL.search(name) and not any(re.search(p, name) for p in wanted.ignored):
            yield (
                name,
                f"has a tensor {quoted(spelled(name), 200)[1:-1]} (shape {shown(found[name]['shape'])}), which {wanted.what} does not have",
            )


def _squeezed(shape: Sequence[int]) -> Shape:
    """Drop trailing ones: the VAE's attention is stored as matrices or as 1×1 convolutions, and both are read."""
    sides = list(shape)
    while len(sides) > 2 and sides[-1] == 1:
        sides.pop()
    return tuple(sides)


def shown(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "of a single number"


# Architectures


def architecture(kind: Any, folder: Path) -> Wanted:
    """Return the tensors of a model class with this folder's config. Raises `ModelFileError` (message: the predicate only)."""
    try:
        text = (folder / "config.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"cannot be read: {error}") from error
    return _architecture(kind, text)


@cache
def _architecture(kind: Any, config: str) -> Wanted:
    try:
        told = json.loads(config)
        with torch.device("meta"):
            model = kind(kind.config_class.from_dict(told)) if issubclass(kind, transformers.PreTrainedModel) else kind.from_config(told)
    except Exception as error:  # libraries raise any type for an invalid config
        raise ModelFileError(f"describes no {kind.__name__}: {error}") from error
    state = model.state_dict(keep_vars=True)
    same: dict[int, set[str]] = {}
    for name, tensor in state.items():
        same.setdefault(id(tensor), set()).add(name)
    ignored = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    return Wanted(
        f"the {kind.__name__} of its config",
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        tuple(frozenset(names) for names in same.values() if len(names) > 1),
        tuple(ignored),
    )


def _on_meta(shapes: Mapping[str, Shape]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


# A single file's parts: the class, the prefix of its tensors' names, and the renaming from the class's names to the file's.
SINGLE_FILE: Mapping[str, tuple[Any, str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]]] = {
    "unet": (diffusers.UNet2DConditionModel, "model.diffusion_model.", ldm_keys.unet),
    "vae": (diffusers.AutoencoderKL, "first_stage_model.", ldm_keys.vae),
    "text_encoder": (transformers.CLIPTextModel, "conditioner.embedders.0.", ldm_keys.text_encoder),
    "text_encoder_2": (transformers.CLIPTextModelWithProjection, "conditioner.embedders.1.", ldm_keys.text_encoder_2),
}


def shards(folder: Path) -> list[Path]:
    """Return the files that `from_pretrained` reads: the single file, else those of the index."""
    for stem in ("diffusion_pytorch_model", "model"):
        if (whole := folder / f"{stem}.safetensors").is_file():
            return [whole]
        index = folder / f"{stem}.safetensors.index.json"
        if index.is_file():
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return [folder / name for name in sorted(set(named))]
    return []


# Loaded modules


def whole(module: torch.nn.Module, what: str, info: Mapping[str, Any] | None = None) -> torch.nn.Module:
    """Return the module if every tensor of it came from the file. `info`: from `from_pretrained(output_loading_info=True)`.

    Raises `ModelFileError` naming the first tensor that did not.
    """
    for word, key in (("lacks the tensor", "missing_keys"), ("has another shape for the tensor", "mismatched_keys")):
        if names := sorted(str(name[0] if isinstance(name, tuple) else name) for name in (info or {}).get(key) or ()):
            raise ModelFileError(f"{what}: {word} {names[0]}" + (f" (and {len(names) - 1} more)" if len(names) > 1 else ""))
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if empty := next((name for name, tensor in tensors.items() if tensor.is_meta), None):
        raise ModelFileError(f"{what}: lacks the tensor {empty}: nothing was read for it")
    return module
