"""Determine the prediction type of an SDXL checkpoint, noise (epsilon) or velocity, and whether its schedule has zero terminal SNR.

Sampled as the wrong type, a model makes noise or washed-out pictures without an error. So the file decides: marker tensors (as ComfyUI
writes and reads them), `__metadata__` (modelspec, https://github.com/Stability-AI/ModelSpec, and kohya's `ss_…`), and the scheduler's
config beside it. A contradiction, or a type that is not supported here, is refused with an error that names it. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.errors import ModelFileError
from executors.models.safetensors_header import Header, HeaderError, quoted, read_whole

EPSILON, VELOCITY, FLOW = "epsilon", "v_prediction", "flow_prediction"  # as diffusers spells them
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("epsilon", "eps", "noise"), EPSILON),
    **dict.fromkeys(("v", "vpred", "vprediction", "vparameterization", "velocity"), VELOCITY),
}
_MARKERS: Mapping[str, str] = {"v_pred": VELOCITY}
_EDM = ("edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min")
# Names in `__metadata__`: modelspec's, ComfyUI's, and those that trainers and converters write.
_NAMES = ("modelspec.prediction_type", "modelspec.predict_key", "prediction_type", "ss_prediction_type")
_FLAGS: Mapping[str, str] = {"ss_v_parameterization": VELOCITY, "v_parameterization": VELOCITY}
_ZERO_NAMES = ("ss_zero_terminal_snr", "zero_terminal_snr", "ztsnr", "modelspec.zero_terminal_snr")


@dataclass(frozen=True)
class Prediction:
    """`kind`: epsilon or v_prediction. `zero_snr`: the last timestep is pure noise (https://arxiv.org/abs/2305.08891)."""

    kind: str = EPSILON
    zero_snr: bool = False

    def schedule(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a scheduler's config updated with this. With zero terminal SNR, sampling must begin at the last timestep: `trailing`."""
        zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if self.zero_snr else {}
        return {**config, "prediction_type": self.kind, **zero}

    def facts(self) -> dict[str, Any]:
        """Facts for an artifact's metadata; empty for a plain epsilon model."""
        return {} if self == Prediction() else {"prediction": self.kind, "zero_terminal_snr": self.zero_snr}


def of(file: Path, config: Path) -> Prediction:
    """Read the checkpoint `file` and the `scheduler_config.json` in `config`. Raises `ModelFileError` (message: the predicate only)."""
    try:
        header = read_whole(file)
    except (HeaderError, OSError) as error:
        raise ModelFileError(str(error)) from error
    return agreed(header, _schedule(config / "scheduler_config.json"))


def flow(scheduler: Path) -> None:
    """Raise `ModelFileError` (message: the predicate only) unless a Wan folder's `scheduler_config.json` states flow prediction."""
    file = scheduler / "scheduler_config.json"
    if file.is_file() and (told := _schedule(file).get("prediction_type", FLOW)) != FLOW:
        raise ModelFileError(f"says that the model predicts {quoted(told)}: Wan is sampled as {FLOW}")


def agreed(header: Header, schedule: Mapping[str, Any]) -> Prediction:
    """Combine all statements into one. The config's `epsilon` comes from the base model, is copied beside every checkpoint, and yields to
    the file. Raises `ModelFileError` (message: the predicate only)."""
    if edm := next((name for name in _EDM if name in header.tensors), None):
        raise ModelFileError(f"has the tensor {edm}: it is of the EDM kind (Playground v2.5, CosXL), which is not sampled here")
    said = list(_said(header))
    if (asked := schedule.get("prediction_type")) not in (None, EPSILON):
        said.append((f"its scheduler_config.json says {quoted(asked)}", _kind(asked, "prediction_type in scheduler_config.json")))
    kinds = {kind for _, kind in said}
    if len(kinds) > 1:
        first, other = said[0], next(one for one in said if one[1] != said[0][1])
        raise ModelFileError(f"contradicts itself on what it predicts: {first[0]}, {other[0]}. Put right what is wrong of the two")
    zero = "ztsnr" in header.tensors or any(_true(header.metadata.get(name)) for name in _ZERO_NAMES)
    zero = zero or schedule.get("rescale_betas_zero_snr") is True
    kind = next(iter(kinds), EPSILON)
    if zero and kind == EPSILON:
        if kinds:
            raise ModelFileError(f"contradicts itself: {said[0][0]}, and its schedule ends in noise alone, where noise tells nothing")
        kind = VELOCITY  # epsilon prediction is useless on pure noise
    return Prediction(kind, zero)


def _said(header: Header) -> Iterator[tuple[str, str]]:
    for name, kind in _MARKERS.items():
        if name in header.tensors:
            yield f"it has the tensor {name}", kind
    for name in _NAMES:
        if (value := header.metadata.get(name)) is not None and value.strip().lower() not in ("", "none", "null"):
            yield f"its {name} is {quoted(value)}", _kind(value, name)
    for name, kind in _FLAGS.items():
        if _true(header.metadata.get(name)):
            yield f"its {name} is {quoted(header.metadata[name])}", kind


def _kind(value: object, name: str) -> str:
    if isinstance(value, str) and (kind := _WORDS.get("".join(c for c in value.lower() if c.isalnum()))):
        return kind
    raise ModelFileError(f"predicts {quoted(value)}, says its {name}: here {EPSILON} and {VELOCITY} are sampled")


def _true(value: str | None) -> bool:
    return value is not None and value.strip().strip('"').lower() in ("true", "1", "yes")


def _schedule(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"has no scheduler_config.json beside it that can be read ({error})") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"has a scheduler_config.json beside it that holds {quoted(found)}")
    return found
