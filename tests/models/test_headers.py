"""`verify` passes exactly the files that the library loads; a file's statements about itself are handled safely in any form."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file

from executors.errors import ModelFileError
from executors.models import prediction, recognise
from executors.models.prediction import Prediction
from executors.models.safetensors_header import Header, HeaderError, read_whole

ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
DEEP = b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b',"a":' + json.dumps(ONE).encode() + b"}"


def written(tmp_path: Path, header: bytes | dict[str, Any], body: bytes = bytes(4)) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    return file


GOOD: dict[str, tuple[bytes | dict[str, Any], dict[str, str]]] = {
    "no metadata": ({"a": ONE}, {}),
    "null": ({"__metadata__": None, "a": ONE}, {}),
    "empty": ({"__metadata__": {}, "a": ONE}, {}),
    "texts": ({"__metadata__": {"format": "pt", "modelspec.title": "«ü»"}, "a": ONE}, {"format": "pt", "modelspec.title": "«ü»"}),
    "JSON in a text": ({"__metadata__": {"ss_bucket_info": '{"buckets": [1]}'}, "a": ONE}, {"ss_bucket_info": '{"buckets": [1]}'}),
    "two megabytes": ({"__metadata__": {"ss_tag_frequency": "x" * 2_000_000}, "a": ONE}, {"ss_tag_frequency": "x" * 2_000_000}),
    "a marker": ({"a": ONE, "v_pred": {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]}}, {}),
    "spaces behind": (json.dumps({"a": ONE}).encode() + b"   ", {}),
}
BAD: dict[str, tuple[bytes | dict[str, Any], str]] = {
    "a number": ({"__metadata__": {"step": 1200}, "a": ONE}, r"its __metadata__, 'step' is 1200, which is not a text"),
    "null in it": ({"__metadata__": {"vae": None}, "a": ONE}, "'vae' is None"),
    "nested": ({"__metadata__": {"recipe": {"a": [1, 2]}}, "a": ONE}, r"'recipe' is \{'a': \[1, 2\]\}"),
    "true": ({"__metadata__": {"v_pred": True}, "a": ONE}, "'v_pred' is True"),
    "a list": ({"__metadata__": ["pt"], "a": ONE}, r"its __metadata__ is \['pt'\]"),
    "a text": ({"__metadata__": "pt", "a": ONE}, "its __metadata__ is 'pt'"),
    "a long one": ({"__metadata__": ["x" * 5_000_000], "a": ONE}, "__metadata__ is .{59}… where"),
    "twice": (b'{"__metadata__":{},"__metadata__":{},"a":' + json.dumps(ONE).encode() + b"}", "__metadata__ comes twice"),
    "too deep": (DEEP, "nested too deeply"),
    "NaN": (b'{"__metadata__":{"a":NaN},"a":' + json.dumps(ONE).encode() + b"}", "NaN is not JSON"),
    "half a surrogate pair": (b'{"__metadata__":{"a":"\\ud800"},"a":' + json.dumps(ONE).encode() + b"}", "half a surrogate pair"),
    "Latin-1": ('{"__metadata__":{"a":"ü"},"a":'.encode("latin-1") + json.dumps(ONE).encode() + b"}", "not what the format asks for"),
    "UTF-16": (json.dumps({"a": ONE}).encode("utf-16-le"), "not what the format asks for|is no safetensors file"),
    "a list of all": (b"[1]   ", "is no safetensors file|not what the format asks for"),
    "an overlap": ({"a": ONE, "b": ONE}, "'b' begins at byte 0 where 4 is the next"),
    "a hole": ({"a": {**ONE, "data_offsets": [0, 4]}, "b": {**ONE, "data_offsets": [8, 12]}}, "'b' begins at byte 8 where 4 is the next"),
    "halves": ({"a": {**ONE, "data_offsets": [0, 4.0]}}, "of its tensor 'a' it says"),
    "minus": ({"a": {**ONE, "shape": [-1, -1]}}, "of its tensor 'a' it says"),
    "nothing of a tensor": ({"a": None}, "of its tensor 'a' it says None"),
}


@pytest.mark.parametrize("name", GOOD)
def test_valid_headers_are_read_with_their_metadata(tmp_path: Path, name: str) -> None:
    header, said = GOOD[name]
    file = written(tmp_path, header)
    assert read_whole(file).metadata == said
    assert set(load_file(file)) == set(read_whole(file).tensors)


@pytest.mark.parametrize("name", BAD)
def test_invalid_headers_are_refused_with_a_short_quote(tmp_path: Path, name: str) -> None:
    header, words = BAD[name]
    file = written(tmp_path, header, bytes(12) if name == "a hole" else bytes(4))
    with pytest.raises(SafetensorError):
        load_file(file)
    with pytest.raises(HeaderError, match=words) as refused:
        read_whole(file)
    assert len(str(refused.value)) < 300 and str(refused.value).isprintable()


# -- prediction kind


def said(*tensors: str, schedule: dict[str, Any] | None = None, **metadata: str) -> Prediction:
    named = {name.replace("__", "."): text for name, text in metadata.items()}
    return prediction.agreed(Header({name: ONE for name in tensors}, named), {"prediction_type": "epsilon"} | (schedule or {}))


@pytest.mark.parametrize(
    ("found", "kind", "zero"),
    [
        (said("w"), "epsilon", False),
        (said("w", "v_pred"), "v_prediction", False),
        (said("w", "v_pred", "ztsnr"), "v_prediction", True),
        (said("w", "ztsnr"), "v_prediction", True),
        (said(modelspec__prediction_type="v"), "v_prediction", False),
        (said(modelspec__prediction_type="V-Prediction"), "v_prediction", False),
        (said(modelspec__prediction_type="epsilon"), "epsilon", False),
        (said(modelspec__prediction_type=""), "epsilon", False),
        (said(modelspec__predict_key="v", prompt='{"3": {"inputs": {}}}'), "v_prediction", False),
        (said(ss_v_parameterization="True", ss_zero_terminal_snr="True"), "v_prediction", True),
        (said(ss_v_parameterization="False"), "epsilon", False),
        (said(modelspec__prediction_type="velocity"), "v_prediction", False),
        (said(schedule={"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}), "v_prediction", True),
    ],
)
def test_the_files_metadata_decides_the_prediction_kind(found: Prediction, kind: str, zero: bool) -> None:
    assert found == Prediction(kind, zero)
    schedule = found.schedule({"prediction_type": "epsilon", "timestep_spacing": "leading"})
    assert (schedule["prediction_type"], schedule.get("rescale_betas_zero_snr", False)) == (kind, zero)
    assert schedule["timestep_spacing"] == ("trailing" if zero else "leading")


@pytest.mark.parametrize(
    ("tensors", "metadata", "schedule", "words"),
    [
        (["v_pred"], {"modelspec__prediction_type": "epsilon"}, {}, "it has the tensor v_pred, its modelspec.prediction_type is 'epsilon'"),
        ([], {"modelspec__prediction_type": "epsilon"}, {"prediction_type": "v_prediction"}, "contradicts itself"),
        (["ztsnr"], {"modelspec__prediction_type": "epsilon"}, {}, "ends in noise alone"),
        (["edm_mean", "edm_std"], {}, {}, "edm_mean: it is of the EDM kind"),
        (["edm_vpred.sigma_max", "v_pred"], {}, {}, "EDM kind"),
        ([], {"modelspec__prediction_type": "flow"}, {}, "predicts 'flow', says its modelspec.prediction_type"),
        ([], {}, {"prediction_type": "sample"}, "predicts 'sample'"),
        ([], {}, {"prediction_type": ["v"]}, r"predicts \['v'\]"),
    ],
)
def test_contradictory_or_unsupported_predictions_are_refused(
    tensors: list[str], metadata: dict[str, str], schedule: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelFileError, match=words):
        said(*tensors, schedule=schedule, **metadata)


# -- kind of file

UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("tensors", "kind"),
    [
        ({f"{UNET}input_blocks.0.0.weight": [320, 9, 3, 3], "first_stage_model.x": [1]}, "an inpainting checkpoint"),
        ({f"{UNET}input_blocks.0.0.weight": [320, 8, 3, 3], "first_stage_model.x": [1]}, "an instruct-pix2pix"),
        ({f"{UNET}label_emb.0.0.weight": [1536, 2560], "conditioner.embedders.0.model.x": [1]}, "an SDXL refiner"),
        ({"cond_stage_model.transformer.text_model.x": [1]}, "a Stable Diffusion 1"),
        ({"cond_stage_model.model.x": [1]}, "a Stable Diffusion 2"),
        ({f"{UNET}double_blocks.0.x": [1]}, "a Flux"),
        ({f"{UNET}joint_blocks.0.x": [1]}, "a Stable Diffusion 3"),
        ({"lora_unet_down_blocks_0.lora_down.weight": [1]}, "a LoRA"),
        ({"unet.down_blocks.0.attn1.to_q.lora_A.weight": [1]}, "a LoRA"),
        ({"control_model.x": [1]}, "a ControlNet"),
        ({f"{UNET}x.scale_weight": [1]}, "a checkpoint of scaled fp8"),
        ({f"{UNET}input_blocks.0.0.weight": [320, 4, 3, 3]}, "a UNet alone"),
        ({"decoder.conv_in.weight": [1], "encoder.conv_in.weight": [1]}, "a VAE alone"),
        ({"conditioner.embedders.0.x": [1]}, ""),
    ],
)
def test_other_kinds_of_files_are_named(tensors: dict[str, list[int]], kind: str) -> None:
    header = Header({name: {"dtype": "F16", "shape": shape} for name, shape in tensors.items()}, {})
    assert recognise.what(header).startswith(kind)
    assert bool(recognise.what(header)) == bool(kind)
    named = Header(header.tensors, {"modelspec.architecture": "some-model/lora"})
    assert "'some-model/lora'" in recognise.what(named)
