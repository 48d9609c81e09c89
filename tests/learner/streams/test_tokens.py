from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from srwm.learner.streams.tokens import gaussian_row, stable_hash, token

TEXTS = ["a", "", "\0a", "x" * 64, "x" * 65, "x" * 66, "\udc80"]
NAMES = [*TEXTS, 0, -1, 1.5, 10**400, None, b"a", ("a", 1), date(2020, 1, 1), Decimal(2)]


def test_tokens_are_short_and_different() -> None:
    found = [token(name) for name in NAMES]
    assert len(set(found)) == len(NAMES)
    assert max(map(len, found)) <= 64


def test_equal_values_have_equal_tokens() -> None:
    assert {token(one) for one in (1, 1.0, True, np.int64(1), np.float32(1), np.bool_(True))} == {token(1)}
    assert token(np.str_("a")) == token("a") == "a"
    assert token("1") != token(1)


def test_what_is_not_hashable_has_no_token() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        token(["a"])


def test_tokens_and_numbers_are_the_same_in_every_process() -> None:
    assert token(("a", 1)) == "\x00f15cba5c209f6453e07296b77b33437a"
    assert stable_hash("a") == 3405396810240292928
    assert gaussian_row("a", 3).tolist() == pytest.approx([0.549491, 0.742307, -2.39769], abs=1e-5)


def test_rows_are_independent_normal_numbers() -> None:
    rows = np.stack([gaussian_row(str(i), 50) for i in range(400)])
    assert rows.dtype == np.float32
    assert abs(rows.mean()) < 0.03
    assert abs(rows.std() - 1) < 0.03
    assert abs((rows**4).mean() - 3) < 0.3
    correlation = np.corrcoef(rows.T) - np.eye(50)
    assert np.abs(correlation).max() < 0.25
