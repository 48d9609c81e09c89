"""Configurations come back from JSON as they were, or are refused."""

import dataclasses
import json
import math
from dataclasses import dataclass

import pytest

from srwm.errors import UserError
from srwm.training.configuration import check_values, config_from_dict


@dataclass(frozen=True)
class Inner:
    size: int = 1
    weight: float | None = None


@dataclass(frozen=True)
class Outer:
    sizes: tuple[int, ...] = ()
    channels: int | tuple[int, int] = 8
    factors: tuple[float, ...] | None = None
    parts: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    "config",
    [
        Outer(),
        Outer((1, 28, 28), (4, 5), (0.5, 1), (Inner(2), Inner(3))),
        Outer(channels=3, factors=()),
    ],
)
def test_what_became_json_comes_back(config):
    assert config_from_dict(Outer, json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sizes": ["a", None]}, "sizes: expected int, got 'a'"),
        ({"sizes": [1, True]}, "sizes: expected int, got True"),
        ({"sizes": [1, [2]]}, r"sizes: expected int, got \[2\]"),
        ({"sizes": 1}, "sizes: expected tuple, got 1"),
        ({"channels": [1.5, "x"]}, "channels: expected int, got 1.5"),
        ({"channels": [1, 2, 3]}, r"channels: expected 2 values, got \[1, 2, 3\]"),
        ({"factors": [0.5, "1"]}, "factors: expected float, got '1'"),
        ({"parts": [{"size": 1}, {"width": 2}]}, "parts: unknown field width"),
        ({"parts": [{"size": "1"}]}, "parts: size: expected int, got '1'"),
    ],
)
def test_elements_of_tuples_are_as_their_type_says(values, message):
    with pytest.raises(TypeError, match=message):
        config_from_dict(Outer, values)


@pytest.mark.parametrize(
    ("value", "name"), [(Inner(weight=math.nan), "value.weight"), (math.nan, "value"), ((1.0, math.nan), "value")]
)
def test_nan_is_reported_by_name_wherever_it_is(value, name):
    @dataclass(frozen=True)
    class Holder:
        value: object
        rest: Inner = Inner()

    with pytest.raises(UserError, match=f"^{name}: expected a number, got"):
        check_values(Holder(value))
    check_values(Holder(Inner(weight=math.inf)))
