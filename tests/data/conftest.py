import io
import os
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache, nor the user's data unless it asks for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("SRWM_DATA", raising=False)


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    if not os.environ.get("SRWM_DATA"):
        pytest.skip("SRWM_DATA names no folder with the real data")
    return Path(os.environ["SRWM_DATA"])


class Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did: bytes without an encoding."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


@pytest.fixture
def python2_pickle():
    """Writes a pickle as Python 2 did."""

    def write(value) -> bytes:
        buffer = io.BytesIO()
        Python2Pickler(buffer, protocol=2).dump(value)
        return buffer.getvalue()

    return write


@pytest.fixture
def tiny_omniglot(tmp_path) -> Path:
    """The official layout with three characters: a black square on white that grows from character to character."""
    root = tmp_path / "omniglot"
    for number, character in enumerate(
        ("images_background/Greek/character01", "images_background/Greek/character02", "images_evaluation/Angelic/character01")
    ):
        folder = root / character
        folder.mkdir(parents=True)
        for drawer in range(20):
            pixels = np.full((105, 105), 255, np.uint8)
            pixels[: 30 + 15 * number, : 30 + drawer] = 0
            Image.fromarray(pixels).convert("1").save(folder / f"{number + 1:04d}_{drawer + 1:02d}.png")
    return root
