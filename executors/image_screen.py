"""`OURVIDZ_IMAGE_SCREEN=local`: an image screen that runs a picture classifier in an open format from a local folder.

The folder holds `screen.toml` (the meaning of each label), `config.json` and `preprocessor_config.json` as transformers writes them, and
the weights: `model.safetensors` (loaded by transformers) or `model.onnx` (run by onnxruntime). `manifest.json` pins each of these by
SHA-256 (`ourvidz models pin --screen`). A private copy of the pinned bytes is loaded, so nothing can change between check and load, and no
other file of the folder is read: no code, no pickle, no adapter. Nothing is fetched.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.errors import ModelFileError
from executors.models import files
from executors.models.snapshot import snapshot
from ourvidz import account
from ourvidz.safety.images import NoImageScreen, Sight
from ourvidz.safety.screen import ScreenUnavailable, Verdict

RULES = "screen.toml"
MODELS = ("model.safetensors", "model.onnx")
AT_ONCE = 8  # pictures in one pass; of a clip of 81 frames seven are screened
LIMIT = 8 << 30  # bytes of all its files together


@dataclass(frozen=True)
class Refusal:
    refuse_at: float  # probability at which a picture is refused
    category: str


@dataclass(frozen=True)
class Rules:
    """`screen.toml`. A picture is allowed if no label reaches its `refuse_at` and the allowing labels together reach `allow_at`."""

    labels: Mapping[str, Refusal | None]  # None: it allows
    allow_at: float
    independent: bool  # the labels' probabilities do not sum to one: sigmoid instead of softmax
    device: str

    def judge(self, chances: Mapping[str, float], version: str) -> Verdict:
        allowing = [chances[label] for label, refusal in self.labels.items() if refusal is None]
        allowed = max(allowing) if self.independent else sum(allowing)
        worst, refusal = max(
            ((label, refusal) for label, refusal in self.labels.items() if refusal is not None),
            key=lambda pair: chances[pair[0]] / pair[1].refuse_at,
        )
        if allowed >= self.allow_at and chances[worst] < refusal.refuse_at:
            return Verdict(True, version)
        return Verdict(False, version, refusal.category, f"image.{list(self.labels).index(worst)}")


def read_rules(source: bytes) -> Rules:
    """Parse `screen.toml`. Raises `NoImageScreen` naming what is wrong."""
    try:
        table = tomllib.loads(source.decode())
        labels = {
            label: None if means == "allow" else Refusal(float(means["refuse_at"]), str(means["category"]))
            for label, means in table.pop("labels").items()
        }
        allow_at, activation, device = float(table.pop("allow_at")), table.pop("activation", "softmax"), table.pop("device", "cpu")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NoImageScreen(f"{RULES} cannot be read ({type(error).__name__}: {error}): see docs/safety.md.") from error
    wrong = ""
    if table:
        wrong = f"has an unknown key {sorted(table)[0]!r}"
    elif not any(r is None for r in labels.values()) or not any(labels.values()):
        wrong = "needs a label that allows and one that refuses"
    elif not 0.5 <= allow_at <= 1 or not all(0 < r.refuse_at <= 1 for r in labels.values() if r):
        wrong = "needs an allow_at between 0.5 and 1, and each refuse_at above 0 and at most 1"
    elif not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", r.category) for r in labels.values() if r):
        wrong = "needs a category of letters and digits for each label that refuses"
    elif activation not in ("softmax", "sigmoid") or device not in ("cpu", "cuda"):
        wrong = "knows the activations softmax and sigmoid, and the devices cpu and cuda"
    if wrong:
        raise NoImageScreen(f"{RULES} {wrong}: see docs/safety.md.")
    return Rules(labels, allow_at, activation == "sigmoid", device)


class LocalScreen:
    """An `ImageScreen`. `at_once`: how many pictures `check_many` takes per call."""

    at_once = AT_ONCE

    def __init__(self, folder: Path) -> None:
        """Raises `NoImageScreen`."""
        self._one_at_a_time = threading.Lock()
        try:
            with snapshot(folder, limit=LIMIT) as private:
                self._load(private)
        except ModelFileError as error:
            raise NoImageScreen(f"The image screen's folder {folder}: {error}.") from error
        self._try()

    def _load(self, folder: Path) -> None:
        missing = [name for name in (RULES, "config.json", "preprocessor_config.json") if not (folder / name).is_file()]
        models = [name for name in MODELS if (folder / name).is_file()]
        if missing or len(models) != 1:
            what = missing[0] if missing else f"exactly one of {' and '.join(MODELS)}"
            raise NoImageScreen(f"The image screen's folder has no {what} among its pinned files: see docs/safety.md.")
        self.rules = read_rules((folder / RULES).read_bytes())
        self._names = _names(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        if strange := sorted(set(self._names) ^ set(self.rules.labels)):
            raise NoImageScreen(f"{RULES} and the model do not have the same labels: {strange[0]!r} is in one of them alone.")
        digest = hashlib.sha256()
        for name in sorted(p.name for p in folder.iterdir()):
            digest.update(f"{name} {files.sha256(folder / name)}\n".encode())
        self.version = f"image-{digest.hexdigest()[:8]}"
        self._pixels = _processor(folder)
        make = _safetensors if models[0].endswith(".safetensors") else _onnx
        self._run: Callable[[Any], Any] = make(folder, self.rules.device)

    def _try(self) -> None:
        """Judge one grey picture, so that a model whose outputs do not fit its labels fails at the start, not on a user's picture."""
        from PIL import Image

        try:
            self._judge([Image.new("RGB", (64, 64), (128, 128, 128))])
        except Exception as error:
            raise NoImageScreen(f"The image screen does not work ({type(error).__name__}: {str(error)[:200]}).") from error

    def check(self, picture: bytes, sight: Sight) -> Verdict:
        return self.check_many([picture], [sight])[0]

    def check_many(self, pictures: Sequence[bytes], sights: Sequence[Sight]) -> list[Verdict]:
        """Raises `ScreenUnavailable`, and what running the model raises."""
        from PIL import Image

        opened = []
        for picture in pictures:
            with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
                opened.append(image.convert("RGB"))
        return self._judge(opened)

    def _judge(self, images: Sequence[Any]) -> list[Verdict]:
        import numpy as np

        with self._one_at_a_time:
            logits = np.asarray(self._run(self._pixels(images)), dtype=np.float64)
        if logits.shape != (len(images), len(self._names)):
            raise ScreenUnavailable(f"the classifier's outputs have the shape {logits.shape}, and there are {len(self._names)} labels")
        if not np.isfinite(logits).all():
            raise ScreenUnavailable("the classifier made NaN")
        if self.rules.independent:
            chances = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
        else:
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            chances = powers / powers.sum(axis=1, keepdims=True)
        return [self.rules.judge(dict(zip(self._names, map(float, row), strict=True)), self.version) for row in chances]


def _names(config: Mapping[str, Any]) -> list[str]:
    """Return the labels in the order of the model's outputs."""
    try:
        named = {int(number): str(name) for number, name in config["id2label"].items()}
        return [named[number] for number in range(len(named))]
    except (KeyError, ValueError, AttributeError) as error:
        raise NoImageScreen("config.json of the image screen has no id2label that numbers the labels from 0.") from error


def _processor(folder: Path) -> Callable[[Sequence[Any]], Any]:
    from transformers import AutoImageProcessor

    made = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return lambda images: made(images=list(images), return_tensors="np")["pixel_values"]


def _safetensors(folder: Path, device: str) -> Callable[[Any], Any]:
    import torch
    from transformers import AutoModelForImageClassification

    if device == "cuda" and not torch.cuda.is_available():
        raise NoImageScreen(f"{RULES} asks for cuda, and torch finds no GPU here.")
    model, report = AutoModelForImageClassification.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    if lacking := sorted(report["missing_keys"]) + sorted(str(k) for k in report["mismatched_keys"]):
        # transformers would fill these with random numbers without an error.
        raise NoImageScreen(f"The image screen's weights lack {lacking[0]}, which its config.json asks for.")
    model.eval().to(device)

    def run(pixels: Any) -> Any:
        with torch.inference_mode():
            return model(pixel_values=torch.as_tensor(pixels, dtype=torch.float32).to(device)).logits.float().cpu().numpy()

    return run


def _onnx(folder: Path, device: str) -> Callable[[Any], Any]:
    try:
        import onnxruntime
    except ImportError as error:
        raise NoImageScreen("model.onnx needs onnxruntime: pip install 'ourvidz[image-screen]' (on a GPU: onnxruntime-gpu).") from error
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
    if provider not in onnxruntime.get_available_providers():
        raise NoImageScreen(f"{RULES} asks for {device}, and this onnxruntime has no {provider}.")
    # From bytes, so that weights in external files, which the format allows, are not read.
    session = onnxruntime.InferenceSession((folder / "model.onnx").read_bytes(), providers=[provider])
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise NoImageScreen(f"model.onnx takes {len(inputs)} inputs; a classifier of pictures takes one.")

    def run(pixels: Any) -> Any:
        return session.run(None, {inputs[0].name: pixels.astype("float32")})[0]

    return run


def made(folder: Path | None) -> LocalScreen:
    """Load the screen of this folder (`OURVIDZ_IMAGE_SCREEN_MODEL`). Raises `NoImageScreen`."""
    if folder is None:
        raise NoImageScreen("OURVIDZ_IMAGE_SCREEN=local needs OURVIDZ_IMAGE_SCREEN_MODEL: the folder of a classifier (docs/safety.md).")
    return LocalScreen(account.folder(folder))
