"""The model libraries, imported once and by one thread, before an executor starts its others.

diffusers and transformers make their classes at first access, and import each other: two threads that import them at the same time raise
ImportError ("cannot import name 'AutoencoderKL' from 'diffusers'"), or see half of a module. Whatever an executor may need later is
therefore imported here; afterwards only the device's thread, which loads the models, imports anything of them.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Collection

EACH = ("executors.residency", "executors.enhance", "executors.guard")
FAMILIES = {"sdxl": ("executors.models.sdxl", "compel"), "wan": ("executors.models.wan",)}
"""What a family needs, by the part of a lane's name before `_`; compel is for long and weighted prompts."""

_once = threading.Lock()


def import_all(lanes: Collection[str], packages: Collection[str] = ()) -> None:
    """All that executors of these lanes use, and the `packages` of a speed profile. Idempotent. Some three seconds, most of them torch."""
    families = {lane.partition("_")[0] for lane in lanes}
    with _once:
        for name in (*EACH, *(module for family in sorted(families) for module in FAMILIES[family]), *packages):
            importlib.import_module(name)
