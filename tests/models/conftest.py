"""Tiny models for the tests of the model families, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Tensors this small gain nothing from a second thread, and on a busy machine lose most of their time waiting for it (measured: 7×).
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with every tiny model. Tests read it; one that damages files works on a copy."""
    from executors.models.tiny import make_tiny

    root = tmp_path_factory.mktemp("models") / "tiny"
    make_tiny(root, lambda _: None)
    return root
