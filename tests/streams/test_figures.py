import numpy as np
import pytest

from srwm.errors import UserError
from srwm.streams.figures import draw_drift, draw_rolling
from srwm.streams.recovery import AFTER, BEFORE


def test_rolling_accuracies_are_drawn(tmp_path):
    path = tmp_path / "rolling.png"
    draw_rolling({f"learner {n}": np.linspace(0, 1, 3_000) for n in range(8)}, 200, path, "title")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_accuracies_around_a_drift_are_drawn(tmp_path):
    path = tmp_path / "drift.svg"
    draw_drift(
        {"one": np.ones((3, BEFORE + AFTER), dtype=bool), "two": np.zeros((1, BEFORE + AFTER), dtype=bool)}, path, "title"
    )
    assert b"samples since the drift" in path.read_bytes() or b"<svg" in path.read_bytes()


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected a name that ends in \.png"):
        draw_rolling({"one": np.ones(3)}, 2, tmp_path / "figure.txt", "title")
