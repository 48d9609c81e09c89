import pytest

from srwm.training.schedule import learning_rate


def test_constant():
    assert learning_rate("constant", 0.1, 1, 0.0, 256) == learning_rate("constant", 0.1, 99, 1.0, 256) == 0.1


@pytest.mark.parametrize(
    ("step", "expected"), [(1, 0.0625 / 353553.39), (5000, 0.0625 / 70.710678), (20000, 0.0625 / 141.42136)]
)
def test_paper_warmup(step, expected):
    assert learning_rate("paper-warmup", 1.0, step, 0.5, 256) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "progress", "expected"),
    [(1, 0.0, 0.01), (50, 0.1, 0.5), (100, 0.2, 1.0), (900, 0.5, 1.0), (1000, 0.75, 0.51), (1100, 1.0, 0.02)],
)
def test_trapezoid(step, progress, expected):
    assert learning_rate("trapezoid", 1.0, step, progress, 256) == pytest.approx(expected)
