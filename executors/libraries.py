"""Import the model libraries once, in one thread, before an executor starts any other.

diffusers and transformers create their classes lazily, and import each other: two threads that import them at the same time raise
ImportError ("cannot import name 'AutoencoderKL' from 'diffusers'"), or see a half-initialised module. So everything that an executor may
need is imported here; afterwards only the device thread, which loads the models, imports from them.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Collection

EACH = ("executors.residency", "executors.enhance", "executors.guard_model")
FAMILIES = {"sdxl": ("executors.models.sdxl", "compel"), "wan": ("executors.models.wan",)}
"""Family (the part of a lane's name before `_`) → the modules it needs; compel is for long and weighted prompts."""

_once = threading.Lock()


def import_all(lanes: Collection[str], packages: Collection[str] = ()) -> None:
    """Import all that executors of these lanes use, and the `packages` of a speed profile. Idempotent. About 3 s, most of it torch."""
    families = {lane.partition("_")[0] for lane in lanes}
    with _once:
        for name in (*EACH, *(module for family in sorted(families) for module in FAMILIES[family]), *packages):
            importlib.import_module(name)
